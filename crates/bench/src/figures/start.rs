//! How long the binary takes to answer: `--version`, which does nothing, and `doctor`, which probes the machine.

use anyhow::{Context, bail};

use crate::samples::Samples;
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 50;

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let data = stand.folder("start")?;
    let data = data.to_str().context("the folder has no UTF-8 name")?;
    let cases: [(&[&str], f64); 2] =
        [(&["--version"], 20.0), (&["doctor", "--data-dir", data], 100.0)];
    let mut rows = Vec::new();
    for (arguments, milliseconds) in cases {
        let samples = Samples::of(COUNT, |_| {
            let status = stand.sandgate(arguments).status()?;
            if !status.success() {
                bail!("sandgate {} ended with {status}", arguments.join(" "));
            }
            Ok(())
        })?;
        rows.push(Row {
            figure: format!("start: sandgate {}", arguments[0]),
            value: Value::Times(samples),
            peer: Peer::Missing { why: "no other program answers this".to_owned() },
            goal: Goal::P50 { milliseconds },
        });
    }
    Ok(rows)
}
