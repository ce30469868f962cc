//! The metrics of the front doors, beside those of the services of the same process.

use std::sync::Mutex;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: &'static str,
    /// The route as in the table, never the path of a caller.
    pub route: String,
    pub status: u16,
}

/// One route, for durations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub route: String,
}

/// What became of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WebhookLabels {
    pub outcome: &'static str,
}

/// All metrics of the front doors.
pub struct Metrics {
    registry: Mutex<Registry>,
    pub requests: Family<RequestLabels, Counter>,
    pub durations: Family<RouteLabels, Histogram>,
    pub webhooks: Family<WebhookLabels, Counter>,
    pub streams: Gauge,
}

impl Metrics {
    /// Our metrics, registered beside the given ones.
    pub fn new(mut registry: Registry) -> Self {
        let requests = Family::default();
        let durations = Family::new_with_constructor(make_histogram as fn() -> Histogram);
        let webhooks = Family::default();
        let streams = Gauge::default();
        let own = registry.sub_registry_with_prefix("sandgate_api");
        own.register("requests", "Requests that were answered", requests.clone());
        own.register_with_unit(
            "request_duration",
            "Time until the head of the answer",
            Unit::Seconds,
            durations.clone(),
        );
        own.register("webhooks", "Webhooks by what became of them", webhooks.clone());
        own.register("open_streams", "Event streams that are open", streams.clone());
        let durations = Family::clone(&durations);
        Self { registry: Mutex::new(registry), requests, durations, webhooks, streams }
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// If a metric can't be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn make_histogram() -> Histogram {
    Histogram::new(BUCKETS)
}
