//! `sandgate run`: the gates of the current repository, in isolated sandboxes.

mod configuration;
mod summary;

use std::collections::BTreeSet;
use std::io::Write;

use clap::{Args, ValueEnum};
use sandgate_chassis::{Hold, Shutdown};
use sandgate_domain::{
    ErrorCode, GateResult, IsolationLevel, Run as RunRow, RunId, TrustTier, UnsupportedKey,
};
use sandgate_engine::plan::{Plan, PlanInput, plan};
use sandgate_gate_runner::{Limits, Origin};
use sandgate_integration_agent::NewRun;
use sandgate_node::{BranchName, Checkout, GitProgram, Node, Repository, Tree};
use sandgate_snapshot_service::KEEP_APPROVED;
use sandgate_store::{Page, PageRequest, RunFilter};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local::{Machine, Records};
use crate::named::IdStart;
use crate::output::{self, Format};
use crate::progress::{self, Form, Style};
use crate::text;
use crate::view::RunView;

pub use configuration::FILE_NAME;
pub use configuration::facts;

const GET_NAMESPACES: &str = "`sandgate doctor` tells what to do about each";
const CONSENT: &str = "or, for code that you trust, `sandgate run --isolation process` runs its gates as plain processes \
                       that reach your files, network and processes";

/// The reason of what did not end because of a signal.
const INTERRUPTED: &str = "interrupted";
/// How many runs are read at a time when one is looked for.
const LOOKED_AT_ONCE: u32 = 200;

/// Arguments of `sandgate run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Test this commit, branch or tag instead of the working tree
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Only this gate and what it needs; may be given several times
    #[arg(long = "gate", value_name = "NAME")]
    gates: Vec<String>,
    /// The branch or commit that the change would be merged into; decides `when.base` and `when.paths`
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// How many gates run at a time at most; the default is four for each processor, as cpu and memory allow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// The least isolation that is good enough; the best that this machine can hold is taken
    #[arg(long, value_name = "LEVEL", value_enum, default_value = "namespaces")]
    isolation: Least,
}

/// What `--isolation` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Least {
    /// All seven namespaces, or no run
    Namespaces,
    /// Plain processes of yours where namespaces can't be had: they reach all that you do
    Process,
}

impl Least {
    fn level(self) -> IsolationLevel {
        match self {
            Self::Namespaces => IsolationLevel::Namespaces,
            Self::Process => IsolationLevel::Process,
        }
    }
}

/// What is tested.
struct Subject {
    repository: Repository,
    tree: Tree,
    key: String,
}

/// Runs the gates and prints how they ended.
pub async fn run(context: &Context, command: Run) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals()?;
    leave_at_second_signal(&shutdown);
    let subject = subject(context, &command)?;
    let configured = configuration::read(context, &subject.repository, &subject.tree)?;
    let base = command.base.as_deref().map(|base| subject.repository.resolve(base)).transpose()?;
    let branch = subject.repository.branch()?.filter(|_| command.reference.is_none());
    let changed_paths = match &base {
        Some(base) => Some(changed_paths(&subject, base)?),
        None => None,
    };
    let plan = plan(
        &configured.config,
        &PlanInput {
            only: gate_names(&command.gates)?,
            base_branch: command.base.clone(),
            changed_paths,
        },
    )
    .map_err(|error| Failure::from_error(error.code(), &error))?;

    // A server works on every step of its folder, so it would take those of this run.
    let _hold = Hold::shared(&context.data_dir()?)?;
    let records = Records::open(context).await?;
    let machine = Machine::open_at(context, &records, command.isolation.level()).await?;
    require_isolation(&machine)
        .map_err(|refusal| refusal.help(format!("{GET_NAMESPACES}; {CONSENT}")))?;
    let slots = slots(&machine.node, command.jobs)?;
    let unsupported = [configured.unsupported, entries(&subject.tree)].concat();
    for key in &unsupported {
        eprintln!("warning: {}:{}: `{}` {}", key.file, key.line, key.key, key.instead);
    }
    let is_isolated = machine.node.level() == IsolationLevel::Namespaces;
    let is_told = matches!(context.global.progress.decide(), Form::Tty | Form::Plain);
    if is_isolated && is_told && !context.global.quiet {
        eprintln!("{}", sandboxes(&machine.node).await?);
    }
    let new = NewRun {
        repository: subject.key.clone(),
        repository_key: subject.key.clone(),
        head_sha: subject.tree.commit().as_str().to_owned(),
        base_sha: base.as_ref().map(|sha| sha.as_str().to_owned()),
        branch: branch.clone(),
        dirty: subject.tree.dirty(),
        tier: TrustTier::Member,
        plan: plan.clone(),
        unsupported,
        source: None,
        is_whole: command.gates.is_empty(),
        pull_request: None,
        revision: 0,
        request_key: Some(machine.owner.clone()),
    };
    let branch = branch.and_then(|name| name.parse::<BranchName>().ok());
    let checkout = Checkout { repository: subject.repository, tree: subject.tree, base, branch };
    let work = Work { context, records: &records, machine: &machine };
    let limits = Limits { slots, ..Limits::default() };
    let run = work.drive(new, checkout, &plan, limits, &shutdown).await?;
    work.tidy().await;
    finish(context, &records, run, shutdown.soft.is_cancelled()).await
}

