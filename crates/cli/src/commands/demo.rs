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
use sandgate_snapshot_service::KEEP_APPROVED;
use serde_json::{Value, json};

use self::sample::{PullRequestPlan, Sample};
use crate::client::Client;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
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
        allowed_hosts: Vec::new(),
        webhook_secrets: vec![Secret::new(&secret)],
        members: Vec::new(),
        agents: Vec::new(),
        slots: None,
        keep_approved: KEEP_APPROVED,
    };
    let server = Server::start(&context, &config, shutdown.clone()).await?;
    eprintln!("serving  http://{}", server.record.address);
    let player = Player {
        context: &context,
        address: server.record.address,
        client: Client::of(server.record.address, server.token.reveal()),
    };
    let link = server.login_link();
    let serving = tokio::spawn(server.run());
    let played = tokio::select! {
        played = player.play(&sample, &secret) => played,
        () = shutdown.soft.cancelled() => return Ok(Exit::Interrupted),
    };
    let is_expected = played?;
    if command.once {
        shutdown.soft.cancel();
    } else {
        output::write(&format!("\npages: {link}\nCtrl-C ends.\n"))?;
    }
    match serving.await {
        Ok(served) => served?,
        Err(error) => return Err(Failure::from_error(ErrorCode::Internal, &error)),
    }
    Ok(if is_expected { Exit::Ok } else { Exit::Failed })
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
            eprintln!("webhook  {} {}: {}{reason}", delivery.event, delivery.id, accepted.outcome);
        }
        // What an earlier demonstration has tested already is tested once more.
        for run in again.iter().flatten() {
            let path = format!("/api/v1/runs/{}/rerun", run["id"].as_str().unwrap_or_default());
            let _run: Value = self.client.post(&path, &json!({})).await?;
        }
        let mut is_expected = true;
        for plan in &sample.pull_requests {
            let run = self.verdict(sample, plan).await?;
            self.show(plan, &run).await?;
            is_expected &= run["result"] == plan.expected.as_str();
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
                        eprintln!("#{}  {state}", plan.number);
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

    async fn show(&self, plan: &PullRequestPlan, run: &Value) -> Result<(), Failure> {
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
        let folder = folder.display();
        if let Some(snapshot) = run["approvedSnapshot"].as_str() {
            lines.push(format!("    approved snapshot: {snapshot}"));
        }
        for (gate, snapshot) in run["debugSnapshots"].as_object().into_iter().flatten() {
            let run = run["id"].as_str().unwrap_or_default();
            lines.push(format!("    debug snapshot: {}", snapshot.as_str().unwrap_or_default()));
            lines.push(format!("    debug: sandgate debug {gate} --run {run} --data-dir {folder}"));
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
