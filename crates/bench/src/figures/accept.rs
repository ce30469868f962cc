//! Webhooks in, 200 a second for a minute, whatever the answers take: a late answer delays no later request, and every time
//! counts from when its request was due.
//!
//! Each delivery tells that a pull request that was never seen was closed: it is verified, understood, folded into the state
//! of its pull request and stored, and nothing is run for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value as Json;

use crate::pulls::Sample;
use crate::samples::Samples;
use crate::server::{Connection, Server};
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const PERIOD: Duration = Duration::from_millis(5);
const COUNT: usize = 12_000;
const CONNECTIONS: usize = 32;

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let folder = stand.folder("accept")?;
    let sample = Sample::create(folder.join("repository"), 1)?;
    let server = Server::start(stand, &folder.join("data"))?;
    server.wait_ready()?;
    let mut connection = server.connect()?;
    sample.add_to(&mut connection)?;
    let times = post_all(&server, &sample)?;
    // The first connection was idle for a minute, and may be closed.
    let stored = count_stored(&mut server.connect()?)?;
    if stored != COUNT {
        bail!("{COUNT} deliveries were answered with 202, and {stored} are stored");
    }
    Ok(vec![Row {
        figure: "webhook accept, 200 a second for 60 s, 0 lost".to_owned(),
        value: Value::Times(Samples::new(times)),
        peer: Peer::Missing { why: "no other program does this".to_owned() },
        goal: Goal::P99 { milliseconds: 50.0 },
    }])
}

fn post_all(server: &Server, sample: &Sample) -> anyhow::Result<Vec<Duration>> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now() + Duration::from_millis(100);
    let work = || -> anyhow::Result<Vec<Duration>> {
        let mut connection = server.connect()?;
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= COUNT {
                return Ok(times);
            }
            let body = sample.delivery(number, "closed");
            let due = begin + PERIOD * u32::try_from(number)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.deliver(&format!("accept-{number}"), &body)?;
            times.push(due.elapsed());
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        let mut times = Vec::with_capacity(COUNT);
        for worker in workers {
            match worker.join() {
                Ok(some) => times.extend(some?),
                Err(_) => bail!("a thread that posts panicked"),
            }
        }
        Ok(times)
    })
}

/// Every delivery that the server has, page by page.
fn count_stored(connection: &mut Connection) -> anyhow::Result<usize> {
    const PATH: &str = "/api/v1/deliveries?pageSize=200";
    let mut path = PATH.to_owned();
    let mut count = 0;
    loop {
        let page = connection.read(&path)?;
        count += page["items"].as_array().map_or(0, Vec::len);
        let Json::String(next) = &page["nextPageToken"] else { return Ok(count) };
        path = format!("{PATH}&pageToken={next}");
    }
}
