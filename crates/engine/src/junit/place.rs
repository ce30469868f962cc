//! Finds the place of a failure in what a test tool wrote about it.

/// A line of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub file: String,
    pub line: u32,
}

/// Ends of names of source files; what else looks like `name:number` is an address or a time.
const SOURCES: &[&str] = &[
    "rs", "py", "js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "go", "java", "kt", "kts",
    "scala", "groovy", "rb", "php", "c", "cc", "cpp", "cxx", "h", "hpp", "cs", "fs", "swift", "m",
    "mm", "ex", "exs", "erl", "hs", "lua", "pl", "pm", "t", "sh", "bash", "bats", "dart", "vue",
    "svelte", "clj", "ml", "zig", "nim", "jl", "r", "sql", "feature", "robot",
];

/// Parts of paths of code that only passes failures on.
const FOREIGN: &[&str] =
    &["node_modules/", "site-packages/", "/rustc/", "/.cargo/registry/", "/lib/python", "node:"];

/// Classes of frames that only pass failures on.
const FOREIGN_FRAMES: &[&str] =
    &["org.junit.", "org.hamcrest.", "java.base/", "java.util.", "jdk.internal."];

/// The best place in `texts`, the first ones being the most telling: one in `file` if that is known, else one in a file
/// named like the last part of `class`, else the first in code that is not somebody else's.
pub(crate) fn find(texts: &[&str], file: Option<&str>, class: &str) -> Option<Place> {
    let places: Vec<Place> = texts.iter().flat_map(|text| text.lines()).flat_map(in_line).collect();
    if let Some(file) = file {
        return places.into_iter().find(|place| same_file(&place.file, file));
    }
    let last = class.rsplit(['.', '/', ':', '$']).next().unwrap_or_default();
    let is_named_alike = |place: &&Place| {
        let name = place.file.rsplit('/').next().unwrap_or_default();
        !last.is_empty() && name.split('.').next() == Some(last)
    };
    let is_own = |place: &&Place| !FOREIGN.iter().any(|part| place.file.contains(part));
    places.iter().find(is_named_alike).or_else(|| places.iter().find(is_own)).cloned()
}

fn same_file(one: &str, other: &str) -> bool {
    let clean = |path: &str| path.trim_start_matches("./").to_owned();
    let (one, other) = (clean(one), clean(other));
    one == other || one.ends_with(&format!("/{other}")) || other.ends_with(&format!("/{one}"))
}

fn in_line(line: &str) -> Vec<Place> {
    if FOREIGN_FRAMES.iter().any(|frame| line.trim_start().starts_with(&format!("at {frame}"))) {
        return Vec::new();
    }
    let mut places: Vec<Place> = python_frame(line).into_iter().collect();
    for (colon, _) in line.match_indices(':') {
        let Some(number) = leading_number(&line[colon + 1..]) else { continue };
        let is_path = |c: char| c.is_alphanumeric() || "._-/@+~".contains(c);
        let start =
            line[..colon].char_indices().rev().take(1024).take_while(|(_, c)| is_path(*c)).last();
        let Some((start, _)) = start else { continue };
        let file = &line[start..colon];
        if is_source(file) {
            places.push(Place { file: file.to_owned(), line: number });
        }
    }
    places
}

/// `File "tests/a.py", line 14, in test_a`
fn python_frame(line: &str) -> Option<Place> {
    let (_, rest) = line.split_once("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let line = leading_number(rest)?;
    is_source(file).then(|| Place { file: file.to_owned(), line })
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok().filter(|number| *number > 0)
}

fn is_source(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    let is_known = |end: &str| SOURCES.contains(&end.to_ascii_lowercase().as_str());
    !file.starts_with("//")
        && name.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && is_known(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_lines() {
        for (line, expected) in [
            ("thread 'a' panicked at src/lib.rs:12:5:", Some(("src/lib.rs", 12))),
            ("tests/test_a.py:14: AssertionError", Some(("tests/test_a.py", 14))),
            ("  File \"/w/tests/test_a.py\", line 14, in test_a", Some(("/w/tests/test_a.py", 14))),
            ("    at Object.<anonymous> (src/sum.test.js:3:5)", Some(("src/sum.test.js", 3))),
            ("    at src/sum.test.ts:3:5", Some(("src/sum.test.ts", 3))),
            ("    main_test.go:10: got 1", Some(("main_test.go", 10))),
            ("\tat com.example.AppTest.adds(AppTest.java:25)", Some(("AppTest.java", 25))),
            ("\tat org.junit.Assert.fail(Assert.java:89)", None),
            ("connect to http://example.com:80/x.rs", None),
            ("at 10:30:12 on 127.0.0.1:8080", None),
            ("https://a.rs:443", None),
            ("a.rs:0", None),
            ("a.rs:99999999999", None),
            (".rs:1", None),
            ("ü.rs:1", Some(("ü.rs", 1))),
        ] {
            let found = in_line(line).into_iter().next().map(|place| (place.file, place.line));
            let expected = expected.map(|(file, line)| (file.to_owned(), line));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn the_most_telling_place_wins() {
        let trace = "helper.py:3: in check\ntests/test_a.py:14: AssertionError\n";
        let line = |file, class| find(&[trace], file, class).map(|place| place.line);
        assert_eq!(line(None, ""), Some(3));
        assert_eq!(line(None, "tests.test_a"), Some(14));
        assert_eq!(line(Some("tests/test_a.py"), ""), Some(14));
        assert_eq!(line(Some("tests/test_b.py"), ""), None);
        let foreign = "at x (node_modules/jest/a.js:1:1)\nat y (src/b.js:2:2)";
        assert_eq!(find(&[foreign], None, "sums").unwrap().file, "src/b.js");
    }
}
