//! What a layer costs: lives with 1, 10 and 100 layers in turns.

use super::sandbox_life::live;
use crate::samples::Samples;
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 60;
const WARM_UP: usize = 3;
const LAYERS: [usize; 3] = [1, 10, 100];

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let folder = stand.folder("layers")?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..WARM_UP + COUNT {
        for (layers, times) in LAYERS.into_iter().zip(&mut times) {
            let spec = stand.spec(&folder, &format!("layers-{layers}-{number}"), layers)?;
            let life = stand.runtime.block_on(live(stand, spec))?;
            if number >= WARM_UP {
                times.push(life.total);
            }
        }
    }
    let alone = || Peer::Missing { why: "no other program stacks these layers".to_owned() };
    let samples = times.map(Samples::new);
    let milliseconds =
        (samples[2].percentile(50) - samples[0].percentile(50)) / (LAYERS[2] - LAYERS[0]) as f64;
    let mut rows: Vec<Row> = LAYERS
        .into_iter()
        .zip(samples)
        .map(|(layers, samples)| Row {
            figure: format!("layers: life over {layers}"),
            value: Value::Times(samples),
            peer: alone(),
            goal: Goal::P50 { milliseconds: 20.0 },
        })
        .collect();
    rows.push(Row {
        figure: "layers: cost of one more".to_owned(),
        value: Value::Difference { count: COUNT, milliseconds },
        peer: alone(),
        goal: Goal::P50 { milliseconds: 0.1 },
    });
    Ok(rows)
}
