//! From texts to values: addresses, counts, sizes, secrets.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Config, Setting, Settings, fault, key};
use crate::{Error, Secret};

/// All values.
pub(super) fn config(settings: &Settings) -> Result<Config, Error> {
    let listen = required(settings, key::LISTEN, loopback)?;
    let grpc_listen = required(settings, key::GRPC_LISTEN, loopback)?;
    Ok(Config {
        listen,
        grpc_listen,
        allowed_hosts: each(settings, key::ALLOWED_HOSTS, not_empty)?,
        webhook_secrets: each(settings, key::WEBHOOK_SECRETS, secret)?,
        members: each(settings, key::MEMBERS, not_empty)?,
        agents: each(settings, key::AGENTS, not_empty)?,
        slots: one(settings, key::SLOTS, slots)?,
        cpu_overcommit_percent: required(settings, key::CPU_OVERCOMMIT, percent)?,
        memory_bytes: one(settings, key::MEMORY, size)?,
        keep_approved: required(settings, key::KEEP_APPROVED, days)?,
    })
}

type Parse<T> = fn(&str) -> Result<T, String>;

fn each<T>(settings: &Settings, key: &str, parse: Parse<T>) -> Result<Vec<T>, Error> {
    let Some(Setting { texts, origin }) = settings.get(key) else { return Ok(Vec::new()) };
    let parsed = texts
        .iter()
        .map(|text| parse(text).map_err(|message| fault(origin, format!("`{key}` {message}"))));
    parsed.collect()
}

fn one<T>(settings: &Settings, key: &str, parse: Parse<T>) -> Result<Option<T>, Error> {
    Ok(each(settings, key, parse)?.pop())
}

fn required<T>(settings: &Settings, key: &str, parse: Parse<T>) -> Result<T, Error> {
    one(settings, key, parse)?.ok_or_else(|| fault("configuration", format!("`{key}` is not set")))
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "is no address with a port, such as 127.0.0.1:8080".to_owned())?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "is {address}, which other machines reach; that needs access keys, which are not supported: \
         listen on 127.0.0.1 and forward the port (`ssh -L`) or put a proxy in front"
    ))
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("has an empty entry".to_owned()) } else { Ok(text.to_owned()) }
}

/// Says nothing of the text.
fn secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("has an empty secret, with which everybody could sign".to_owned());
    }
    Ok(Secret::new(text))
}

fn days(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u32>().ok().filter(|days| (1..=36_500).contains(days));
    let number = number.ok_or_else(|| "is no number of days from 1 to 36500".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * 24 * 3600))
}

fn slots(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|slots| (1..=1024).contains(slots));
    number.ok_or_else(|| "is no number from 1 to 1024".to_owned())
}

/// A factor such as `2` or `1.5`, in percent.
fn percent(text: &str) -> Result<u32, String> {
    let unreadable = || "is no factor from 0.1 to 100, such as 2 or 1.5".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str, most: usize| {
        (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(whole, 3) || !is_number(part, 2) {
        return Err(unreadable());
    }
    let whole: u32 = whole.parse().map_err(|_| unreadable())?;
    let part: u32 = format!("{part:0<2}").parse().map_err(|_| unreadable())?;
    Some(whole * 100 + part)
        .filter(|percent| (10..=10_000).contains(percent))
        .ok_or_else(unreadable)
}

/// A size in bytes such as `16Gi`.
fn size(text: &str) -> Result<u64, String> {
    let units = [("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let bytes = units.into_iter().find_map(|(unit, shift)| {
        let digits = text.strip_suffix(unit)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = digits.parse().ok().filter(|_| is_number)?;
        number.checked_mul(1 << shift).filter(|bytes| (1..=64 << 40).contains(bytes))
    });
    bytes.ok_or_else(|| "is no size up to 64Ti, such as 512Mi or 16Gi".to_owned())
}
