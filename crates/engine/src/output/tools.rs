//! How each tool begins and ends what it says about a failing test, and where the message stands.

/// Who wrote the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    /// The harness of `cargo test`, also below cargo-nextest.
    Libtest,
    /// `node --test` and other writers of TAP.
    Tap,
    /// `node --test` for people.
    NodeSpec,
    Pytest,
    Unittest,
    Go,
}

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// The next line names the failing test.
    Announced,
    /// A failing test begins.
    Test { tool: Tool, name: &'a str },
    /// What was said about a failing test ends.
    End,
}

pub(super) fn start<'a>(line: &'a str, announced: Option<&str>) -> Option<Start<'a>> {
    let text = line.trim_start();
    let test = |tool, name: &'a str| Some(Start::Test { tool, name: name.trim() });
    if let Some(rest) = text.strip_prefix("---- ")
        && let Some(name) = rest.strip_suffix(" stdout ----")
    {
        return test(Tool::Libtest, name);
    }
    if let Some(rest) = text.strip_prefix("not ok ") {
        let is_excused = rest.contains("# TODO") || rest.contains("# SKIP");
        let name = rest
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
            .trim_start_matches("- ");
        return if is_excused { Some(Start::End) } else { test(Tool::Tap, name) };
    }
    if let Some(rest) = text.strip_prefix("--- FAIL: ") {
        return test(Tool::Go, rest.rsplit_once(" (").map_or(rest, |(name, _)| name));
    }
    if text.starts_with("test at ") {
        return Some(Start::Announced);
    }
    if let Some(rest) = text.strip_prefix("✖ ")
        && announced.is_some()
    {
        return test(Tool::NodeSpec, rest.rsplit_once(" (").map_or(rest, |(name, _)| name));
    }
    if line.starts_with("___") && line.ends_with("___") && line.contains(' ') {
        return test(Tool::Pytest, line.trim_matches('_'));
    }
    for word in ["FAIL: ", "ERROR: "] {
        if let Some(rest) = line.strip_prefix(word)
            && let Some((name, _)) = rest.split_once(" (")
        {
            return test(Tool::Unittest, name);
        }
    }
    let is_end = line.starts_with("===")
        || line.starts_with("FAIL\t")
        || line.starts_with("Ran ")
        || ["failures:", "test result:", "# Subtest", "# tests "]
            .iter()
            .any(|word| text.starts_with(word))
        || text == "...";
    is_end.then_some(Start::End)
}

/// The line that says what went wrong.
pub(super) fn message(tool: Tool, lines: &[String]) -> Option<&str> {
    let mut texts = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    match tool {
        Tool::Libtest => {
            let mut rest = texts.clone();
            let panics = rest.any(|line| line.contains(" panicked at "));
            if panics { rest.next() } else { texts.next() }
        }
        Tool::Tap => {
            let error = texts.find_map(|line| line.strip_prefix("error: "))?;
            let is_quote = |quote: &char| matches!(quote, '\'' | '"');
            let quote = error.chars().next().filter(is_quote);
            let inner = quote.and_then(|quote| error.strip_prefix(quote)?.strip_suffix(quote));
            Some(inner.unwrap_or(error))
        }
        Tool::NodeSpec => texts.nth(1),
        Tool::Pytest => texts.find_map(|line| line.strip_prefix("E ")).map(str::trim),
        Tool::Unittest => {
            let is_said = |line: &&String| !line.is_empty() && !line.starts_with([' ', '-', '=']);
            let mut said = lines.iter().filter(is_said).map(String::as_str);
            said.find(|line| !line.starts_with("Traceback"))
        }
        Tool::Go => {
            let first = texts.next()?;
            Some(first.split_once(": ").map_or(first, |(_, said)| said))
        }
    }
}
