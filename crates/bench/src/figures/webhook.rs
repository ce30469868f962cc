//! From the answer to a webhook to the first instruction of its gate, one at a time.
//!
//! Each delivery opens another pull request. Its head lies in the mirror as the tip of its branch; the base went on since, so
//! each merge is made for the first time. The layer of the setup is there. Nothing is asked of a forge. The gate says when it
//! begins by the clock of the machine. The client takes the time of the 202 when it has read it, a little after the server
//! wrote it; so the time from the sending of the delivery is given as well.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value as Json;

use crate::pulls::{NAME, Sample};
use crate::samples::Samples;
use crate::server::{Connection, Posted, Server};
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 200;
const WARM_UP: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing is asked of the server, so that asking does not slow down what is measured.
const QUIET: Duration = Duration::from_millis(150);
const LOOK: Duration = Duration::from_millis(20);
const BLOCK: [u8; 4096] = [7; 4096];

/// What is measured of one delivery, in nanoseconds since 1970.
struct Times {
    posted: Posted,
    run_written: u128,
    setup_ended: u128,
    gate: u128,
}

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let folder = stand.folder("webhook")?;
    let sample = Sample::create(folder.join("repository"), WARM_UP + COUNT)?;
    let server = Server::start(stand, &folder.join("data"))?;
    server.wait_ready()?;
    let mut connection = server.connect()?;
    sample.add_to(&mut connection)?;
    let disk = disk_p50(&folder.join("disk"))?;
    let mut all = Vec::new();
    for number in 0..WARM_UP + COUNT {
        let times = once(&mut connection, &sample, number)?;
        if number >= WARM_UP {
            all.push(times);
        }
        std::thread::sleep(QUIET);
    }
    let row = |figure: &str, from: fn(&Times) -> u128, to: fn(&Times) -> u128, goal| {
        let time = |times| {
            let nanoseconds = to(times).saturating_sub(from(times));
            Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
        };
        Row {
            figure: figure.to_owned(),
            value: Value::Times(Samples::new(all.iter().map(time).collect())),
            peer: Peer::Measured { name: "4 KiB + fdatasync", p50: disk },
            goal,
        }
    };
    let goal = Goal::P50AndP99 { p50: 20.0, p99: 100.0 };
    Ok(vec![
        row("webhook → gate start, from the 202", |t| t.posted.answered, |t| t.gate, goal),
        row("– from the sending of the delivery", |t| t.posted.sent, |t| t.gate, Goal::None),
        row("– part: 202 → run planned", |t| t.posted.answered, |t| t.run_written, Goal::None),
        row("– part: run planned → setup found", |t| t.run_written, |t| t.setup_ended, Goal::None),
        row("– part: setup found → gate", |t| t.setup_ended, |t| t.gate, Goal::None),
    ])
}

fn once(connection: &mut Connection, sample: &Sample, number: usize) -> anyhow::Result<Times> {
    let body = sample.delivery(number, "opened");
    let posted = connection.deliver(&format!("webhook-{number}"), &body)?;
    std::thread::sleep(QUIET);
    let name = NAME.replace('/', "%2F");
    let path = format!("/api/v1/runs?repo={name}&sha={}", sample.head(number));
    let end = Instant::now() + PATIENCE;
    let run = loop {
        let page = connection.read(&path)?;
        match page["items"].get(0).filter(|run| run["result"].is_string()) {
            Some(run) => break run.clone(),
            None if Instant::now() > end => bail!("no verdict of {}: {page}", sample.head(number)),
            None => std::thread::sleep(LOOK),
        }
    };
    if run["result"] != "success" {
        bail!("a run failed: {run}");
    }
    let gate = run["gates"][0]["id"].as_str().context("the gate has no id")?;
    let (_, log) = connection.get(&format!("/api/v1/gates/{gate}/log"))?;
    Ok(Times {
        posted,
        run_written: moment(&run["createdAt"])?,
        setup_ended: moment(&run["setups"][0]["endedAt"])?,
        gate: seconds(&log)?,
    })
}

/// What a gate has said: seconds since 1970, with a fraction.
fn seconds(log: &[u8]) -> anyhow::Result<u128> {
    let text = String::from_utf8_lossy(log);
    let (whole, fraction) = text.trim().split_once('.').with_context(|| format!("log: {text}"))?;
    let whole: u128 = whole.parse()?;
    Ok(whole * 1_000_000_000 + format!("{fraction:0<9}").parse::<u128>()?)
}

fn moment(text: &Json) -> anyhow::Result<u128> {
    let at: jiff::Timestamp = text.as_str().with_context(|| format!("no time: {text}"))?.parse()?;
    Ok(u128::try_from(at.as_nanosecond())?)
}

/// How long the disk takes for the least that a commit can be.
fn disk_p50(path: &Path) -> anyhow::Result<f64> {
    let file = File::create(path)?;
    let write = |number: usize| -> anyhow::Result<()> {
        file.write_all_at(&BLOCK, (number * BLOCK.len()) as u64)?;
        Ok(file.sync_data()?)
    };
    Ok(Samples::of(100, write)?.percentile(50))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_and_date_write_times_alike() {
        assert_eq!(seconds(b"1763700000.123456\n").unwrap(), 1_763_700_000_123_456_000);
        assert_eq!(seconds(b"1763700000.123456789\n").unwrap(), 1_763_700_000_123_456_789);
        assert!(seconds(b"").is_err());
    }
}
