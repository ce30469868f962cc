//! `sandgate demo`: the whole way from webhook to verdict, on a sample repository.
//!
//! The server is the one of `dev`. Two pull requests are opened by signed webhooks that are posted to its own address, as a
//! forge would: one passes, one fails.

pub mod sample;
pub mod webhook;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use sandgate_chassis::{Config, Secret, Shutdown};
use sandgate_domain::{ErrorCode, GateResult};
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinHandle};

use self::sample::{PullRequestPlan, Sample};
use crate::client::Client;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::progress::Form;
use crate::server::Server;
use crate::text;

/// The folder for state, if `--data-dir` names no other one.
const DATA_DIR: &str = ".sandgate/demo";
/// How long the verdicts may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often the runs are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `sandgate demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// End after the verdicts: status 0 if both are the expected ones
    #[arg(long)]
    once: bool,
}

/// Plays the demonstration, and serves on.
pub async fn run(context: &Context, command: Demo) -> Result<Exit, Failure> {
    let context = context.with_data_dir(DATA_DIR);
    let shutdown = Shutdown::on_signals()?;
    let folder = context.data_dir()?.canonicalize()?;
    let search_path = context.environment.get("PATH").unwrap_or_default();
    let sample = sample::prepare(search_path, &folder.join("sample")).await?;
    let secret = context.ids.uuid().simple().to_string();
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config {
        listen: any_port,
        grpc_listen: any_port,
        webhook_secrets: vec![Secret::new(&secret)],
        ..context.config(Vec::new())?.config
    };
    let server = Server::start(&context, &config, shutdown.clone()).await?;
    context.tell(format!("serving  http://{}", server.record.address));
    let player = Player {
        context: &context,
        address: server.record.address,
        client: Client::of(server.record.address, server.token.reveal()),
    };
    let link = server.login_link();
    let serving = tokio::spawn(server.run());
    let (once, format) = (command.once, context.global.output);
    let show_link = move || match (once, format) {
        (true, _) => Ok(false),
        (false, Format::Table) => {
            output::write(&format!("\npages: {link}\nCtrl-C ends.\n")).map(|()| true)
        }
        (false, Format::Json | Format::Jsonl | Format::Yaml | Format::Name) => {
            eprintln!("pages: {link}");
            Ok(true)
        }
    };
    beside(serving, player.play(&sample, &secret), &shutdown, show_link).await
}

/// Plays beside a server, and serves on if that is wanted. However it ends, the server has stopped in order; one that dies
/// ends the play at once with what it died of.
async fn beside(
    mut serving: JoinHandle<Result<(), Failure>>,
    play: impl Future<Output = Result<bool, Failure>>,
    shutdown: &Shutdown,
    serves_on: impl FnOnce() -> Result<bool, Failure>,
) -> Result<Exit, Failure> {
    let played = tokio::select! {
        biased;
        died = &mut serving => return Err(ended(died).err().unwrap_or_else(stopped)),
        () = shutdown.soft.cancelled() => None,
        played = play => Some(played),
    };
    let played = match played {
        Some(Ok(is_expected)) => serves_on().map(|serves_on| Some((is_expected, serves_on))),
        Some(Err(failure)) => Err(failure),
        None => Ok(None),
    };
    if !matches!(played, Ok(Some((_, true)))) {
        shutdown.soft.cancel();
    }
    ended(serving.await)?;
    Ok(match played? {
        Some((true, _)) => Exit::Ok,
        Some((false, _)) => Exit::Failed,
        None => Exit::Interrupted,
    })
}

fn ended(serving: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    serving.map_err(|error| Failure::from_error(ErrorCode::Internal, &error))?
}

fn stopped() -> Failure {
    Failure::new(ErrorCode::Internal, "the server stopped before the demonstration was over")
        .help("look into what it printed to standard error, with -v for more")
}

struct Player<'a> {
    context: &'a Context,
    address: SocketAddr,
    client: Client,
}

