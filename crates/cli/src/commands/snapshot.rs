//! `sandgate snapshot`: list, show and remove snapshots.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use sandgate_domain::{IsolationLevel, LayerId, Snapshot as Row, SnapshotId, SnapshotState};
use sandgate_node::{GitProgram, Node, Repository};
use sandgate_snapshot_service::{KEEP_APPROVED, SnapshotService};
use sandgate_store::{Page, PageRequest};
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local::{Records, open_node};
use crate::named::IdStart;
use crate::output::{self, Format};
use crate::text;

/// Layers that nothing stands on are kept for that long, because the next run may need them again.
const IDLE_LAYERS: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many layers are removed at a time.
const COLLECTED_AT_ONCE: u32 = 200;
/// How many snapshots are listed.
const LISTED: u32 = 200;

/// The commands of `sandgate snapshot`.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// List the snapshots, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Of all repositories, not only the current one
        #[arg(long)]
        all: bool,
    },
    /// Show one snapshot
    #[command(alias = "get")]
    Show {
        /// Its id, or the start of it
        #[arg(value_parser = IdStart::snapshot)]
        id: IdStart,
    },
    /// Remove a snapshot and the layers that only it stands on
    #[command(alias = "rm")]
    Delete {
        /// Its id, or the start of it
        #[arg(value_parser = IdStart::snapshot)]
        id: IdStart,
    },
    /// Remove snapshots whose time is over, and layers that nothing stands on
    Prune {
        /// Also remove layers that the next run could have used again; the files of a gate go a week after their last use
        #[arg(long)]
        all_layers: bool,
    },
}

/// A snapshot as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    id: String,
    kind: String,
    repo: String,
    run: String,
    gate: Option<String>,
    state: &'static str,
    bytes: Option<u64>,
    layers: Vec<String>,
    base_fingerprint: String,
    /// The level at which it was made, and at which alone it can be entered.
    isolation: IsolationLevel,
    created_at: String,
    expires_at: Option<String>,
    pinned: bool,
}

impl From<&Row> for View {
    fn from(row: &Row) -> Self {
        let bytes = match row.state {
            SnapshotState::Local { bytes } => Some(bytes),
            SnapshotState::Sealing | SnapshotState::Deleted { .. } => None,
        };
        Self {
            id: row.id.to_string(),
            kind: row.kind.to_string(),
            repo: row.repository_key.clone(),
            run: row.run.to_string(),
            gate: row.gate.clone(),
            state: row.state.name(),
            bytes,
            layers: row.layers.iter().map(ToString::to_string).collect(),
            base_fingerprint: row.base_fingerprint.clone(),
            isolation: row.entry.isolation,
            created_at: text::time(row.created_at),
            expires_at: row.expires_at.map(text::time),
            pinned: row.pinned,
        }
    }
}

/// Lists, shows or removes.
pub async fn run(context: &Context, command: Snapshot) -> Result<Exit, Failure> {
    let records = Records::open(context).await?;
    match command {
        Snapshot::List { all } => list(context, &records, all).await?,
        Snapshot::Show { id } => {
            let view = View::from(&find(&records.snapshots, &id).await?);
            output::one(context.global.output, &view, &view.id, Some(&output::yaml(&view)?))?;
        }
        Snapshot::Delete { id } => {
            let snapshot = find(&records.snapshots, &id).await?;
            let id = snapshot.id;
            records.snapshots.delete(id).await?;
            let node =
                open_node(context, records.folder.join("node"), IsolationLevel::Namespaces).await?;
            let own = records.snapshots.forget_unfindable(&snapshot.layers).await?;
            let freed = remove_files(&node, own).await?;
            let others = remove_layers(&records.snapshots, &node, IDLE_LAYERS).await?;
            removed(context, &[id], freed + others)?;
        }
        Snapshot::Prune { all_layers } => {
            let expired = records.snapshots.prune(KEEP_APPROVED).await?;
            let node =
                open_node(context, records.folder.join("node"), IsolationLevel::Namespaces).await?;
            let idle = if all_layers { Duration::ZERO } else { IDLE_LAYERS };
            let freed = remove_layers(&records.snapshots, &node, idle).await?;
            removed(context, &expired, freed)?;
        }
    }
    Ok(Exit::Ok)
}

