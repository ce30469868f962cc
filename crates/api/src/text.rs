//! How times, durations and text from outside are written.

mod plain;

use std::time::Duration;

use sandgate_domain::Timestamp;

pub use plain::{plain, visible};

/// A point in time as in JSON, such as `2026-11-21T10:00:00.123456Z`.
pub fn rfc3339(at: Timestamp) -> String {
    moment(at).to_string()
}

/// A point in time for people: `2026-11-21 10:00:00 UTC`.
pub fn clock_time(at: Timestamp) -> String {
    moment(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn moment(at: Timestamp) -> jiff::Timestamp {
    let held = if at.as_micros() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(held)
}

/// How long ago something was, in one unit: `12 s ago`.
pub fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.since(at).as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A duration such as `40 ms`, `1.2 s`, `3m 05s` or `2h 04m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A number of bytes such as `812 B`, `4.0 KiB` or `1.5 GiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    for unit in ["KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return format!("{amount:.1} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

/// The first twelve characters of a commit id.
pub fn short_sha(sha: &str) -> String {
    sha.chars().take(12).collect()
}

/// One word of a POSIX shell command that means exactly this text.
pub fn shell_word(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&b));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_amounts_are_written_for_people() {
        let at = Timestamp::from_micros(1_795_255_200_123_456);
        assert_eq!(rfc3339(at), "2026-11-21T10:00:00.123456Z");
        assert_eq!(clock_time(at), "2026-11-21 10:00:00 UTC");
        assert!(rfc3339(Timestamp::from_micros(i64::MAX)).starts_with("9999-"));
        assert!(rfc3339(Timestamp::from_micros(i64::MIN)).starts_with("-009999-"));
        for (seconds, expected) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(age(at.plus(Duration::from_secs(seconds)), at), expected);
        }
        for (millis, expected) in
            [(40, "40 ms"), (1200, "1.2 s"), (185_000, "3m 05s"), (7_440_000, "2h 04m")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
        for (amount, expected) in [(812, "812 B"), (4096, "4.0 KiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(bytes(amount), expected);
        }
    }

    #[test]
    fn a_shell_word_is_one_word() {
        for (text, expected) in [
            ("unit", "unit"),
            ("unit (node=20)", "'unit (node=20)'"),
            ("a'b", r"'a'\''b'"),
            ("$(id)", "'$(id)'"),
            ("--data-dir", "--data-dir"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), expected);
        }
    }
}
