//! What must be so when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use sandgate_testkit::{Remains, host, queries};

use super::load::Pull;
use crate::dev::harness::{Dev, check};
use crate::world::{World, is_soon};

/// What is not as it must be.
#[derive(Default)]
pub struct Findings {
    pub lost: Vec<String>,
    pub twice: Vec<String>,
    pub leaks: Vec<String>,
}

impl Findings {
    /// What should have been done and is not.
    pub fn unfinished(&mut self, rows: &[Vec<String>]) {
        self.lost.extend(rows.iter().map(|row| format!("{} is not done", row.join(" "))));
    }

    /// Each pull request is as the forge has it, was run once at its present revision, and says what the run says.
    pub fn look_at_pulls(&mut self, world: &World, dev: &Dev<'_>, pulls: &[Pull]) {
        let known = world.sql(queries::PULLS);
        let runs = world.sql(queries::RUNS_OF_PULLS);
        for pull in pulls {
            let number = pull.number.to_string();
            let Some(row) = known.iter().find(|row| row[0] == number) else {
                self.lost.push(format!("pull request {number} is not known"));
                continue;
            };
            let [_, revision, head, is_open] = &row[..] else { panic!("{row:?}") };
            if (head, is_open == "1") != (&pull.head, pull.is_open) {
                self.lost.push(format!("{pull:?} is known as {row:?}"));
            }
            if !pull.is_open {
                continue;
            }
            let wanted = if pull.is_broken { "failure" } else { "success" };
            let of_revision: Vec<&Vec<String>> =
                runs.iter().filter(|run| run[0] == number && run[1] == *revision).collect();
            match &of_revision[..] {
                [] => self.lost.push(format!("{pull:?} has no run of revision {revision}")),
                [run] if run[3] == wanted => self.look_at_words(dev, pull, wanted),
                [run] => self.lost.push(format!("{pull:?} ended {run:?}, not {wanted}")),
                more => self.twice.push(format!("{pull:?} was run more than once: {more:?}")),
            }
        }
    }

    /// Check and comment say what the run says.
    fn look_at_words(&mut self, dev: &Dev<'_>, pull: &Pull, wanted: &str) {
        let shown = dev.pull(pull.number).unwrap_or_default();
        let deciding = check(&shown, "sandgate");
        let comment = shown["comment"].as_str().unwrap_or_default();
        let is_said = comment.contains("`whole`") && comment.contains(&pull.head[..7]);
        if deciding["conclusion"] != wanted || !is_said {
            self.lost.push(format!("{pull:?} is shown as {deciding}: {comment}"));
        }
    }

    /// One accepted result a gate, one end a run, a snapshot of each success and of each failure, and no other ones.
    pub fn look_at_rows(&mut self, world: &World) {
        let list = |query| world.sql(query).into_iter().map(|row| row.join(" "));
        self.twice.extend(list(queries::ENDED_TWICE).map(|run| format!("the end of {run}")));
        self.lost.extend(list(queries::NOT_ACCEPTED).map(|step| format!("the report of {step}")));
        self.lost
            .extend(list(queries::MISSING_SNAPSHOTS).map(|of| format!("the snapshot of {of}")));
        let unused = list(queries::UNUSED_SNAPSHOTS);
        self.leaks.extend(unused.map(|id| format!("the snapshot {id}, that nothing leads to")));
        self.look_at_layers(world);
    }

    /// The log of a gate that ended well has all that its last attempt wrote.
    pub fn look_at_logs(&mut self, world: &World) {
        for row in world.sql(queries::LOUDEST) {
            let log = world.sandgate(&["logs", "loud", "--run", &row[0]]);
            if !log.stdout.ends_with("line 1\nline 2\nline 3\nline 4\nline 5\nline 6\n") {
                self.lost.push(format!("output of {}: {}{}", row[0], log.stdout, log.stderr));
            }
        }
    }

    fn look_at_layers(&mut self, world: &World) {
        let data = world.state().join("sandgate");
        let on_disk: BTreeSet<String> = host::layers_on_disk(&data).into_iter().collect();
        let rows: BTreeMap<String, String> = world
            .sql(queries::LAYERS)
            .into_iter()
            .map(|row| (row[0].clone(), row[1].clone()))
            .collect();
        for (id, state) in &rows {
            match state.as_str() {
                "used" | "cached" if !on_disk.contains(id) => {
                    self.lost.push(format!("the files of {id}, which is {state}"));
                }
                "building" | "unused" => self.leaks.push(format!("{id}, which is {state}")),
                _ => {}
            }
        }
        for id in &on_disk {
            let state = rows.get(id).map_or("unknown", String::as_str);
            if !matches!(state, "used" | "cached") {
                self.leaks.push(format!("the files of {id}, which is {state}"));
            }
        }
    }

    /// Nothing of any sandbox is on the host.
    pub fn look_at_host(&mut self, world: &World) {
        let mut left = Remains::default();
        is_soon(std::time::Duration::from_secs(10), || {
            left = world.remains();
            left.is_empty()
        });
        self.leaks.extend(left.to_string().lines().map(str::to_owned));
    }
}
