//! A repository with many branches, and the deliveries that tell of pull requests of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;
use serde_json::{Value, json};

use crate::server::Connection;

/// The name that the server knows it by.
pub const NAME: &str = "bench/sample";
/// The gate says when its first instruction runs: a shell that can tell does so itself, another one asks `date`.
const CONFIGURATION: &str = "version: 1\nenvironment: { setup: { run: \"true\", inputs: [list.txt] } }\n\
                             gates:\n  now: { run: 'echo ${EPOCHREALTIME:-$(date +%s.%N)}' }\n";

/// A repository on disk.
pub struct Sample {
    folder: PathBuf,
    /// Where its default branch stands.
    base: String,
    /// Where the other branches stand; each is to be merged for the first time.
    heads: Vec<String>,
}

impl Sample {
    /// Makes a repository with so many branches beside `main`, which went on after they left it.
    pub fn create(folder: PathBuf, branches: usize) -> anyhow::Result<Self> {
        fs::create_dir(&folder)?;
        let mut sample = Self { folder, base: String::new(), heads: Vec::new() };
        sample.git(&["init", "--quiet", "--initial-branch=main"])?;
        fs::create_dir(sample.folder.join("source"))?;
        for number in 0..20 {
            sample.write(&format!("source/{number}.txt"), &"a line of text\n".repeat(50))?;
        }
        sample.write("list.txt", "nothing\n")?;
        sample.write(".sandgate.yaml", CONFIGURATION)?;
        let start = sample.commit()?;
        for number in 0..branches {
            let branch = branch(number);
            sample.git(&["checkout", "--quiet", "-b", &branch, &start])?;
            sample.write("source/new.txt", &format!("{number}\n"))?;
            let head = sample.commit()?;
            sample.heads.push(head);
        }
        sample.git(&["checkout", "--quiet", "main"])?;
        sample.write("source/0.txt", "another line\n")?;
        sample.base = sample.commit()?;
        Ok(sample)
    }

    /// Makes the server know it, with all its branches.
    pub fn add_to(&self, connection: &mut Connection) -> anyhow::Result<()> {
        connection.post("/api/v1/repos", &json!({ "name": NAME, "path": self.folder }))
    }

    /// Where the pull request of this number stands.
    pub fn head(&self, number: usize) -> &str {
        &self.heads[number % self.heads.len()]
    }

    /// A delivery about a pull request of the branch of this number.
    pub fn delivery(&self, number: usize, action: &str) -> Value {
        let account = json!({ "login": "bench", "type": "User" });
        let repository = json!({ "full_name": NAME, "default_branch": "main", "fork": false });
        let state = if action == "closed" { "closed" } else { "open" };
        json!({
            "action": action, "number": number + 1,
            "pull_request": {
                "number": number + 1, "state": state, "title": "a change", "draft": false,
                "merged": false, "updated_at": "2026-01-01T00:00:00Z",
                "author_association": "MEMBER", "user": account,
                "head": {
                    "ref": branch(number % self.heads.len()), "sha": self.head(number),
                    "repo": repository,
                },
                "base": { "ref": "main", "sha": self.base, "repo": repository },
            },
            "repository": repository, "sender": account,
        })
    }

    fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.join(path), text)?)
    }

    fn commit(&self) -> anyhow::Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message=a change"])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        git(&self.folder, arguments)
    }
}

fn branch(number: usize) -> String {
    format!("topic-{number}")
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]);
    let output = git.current_dir(folder).args(arguments).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {} ended with {}: {said}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
