//! `sandgate doctor`: what this machine can isolate, what is missing and how to get it.

use sandgate_domain::IsolationLevel;
use sandgate_node::GitProgram;
use sandgate_sandbox::Finding;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local::open_node;
use crate::output::{self, Format};

/// How to get plain processes.
const CONSENT: &str = "not isolated; only `sandgate run --isolation process` runs gates so";

/// One line of the report.
#[derive(Debug, Serialize)]
struct Line {
    part: &'static str,
    name: String,
    ok: bool,
    detail: String,
    help: Option<String>,
}

impl Line {
    fn finding(part: &'static str, finding: &Finding) -> Self {
        Self {
            part,
            name: finding.name.to_owned(),
            ok: finding.held,
            detail: finding.reason.clone(),
            help: Some(finding.instead.clone()).filter(|text| !finding.held && !text.is_empty()),
        }
    }

    fn fact(part: &'static str, name: &str, detail: impl Into<String>) -> Self {
        Self { part, name: name.to_owned(), ok: true, detail: detail.into(), help: None }
    }
}

/// Probes the machine and prints what was found. Exit 0 if sandboxes can be isolated here.
pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let folder = context.data_dir()?;
    // What plain processes would hold is told, too. None is run but those of the probe.
    let node = open_node(context, folder.join("node"), IsolationLevel::Process).await?;
    let report = node.report();
    let summary = report.summary();
    let mut lines = vec![
        Line::fact("isolation", "level", summary.level.as_str()),
        Line::fact("isolation", "mode", format!("{:?}", report.mode).to_lowercase()),
        Line::fact("isolation", "cgroups", format!("{:?}", report.cgroups).to_lowercase()),
    ];
    lines.extend(
        report.plain.iter().map(|found| Line {
            help: Some(CONSENT.to_owned()),
            ..Line::finding("isolation", found)
        }),
    );
    lines.extend(report.namespaces.iter().map(|found| Line::finding("namespaces", found)));
    lines.extend(report.limits.iter().map(|found| Line::finding("limits", found)));
    lines.push(Line::finding("network", &report.network));
    lines.extend(report.obstacle.iter().map(|found| Line::finding("obstacle", found)));
    let base = node.base().await?;
    for exposed in &base.exposed {
        lines.push(Line::fact("toolchains", &exposed.what, exposed.path.display().to_string()));
    }
    for refused in &base.refused {
        let detail = format!("{}: {}", refused.path.display(), refused.reason);
        lines.push(Line::fact("left out", &refused.what, detail));
    }
    lines.push(match GitProgram::find(&context.environment.path()) {
        Ok(_) => Line::fact("tools", "git", "found"),
        Err(error) => Line {
            part: "tools",
            name: "git".to_owned(),
            ok: false,
            detail: error.to_string(),
            help: Some("every command but `doctor` reads repositories with it".to_owned()),
        },
    });
    let has_git = lines.last().is_some_and(|line| line.ok);
    let is_ready = report.isolates() && has_git;
    let shell = node.shell().argv("SCRIPT").join(" ");
    lines.push(Line::fact("scripts", "shell", shell));
    lines.push(Line::fact("state", "folder", folder.display().to_string()));
    match context.global.output {
        Format::Table => {
            output::write(&table(&together(lines)))?;
            output::write(conclusion(is_ready))?;
        }
        Format::Name => {
            let missing = lines.iter().filter(|line| !line.ok);
            output::write(&missing.map(|line| format!("{}\n", line.name)).collect::<String>())?;
        }
        format @ (Format::Json | Format::Jsonl | Format::Yaml) => {
            let found = json!({ "isolation": summary, "usable": is_ready, "checks": lines });
            output::document(format, &found)?;
        }
    }
    Ok(if is_ready { Exit::Ok } else { Exit::Failed })
}

fn conclusion(is_ready: bool) -> &'static str {
    if is_ready {
        "\nready: `sandgate run` works here\n"
    } else {
        "\nnot ready: what is missing above keeps `sandgate run` from starting\n"
    }
}

/// For people, the many places of one toolchain are one line.
fn together(lines: Vec<Line>) -> Vec<Line> {
    let mut shown: Vec<(Line, usize)> = Vec::new();
    for line in lines {
        let same = |(first, _): &&mut (Line, usize)| {
            line.ok
                && line.part == "toolchains"
                && (first.part, &first.name) == (line.part, &line.name)
        };
        match shown.iter_mut().find(same) {
            Some((_, more)) => *more += 1,
            None => shown.push((line, 0)),
        }
    }
    let joined = shown.into_iter().map(|(line, more)| match more {
        0 => line,
        more => Line { detail: format!("{} and {more} more", line.detail), ..line },
    });
    joined.collect()
}

fn table(lines: &[Line]) -> String {
    let width = |read: fn(&Line) -> &str| {
        lines.iter().map(|line| read(line).chars().count()).max().unwrap_or(0)
    };
    let (part, name) = (width(|line| line.part), width(|line| &line.name));
    let mut text = String::new();
    for line in lines {
        let mark = if line.ok { "ok     " } else { "missing" };
        text.push_str(&format!(
            "{mark}  {:<part$}  {:<name$}  {}\n",
            line.part, line.name, line.detail
        ));
        if let Some(help) = &line.help {
            text.push_str(&format!("         help: {help}\n"));
        }
    }
    text
}
