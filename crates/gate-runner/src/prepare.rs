//! The layers that all steps of a run stand on: the source, and what the setup sees.

use std::sync::Arc;

use sandgate_domain::{IsolationLevel, LayerContent, LayerId, LayerKind, TrustTier};
use sandgate_engine::config::Network;
use sandgate_engine::plan::Plan;
use sandgate_integration_agent::RunSource;
use sandgate_node::{
    BranchName, GitProgram, Inputs, Layer, Node, Repository, SetupFacts, Sha, SourceOptions, Tree,
};
use sandgate_snapshot_service::{LayerTurn, LayerWanted, SnapshotService};

use crate::error::Error;

/// The files of a run, read from a repository of this machine.
#[derive(Debug)]
pub struct Checkout {
    /// The repository.
    pub repository: Repository,
    /// The files: of a commit, or of the working tree as it was when it was read.
    pub tree: Tree,
    /// The commit that they would be merged into.
    pub base: Option<Sha>,
    /// The branch.
    pub branch: Option<BranchName>,
}

impl Checkout {
    /// The files of a commit in a repository of this machine.
    pub(crate) async fn of(git: &GitProgram, source: &RunSource) -> Result<Self, Error> {
        let git = git.clone();
        let source = source.clone();
        let checkout = sandgate_node::blocking(move || {
            let repository = Repository::open(&git, &source.folder)?;
            let sha = repository.resolve(&source.sha)?;
            let tree = repository.commit_tree(&sha)?;
            let base = source.base.as_deref().map(|base| repository.resolve(base)).transpose()?;
            let branch = source.branch.and_then(|branch| branch.parse().ok());
            Ok(Self { repository, tree, base, branch })
        });
        Ok(checkout.await?)
    }
}

/// The layers that the steps of a run stand on.
#[derive(Debug)]
pub struct Prepared {
    /// The files of the run.
    pub source: LayerId,
    /// What the setup sees and how its layer is found; none without a setup.
    pub setup: Option<PreparedSetup>,
    /// The commit that is tested.
    pub head: Sha,
    /// The commit that it would be merged into.
    pub base: Option<Sha>,
    /// The branch.
    pub branch: Option<String>,
    /// The paths that differ from the base, if they are known.
    pub changed_paths: Option<Vec<String>>,
}

/// What a setup sees, and how its layer is found.
#[derive(Debug)]
pub struct PreparedSetup {
    /// The layer of the setup.
    pub wanted: LayerWanted,
    checkout: Arc<Checkout>,
    inputs: Arc<Inputs>,
}

/// Makes sure that the files of a run are a layer, and finds out what its setup depends on.
pub(crate) async fn prepare(
    node: &Node,
    snapshots: &SnapshotService,
    checkout: Checkout,
    plan: &Plan,
    tier: TrustTier,
) -> Result<Prepared, Error> {
    may_run(node.level(), tier)?;
    let checkout = Arc::new(checkout);
    let fingerprint = node.base().fingerprint.clone();
    let setup = read_setup(&checkout, plan, tier, &fingerprint).await?;
    let kind =
        if checkout.tree.is_working_tree() { LayerKind::WorkingTree } else { LayerKind::Commit };
    let inputs = setup.as_ref().map(|setup| Arc::clone(&setup.inputs));
    let key = checkout.tree.layer_key(&options(&checkout, inputs.as_deref()));
    let key = node.level_key(key);
    let wanted = LayerWanted { kind, key: Some(key), tier, base_fingerprint: fingerprint };
    let store = Arc::clone(node.layers());
    let owner = node.layer_owner();
    let source_checkout = Arc::clone(&checkout);
    let source = built_layer(node, snapshots, &wanted, move |id| {
        let options = options(&source_checkout, inputs.as_deref());
        source_checkout.repository.source_layer(&store, id, &source_checkout.tree, &options, owner)
    })
    .await?;
    Ok(Prepared {
        source,
        setup,
        head: checkout.tree.commit().clone(),
        base: checkout.base.clone(),
        branch: checkout.branch.as_ref().map(|branch| branch.as_str().to_owned()),
        changed_paths: changed_paths(&checkout).await?,
    })
}

/// Plain processes reach all that their user does, so only what the user trusts is run so.
fn may_run(level: IsolationLevel, tier: TrustTier) -> Result<(), Error> {
    match (level, tier) {
        (IsolationLevel::Namespaces, _) | (IsolationLevel::Process, TrustTier::Member) => Ok(()),
        (IsolationLevel::Process, TrustTier::Agent | TrustTier::Fork) => {
            Err(Error::Untrusted(tier))
        }
    }
}

fn options<'a>(checkout: &'a Checkout, inputs: Option<&'a Inputs>) -> SourceOptions<'a> {
    SourceOptions { setup: inputs, base: checkout.base.as_ref(), branch: checkout.branch.as_ref() }
}