/// A second signal ends this process wherever it is. The kernel ends what runs in its sandboxes, and the next start removes
/// the rest and ends the run.
fn leave_at_second_signal(shutdown: &Shutdown) {
    let hard = shutdown.hard.clone();
    tokio::spawn(async move {
        hard.cancelled().await;
        // Nobody may read it any more.
        let _told =
            writeln!(std::io::stderr(), "left at once; the next start of sandgate tidies up");
        std::process::exit(Exit::Interrupted as i32);
    });
}

fn subject(context: &Context, command: &Run) -> Result<Subject, Failure> {
    let git = GitProgram::find(&context.environment.path())?;
    let repository = Repository::open(&git, &std::env::current_dir()?)?;
    let tree = match &command.reference {
        Some(reference) => {
            let sha = repository.resolve(reference)?;
            repository.commit_tree(&sha)?
        }
        None => repository.working_tree(context.ignore_file().as_deref())?,
    };
    let key = repository.key();
    Ok(Subject { repository, tree, key })
}

fn changed_paths(subject: &Subject, base: &sandgate_node::Sha) -> Result<Vec<String>, Failure> {
    let merge_base = subject.repository.merge_base(base, subject.tree.commit())?;
    let base = subject.repository.commit_tree(merge_base.as_ref().unwrap_or(base))?;
    let changed = subject.tree.changed_since(&base);
    Ok(changed.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

fn gate_names(names: &[String]) -> Result<Vec<sandgate_engine::GateName>, Failure> {
    let parse = |name: &String| {
        name.parse::<sandgate_engine::GateName>()
            .map_err(|error| Failure::from_error(ErrorCode::InvalidArgument, &error))
    };
    names.iter().map(parse).collect()
}

/// Refuses to go on where sandboxes can't be isolated.
pub fn require_isolation(machine: &Machine) -> Result<(), Failure> {
    let report = machine.node.report();
    if report.usable() {
        return Ok(());
    }
    let missing = report.namespaces.iter().chain(&report.obstacle).filter(|found| !found.held);
    let lines: Vec<String> =
        missing.map(|found| format!("  {}: {}", found.name, found.reason)).collect();
    let message = format!("this machine can't hold an isolated sandbox:\n{}", lines.join("\n"));
    Err(Failure::new(ErrorCode::Unsupported, message).help(GET_NAMESPACES))
}

/// How many gates run at a time at most. Plain ones run one after the other, as all see their files at the same path.
fn slots(node: &Node, jobs: Option<u16>) -> Result<Option<u32>, Failure> {
    match (node.level(), jobs) {
        (IsolationLevel::Namespaces, jobs) => Ok(jobs.map(u32::from)),
        (IsolationLevel::Process, None | Some(1)) => {
            node.reserve()?;
            eprintln!("warning: isolation: {}", text::PROCESS_LEVEL);
            Ok(Some(1))
        }
        (IsolationLevel::Process, Some(_)) => {
            let message = "at the process level gates run one after the other, at the same path";
            Err(Failure::new(ErrorCode::Unsupported, message).help("leave --jobs out"))
        }
    }
}

/// How gates are isolated, and what they see of homes.
async fn sandboxes(node: &Node) -> Result<String, Failure> {
    let level = node.report().summary().level.as_str();
    let base = node.base().await?;
    let exposed: BTreeSet<&str> =
        base.exposed.iter().map(|exposed| exposed.what.as_str()).collect();
    if exposed.is_empty() {
        return Ok(format!("isolation: {level}; nothing of a home is visible"));
    }
    let exposed: Vec<&str> = exposed.into_iter().collect();
    Ok(format!("isolation: {level}; visible of homes, read-only: {}", exposed.join(", ")))
}

/// What a source holds that we do not fetch, as the run reports it.
fn entries(tree: &Tree) -> Vec<UnsupportedKey> {
    tree.unsupported()
        .iter()
        .map(|entry| UnsupportedKey {
            key: entry.kind().to_owned(),
            file: entry.path().to_owned(),
            line: 1,
            column: 1,
            instead: entry.instead().to_owned(),
        })
        .collect()
}

/// The parts that a run goes through.
struct Work<'a> {
    context: &'a Context,
    records: &'a Records,
    machine: &'a Machine,
}

impl Work<'_> {
    async fn drive(
        &self,
        new: NewRun,
        checkout: Checkout,
        plan: &Plan,
        limits: Limits,
        shutdown: &Shutdown,
    ) -> Result<RunId, Failure> {
        let agent = &self.machine.agent;
        let runner = self.machine.runner(self.context);
        let run = agent.create_run(new).await?;
        let (_, steps) = agent.run(run).await?;
        let names = steps.into_iter().map(|step| step.name).collect();
        let following = tokio::spawn(progress::follow(self.style(), names, agent.watch(run)));
        let name = run.to_string();
        self.machine.node.hold(&name, checkout);
        let origin = Origin::Held(name);
        let preparing = tokio::select! {
            prepared = runner.prepare(run, origin, plan, TrustTier::Member) => Some(prepared),
            () = shutdown.soft.cancelled() => None,
        };
        match preparing {
            Some(Ok(_prepared)) => {}
            Some(Err(error)) => {
                following.abort();
                agent.abandon(run, GateResult::Error, &error.chain()).await?;
                return Err(error.into());
            }
            None => {
                following.abort();
                agent.abandon(run, GateResult::Cancellation, INTERRUPTED).await?;
                return Ok(run);
            }
        }
        let stop = CancellationToken::new();
        let mut serving = {
            let (runner, stop) = (runner.clone(), stop.clone());
            tokio::spawn(async move { runner.serve(limits, Some(run), stop).await })
        };
        agent.begin(run, &self.machine.node.report().summary()).await?;
        let verdict = agent.verdict(run);
        tokio::pin!(verdict);
        tokio::select! {
            result = &mut verdict => drop(result?),
            served = &mut serving => return Err(not_served(served)),
            () = shutdown.soft.cancelled() => {
                agent.cancel(run, INTERRUPTED).await?;
                tokio::select! {
                    result = &mut verdict => drop(result?),
                    served = &mut serving => return Err(not_served(served)),
                }
            }
        }
        stop.cancel();
        let _finished = tokio::join!(serving, following);
        Ok(run)
    }

    fn style(&self) -> Style {
        let form = if self.context.global.quiet {
            Form::None
        } else {
            self.context.global.progress.decide()
        };
        let heading = match self.machine.node.level() {
            IsolationLevel::Namespaces => None,
            IsolationLevel::Process => Some(text::PROCESS_LEVEL),
        };
        let output = self.context.global.verbose > 0;
        Style { form, colour: self.context.colour, output, heading }
    }

    /// Removes what nobody needs any more. A fault here is said, and does not change the verdict.
    async fn tidy(&self) {
        let node = &self.machine.node;
        let snapshots = &self.records.snapshots;
        if let Err(error) = super::snapshot::collect(snapshots, node, KEEP_APPROVED).await {
            eprintln!("warning: old snapshots could not be removed: {}", error.message);
        }
        if let Err(error) = self.records.drop_old_events(&*self.context.clock).await {
            eprintln!("warning: old events could not be removed: {}", error.message);
        }
    }
}

