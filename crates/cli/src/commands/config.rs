//! `sandgate config`: what the server would be configured with, and where each value comes from.

use clap::Subcommand;
use sandgate_chassis::ShownSetting;
use serde::Serialize;

use crate::commands::dev::Settings;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Column};

/// The commands of `sandgate config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show all keys with their values; secrets are not shown
    View {
        /// Also show where each value comes from: a place in a file, a variable, a flag, or the default
        #[arg(long)]
        show_origin: bool,
        #[command(flatten)]
        settings: Settings,
    },
}

/// One key.
#[derive(Debug, Serialize)]
struct Row {
    key: &'static str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

/// Prints the configuration.
pub fn run(context: &Context, command: Config) -> Result<Exit, Failure> {
    let Config::View { show_origin, settings } = command;
    let shown = context.config(settings.flags())?.view();
    let row = |ShownSetting { key, value, origin }| Row {
        key,
        value,
        origin: show_origin.then_some(origin),
    };
    let rows: Vec<Row> = shown.into_iter().map(row).collect();
    let mut columns: Vec<Column<Row>> = vec![
        ("KEY", |row| row.key.to_owned()),
        ("VALUE", |row| if row.value.is_empty() { "-".to_owned() } else { row.value.clone() }),
    ];
    if show_origin {
        columns.push(("ORIGIN", |row| row.origin.clone().unwrap_or_default()));
    }
    output::rows(context.global.output, &rows, &columns, |row| row.key.to_owned())?;
    Ok(Exit::Ok)
}
