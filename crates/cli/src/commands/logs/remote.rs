//! The log of a gate that a server keeps: as it is now, or followed until the gate ends.

use std::io::Write;

use sandgate_domain::{ErrorCode, RunId};
use serde::Deserialize;

use crate::checkout;
use crate::client::items::{Gate, Run};
use crate::client::{Client, Query, encoded};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::named::IdStart;
use crate::output::Format;
use crate::progress::clean;

/// As many fitting runs as are worth telling apart.
const SEVERAL: usize = 6;

#[derive(Deserialize)]
struct LogText {
    text: String,
}

/// Prints a log of the server; whether the gate is there at all is for the server to say.
pub async fn print(
    context: &Context,
    client: &Client,
    run: Option<&IdStart>,
    gate: &str,
    follow: bool,
) -> Result<Exit, Failure> {
    let run = find_run(context, client, run).await?;
    let gate = find_gate(&run, gate)?;
    let format = context.global.output;
    let path = format!("/api/v1/gates/{}/log", encoded(&gate.id));
    if !follow {
        let text = client.text(&path).await?;
        super::show(format, &run.id, &gate.id, &gate.name, &text)?;
        return Ok(Exit::Ok);
    }
    if !matches!(format, Format::Table | Format::Jsonl) {
        let message = "what is followed comes in parts, and this form is one document";
        let failure = Failure::new(ErrorCode::InvalidArgument, message);
        return Err(failure.help("follow with `-o jsonl`, or leave -f out"));
    }
    let mut is_gone = false;
    let followed = client
        .follow(&path, |event| {
            let log: LogText = serde_json::from_str(&event.data).map_err(|error| {
                let message = format!("a part of the log can't be read: {error}");
                Failure::new(ErrorCode::Internal, message)
            })?;
            let mut stdout = std::io::stdout().lock();
            let line = format!("{}\n", event.data);
            let text = if format == Format::Jsonl { &line } else { &log.text };
            let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            is_gone =
                matches!(&written, Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe);
            Ok(written?)
        })
        .await;
    if is_gone {
        return Ok(Exit::Ok);
    }
    followed?;
    ended(context, client, &gate).await
}

/// Says how the gate ended.
async fn ended(context: &Context, client: &Client, gate: &Gate) -> Result<Exit, Failure> {
    let gate: Gate = client.get(&format!("/api/v1/gates/{}", encoded(&gate.id))).await?;
    let result = gate.result.as_deref().unwrap_or(&gate.state);
    context.tell(format!("{} ended: {}", clean(gate.name.as_bytes()), clean(result.as_bytes())));
    Ok(Exit::Ok)
}

async fn find_run(
    context: &Context,
    client: &Client,
    run: Option<&IdStart>,
) -> Result<Run, Failure> {
    if let Some(start) = run {
        if let Some(id) = start.whole::<RunId>() {
            return client.get(&format!("/api/v1/runs/{id}")).await;
        }
        let all = Query::new("/api/v1/runs");
        let fitting = client.fitting(all, SEVERAL, |run: &Run| start.fits(&run.id)).await?;
        return start.only(fitting, |run| run.id.clone());
    }
    let repository = checkout::repository(context, client, None).await.map_err(|failure| {
        failure.help("name a run with --run; `sandgate status --all` lists them")
    })?;
    let query = Query::new("/api/v1/runs").with("repo", &repository.name).with("pageSize", "1");
    let latest: Option<Run> = client.page(&query).await?.into_iter().next();
    latest.ok_or_else(|| {
        let message = format!("{} has no run yet on the server", repository.name);
        Failure::new(ErrorCode::NotFound, message).help("start one with `sandgate pr open`")
    })
}

fn find_gate(run: &Run, name: &str) -> Result<Gate, Failure> {
    let found = run.gates.iter().find(|gate| gate.name == name).or_else(|| {
        // A run has one setup as a rule, and that is what people mean.
        let only = run.setups.first().filter(|_| run.setups.len() == 1 && name == "setup");
        run.setups.iter().find(|setup| setup.name == name).or(only)
    });
    found.cloned().ok_or_else(|| {
        let all = run.setups.iter().chain(&run.gates);
        let names: Vec<&str> = all.map(|gate| gate.name.as_str()).collect();
        Failure::new(ErrorCode::NotFound, format!("{} has no gate `{name}`", run.id))
            .help(format!("its gates are: {}", names.join(", ")))
    })
}