/// Why a runner ended before its run had a verdict.
fn not_served(
    served: Result<Result<(), sandgate_gate_runner::Error>, tokio::task::JoinError>,
) -> Failure {
    match served {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) => Failure::new(ErrorCode::Internal, "the runner ended before the run did"),
        Err(panic) => Failure::from_error(ErrorCode::Internal, &panic),
    }
}

async fn finish(
    context: &Context,
    records: &Records,
    run: RunId,
    is_interrupted: bool,
) -> Result<Exit, Failure> {
    let row = get_run(context, records, run).await?;
    let steps = records.store.steps(&context.tenant).of_run(run).await?;
    let view = RunView::new(&row, &steps);
    match context.global.output {
        Format::Table => output::write(&summary::text(context, &view, &row))?,
        Format::Name => output::write(&format!("{run}\n"))?,
        Format::Json | Format::Jsonl | Format::Yaml => {
            output::document(context.global.output, &view)?;
        }
    }
    if is_interrupted {
        return Ok(Exit::Interrupted);
    }
    Ok(view.result.map_or(Exit::Failed, Exit::from))
}

/// The run with this id or with an id that starts so, or the latest of the current repository.
pub async fn find_run(
    context: &Context,
    records: &Records,
    id: Option<&IdStart>,
) -> Result<RunRow, Failure> {
    let runs = records.store.runs(&context.tenant);
    if let Some(start) = id {
        if let Some(id) = start.whole() {
            return get_run(context, records, id).await;
        }
        let mut fitting = Vec::new();
        let mut page = PageRequest::first(LOOKED_AT_ONCE);
        loop {
            let Page { items, next } = runs.list(&RunFilter::default(), &page).await?;
            fitting.extend(items.into_iter().filter(|run| start.fits(&run.id.to_string())));
            if next.is_none() {
                return start.only(fitting, |run| run.id.to_string());
            }
            page.after = next;
        }
    }
    let git = GitProgram::find(&context.environment.path())?;
    let repository = Repository::open(&git, &std::env::current_dir()?)?;
    runs.latest(&repository.key()).await?.ok_or_else(|| {
        Failure::new(ErrorCode::NotFound, "this repository has no run yet")
            .help("start one with `sandgate run`, or name one with --run")
    })
}

/// The run with this id.
async fn get_run(context: &Context, records: &Records, id: RunId) -> Result<RunRow, Failure> {
    records.store.runs(&context.tenant).get(id).await?.ok_or_else(|| {
        let folder = records.folder.display();
        Failure::new(ErrorCode::NotFound, format!("there is no {id} in `{folder}`"))
    })
}
