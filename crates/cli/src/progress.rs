//! What a person sees while a run goes on: a live tree on a terminal, plain lines elsewhere, or JSON lines. To standard error.

mod board;
mod json;
mod plain;
mod tree;

use std::io::IsTerminal;

use clap::ValueEnum;
use sandgate_integration_agent::Progress;
use tokio::sync::broadcast::{Receiver, error::RecvError};

pub use board::{Board, clean};

/// The form of the progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A tree on a terminal, plain lines elsewhere.
    Auto,
    /// A live tree.
    Tty,
    /// One line for each change.
    Plain,
    /// One JSON object for each change.
    Json,
    /// Nothing.
    None,
}

/// How to show progress.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// The form, already decided.
    pub form: Form,
    /// Whether to colour.
    pub colour: bool,
    /// Whether output of gates is shown as it comes (plain lines only).
    pub output: bool,
    /// What stands above the tree as long as it is shown.
    pub heading: Option<&'static str>,
}

impl Form {
    /// The form for the standard error that this process has.
    pub fn decide(self) -> Self {
        match self {
            Self::Auto if std::io::stderr().is_terminal() => Self::Tty,
            Self::Auto => Self::Plain,
            Self::Tty | Self::Plain | Self::Json | Self::None => self,
        }
    }
}

/// Follows a run until its verdict. `steps` are the names in the order in which they are shown.
pub async fn follow(style: Style, steps: Vec<String>, mut events: Receiver<Progress>) {
    let mut view: Box<dyn View + Send> = match style.form {
        Form::Tty => Box::new(tree::Tree::new(style)),
        Form::Json => Box::new(json::Lines),
        Form::None => Box::new(Silent),
        Form::Auto | Form::Plain => Box::new(plain::Lines::new(style)),
    };
    let mut board = Board::new(steps);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = tick.tick() => view.tick(&board),
            event = events.recv() => match event {
                Ok(event) if !board.is_news(&event) => {}
                Ok(event) => {
                    board.apply(&event);
                    view.event(&board, &event);
                    if matches!(event, Progress::Verdict { .. }) {
                        break;
                    }
                }
                // Only output can be that much; the states follow in later events and the report has them all.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
        }
    }
    view.end(&board);
}

/// One form of progress.
trait View {
    /// Something happened, and the board shows it already.
    fn event(&mut self, board: &Board, event: &Progress);
    /// Time passed.
    fn tick(&mut self, _board: &Board) {}
    /// The run is over.
    fn end(&mut self, _board: &Board) {}
}

struct Silent;

impl View for Silent {
    fn event(&mut self, _board: &Board, _event: &Progress) {}
}
