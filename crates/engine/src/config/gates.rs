//! Reads the sections of the file, from the top down.

use super::error::{Finding, Problem};
use super::reader::{Fields, Reader, Reference, join};
use super::sections::{INSTEAD_OF_HOSTS, INSTEAD_OF_IMAGE, Section};
use super::source::printable;
use super::tree::{Node, Value};
use super::{
    Cancel, Config, Debug, Defaults, Environment, FailFast, Gate, Image, Limits, MAX_GATES,
    Network, Reports, Retry, Setup, When, references, values,
};
use crate::name::GateName;

impl Reader<'_> {
    /// The whole file; nothing if something that everything hangs on is wrong.
    pub fn config(&mut self, root: &Node) -> Option<Config> {
        let fields = self.map(root, Section::Top, "")?;
        let version =
            self.required(&fields, "version", "begin the file with `version: 1`", Self::version);
        let environment = self.value(&fields, "environment", Self::environment).unwrap_or_default();
        let defaults = self.value(&fields, "defaults", Self::defaults).unwrap_or_default();
        let gates = self.gates(&fields);
        let fail_fast = self.value(&fields, "fail_fast", Self::fail_fast).unwrap_or_default();
        let approve_from = fields
            .entry("approve_from")
            .filter(|entry| !entry.value.is_null())
            .and_then(|entry| self.reference(&entry.value, "approve_from", None, "approve_from"));
        let cancel = self.value(&fields, "cancel", Self::cancel).unwrap_or_default();
        let gates = gates?;
        for finding in references::check(&gates, &self.references) {
            self.report(finding);
        }
        let version = version?;
        Some(Config { version, environment, defaults, gates, fail_fast, approve_from, cancel })
    }

    fn version(&mut self, node: &Node, label: &str) -> Option<u32> {
        match self.text(node, label, "the number 1")? {
            "1" => Some(1),
            other => {
                let message =
                    format!("version `{}` of the format is not known", printable(other, 20));
                let finding = Finding::new(Problem::Version, node.position, message);
                self.report(finding.help("write `version: 1`"));
                None
            }
        }
    }

    fn environment(&mut self, node: &Node, label: &str) -> Option<Environment> {
        let fields = self.map(node, Section::Environment, label)?;
        Some(Environment {
            image: self.value(&fields, "image", Self::image).unwrap_or_default(),
            setup: self.value(&fields, "setup", Self::setup),
            env: self.value(&fields, "env", Self::variables).unwrap_or_default(),
        })
    }

    fn image(&mut self, node: &Node, label: &str) -> Option<Image> {
        match &node.value {
            Value::Scalar { text, .. } if text == "host" => Some(Image::Host),
            Value::Scalar { .. } | Value::Map(_) => {
                self.unsupported(label, node.position, INSTEAD_OF_IMAGE, true);
                None
            }
            Value::List(_) => {
                self.wrong_type(node, label, "`host`, an image or a map");
                None
            }
        }
    }

    fn setup(&mut self, node: &Node, label: &str) -> Option<Setup> {
        let fields = self.map(node, Section::Setup, label)?;
        let help = "write `run: [npm ci]`, or remove `setup`";
        let run = self.required(&fields, "run", help, Self::scripts);
        let inputs = self.value(&fields, "inputs", Self::path_globs).unwrap_or_default();
        let placeholders =
            self.value(&fields, "placeholders", Self::path_globs).unwrap_or_default();
        let network = self.value(&fields, "network", Self::network);
        Some(Setup { run: run?, inputs, placeholders, network })
    }

    fn network(&mut self, node: &Node, label: &str) -> Option<Network> {
        if matches!(&node.value, Value::List(_)) {
            if !node.asks_nothing() {
                self.unsupported(label, node.position, INSTEAD_OF_HOSTS, true);
            }
            return Some(Network::None);
        }
        match self.word(node, label, &["none", "full"])? {
            "full" => Some(Network::Full),
            _ => Some(Network::None),
        }
    }

    fn defaults(&mut self, node: &Node, label: &str) -> Option<Defaults> {
        let fields = self.map(node, Section::Defaults, label)?;
        Some(Defaults {
            timeout: self.value(&fields, "timeout", Self::timeout),
            network: self.value(&fields, "network", Self::network),
            retry: self.value(&fields, "retry", Self::retry).unwrap_or_default(),
            resources: self.value(&fields, "resources", Self::limits).unwrap_or_default(),
        })
    }

    fn timeout(&mut self, node: &Node, label: &str) -> Option<std::time::Duration> {
        self.duration(node, label, values::MAX_TIMEOUT)
    }

    fn retry(&mut self, node: &Node, label: &str) -> Option<Retry> {
        let fields = self.map(node, Section::Retry, label)?;
        let mut times =
            |key| self.value(&fields, key, |reader, node, label| reader.number(node, label, 0, 10));
        Some(Retry { infra: times("infra"), gate: times("gate") })
    }

    fn limits(&mut self, node: &Node, label: &str) -> Option<Limits> {
        let fields = self.map(node, Section::Resources, label)?;
        Some(Limits {
            cpu_millis: self.value(&fields, "cpu", Self::cpu_millis),
            memory_bytes: self.value(&fields, "memory", Self::size),
            disk_bytes: self.value(&fields, "disk", Self::size),
            pids: self.value(&fields, "pids", |reader, node, label| {
                reader.number(node, label, 1, 4_194_304)
            }),
        })
    }

    fn fail_fast(&mut self, node: &Node, label: &str) -> Option<FailFast> {
        match self.word(node, label, &["off", "blocking", "any"])? {
            "off" => Some(FailFast::Off),
            "any" => Some(FailFast::Any),
            _ => Some(FailFast::Blocking),
        }
    }

    fn cancel(&mut self, node: &Node, label: &str) -> Option<Cancel> {
        let fields = self.map(node, Section::Cancel, label)?;
        Some(Cancel { on_push: self.value(&fields, "on_push", Self::boolean).unwrap_or(true) })
    }

    fn gates(&mut self, top: &Fields<'_>) -> Option<Vec<Gate>> {
        let no_gates = |position, message: &str| {
            Finding::new(Problem::NoGates, position, message)
                .help("a run without gates proves nothing; `sandgate init` proposes some")
        };
        let Some(entry) = top.entry("gates") else {
            self.report(no_gates(top.position, "the file has no `gates`"));
            return None;
        };
        if entry.value.asks_nothing() {
            self.report(no_gates(entry.key_position, "`gates` is empty"));
            return None;
        }
        let Value::Map(entries) = &entry.value.value else {
            self.wrong_type(&entry.value, "gates", "a map of names to gates");
            return None;
        };
        if entries.len() > MAX_GATES {
            let message = format!("{} gates; at most {MAX_GATES} are allowed", entries.len());
            self.report(Finding::new(Problem::TooManyGates, entry.key_position, message));
            return None;
        }
        let mut gates = Vec::with_capacity(entries.len());
        for gate in entries {
            match gate.key.parse::<GateName>() {
                Ok(name) => gates.push(self.gate(&gate.value, name)),
                Err(error) => {
                    gates.push(None);
                    let message = error.to_string();
                    let finding = Finding::new(Problem::GateName, gate.key_position, message);
                    self.report(finding.help("the name becomes the name of a check"));
                }
            }
        }
        gates.into_iter().collect()
    }

    fn gate(&mut self, node: &Node, name: GateName) -> Option<Gate> {
        let label = join("gates", name.as_str());
        let fields = self.map(node, Section::Gate, &label)?;
        let run = self.required(&fields, "run", "write `run:` and a command", Self::scripts);
        let needs = self.value(&fields, "needs", |reader, node, label| {
            reader.list(node, label, |reader, item, label| {
                reader.reference(item, label, Some(&name), "needs")
            })
        });
        let from = self.value(&fields, "from", |reader, node, label| {
            reader.reference(node, label, Some(&name), "from")
        });
        Some(Gate {
            dir: self.value(&fields, "dir", Self::path),
            needs: needs.unwrap_or_default(),
            from,
            when: self.value(&fields, "when", Self::when).unwrap_or_default(),
            timeout: self.value(&fields, "timeout", Self::timeout),
            blocking: self.value(&fields, "blocking", Self::boolean).unwrap_or(true),
            network: self.value(&fields, "network", Self::network),
            reports: self.value(&fields, "reports", Self::reports).unwrap_or_default(),
            debug: self.value(&fields, "debug", Self::debug).unwrap_or_default(),
            resources: self.value(&fields, "resources", Self::limits).unwrap_or_default(),
            env: self.value(&fields, "env", Self::variables).unwrap_or_default(),
            retry: self.value(&fields, "retry", Self::retry).unwrap_or_default(),
            name,
            run: run.unwrap_or_default(),
        })
    }

    fn when(&mut self, node: &Node, label: &str) -> Option<When> {
        let fields = self.map(node, Section::When, label)?;
        let base = self.value(&fields, "base", |reader, node, label| {
            let globs = reader.branch_globs(node, label);
            reader.some(node, label, globs)
        });
        let paths = self.value(&fields, "paths", |reader, node, label| {
            let globs = reader.path_globs(node, label);
            reader.some(node, label, globs)
        });
        let paths_ignore = self.value(&fields, "paths_ignore", Self::path_globs);
        Some(When {
            base: base.unwrap_or_default(),
            paths: paths.unwrap_or_default(),
            paths_ignore: paths_ignore.unwrap_or_default(),
        })
    }

    fn reports(&mut self, node: &Node, label: &str) -> Option<Reports> {
        let fields = self.map(node, Section::Reports, label)?;
        Some(Reports { junit: self.value(&fields, "junit", Self::path_globs).unwrap_or_default() })
    }

    fn debug(&mut self, node: &Node, label: &str) -> Option<Debug> {
        let fields = self.map(node, Section::Debug, label)?;
        let keep = self.value(&fields, "keep", |reader, node, label| {
            reader.duration(node, label, values::MAX_KEEP)
        });
        Some(Debug { keep })
    }

    /// The name of another gate; whether it exists is checked when all gates are known.
    fn reference(
        &mut self,
        node: &Node,
        label: &str,
        gate: Option<&GateName>,
        key: &'static str,
    ) -> Option<GateName> {
        let text = self.text(node, label, "the name of a gate")?;
        self.references.push(Reference {
            gate: gate.cloned(),
            key,
            target: text.to_owned(),
            position: node.position,
        });
        text.parse().ok()
    }
}
