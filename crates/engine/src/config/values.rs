//! The small languages inside values: durations, sizes, processors, paths, globs and names of variables.

use std::time::Duration;

use globset::{Glob, GlobBuilder, GlobSet};

/// The longest `timeout`.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The longest `debug.keep`.
pub(super) const MAX_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest path or glob, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// A duration such as `90s`, `15m`, `1h30m` or `2d`: whole numbers, the largest unit first, each unit once.
pub(super) fn duration(text: &str, max: Duration) -> Result<Duration, String> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let unreadable = || "is no duration".to_owned();
    let mut seconds: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| unreadable())?;
        let unit = rest[digits..].chars().next().ok_or_else(unreadable)?;
        let (_, length) = units.find(|(name, _)| *name == unit).ok_or_else(unreadable)?;
        seconds = seconds.saturating_add(number.saturating_mul(*length));
        rest = &rest[digits + unit.len_utf8()..];
    }
    match Duration::from_secs(seconds) {
        _ if text.is_empty() => Err(unreadable()),
        Duration::ZERO => Err("is no time at all".to_owned()),
        long if long > max => Err(format!("is longer than the {} allowed", show_duration(max))),
        good => Ok(good),
    }
}

/// A duration as it is written in the file, whole seconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut shown = String::new();
    for (unit, length) in [('h', 3_600), ('m', 60), ('s', 1)] {
        if rest >= length {
            shown.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

/// A size in bytes such as `4Gi` or `512Mi`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let unreadable = || "is no size".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| unreadable())?;
    let shift = match &text[digits..] {
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        _ => return Err(unreadable()),
    };
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes >= MIN_SIZE)
        .filter(|bytes| *bytes <= MAX_SIZE)
        .ok_or_else(|| "lies outside 16Mi to 64Ti".to_owned())
}

const MIN_SIZE: u64 = 16 << 20;
const MAX_SIZE: u64 = 64 << 40;

/// Processors such as `2` or `0.5`, in thousandths.
pub(super) fn cpu_millis(text: &str) -> Result<u32, String> {
    let unreadable = || "is no number of processors".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| {
        !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(whole) || !is_number(part) {
        return Err(unreadable());
    }
    if part.trim_end_matches('0').len() > 3 {
        return Err("has more than three decimals".to_owned());
    }
    let thousandths: u32 = format!("{part:0<3}")[..3].parse().map_err(|_| unreadable())?;
    let whole: u32 = whole.parse().map_err(|_| unreadable())?;
    match whole.saturating_mul(1000).saturating_add(thousandths) {
        millis @ 10..=1_024_000 => Ok(millis),
        _ => Err("lies outside 0.01 to 1024".to_owned()),
    }
}

/// A path below the root of the repository, without `.` parts and a trailing slash.
pub(super) fn relative_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > MAX_PATH_BYTES {
        return Err(format!("is longer than {MAX_PATH_BYTES} bytes"));
    }
    if text.starts_with('/') || text.starts_with('~') {
        return Err("is not relative to the repository".to_owned());
    }
    if text.contains(['\\', '\n', '\r']) {
        return Err("contains a backslash or a line break".to_owned());
    }
    let parts: Vec<&str> =
        text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("leaves the repository".to_owned());
    }
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// A glob over paths of the repository; a trailing `/` means everything below.
pub(crate) fn path_glob(text: &str) -> Result<String, String> {
    if text.starts_with('!') {
        return Err("begins with `!`".to_owned());
    }
    let path = relative_path(text)?;
    let pattern = if text.ends_with('/') { format!("{path}/**") } else { path };
    let glob = glob(&pattern)?;
    // Only alternatives can nest; the expression behind anything else is always within the bounds of its compiler.
    if pattern.contains('{') {
        GlobSet::new([glob]).map_err(|error| format!("can't be read: {}", error.kind()))?;
    }
    Ok(pattern)
}

/// The one way globs are read: `*` and `?` stop at `/`, `**` does not.
pub(crate) fn glob(pattern: &str) -> Result<Glob, String> {
    if pattern.len() > MAX_PATH_BYTES {
        return Err(format!("is longer than {MAX_PATH_BYTES} bytes"));
    }
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(false)
        .build()
        .map_err(|error| format!("can't be read: {}", error.kind()))
}

/// The name of an environment variable that a repository may set.
pub(super) fn variable(name: &str) -> Result<(), &'static str> {
    let mut bytes = name.bytes();
    let begins_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !begins_well || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("can't be the name of a variable");
    }
    if name == "CI" || name == "SANDGATE" || name.starts_with("SANDGATE_") {
        return Err("is set by Sandgate itself");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("1h30m", 5400),
            ("24h", 86_400),
            ("1d", 86_400),
            ("0h5s", 5),
        ] {
            assert_eq!(duration(text, MAX_TIMEOUT), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "15",
            "m",
            "-5m",
            "0s",
            "0h0m",
            "25h",
            "1.5h",
            "5m1h",
            "5m5m",
            "1h 5m",
            "５m",
            "99999999999999999999h",
            "18446744073709551615d",
            "15M",
            "é",
        ] {
            assert!(duration(text, MAX_TIMEOUT).is_err(), "{text}");
        }
        for seconds in [1, 59, 60, 90, 3600, 5400, 86_400] {
            let shown = show_duration(Duration::from_secs(seconds));
            assert_eq!(duration(&shown, MAX_TIMEOUT), Ok(Duration::from_secs(seconds)), "{shown}");
        }
    }

    #[test]
    fn sizes_and_processors() {
        for (text, bytes) in [("4Gi", 4 << 30), ("512Mi", 512 << 20), ("16384Ki", 16 << 20)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "4", "4G", "4gi", "-1Gi", "0Gi", "1Ki", "1.5Gi", "99999999Ti", "é"] {
            assert!(size(text).is_err(), "{text}");
        }
        for (text, millis) in [("2", 2000), ("0.5", 500), ("1.250", 1250), ("0.01", 10)] {
            assert_eq!(cpu_millis(text), Ok(millis), "{text}");
        }
        for text in ["", "0", "-1", "1e3", "0.0001", "2000", ".5", "1.", "1.2.3", "inf", "９"] {
            assert!(cpu_millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_stay_in_the_repository() {
        for (text, path) in
            [("a/b", "a/b"), ("./a//b/", "a/b"), (".", "."), ("a..b", "a..b"), ("...", "...")]
        {
            assert_eq!(relative_path(text).as_deref(), Ok(path));
        }
        for text in ["", "/etc", "..", "a/../../b", "~/x", "a\\..\\b", "a\nb"] {
            assert!(relative_path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn globs_stop_at_slashes() {
        let matches = |pattern: &str, path: &str| {
            let pattern = path_glob(pattern).unwrap();
            GlobSet::new([glob(&pattern).unwrap()]).unwrap().is_match(path)
        };
        assert!(matches("src/*.rs", "src/a.rs") && !matches("src/*.rs", "src/a/b.rs"));
        assert!(matches("src/**", "src/a/b.rs") && matches("src/", "src/a/b.rs"));
        assert!(matches("**/x", "x") && matches("{a,b}/c", "b/c") && !matches("docs", "docs/a"));
        for bad in ["a[", "{a", "!a", "../*", "/a"] {
            assert!(path_glob(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables() {
        assert!(variable("NODE_ENV").is_ok() && variable("_x1").is_ok());
        for bad in ["", "1A", "A-B", "A=B", "CI", "SANDGATE", "SANDGATE_RUN", "Ä"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
    }
}
