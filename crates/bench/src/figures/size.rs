//! The size of the optimised binary, which is built stripped.

use std::fs;

use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    Ok(vec![Row {
        figure: "binary size, stripped".to_owned(),
        value: Value::Bytes(fs::metadata(stand.binary())?.len()),
        peer: Peer::Missing { why: "a size has none".to_owned() },
        goal: Goal::Megabytes { at_most: 60.0 },
    }])
}
