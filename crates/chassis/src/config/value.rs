//! From texts to values: addresses, counts, sizes, secrets.

use std::net::SocketAddr;

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
        cpu_millis: one(settings, key::CPU, cpu_millis)?,
        memory_bytes: one(settings, key::MEMORY, bytes)?,
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

fn slots(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|slots| (1..=1024).contains(slots));
    number.ok_or_else(|| "is no number from 1 to 1024".to_owned())
}

fn cpu_millis(text: &str) -> Result<u32, String> {
    let fault = || "is no number of processors such as 4 or 1.5".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| {
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(whole) || !is_number(part) {
        return Err(fault());
    }
    let whole: u32 = whole.parse().map_err(|_| fault())?;
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| fault())?;
    Some(whole * 1000 + part).filter(|millis| *millis > 0).ok_or_else(fault)
}

fn bytes(text: &str) -> Result<u64, String> {
    let fault = || "is no size such as 512Mi or 8Gi".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| fault())?;
    let unit: u64 = match &text[digits..] {
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(fault()),
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_processors() {
        for (text, expected) in
            [("512Mi", Some(512 << 20)), ("8Gi", Some(8 << 30)), ("8", None), ("0Gi", None)]
        {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
        assert!(bytes("99999999999999Ti").is_err());
        for (text, expected) in [
            ("4", Some(4000)),
            ("1.5", Some(1500)),
            ("0.25", Some(250)),
            ("0", None),
            ("1.2345", None),
            ("-1", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(cpu_millis(text).ok(), expected, "{text}");
        }
    }
}
