//! `sandgate-bench [PATTERN]`: measures this machine and prints a Markdown table. Only figures whose name holds the pattern
//! are measured.

mod figures;
mod machine;
mod peers;
mod pulls;
mod samples;
mod server;
mod stand;
mod table;

use anyhow::Context;

use crate::stand::Stand;

fn main() -> anyhow::Result<()> {
    sandgate_sandbox::enter_if_init();
    let pattern = std::env::args().nth(1).unwrap_or_default();
    let wanted: Vec<_> =
        figures::ALL.iter().filter(|figure| figure.name.contains(pattern.as_str())).collect();
    if wanted.is_empty() {
        let names: Vec<_> = figures::ALL.iter().map(|figure| figure.name).collect();
        anyhow::bail!("no figure is called `{pattern}`; there are: {}", names.join(", "));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stand = Stand::open(&runtime)?;
    print!("{}", machine::header(&stand));
    print!("{}", table::head());
    for figure in wanted {
        eprintln!("measuring: {}", figure.name);
        let rows = (figure.measure)(&stand).with_context(|| format!("figure `{}`", figure.name))?;
        for row in rows {
            print!("{row}");
        }
    }
    Ok(())
}
