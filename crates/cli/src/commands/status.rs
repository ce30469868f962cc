//! `sandgate status`: the latest runs of a repository on the server, and why one waits.

use std::time::Duration;

use clap::Args;

use crate::checkout;
use crate::client::items::{Gate, Run};
use crate::client::{Client, Query};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::progress::clean;
use crate::text;

/// Arguments of `sandgate status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The repository of the server; the default is the one of the current checkout
    #[arg(long, value_name = "OWNER/REPO", conflicts_with = "all")]
    repo: Option<String>,
    /// Of all repositories
    #[arg(long)]
    all: bool,
    /// Only of the pull request with this number
    #[arg(long, value_name = "NUMBER", conflicts_with = "all")]
    pr: Option<u64>,
    /// How many runs, 1 to 200
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

/// Prints the runs, newest first.
pub async fn run(context: &Context, command: Status) -> Result<Exit, Failure> {
    let client = Client::find(context)?;
    let mut query = Query::new("/api/v1/runs").with("pageSize", command.limit.to_string());
    if !command.all {
        let named = command.repo.as_deref();
        let repository = checkout::repository(context, &client, named).await?;
        query = query.with("repo", repository.name);
    }
    if let Some(number) = command.pr {
        query = query.with("pr", number.to_string());
    }
    let runs: Vec<Run> = client.page(&query).await?;
    if runs.is_empty() && context.global.output == Format::Table {
        context.tell("there is no run yet");
        context.tell("next: commit on a branch, then `sandgate pr open`");
        return Ok(Exit::Ok);
    }
    output::rows(
        context.global.output,
        &runs,
        &[
            ("RUN", |run| shown(&run.id)),
            ("REPOSITORY", |run| shown(&run.repo)),
            ("BRANCH", |run| run.branch.as_deref().map_or_else(|| "-".to_owned(), shown)),
            ("COMMIT", |run| run.sha.chars().take(10).collect()),
            ("STATE", |run| shown(run.result.as_ref().unwrap_or(&run.state))),
            ("TIME", time),
            ("WHY", why),
        ],
        |run| run.id.clone(),
    )?;
    if context.global.output == Format::Table {
        next(context, &client, &runs);
    }
    Ok(Exit::Ok)
}

fn time(run: &Run) -> String {
    let duration = run.duration_ms.map(Duration::from_millis);
    duration.map_or_else(|| "-".to_owned(), text::duration)
}

/// Why it waits, how far it is, or what did not pass.
fn why(run: &Run) -> String {
    if run.result.is_some() {
        let bad = run.setups.iter().chain(&run.gates).filter(|gate| is_bad(gate));
        let bad: Vec<String> = bad.map(|gate| shown(&gate.name)).collect();
        return bad.join(", ");
    }
    if let Some(waiting) = &run.waiting {
        return format!("waits: {}", shown(waiting));
    }
    let ended = run.gates.iter().filter(|gate| gate.result.is_some()).count();
    let waiting = run.gates.iter().find_map(|gate| {
        let reason = gate.waiting.as_ref()?;
        Some(format!("; {}: {}", shown(&gate.name), shown(reason)))
    });
    format!("{ended} of {} gates ended{}", run.gates.len(), waiting.unwrap_or_default())
}

fn is_bad(gate: &Gate) -> bool {
    matches!(gate.result.as_deref(), Some("failure" | "error" | "timeout"))
}

/// Prints what to do about the newest run.
fn next(context: &Context, client: &Client, runs: &[Run]) {
    let Some(run) = runs.first() else { return };
    let id = shown(&run.id);
    if run.result.is_none() {
        let live = run.gates.iter().find(|gate| gate.state == "claimed");
        if let Some(gate) = live {
            let gate = text::quoted(&shown(&gate.name));
            context.tell(format!("next: sandgate logs -f {gate} --run {id}"));
        }
        return;
    }
    if let (Some(gate), Some(folder)) = (run.debug_snapshots.keys().next(), client.data_dir()) {
        let gate = text::quoted(&shown(gate));
        let folder = text::quoted(&folder.display().to_string());
        context.tell(format!("next: sandgate debug {gate} --run {id} --data-dir {folder}"));
    }
}

fn shown(text: &str) -> String {
    clean(text.as_bytes())
}
