//! What a process says of itself among the metrics of its services.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sandgate_domain::Timestamp;

/// The registry of a process that started then: its memory, open files and start; services add theirs.
pub fn process_registry(started: Timestamp) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process { started }));
    registry
}

#[derive(Debug)]
struct Process {
    started: Timestamp,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        #[expect(clippy::cast_precision_loss, reason = "microseconds fit for 285 years")]
        let started = self.started.as_micros() as f64 / 1e6;
        gauge("process_start_time_seconds", "When the process started", started)?;
        if let Some(bytes) = resident_bytes() {
            gauge("process_resident_memory_bytes", "Memory of the process", bytes)?;
        }
        if let Some(files) = open_files() {
            gauge("process_open_fds", "Open file descriptors of the process", files)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u32 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(f64::from(kibibytes) * 1024.0)
}

fn open_files() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // Reading the folder opens one more.
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn the_process_and_its_services_are_rendered() {
        let mut registry = process_registry(Timestamp::from_micros(1_500_000));
        let counter: Counter = Counter::default();
        registry.register("sandgate_test_things", "Things", counter.clone());
        counter.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("\nprocess_start_time_seconds 1.5\n"), "{text}");
        assert!(text.contains("\nsandgate_test_things_total 1\n"), "{text}");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap().parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0, "{text}");
        assert!(value("process_open_fds") >= 3.0, "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
