//! Hostile text in every place that an author controls: nothing of it becomes markup, a link or a terminal escape.

use crate::support::{Doors, GATE, LIVE_RUN, PULL, RUN, doors};

const HOSTILE: &str = "<script>alert(1)</script>\" onload='x' {{ 7*7 }} &lt; \u{202e}\x1b]0;t\x07";

fn poison(doors: &Doors) {
    let mut held = doors.memory.held();
    let hostile = || HOSTILE.to_owned();
    for run in &mut held.runs {
        run.repository = hostile();
        run.branch = Some(hostile());
        run.waiting = Some(hostile());
        run.pull_request = Some(hostile());
        run.sha = hostile();
        run.unsupported = serde_json::json!([
            {"key": HOSTILE, "file": HOSTILE, "line": 1, "column": 1, "instead": HOSTILE}
        ])
        .to_string();
        for gate in &mut run.gates {
            gate.name = hostile();
            gate.reason = Some(hostile());
            gate.waiting = Some(hostile());
            gate.reports = Some(
                serde_json::json!({"tests": 1, "failed": 1, "failures": [
                    {"name": HOSTILE, "file": HOSTILE, "line": 1, "message": HOSTILE}
                ]})
                .to_string(),
            );
        }
    }
    held.logs[0].1 = HOSTILE.as_bytes().to_vec();
    for pull in &mut held.pulls {
        pull.title = hostile();
        pull.author = hostile();
        pull.head_branch = hostile();
        pull.base_branch = hostile();
        pull.comment = Some(hostile());
        pull.run = Some(hostile());
        for check in &mut pull.checks {
            check.title = hostile();
            check.summary = hostile();
        }
    }
}

#[tokio::test]
async fn hostile_text_stays_text_on_every_page() {
    let doors = doors();
    poison(&doors);
    for path in [
        "/runs".to_owned(),
        format!("/runs?repo={}", "%3Cscript%3Ealert(1)%3C/script%3E%22%20onload=%27x"),
        format!("/runs/{RUN}"),
        format!("/runs/{LIVE_RUN}"),
        format!("/runs/{RUN}/live"),
        format!("/gates/{GATE}"),
        "/pull-requests".to_owned(),
        format!("/pull-requests/{PULL}"),
        "/pull-requests/pr_8".to_owned(),
        "/pull-requests/%3Cscript%3Ealert(1)".to_owned(),
        "/runs?result=%3Cscript%3Ealert(1)".to_owned(),
        "/login?x=%3Cscript%3Ealert(1)".to_owned(),
    ] {
        let page = doors.get(&path).await;
        let text = page.text();
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert!(!text.contains("<script>"), "{path}");
        assert!(!text.contains("\" onload"), "{path}");
        assert!(!text.contains("onload='"), "{path}");
        assert!(!text.contains(['\x1b', '\u{202e}']), "{path}");
        let scripts = text.matches("<script").count();
        assert!(scripts <= 1, "{path}: {scripts}");
    }
}

#[tokio::test]
async fn hostile_text_is_shown_and_not_dropped() {
    let doors = doors();
    poison(&doors);
    let page = doors.get(&format!("/gates/{GATE}")).await.text();
    assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{page}");
    assert!(page.contains("{{ 7*7 }}"));
}

#[tokio::test]
async fn no_page_has_a_script_or_a_style_of_its_own() {
    let doors = doors();
    for path in [
        "/runs",
        &format!("/runs/{RUN}"),
        &format!("/gates/{GATE}"),
        "/pull-requests/pr_8",
        "/login",
    ] {
        let page = doors.get(path).await.text();
        assert!(!page.contains(" style="), "{path}");
        assert!(!page.contains("<style"), "{path}");
        assert!(!page.contains(" onclick") && !page.contains("javascript:"), "{path}");
        assert!(page.contains("<caption>") || !page.contains("<table>"), "{path}");
    }
}
