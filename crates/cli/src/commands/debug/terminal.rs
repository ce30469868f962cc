//! Joins the terminal of this process with one inside a sandbox.

use std::io::Write;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sandgate_node::Live;
use sandgate_sandbox::{Command, ExitStatus, Output, Terminal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Puts the terminal of this process back as it was.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that went away needs no restoring.
        let _gone = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Runs a command on a terminal of the sandbox, until it ends.
pub async fn attach(live: &Live, mut command: Command) -> Result<ExitStatus, Failure> {
    let (rows, cols) = size();
    command.output = Output::Pty { rows, cols };
    let mut process = live.start(command).await?;
    let Some(terminal) = process.take_terminal() else {
        return Err(std::io::Error::other("the sandbox gave no terminal").into());
    };
    let before = tcgetattr(std::io::stdin()).map_err(std::io::Error::from)?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &raw).map_err(std::io::Error::from)?;
    let restore = Restore(before);
    let output = tokio::spawn(show(terminal.try_clone()?));
    let input = tokio::spawn(typed(terminal.try_clone()?));
    let resizing = tokio::spawn(follow_size(terminal));
    let status = process.wait().await;
    input.abort();
    resizing.abort();
    // What the last program wrote is still on its way.
    let _shown = tokio::time::timeout(std::time::Duration::from_secs(1), output).await;
    drop(restore);
    Ok(status)
}

async fn show(mut terminal: Terminal) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = terminal.read(&mut buffer).await {
        let mut stdout = std::io::stdout().lock();
        if count == 0 || stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}

async fn typed(mut terminal: Terminal) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 4 << 10];
    while let Ok(count) = stdin.read(&mut buffer).await {
        if count == 0 || terminal.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn follow_size(terminal: Terminal) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    while changed.recv().await.is_some() {
        let (rows, cols) = size();
        if terminal.resize(rows, cols).is_err() {
            return;
        }
    }
}

fn size() -> (u16, u16) {
    tcgetwinsize(std::io::stdout())
        .ok()
        .filter(|size| size.ws_row > 0 && size.ws_col > 0)
        .map_or((24, 80), |size| (size.ws_row, size.ws_col))
}