async fn read_setup(
    checkout: &Arc<Checkout>,
    plan: &Plan,
    tier: TrustTier,
    fingerprint: &str,
) -> Result<Option<PreparedSetup>, Error> {
    let Some(setup) = plan.environment.setup.clone() else { return Ok(None) };
    let environment: Vec<(String, String)> =
        plan.environment.env.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    let reader = Arc::clone(checkout);
    let fingerprint = fingerprint.to_owned();
    let base_fingerprint = fingerprint.clone();
    let (inputs, key) = sandgate_node::blocking(move || {
        let inputs = reader.repository.inputs(&reader.tree, &setup.inputs, &setup.placeholders)?;
        let key = inputs.setup_key(&SetupFacts {
            commands: &setup.run,
            environment: &environment,
            network: match setup.network {
                Network::None => "none",
                Network::Full => "full",
            },
            base_fingerprint: &fingerprint,
            trust_domain: tier.as_str(),
        });
        Ok((inputs, key))
    })
    .await?;
    let wanted = LayerWanted { kind: LayerKind::Setup, key: Some(key), tier, base_fingerprint };
    let checkout = Arc::clone(checkout);
    Ok(Some(PreparedSetup { wanted, checkout, inputs: Arc::new(inputs) }))
}

async fn changed_paths(checkout: &Arc<Checkout>) -> Result<Option<Vec<String>>, Error> {
    let Some(base) = checkout.base.clone() else { return Ok(None) };
    let reader = Arc::clone(checkout);
    let changed = sandgate_node::blocking(move || {
        let base = reader.repository.commit_tree(&base)?;
        Ok(reader.tree.changed_since(&base))
    })
    .await?;
    let texts = changed.into_iter().map(|path| String::from_utf8_lossy(&path).into_owned());
    Ok(Some(texts.collect()))
}

impl PreparedSetup {
    /// The layer with nothing but what the setup sees.
    pub(crate) async fn inputs_layer(
        &self,
        node: &Node,
        snapshots: &SnapshotService,
    ) -> Result<LayerId, Error> {
        let key = self.wanted.key.as_ref().map(|key| format!("inputs:{key}"));
        let wanted = LayerWanted { kind: LayerKind::Commit, key, ..self.wanted.clone() };
        let checkout = Arc::clone(&self.checkout);
        let inputs = Arc::clone(&self.inputs);
        let store = Arc::clone(node.layers());
        let owner = node.layer_owner();
        built_layer(node, snapshots, &wanted, move |id| {
            checkout.repository.inputs_layer(&store, id, &checkout.tree, &inputs, owner)
        })
        .await
    }
}

/// The layer that is wanted, built by `build` if it is not there or no longer.
async fn built_layer(
    node: &Node,
    snapshots: &SnapshotService,
    wanted: &LayerWanted,
    build: impl FnOnce(LayerId) -> Result<Layer, sandgate_node::Error> + Send + 'static,
) -> Result<LayerId, Error> {
    let (layer, fence) = match turn(node, snapshots, wanted).await? {
        LayerTurn::Ready(layer) => return Ok(layer),
        LayerTurn::Build { layer, fence } => (layer, fence),
    };
    let work = sandgate_node::blocking(move || build(layer));
    let built = tokio::select! {
        built = work => built,
        () = snapshots.keep_building(layer, fence) => unreachable_keep(),
    };
    match built {
        Ok(built) => {
            finish(node, snapshots, &built, fence).await?;
            Ok(layer)
        }
        Err(error) => {
            snapshots.abandon_layer(layer, fence).await?;
            Err(error.into())
        }
    }
}

/// [`SnapshotService::keep_building`] goes on until it is dropped.
fn unreachable_keep<T>() -> Result<T, sandgate_node::Error> {
    Err(sandgate_node::Error::Interrupted)
}

/// Whose turn it is to build; a layer whose files are gone or damaged is given up first.
pub(crate) async fn turn(
    node: &Node,
    snapshots: &SnapshotService,
    wanted: &LayerWanted,
) -> Result<LayerTurn, Error> {
    loop {
        let turn = snapshots.take_turn(wanted).await?;
        let LayerTurn::Ready(layer) = turn else { return Ok(turn) };
        let store = Arc::clone(node.layers());
        match sandgate_node::blocking(move || store.get_whole(layer)).await {
            Ok(Some(_)) => return Ok(turn),
            Ok(None) => {
                tracing::info!(layer.id = %layer, "a layer is not here any more; it is built again");
            }
            Err(error @ sandgate_node::Error::Corrupt { .. }) => {
                tracing::warn!(layer.id = %layer, %error, "a layer is built again");
            }
            Err(error) => return Err(error.into()),
        }
        // False if somebody else has given it up since; asking again tells.
        snapshots.give_up_layer(layer).await?;
    }
}

/// Tells that the files of a layer are in place.
pub(crate) async fn finish(
    node: &Node,
    snapshots: &SnapshotService,
    layer: &Layer,
    fence: u64,
) -> Result<(), Error> {
    let store = Arc::clone(node.layers());
    let id = layer.id;
    let digest = sandgate_node::blocking(move || store.digest(id)).await?.to_string();
    let content = LayerContent { digest, bytes: layer.bytes, files: layer.files };
    snapshots.finish_layer(layer.id, fence, &content).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_never_run_as_plain_processes() {
        for tier in TrustTier::ALL {
            assert!(may_run(IsolationLevel::Namespaces, *tier).is_ok(), "{tier}");
            let refused = may_run(IsolationLevel::Process, *tier).err();
            assert_eq!(refused.is_none(), *tier == TrustTier::Member, "{tier}");
        }
    }
}