/// Says what was removed.
fn removed(context: &Context, ids: &[SnapshotId], freed: u64) -> Result<(), Failure> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    match context.global.output {
        Format::Table => {
            let what =
                if let [id] = &ids[..] { id.clone() } else { format!("{} snapshots", ids.len()) };
            context.tell(format!("removed {what}; {} freed", text::bytes(freed)));
            Ok(())
        }
        Format::Name => output::write(&ids.iter().map(|id| format!("{id}\n")).collect::<String>()),
        format @ (Format::Json | Format::Jsonl | Format::Yaml) => {
            output::document(format, &json!({ "removed": ids, "freedBytes": freed }))
        }
    }
}

/// The snapshot with this id, or with an id that starts so.
pub async fn find(snapshots: &SnapshotService, start: &IdStart) -> Result<Row, Failure> {
    if let Some(id) = start.whole() {
        return Ok(snapshots.get(id).await?);
    }
    let mut fitting = Vec::new();
    let mut page = PageRequest::first(LISTED);
    loop {
        let Page { items, next } = snapshots.list(None, &page).await?;
        fitting.extend(items.into_iter().filter(|row| start.fits(&row.id.to_string())));
        if next.is_none() {
            return start.only(fitting, |row| row.id.to_string());
        }
        page.after = next;
    }
}

async fn list(context: &Context, records: &Records, all: bool) -> Result<(), Failure> {
    let key = if all { None } else { Some(current_repository(context)?) };
    let page = records.snapshots.list(key.as_deref(), &PageRequest::first(LISTED)).await?;
    let views: Vec<View> = page.items.iter().map(View::from).collect();
    output::rows(
        context.global.output,
        &views,
        &[
            ("ID", |view| view.id.clone()),
            ("KIND", |view| view.kind.clone()),
            ("GATE", |view| view.gate.clone().unwrap_or_else(|| "-".to_owned())),
            ("SIZE", |view| view.bytes.map_or_else(|| "-".to_owned(), text::bytes)),
            ("CREATED", |view| view.created_at.clone()),
            ("EXPIRES", |view| view.expires_at.clone().unwrap_or_else(|| "never".to_owned())),
        ],
        |view| view.id.clone(),
    )
}

fn current_repository(context: &Context) -> Result<String, Failure> {
    let git = GitProgram::find(&context.environment.path())?;
    let opened = Repository::open(&git, &std::env::current_dir()?);
    let repository = opened.map_err(|error| Failure::from(error).help("or list with --all"))?;
    Ok(repository.key())
}

/// Removes snapshots whose time is over, and layers that nobody needed for a while.
pub async fn collect(
    snapshots: &SnapshotService,
    node: &Node,
    keep_approved: Duration,
) -> Result<(), Failure> {
    snapshots.prune(keep_approved).await?;
    remove_layers(snapshots, node, IDLE_LAYERS).await?;
    Ok(())
}

/// Removes the files of layers; the bytes that they held.
async fn remove_files(node: &Node, layers: Vec<LayerId>) -> Result<u64, Failure> {
    let store = Arc::clone(node.layers());
    let removing = sandgate_node::blocking(move || {
        let mut freed = 0;
        for id in layers {
            freed += store.get(id)?.map_or(0, |layer| layer.bytes);
            store.delete(id)?;
        }
        Ok(freed)
    });
    Ok(removing.await?)
}

/// Removes layers that nothing stands on and nobody used for a while; the bytes that they held.
async fn remove_layers(
    snapshots: &SnapshotService,
    node: &Node,
    idle: Duration,
) -> Result<u64, Failure> {
    let mut freed = 0;
    for layer in snapshots.removable_layers(idle, COLLECTED_AT_ONCE).await? {
        if !snapshots.forget_layer(layer.id).await? {
            continue;
        }
        let store = Arc::clone(node.layers());
        let id = layer.id;
        sandgate_node::blocking(move || store.delete(id)).await?;
        if let sandgate_domain::LayerState::Ready(content) = &layer.state {
            freed += content.bytes;
        }
    }
    Ok(freed)
}
