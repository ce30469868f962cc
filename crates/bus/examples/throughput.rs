//! Prints what the embedded bus takes in this folder: `throughput <folder>`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sandgate_bus::{Bus, EmbeddedBus, Message, Subscription};
use sandgate_domain::TenantId;
use sandgate_store::Store;
use sandgate_testkit::MockClock;

const MESSAGES: u32 = 4000;
const AT_ONCE: u32 = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = tempfile::tempdir_in(Path::new(&parent))?;
    let clock = MockClock::default();
    let store = Store::open(&folder.path().join("state.db"), &clock).await?;
    let bus = EmbeddedBus::start(&store, Arc::new(clock));
    bus.subscribe(&Subscription {
        name: "bench".to_owned(),
        filters: vec!["a.>".to_owned()],
        lease: Duration::from_secs(30),
        max_deliveries: 3,
    })
    .await?;

    let start = Instant::now();
    for number in 0..MESSAGES / 4 {
        bus.publish(&message(number)).await?;
    }
    report("publish, one at a time", MESSAGES / 4, start);

    let messages: Vec<Message> = (MESSAGES..MESSAGES * 2).map(message).collect();
    let start = Instant::now();
    for chunk in messages.chunks(AT_ONCE as usize) {
        try_join_all(chunk.iter().map(|message| bus.publish(message))).await?;
    }
    report("publish, 200 at once", MESSAGES, start);

    let start = Instant::now();
    let mut done = 0;
    loop {
        let deliveries = bus.fetch("bench", AT_ONCE, Duration::ZERO).await?;
        if deliveries.is_empty() {
            break;
        }
        done += deliveries.len() as u32;
        try_join_all(deliveries.iter().map(|delivery| bus.ack(delivery))).await?;
    }
    report("fetch and ack, 200 at once", done, start);
    Ok(())
}

fn message(number: u32) -> Message {
    Message {
        tenant: TenantId::default(),
        subject: "a.b".to_owned(),
        id: format!("m-{number}"),
        headers: BTreeMap::new(),
        body: "x".repeat(512),
    }
}

fn report(name: &str, count: u32, start: Instant) {
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{name:<28} {rate:>8.0}/s (512 B, WAL, synchronous FULL)");
}
