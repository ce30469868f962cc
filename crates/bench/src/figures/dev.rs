//! `sandgate dev`: how long until it is ready, and what it holds in memory when nothing happens.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::samples::Samples;
use crate::server::Server;
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 15;
const IDLE: Duration = Duration::from_secs(20);

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let folder = stand.folder("dev")?;
    let start = |name: &str| -> anyhow::Result<(Server, Duration)> {
        let begin = Instant::now();
        let server = Server::start(stand, &folder.join(name))?;
        server.wait_ready()?;
        Ok((server, begin.elapsed()))
    };
    let (mut new, mut existing) = (Vec::new(), Vec::new());
    for number in 0..COUNT {
        let name = format!("data-{number}");
        for times in [&mut new, &mut existing] {
            let (server, time) = start(&name)?;
            times.push(time);
            drop(server);
        }
    }
    let (server, _) = start("data-0")?;
    std::thread::sleep(IDLE);
    let resident = resident_bytes(server.pid())?;
    let row = |figure: &str, value, goal| Row {
        figure: figure.to_owned(),
        value,
        peer: Peer::Missing { why: "no other program does this".to_owned() },
        goal,
    };
    let ready = || Goal::P99 { milliseconds: 500.0 };
    Ok(vec![
        row("dev: exec → ready, new folder", Value::Times(Samples::new(new)), ready()),
        row("dev: exec → ready, existing folder", Value::Times(Samples::new(existing)), ready()),
        row(
            "dev: VmRSS after 20 s idle",
            Value::Bytes(resident),
            Goal::Megabytes { at_most: 80.0 },
        ),
    ])
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
