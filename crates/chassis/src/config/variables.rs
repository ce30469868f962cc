//! The layer of variables: `SANDGATE__SECTION__KEY`, the same with `_FILE` for secrets, and the one name that setups for
//! GitHub use anyway. Values are texts as they stand: nothing guesses that `1234` is a number.

use std::io::Read;

use super::key::{KEYS, Key, Kind, unknown};
use super::{Origin, Setting, Settings, fault};
use crate::{Environment, Error};

const PREFIX: &str = "SANDGATE__";
const FILE_SUFFIX: &str = "_FILE";
const WEBHOOK_SECRET: &str = "GITHUB_WEBHOOK_SECRET";
/// The largest file with secrets, in bytes.
const MAX_SECRETS: u64 = 64 * 1024;

/// The keys that variables set.
pub(super) fn read(environment: &Environment) -> Result<Settings, Error> {
    let mut settings = Settings::new();
    let webhook = KEYS.iter().find(|key| key.name == super::key::WEBHOOK_SECRETS);
    for (name, value) in environment.set() {
        let Some(name) = name.to_str() else { continue };
        let rest = name.strip_prefix(WEBHOOK_SECRET);
        if let (Some(key), Some("" | FILE_SUFFIX)) = (webhook, rest) {
            set(&mut settings, key, name, value, rest == Some(FILE_SUFFIX))?;
        }
    }
    let mut own = Settings::new();
    for (name, value) in environment.set() {
        let Some(name) = name.to_str() else { continue };
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let (key, is_file) = find(path)
            .ok_or_else(|| fault(name, unknown(&path.replace("__", ".").to_lowercase())))?;
        set(&mut own, key, name, value, is_file)?;
    }
    settings.extend(own);
    Ok(settings)
}

fn find(path: &str) -> Option<(&'static Key, bool)> {
    let named = |path: &str| {
        let folded = path.replace("__", ".").replace('_', "").to_lowercase();
        KEYS.iter().find(|key| key.name.to_lowercase() == folded)
    };
    let file = path.strip_suffix(FILE_SUFFIX).and_then(named);
    named(path)
        .map(|key| (key, false))
        .or_else(|| file.filter(|key| key.kind == Kind::Secrets).map(|key| (key, true)))
}

fn set(
    settings: &mut Settings,
    key: &Key,
    name: &str,
    value: &std::ffi::OsStr,
    is_file: bool,
) -> Result<(), Error> {
    let value = value.to_str().ok_or_else(|| fault(name, "the value is not UTF-8"))?;
    let texts = match (is_file, key.kind) {
        (true, _) => lines(&secrets(name, value)?),
        (false, Kind::Text) => vec![value.to_owned()],
        (false, Kind::List) => list(value),
        (false, Kind::Secrets) => lines(value),
    };
    let setting = Setting { texts, origin: Origin::Variable(name.to_owned()) };
    match settings.insert(key.name, setting) {
        Some(before) => {
            Err(fault(name, format!("{} sets `{}` too; keep one of them", before.origin, key.name)))
        }
        None => Ok(()),
    }
}

/// `a, b` and `[a, b]`.
fn list(value: &str) -> Vec<String> {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

/// One secret a line: any other character may be part of one.
fn lines(value: &str) -> Vec<String> {
    value.lines().map(str::to_owned).collect()
}

fn secrets(name: &str, path: &str) -> Result<String, Error> {
    let failed = |error: std::io::Error| fault(name, format!("can't read `{path}`: {error}"));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file.take(MAX_SECRETS + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > MAX_SECRETS {
        return Err(fault(name, format!("`{path}` has more than {MAX_SECRETS} bytes")));
    }
    Ok(text)
}
