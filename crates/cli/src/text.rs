//! How durations, results and sizes are written for people.

use std::time::Duration;

use sandgate_domain::{GateResult, Timestamp};

/// What the process level is, in one line.
pub const PROCESS_LEVEL: &str =
    "process: NOT isolated; gates are plain processes that reach your files, network and processes";

/// A duration such as `40 ms`, `1.2 s`, `3m 05s` or `2h 04m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration < Duration::from_secs(1) {
        return format!("{} ms", duration.as_millis());
    }
    if seconds < 60 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    if seconds < 3600 {
        return format!("{}m {:02}s", seconds / 60, seconds % 60);
    }
    format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60)
}

/// A number of bytes such as `812 B`, `4.0 KiB` or `1.5 GiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn bytes(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

/// A point in time such as `2026-11-21T10:00:00Z`.
pub fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros() / 1_000_000 * 1_000_000)
        .map_or_else(|_| "out of range".to_owned(), |time| time.to_string())
}

/// The sign of a result; always beside its word, never instead of it.
pub fn result_mark(result: GateResult) -> &'static str {
    match result {
        GateResult::Success => "✓",
        GateResult::Failure => "✗",
        GateResult::Error => "!",
        GateResult::Timeout => "⏱",
        GateResult::Cancellation => "⊘",
        GateResult::Skip => "-",
    }
}

/// The colour of a result, as the number of an SGR sequence.
pub fn result_colour(result: GateResult) -> &'static str {
    match result {
        GateResult::Success => "32",
        GateResult::Failure | GateResult::Error | GateResult::Timeout => "31",
        GateResult::Cancellation => "33",
        GateResult::Skip => "2",
    }
}

/// The word of a result, coloured if wanted.
pub fn paint_result(result: GateResult, colour: bool) -> String {
    paint(colour, result_colour(result), result.as_str())
}

/// The text in a colour, if wanted.
pub fn paint(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The text as one word of a shell, for a command that people copy.
pub fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// This program as a command that people copy: by the path that it was started by, if it was one.
pub fn program() -> String {
    let started_by = std::env::args_os().next().and_then(|name| name.into_string().ok());
    match started_by {
        Some(path) if path.contains('/') => quoted(&path),
        Some(_) | None => "sandgate".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        for (millis, text) in
            [(40, "40 ms"), (1234, "1.2 s"), (185_000, "3m 05s"), (7_440_000, "2h 04m")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        for (count, text) in [(812, "812 B"), (4096, "4.0 KiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
