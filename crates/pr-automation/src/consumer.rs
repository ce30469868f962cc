//! Consumes `run.*`: an event says that something is new; what it is, the service of runs is asked.
//!
//! So nothing has to be remembered of consumed events: one that comes twice, or late, shows what is so already.

use std::collections::BTreeMap;
use std::time::Duration;

use sandgate_bus::{Delivery, Subscription, subjects};
use sandgate_domain::{RunChanged, RunId};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::error::log_retry;
use crate::service::Core;

const SUBSCRIPTION: &str = "pr-automation.runs";
const LEASE: Duration = Duration::from_secs(60);
const MAX_DELIVERIES: u32 = 20;
const BATCH: u32 = 64;
const WAIT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(2);
/// News of a run that come within this time are shown at once; it leaves the disk to the run's start.
const SETTLE: Duration = Duration::from_millis(100);

/// Makes the subscription: events are kept for it from then on.
pub(crate) async fn subscribe(core: &Core) -> Result<(), Error> {
    let subscription = Subscription {
        name: SUBSCRIPTION.to_owned(),
        filters: vec![subjects::entity("run")],
        lease: LEASE,
        max_deliveries: MAX_DELIVERIES,
    };
    Ok(core.bus.subscribe(&subscription).await?)
}

/// Consumes until told to stop.
pub(crate) async fn run(core: &Core, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let fetched = tokio::select! {
            () = stop.cancelled() => return,
            fetched = fetch(core) => fetched,
        };
        let outcome = match fetched {
            Ok(deliveries) => consume(core, deliveries).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            log_retry("consume events of runs", &error);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

async fn fetch(core: &Core) -> Result<Vec<Delivery>, Error> {
    Ok(core.bus.fetch(SUBSCRIPTION, BATCH, WAIT).await?)
}

async fn consume(core: &Core, deliveries: Vec<Delivery>) -> Result<(), Error> {
    let mut by_run: BTreeMap<RunId, Vec<Delivery>> = BTreeMap::new();
    let mut is_final = false;
    for delivery in deliveries {
        match read(&delivery) {
            Ok(change) if change.pull_request.is_some() => {
                is_final |= change.result.is_some();
                by_run.entry(change.run).or_default().push(delivery);
            }
            Ok(_) => core.bus.ack(&delivery).await?,
            Err(reason) => core.bus.terminate(&delivery, &reason).await?,
        }
    }
    if !by_run.is_empty() && !is_final {
        tokio::time::sleep(SETTLE).await;
    }
    for (run, deliveries) in by_run {
        let outcome = show(core, run).await;
        sandgate_domain::fail_point::reached("run.shown");
        for delivery in &deliveries {
            match &outcome {
                Ok(()) => core.bus.ack(delivery).await?,
                Err(error) => core.bus.nak(delivery, RETRY, &error.to_string()).await?,
            }
        }
        if let Err(error) = outcome {
            log_retry("show a run", &error);
        }
    }
    Ok(())
}

fn read(delivery: &Delivery) -> Result<RunChanged, String> {
    let event = delivery.message.event().map_err(|error| error.to_string())?;
    serde_json::from_value(event.data)
        .map_err(|error| format!("the data of {}: {error}", event.kind))
}

async fn show(core: &Core, id: RunId) -> Result<(), Error> {
    match core.find_run(id).await? {
        Some(run) => core.show_run(&run).await,
        None => Ok(()),
    }
}
