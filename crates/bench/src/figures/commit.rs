//! One committed transaction, in turns with the least that a durable write can be: 4 KiB and a wait for the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use sandgate_chassis::{SystemClock, SystemIds};
use sandgate_domain::{Clock, Holder, LiveSandbox, SandboxId, TenantId};
use sandgate_store::Store;

use crate::samples::Samples;
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 300;
const WARM_UP: usize = 10;
const BLOCK: [u8; 4096] = [7; 4096];

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let folder = stand.folder("commit")?;
    let store = stand.runtime.block_on(Store::open(&folder.join("state.db"), &SystemClock))?;
    let disk = File::create(folder.join("disk"))?;
    let (mut commits, mut writes) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + COUNT {
        let begin = Instant::now();
        disk.write_all_at(&BLOCK, (number * BLOCK.len()) as u64)?;
        disk.sync_data()?;
        let write = begin.elapsed();
        let row = row();
        let begin = Instant::now();
        stand.runtime.block_on(store.live_sandboxes().insert(&row))?;
        let commit = begin.elapsed();
        if number >= WARM_UP {
            commits.push(commit);
            writes.push(write);
        }
    }
    stand.runtime.block_on(store.close());
    let p50 = Samples::new(writes).percentile(50);
    Ok(vec![Row {
        figure: "store commit: one row, FULL".to_owned(),
        value: Value::Times(Samples::new(commits)),
        peer: Peer::Measured { name: "4 KiB + fdatasync", p50 },
        goal: Goal::Ratio { at_most: 3.0 },
    }])
}

fn row() -> LiveSandbox {
    let id = SandboxId::new(&SystemIds);
    LiveSandbox {
        id,
        tenant: TenantId::default(),
        run: None,
        step: None,
        holder: Holder { pid: std::process::id(), boot_id: "bench".to_owned(), start_ticks: 1 },
        scratch: id.to_string(),
        layers: Vec::new(),
        created_at: SystemClock.now(),
    }
}
