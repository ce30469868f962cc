//! Prints how many durable commits a second the database of this folder takes: `commits <folder>`.

use std::path::Path;
use std::time::{Duration, Instant};

use sandgate_domain::{
    Clock, Completion, GateResult, Run, RunId, RunState, Step, StepId, StepKind, StepState,
    TenantId, Timestamp,
};
use sandgate_store::Store;
use sandgate_testkit::{CountingIds, MockClock};

const STEPS: usize = 2000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = tempfile::tempdir_in(Path::new(&parent))?;
    let path = folder.path().join("state.db");
    let clock = MockClock::default();
    let first_open = Instant::now();
    let store = Store::open(&path, &clock).await?;
    println!("open, new file        {:>9.2?}", first_open.elapsed());
    let second_open = Instant::now();
    Store::open(&path, &clock).await?;
    println!("open, existing file   {:>9.2?}", second_open.elapsed());

    let tenant = TenantId::default();
    let (run, steps) = plan(&tenant, clock.now());
    let create = Instant::now();
    store.runs(&tenant).create(&run, &steps).await?;
    println!("{STEPS} steps in one commit {:>9.2?}", create.elapsed());

    let (mut claims, mut completions) = (Vec::new(), Vec::new());
    let repository = store.steps(&tenant);
    for step in &steps {
        let start = Instant::now();
        let lease = Duration::from_secs(30);
        let claim = repository.claim(step.id, "bench", clock.now(), lease).await?;
        claims.push(start.elapsed());
        let claim = claim.ok_or("somebody else has the step")?;
        let start = Instant::now();
        let success = Completion::of(GateResult::Success);
        repository.complete(step.id, claim.fence, &success, clock.now()).await?;
        completions.push(start.elapsed());
    }
    report("claim", claims);
    report("complete", completions);
    Ok(())
}

fn plan(tenant: &TenantId, now: Timestamp) -> (Run, Vec<Step>) {
    let ids = CountingIds::default();
    let run = Run {
        id: RunId::new(&ids),
        tenant: tenant.clone(),
        repository: "bench".to_owned(),
        repository_key: "bench".to_owned(),
        head_sha: "0".repeat(40),
        base_sha: None,
        branch: None,
        dirty: false,
        plan: "{}".to_owned(),
        progress: "{}".to_owned(),
        pull_request: None,
        request_key: None,
        generation: 0,
        state: RunState::Queued,
        isolation: None,
        unsupported: Vec::new(),
        created_at: now,
        approved_snapshot: None,
    };
    let steps = (0..STEPS)
        .map(|number| Step {
            id: StepId::new(&ids),
            tenant: tenant.clone(),
            run: run.id,
            name: format!("gate-{number}"),
            kind: StepKind::Gate,
            blocking: true,
            state: StepState::Ready,
            attempts: 0,
            infra_retries: 0,
            fence: 0,
            queued_at: now,
        })
        .collect();
    (run, steps)
}

fn report(name: &str, mut times: Vec<Duration>) {
    let total: Duration = times.iter().sum();
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "{name:<10} {:>7.0} commits/s, p50 {:.3?}, p99 {:.3?} (WAL, synchronous FULL, one at a time)",
        times.len() as f64 / total.as_secs_f64(),
        at(50),
        at(99),
    );
}
