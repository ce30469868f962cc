//! Turning the writable layer of a stopped sandbox into a layer that is on the disk: 200 changed files of 4 KiB. The
//! layers below are not looked at, so their size does not matter.

use std::fs;
use std::time::Instant;

use sandgate_chassis::SystemIds;
use sandgate_domain::{LayerId, SandboxId};
use sandgate_node::{LayerStore, SealRule};

use crate::samples::Samples;
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 30;
const WARM_UP: usize = 2;
const FOLDERS: usize = 10;
const FILES: usize = 20;
const TEXT: [u8; 4096] = [b'x'; 4096];

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let store = LayerStore::open(&stand.folder("seal")?)?;
    let mut times = Vec::new();
    for number in 0..WARM_UP + COUNT {
        let scratch = store.new_scratch(SandboxId::new(&SystemIds))?;
        for folder in 0..FOLDERS {
            let folder = scratch.upper().join(format!("folder-{folder}"));
            fs::create_dir(&folder)?;
            for file in 0..FILES {
                fs::write(folder.join(format!("file-{file}")), TEXT)?;
            }
        }
        let begin = Instant::now();
        store.seal(&scratch, SealRule::Gate, LayerId::new(&SystemIds))?;
        if number >= WARM_UP {
            times.push(begin.elapsed());
        }
    }
    Ok(vec![Row {
        figure: "seal: 200 changed files, on the disk".to_owned(),
        value: Value::Times(Samples::new(times)),
        peer: Peer::Missing { why: "no other program keeps such layers".to_owned() },
        goal: Goal::P50 { milliseconds: 100.0 },
    }])
}
