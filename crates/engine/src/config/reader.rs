//! Walks the tree of a file and collects what is wrong, with helpers for every type of value.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{Finding, Problem};
use super::sections::{Section, UnsupportedKey};
use super::source::{Position, printable};
use super::tree::{Entry, Node, Value};
use super::values;
use crate::name::{GateName, nearest};

/// The most commands, globs or names in one list.
const MAX_ITEMS: usize = 64;
/// The longest command or value of a variable, in bytes; the kernel refuses arguments of 128 KiB.
const MAX_TEXT_BYTES: usize = 96 * 1024;

/// A mention of another gate, checked when all gates are known.
#[derive(Debug)]
pub(super) struct Reference {
    /// The gate that mentions; none for `approve_from`.
    pub gate: Option<GateName>,
    /// Under which key.
    pub key: &'static str,
    pub target: String,
    pub position: Position,
}

pub(super) struct Reader<'f> {
    file: &'f str,
    findings: Vec<Finding>,
    unsupported: Vec<UnsupportedKey>,
    pub references: Vec<Reference>,
}

/// The entries of one map, and what to call it in messages.
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
    pub label: String,
    pub position: Position,
}

impl<'n> Fields<'n> {
    pub fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl<'f> Reader<'f> {
    pub fn new(file: &'f str) -> Self {
        Self { file, findings: Vec::new(), unsupported: Vec::new(), references: Vec::new() }
    }

    pub fn finish(mut self) -> (Vec<Finding>, Vec<UnsupportedKey>) {
        self.unsupported.sort_by_key(|key| (key.line, key.column));
        (self.findings, self.unsupported)
    }

    pub fn report(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub fn unsupported(&mut self, key: &str, position: Position, instead: &str, fatal: bool) {
        self.unsupported.push(UnsupportedKey {
            key: printable(key, 200),
            file: self.file.to_owned(),
            line: position.line,
            column: position.column,
            instead: instead.to_owned(),
            fatal,
        });
    }

    /// The entries of a map, after all its keys were looked at.
    pub fn map<'n>(&mut self, node: &'n Node, section: Section, label: &str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, label, "a map");
            return None;
        };
        for entry in entries {
            let missing = section.missing().find(|missing| missing.key == entry.key);
            match missing {
                Some(missing) if section == Section::Top && missing.key == "mode" => {
                    self.mode(entry, missing.instead);
                }
                Some(missing) if !entry.value.asks_nothing() => {
                    let key = join(label, &entry.key);
                    self.unsupported(&key, entry.key_position, missing.instead, missing.fatal);
                }
                None if !section.keys().contains(&entry.key.as_str()) => {
                    self.unknown_key(entry, section, label);
                }
                _ => {}
            }
        }
        Some(Fields { entries, label: label.to_owned(), position: node.position })
    }

    fn mode(&mut self, entry: &Entry, instead: &str) {
        if let Some("shadow") = self.word(&entry.value, "mode", &["enforce", "shadow"]) {
            self.unsupported("mode", entry.key_position, instead, false);
        }
    }

    fn unknown_key(&mut self, entry: &Entry, section: Section, label: &str) {
        let place = if label.is_empty() { String::new() } else { format!(" in `{label}`") };
        let message = format!("unknown key `{}`{place}", printable(&entry.key, 80));
        let known: Vec<&str> = section
            .keys()
            .iter()
            .copied()
            .chain(section.missing().map(|missing| missing.key))
            .collect();
        let help = match nearest(&entry.key, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the keys here are {}", listed(&known)),
        };
        self.report(Finding::new(Problem::UnknownKey, entry.key_position, message).help(help));
    }

    /// The value under `key`, read by `read`; nothing if the key is absent or its value is bad (which is then reported).
    pub fn value<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        read: impl FnOnce(&mut Self, &'n Node, &str) -> Option<T>,
    ) -> Option<T> {
        let entry = fields.entry(key)?;
        let label = join(&fields.label, key);
        if entry.value.is_null() {
            let message = format!("`{label}` has no value");
            let finding = Finding::new(Problem::WrongType, entry.key_position, message);
            self.report(finding.help("give it one, or remove the key"));
            return None;
        }
        read(self, &entry.value, &label)
    }

    /// As [`Reader::value`], for a key that must be there.
    pub fn required<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        help: &str,
        read: impl FnOnce(&mut Self, &'n Node, &str) -> Option<T>,
    ) -> Option<T> {
        if fields.entry(key).is_none() {
            let place = if fields.label.is_empty() {
                "the file".to_owned()
            } else {
                format!("`{}`", fields.label)
            };
            let finding = Finding::new(
                Problem::MissingKey,
                fields.position,
                format!("{place} has no `{key}`"),
            );
            self.report(finding.help(help));
            return None;
        }
        self.value(fields, key, read)
    }

    pub fn wrong_type(&mut self, node: &Node, label: &str, wanted: &str) {
        let subject = if label.is_empty() { "the file".to_owned() } else { format!("`{label}`") };
        let message = format!("{subject} must be {wanted}, and is {}", node.kind());
        self.report(Finding::new(Problem::WrongType, node.position, message));
    }

    /// Any scalar, as it is written.
    pub fn text<'n>(&mut self, node: &'n Node, label: &str, wanted: &str) -> Option<&'n str> {
        let Some(text) = node.scalar() else {
            self.wrong_type(node, label, wanted);
            return None;
        };
        if text.len() > MAX_TEXT_BYTES {
            let message = format!("`{label}` is longer than {MAX_TEXT_BYTES} bytes");
            let finding = Finding::new(Problem::TooLong, node.position, message);
            self.report(finding.help("move it into a file of the repository"));
            return None;
        }
        Some(text)
    }

    pub fn boolean(&mut self, node: &Node, label: &str) -> Option<bool> {
        let value = node.plain().and_then(|text| text.parse().ok());
        if value.is_none() {
            self.wrong_type(node, label, "true or false");
        }
        value
    }

    pub fn number(&mut self, node: &Node, label: &str, min: u32, max: u32) -> Option<u32> {
        let wanted = format!("a whole number from {min} to {max}");
        let Some(text) = node.plain() else {
            self.wrong_type(node, label, &wanted);
            return None;
        };
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let message = format!("`{label}` must be {wanted}, and is `{}`", printable(text, 40));
            self.report(Finding::new(Problem::Number, node.position, message));
        }
        number
    }

    /// One of a few words.
    pub fn word<'n>(&mut self, node: &'n Node, label: &str, words: &[&str]) -> Option<&'n str> {
        let text = self.text(node, label, &alternatives(words))?;
        if words.contains(&text) {
            return Some(text);
        }
        let message =
            format!("`{label}` must be {}, and is `{}`", alternatives(words), printable(text, 40));
        let mut finding = Finding::new(Problem::UnknownValue, node.position, message);
        finding.help =
            nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"));
        self.report(finding);
        None
    }

    /// A text in one of the small languages of [`values`].
    fn special<T>(
        &mut self,
        node: &Node,
        label: &str,
        problem: Problem,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(node, label, example)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(why) => {
                let message = format!("`{label}`: `{}` {why}", printable(text, 80));
                let finding = Finding::new(problem, node.position, message);
                self.report(finding.help(format!("write {example}")));
                None
            }
        }
    }

    pub fn duration(&mut self, node: &Node, label: &str, max: Duration) -> Option<Duration> {
        let example = "a duration such as `90s`, `15m` or `1h30m`";
        self.special(node, label, Problem::Duration, example, |text| values::duration(text, max))
    }

    pub fn size(&mut self, node: &Node, label: &str) -> Option<u64> {
        let example = "a size such as `512Mi` or `4Gi`";
        self.special(node, label, Problem::Size, example, values::size)
    }

    pub fn cpu_millis(&mut self, node: &Node, label: &str) -> Option<u32> {
        let example = "a number of processors such as `2` or `0.5`";
        self.special(node, label, Problem::Number, example, values::cpu_millis)
    }

    pub fn path(&mut self, node: &Node, label: &str) -> Option<String> {
        let example = "a path below the root of the repository, such as `packages/app`";
        self.special(node, label, Problem::Path, example, values::relative_path)
    }

    fn path_glob(&mut self, node: &Node, label: &str) -> Option<String> {
        let example = "a glob below the root of the repository, such as `src/**`";
        let leaves = node.scalar().is_some_and(|text| values::relative_path(text).is_err());
        let problem = if leaves { Problem::Path } else { Problem::Glob };
        self.special(node, label, problem, example, values::path_glob)
    }

    fn branch_glob(&mut self, node: &Node, label: &str) -> Option<String> {
        let example = "a branch or a glob of branches, such as `main` or `release/*`";
        self.special(node, label, Problem::Glob, example, |text| {
            if text.is_empty() {
                return Err("is empty".to_owned());
            }
            values::glob(text).map(|_| text.to_owned())
        })
    }

    pub fn path_globs(&mut self, node: &Node, label: &str) -> Option<Vec<String>> {
        self.list(node, label, Self::path_glob)
    }

    pub fn branch_globs(&mut self, node: &Node, label: &str) -> Option<Vec<String>> {
        self.list(node, label, Self::branch_glob)
    }

    /// A list that must not be empty, because then its gate would never run.
    pub fn some<T>(&mut self, node: &Node, label: &str, list: Option<Vec<T>>) -> Option<Vec<T>> {
        if matches!(&list, Some(items) if items.is_empty()) {
            let finding =
                Finding::new(Problem::EmptyValue, node.position, format!("`{label}` is empty"));
            self.report(finding.help("nothing could match; remove the key to match everything"));
        }
        list
    }

    /// One value, or a list of them.
    pub fn list<'n, T>(
        &mut self,
        node: &'n Node,
        label: &str,
        mut read: impl FnMut(&mut Self, &'n Node, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(items) = &node.value else {
            return read(self, node, label).map(|item| vec![item]);
        };
        if items.len() > MAX_ITEMS {
            let message =
                format!("`{label}` has {} items; at most {MAX_ITEMS} are allowed", items.len());
            self.report(Finding::new(Problem::TooLong, node.position, message));
            return None;
        }
        let labelled = |index| format!("{label}[{index}]");
        let items: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| read(self, item, &labelled(index)))
            .collect();
        items.into_iter().collect()
    }

    /// Shell scripts: one or several, none of them empty.
    pub fn scripts(&mut self, node: &Node, label: &str) -> Option<Vec<String>> {
        let scripts = self.list(node, label, |reader, item, label| {
            let text = reader.text(item, label, "a command or a list of commands")?;
            if item.is_null() || text.trim().is_empty() {
                let message = format!("`{label}` is an empty command");
                let finding = Finding::new(Problem::EmptyValue, item.position, message);
                reader.report(finding.help("write a command; one that does nothing is `true`"));
                return None;
            }
            Some(text.to_owned())
        })?;
        if scripts.is_empty() {
            let message = format!("`{label}` has no commands");
            let finding = Finding::new(Problem::EmptyValue, node.position, message);
            self.report(finding.help("write at least one command"));
            return None;
        }
        Some(scripts)
    }

    pub fn variables(&mut self, node: &Node, label: &str) -> Option<BTreeMap<String, String>> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, label, "a map of names to values");
            return None;
        };
        let mut variables = BTreeMap::new();
        for entry in entries {
            if let Err(why) = values::variable(&entry.key) {
                let message = format!("`{}` {why}", printable(&entry.key, 80));
                self.report(Finding::new(Problem::Variable, entry.key_position, message));
            }
            let label = join(label, &entry.key);
            if entry.value.is_null() {
                let message = format!("`{label}` has no value");
                let finding = Finding::new(Problem::WrongType, entry.key_position, message);
                self.report(finding.help("an empty text is `\"\"`"));
            } else if let Some(text) =
                self.text(&entry.value, &label, "text, a number or a boolean")
            {
                variables.insert(entry.key.clone(), text.to_owned());
            }
        }
        Some(variables)
    }
}

/// `gates.unit` + `run` = `gates.unit.run`, safe to print.
pub(super) fn join(label: &str, key: &str) -> String {
    let key = printable(key, 80);
    if label.is_empty() { key } else { format!("{label}.{key}") }
}

fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
