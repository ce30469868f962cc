//! What is measured: one file a figure, one function a file.

mod accept;
mod commit;
mod dev;
mod gate_run;
mod layers;
mod sandbox_life;
mod seal;
mod size;
mod start;
mod webhook;

use crate::stand::Stand;
use crate::table::Row;

/// Something that can be measured by itself.
pub struct Figure {
    /// What `ONLY=` selects by.
    pub name: &'static str,
    /// Measures it; one figure may give several rows.
    pub measure: fn(&Stand) -> anyhow::Result<Vec<Row>>,
}

/// In the order of the table.
pub const ALL: &[Figure] = &[
    Figure { name: "sandbox life", measure: sandbox_life::measure },
    Figure { name: "layers", measure: layers::measure },
    Figure { name: "store commit", measure: commit::measure },
    Figure { name: "seal", measure: seal::measure },
    Figure { name: "sandgate run", measure: gate_run::measure },
    Figure { name: "webhook", measure: webhook::measure },
    Figure { name: "accept", measure: accept::measure },
    Figure { name: "dev", measure: dev::measure },
    Figure { name: "start", measure: start::measure },
    Figure { name: "binary size", measure: size::measure },
];