impl Player<'_> {
    /// Posts the webhooks, waits for the verdicts and shows them; whether they are the expected ones.
    async fn play(&self, sample: &Sample, secret: &str) -> Result<bool, Failure> {
        let repository = json!({ "name": sample.name, "path": sample.repository });
        match self.client.post::<Value>("/api/v1/repos", &repository).await {
            Ok(_) => {}
            // Known from an earlier demonstration.
            Err(failure) if failure.exit == Exit::Conflict => {}
            Err(failure) => return Err(failure),
        }
        let since = self.context.clock.now();
        let mut again = Vec::new();
        for plan in &sample.pull_requests {
            again.push(self.newest_run(sample, plan).await?);
        }
        for delivery in webhook::deliveries(sample, since) {
            let accepted = webhook::post(self.address, secret.as_bytes(), &delivery).await?;
            let reason = accepted.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let line = format!(
                "webhook  {} {}: {}{reason}",
                delivery.event, delivery.id, accepted.outcome
            );
            let id = &delivery.id;
            let object = json!({ "event": "webhook", "id": id, "outcome": accepted.outcome });
            self.progress(&line, &object);
        }
        // What an earlier demonstration has tested already is tested once more.
        for run in again.iter().flatten() {
            let path = format!("/api/v1/runs/{}/rerun", run["id"].as_str().unwrap_or_default());
            let _run: Value = self.client.post(&path, &json!({})).await?;
        }
        let mut is_expected = true;
        let mut runs = Vec::new();
        for plan in &sample.pull_requests {
            let run = self.verdict(sample, plan).await?;
            is_expected &= run["result"] == plan.expected.as_str();
            match self.context.global.output {
                Format::Table => self.show(plan, &run)?,
                Format::Json | Format::Jsonl | Format::Yaml | Format::Name => runs.push(run),
            }
        }
        if !runs.is_empty() {
            let name = |run: &Value| run["id"].as_str().unwrap_or_default().to_owned();
            output::rows(self.context.global.output, &runs, &[], name)?;
        }
        Ok(is_expected)
    }

    /// The run of a pull request, once it has ended.
    async fn verdict(&self, sample: &Sample, plan: &PullRequestPlan) -> Result<Value, Failure> {
        let looking = async {
            let mut shown = String::new();
            loop {
                if let Some(run) = self.newest_run(sample, plan).await? {
                    let state = progress(&run);
                    if state != shown {
                        let line = format!("#{}  {state}", plan.number);
                        let (number, id) = (plan.number, &run["id"]);
                        let object = json!({ "event": "state", "number": number, "run": id, "state": state });
                        self.progress(&line, &object);
                        shown = state;
                    }
                    if !run["result"].is_null() {
                        return Ok(run);
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            let message = format!("pull request #{} has no verdict after {seconds} s", plan.number);
            Err(Failure::new(ErrorCode::DeadlineExceeded, message))
        })
    }

    async fn newest_run(
        &self,
        sample: &Sample,
        plan: &PullRequestPlan,
    ) -> Result<Option<Value>, Failure> {
        let path =
            format!("/api/v1/runs?repo={}&sha={}", sample.name.replace('/', "%2F"), plan.head_sha);
        let page: Value = self.client.get(&path).await?;
        Ok(page["items"].as_array().and_then(|items| items.first()).cloned())
    }

    /// Tells how far it is, in the form that is wanted.
    fn progress(&self, line: &str, object: &Value) {
        match self.context.global.progress {
            _ if self.context.global.quiet => {}
            Form::None => {}
            Form::Json => eprintln!("{object}"),
            Form::Auto | Form::Tty | Form::Plain => eprintln!("{line}"),
        }
    }

    fn show(&self, plan: &PullRequestPlan, run: &Value) -> Result<(), Failure> {
        let verdict = run["result"].as_str().unwrap_or("none");
        let mark = verdict.parse::<GateResult>().map_or("·", text::result_mark);
        let mut lines =
            vec![String::new(), format!("{mark} #{} {}: {verdict}", plan.number, plan.title)];
        for gate in run["gates"].as_array().into_iter().flatten() {
            lines.push(format!("    {}", gate_line(gate)));
            for failure in gate["reports"]["failures"].as_array().into_iter().flatten() {
                lines.push(format!("      {}", failure_line(failure)));
            }
        }
        let folder = self.context.data_dir()?;
        let folder = text::quoted(&folder.display().to_string());
        let program = text::program();
        if let Some(snapshot) = run["approvedSnapshot"].as_str() {
            lines.push(format!("    approved snapshot: {snapshot}"));
        }
        for (gate, snapshot) in run["debugSnapshots"].as_object().into_iter().flatten() {
            let run = run["id"].as_str().unwrap_or_default();
            lines.push(format!("    debug snapshot: {}", snapshot.as_str().unwrap_or_default()));
            let gate = text::quoted(gate);
            lines
                .push(format!("    debug: {program} debug {gate} --run {run} --data-dir {folder}"));
        }
        lines.push(String::new());
        output::write(&lines.join("\n"))
    }
}

/// How far a run is, in one line.
fn progress(run: &Value) -> String {
    let gates = run["gates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let states: Vec<String> = gates
        .iter()
        .map(|gate| {
            let state = gate["result"].as_str().or(gate["state"].as_str()).unwrap_or("planned");
            format!("{} {state}", gate["name"].as_str().unwrap_or_default())
        })
        .collect();
    states.join(" · ")
}

fn gate_line(gate: &Value) -> String {
    let text = |name: &str| gate[name].as_str().unwrap_or_default().to_owned();
    let reason = match gate["reason"].as_str() {
        Some(reason) => format!("  {reason}"),
        None => String::new(),
    };
    format!("{:<8} {}{reason}", text("name"), text("result"))
}

fn failure_line(failure: &Value) -> String {
    let text = |name: &str| failure[name].as_str().unwrap_or_default().to_owned();
    let line = failure["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}  at {}{line}  {}", text("name"), text("file"), text("message"))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn shutdown() -> Shutdown {
        Shutdown { soft: CancellationToken::new(), hard: CancellationToken::new() }
    }

    /// A server that needs its time to stop, and the token that says that it did.
    fn server(shutdown: &Shutdown) -> (JoinHandle<Result<(), Failure>>, CancellationToken) {
        let (soft, has_stopped) = (shutdown.soft.clone(), CancellationToken::new());
        let noted = has_stopped.clone();
        let serving = tokio::spawn(async move {
            soft.cancelled().await;
            tokio::task::yield_now().await;
            noted.cancel();
            Ok(())
        });
        (serving, has_stopped)
    }

    #[tokio::test]
    async fn a_server_that_dies_ends_the_play_at_once_with_its_reason() {
        let dies = |failure: Failure| tokio::spawn(ready(Err(failure)));
        let failure = Failure::new(ErrorCode::ResourceExhausted, "the disk is full");
        let ended = beside(dies(failure), pending(), &shutdown(), || Ok(true)).await.unwrap_err();
        assert_eq!((ended.exit, ended.message.as_str()), (Exit::Exhausted, "the disk is full"));

        let panics = tokio::spawn(async { panic!("of its own") });
        let ended = beside(panics, pending(), &shutdown(), || Ok(true)).await.unwrap_err();
        assert!(ended.message.contains("of its own"), "{}", ended.message);

        let leaves = tokio::spawn(ready(Ok(())));
        let ended = beside(leaves, pending(), &shutdown(), || Ok(true)).await.unwrap_err();
        assert!(ended.message.contains("stopped before"), "{}", ended.message);
        assert!(ended.help.is_some());
    }

    #[tokio::test]
    async fn however_the_play_ends_the_server_stops_in_order() {
        let shut = shutdown();
        let (serving, has_stopped) = server(&shut);
        shut.soft.cancel();
        let exit = beside(serving, pending(), &shut, || Ok(true)).await.unwrap();
        assert_eq!((exit, has_stopped.is_cancelled()), (Exit::Interrupted, true));

        for (is_expected, exit) in [(true, Exit::Ok), (false, Exit::Failed)] {
            let shut = shutdown();
            let (serving, has_stopped) = server(&shut);
            let ended = beside(serving, ready(Ok(is_expected)), &shut, || Ok(false)).await;
            assert_eq!((ended.unwrap(), has_stopped.is_cancelled()), (exit, true));
        }

        let shut = shutdown();
        let (serving, has_stopped) = server(&shut);
        let failure = Failure::new(ErrorCode::DeadlineExceeded, "no verdict");
        let ended = beside(serving, ready(Err(failure)), &shut, || Ok(true)).await.unwrap_err();
        assert_eq!((ended.exit, has_stopped.is_cancelled()), (Exit::TimedOut, true));
    }

    #[tokio::test]
    async fn it_serves_on_until_it_is_stopped() {
        let shut = shutdown();
        let (serving, has_stopped) = server(&shut);
        let soft = shut.soft.clone();
        let serves_on = move || {
            assert!(!soft.is_cancelled());
            // As Ctrl-C does it.
            tokio::spawn(async move { soft.cancel() });
            Ok(true)
        };
        let exit = beside(serving, ready(Ok(true)), &shut, serves_on).await.unwrap();
        assert_eq!((exit, has_stopped.is_cancelled()), (Exit::Ok, true));
    }
}
