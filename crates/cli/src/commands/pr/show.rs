//! A pull request for people. All of it may be text from outside.

use crate::client::items::{Check, PullRequest};
use crate::context::Context;
use crate::progress::clean;

/// The name of the check that decides.
const AGGREGATE: &str = "sandgate";
/// How many lines of the comment are shown.
const SHOWN_LINES: usize = 200;

/// The whole pull request.
pub fn text(pull: &PullRequest) -> String {
    let shown = |text: &str| clean(text.as_bytes());
    let mut lines = vec![
        format!("{}#{}  {}", shown(&pull.repo), pull.number, shown(&pull.title)),
        format!(
            "{} · {} · {} at {} into {}",
            state(pull),
            shown(&pull.author),
            shown(&pull.head_branch),
            short(&pull.head_sha),
            shown(&pull.base_branch)
        ),
    ];
    if let Some(run) = &pull.run {
        lines.push(format!("run {}", shown(run)));
    }
    if !pull.checks.is_empty() {
        lines.push(String::new());
        let width = pull.checks.iter().map(|check| shown(&check.name).chars().count()).max();
        let width = width.unwrap_or(0);
        let line = |check: &Check| {
            let line = format!(
                "  {:<width$}  {:<15}  {}",
                shown(&check.name),
                outcome(check),
                shown(&check.title)
            );
            line.trim_end().to_owned()
        };
        lines.extend(pull.checks.iter().map(line));
    }
    if let Some(comment) = &pull.comment {
        lines.push(String::new());
        lines.extend(comment.lines().take(SHOWN_LINES).map(shown));
        let hidden = comment.lines().count().saturating_sub(SHOWN_LINES);
        if hidden > 0 {
            lines.push(format!("… {hidden} more lines"));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Prints what to do with it.
pub fn next(context: &Context, pull: &PullRequest) {
    let (number, repository) = (pull.number, clean(pull.repo.as_bytes()));
    if pull.held {
        let sha = clean(pull.head_sha.as_bytes());
        context.tell("it is held: look at its changes before they run");
        context.tell(format!("next: sandgate pr approve {number} --sha {sha} --repo {repository}"));
        return;
    }
    let Some(run) = &pull.run else { return };
    let prefix = format!("{AGGREGATE} / ");
    let failed = pull.checks.iter().find_map(|check| {
        let is_failed = check.conclusion.as_deref() == Some("failure");
        check.name.strip_prefix(&prefix).filter(|_| is_failed)
    });
    if let Some(gate) = failed {
        let gate = crate::text::quoted(&clean(gate.as_bytes()));
        context.tell(format!("next: sandgate logs {gate} --run {}", clean(run.as_bytes())));
    }
}

/// Whether it is open, held, merged or closed.
pub fn state(pull: &PullRequest) -> &'static str {
    match (pull.state.as_str(), pull.held, pull.merged) {
        (_, _, true) => "merged",
        ("open", true, _) => "held",
        ("open", false, _) => "open",
        _ => "closed",
    }
}

/// What the deciding check says.
pub fn verdict(pull: &PullRequest) -> String {
    let check = pull.checks.iter().find(|check| check.name == AGGREGATE);
    check.map_or_else(|| "-".to_owned(), outcome)
}

/// The start of a commit id.
pub fn short(sha: &str) -> String {
    sha.chars().filter(char::is_ascii_hexdigit).take(10).collect()
}

fn outcome(check: &Check) -> String {
    clean(check.conclusion.as_deref().unwrap_or(&check.status).as_bytes())
}
