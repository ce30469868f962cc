//! Create, `/bin/true`, destroy: in process, all namespaces, three layers; in turns with bubblewrap, then Docker.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::bail;
use sandgate_sandbox::{Command, Output, Sandbox, Spec, Stdin};

use crate::peers::{Bubblewrap, Docker};
use crate::samples::Samples;
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 300;
const WARM_UP: usize = 10;
const DOCKER_COUNT: usize = 25;
const LAYERS: usize = 3;

/// The moments of a life, since its beginning.
pub struct Life {
    /// The sandbox is there.
    pub created: Duration,
    /// The program runs.
    pub first_instruction: Duration,
    /// Everything is gone.
    pub total: Duration,
}

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let folder = stand.folder("life")?;
    let bubblewrap = Bubblewrap::find();
    let (mut lives, mut peer_times) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + COUNT {
        let spec = stand.spec(&folder, &format!("life-{number}"), LAYERS)?;
        let life = stand.runtime.block_on(live(stand, spec))?;
        let peer_time = match &bubblewrap {
            Ok(bubblewrap) => Some(timed(|| bubblewrap.live())?),
            Err(_) => None,
        };
        if number >= WARM_UP {
            lives.push(life);
            peer_times.extend(peer_time);
        }
    }
    let times = |part: fn(&Life) -> Duration| Samples::new(lives.iter().map(part).collect());
    let peer = match bubblewrap {
        Ok(_) => Peer::Measured { name: "bwrap", p50: Samples::new(peer_times).percentile(50) },
        Err(why) => Peer::Missing { why },
    };
    let alone = || Peer::Missing { why: "only a part of a life".to_owned() };
    Ok(vec![
        Row {
            figure: "sandbox life: create, `/bin/true`, destroy; 3 layers".to_owned(),
            value: Value::Times(times(|life| life.total)),
            peer,
            goal: Goal::Ratio { at_most: 3.0 },
        },
        Row {
            figure: "sandbox life, against docker".to_owned(),
            value: Value::Times(times(|life| life.total)),
            peer: docker()?,
            goal: Goal::Faster { at_least: 20.0 },
        },
        Row {
            figure: "sandbox life: create → ready".to_owned(),
            value: Value::Times(times(|life| life.created)),
            peer: alone(),
            goal: Goal::P50 { milliseconds: 10.0 },
        },
        Row {
            figure: "sandbox life: create → first instruction".to_owned(),
            value: Value::Times(times(|life| life.first_instruction)),
            peer: alone(),
            goal: Goal::P50 { milliseconds: 10.0 },
        },
    ])
}

/// One life.
pub async fn live(stand: &Stand<'_>, spec: Spec) -> anyhow::Result<Life> {
    let begin = Instant::now();
    let sandbox = stand.engine.create(spec).await?;
    let created = begin.elapsed();
    let first_instruction = run_true(&sandbox).await?.saturating_duration_since(begin);
    sandbox.destroy().await?;
    Ok(Life { created, first_instruction, total: begin.elapsed() })
}

/// Runs `/bin/true` and gives the moment it started.
async fn run_true(sandbox: &Sandbox) -> anyhow::Result<Instant> {
    let null = || File::options().write(true).open("/dev/null");
    let mut command = Command::new(["/bin/true"]);
    command.stdin = Stdin::Null;
    command.output = Output::Fds { stdout: null()?.into(), stderr: null()?.into() };
    let mut process = sandbox.exec(command).await?;
    let started = process.started();
    let status = process.wait().await;
    if !status.success() {
        bail!("/bin/true ended with {status:?}");
    }
    Ok(started)
}

fn docker() -> anyhow::Result<Peer> {
    let docker = match Docker::find() {
        Ok(docker) => docker,
        Err(why) => return Ok(Peer::Missing { why }),
    };
    let samples = Samples::of(DOCKER_COUNT, |_| docker.live())?;
    Ok(Peer::Measured { name: "docker run", p50: samples.percentile(50) })
}

fn timed(once: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    once()?;
    Ok(begin.elapsed())
}
