//! The layers that all steps of a run stand on: the source, and what the setup sees.

use sandgate_domain::{LayerId, LayerKind, TrustTier};
use sandgate_engine::config::Network;
use sandgate_engine::plan::Plan;
use sandgate_wire::node::v1 as node;
use sandgate_wire::required_field;

use crate::error::Error;
use crate::services::{LayerWanted, Services, Turn};

/// Where the files of a run are: a checkout that the machine holds, or a commit in a repository.
pub use sandgate_wire::node::v1::source::From as Origin;

/// The layers that the steps of a run stand on.
#[derive(Debug)]
pub struct Prepared {
    /// The files of the run.
    pub source: LayerId,
    /// How the layer of the setup is found; none without a setup.
    pub(crate) setup: Option<LayerWanted>,
    /// Where the files are.
    place: node::Source,
    /// The commit that is tested.
    pub head: String,
    /// The commit that it would be merged into.
    pub base: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The paths that differ from the base, if they are known.
    pub changed_paths: Option<Vec<String>>,
}

/// Makes sure that the files of a run are a layer, and finds out what its setup depends on.
pub(crate) async fn prepare(
    services: &Services,
    origin: Origin,
    plan: &Plan,
    tier: TrustTier,
) -> Result<Prepared, Error> {
    let place = node::Source { from: Some(origin), setup: setup(plan), tier: tier.to_string() };
    let request = node::ReadSourceRequest { source: Some(place.clone()) };
    let read = services.node.clone().read_source(request).await?.into_inner();
    let fingerprint = &services.facts().await?.base_fingerprint;
    let wanted = |kind, key| {
        let base_fingerprint = fingerprint.clone();
        LayerWanted { kind, key: Some(key), tier, base_fingerprint }
    };
    let kind: LayerKind = required_field("source_kind", &read.source_kind)?;
    let source_layer = wanted(kind, read.source_key);
    let part = node::build_layer_request::Part::Source;
    Ok(Prepared {
        source: built_layer(services, &source_layer, &place, part).await?,
        setup: read.setup_key.map(|key| wanted(LayerKind::Setup, key)),
        place,
        head: read.head_sha,
        base: read.base_sha,
        branch: read.branch,
        changed_paths: read.changed_paths.map(|changed| changed.paths),
    })
}

fn setup(plan: &Plan) -> Option<node::Setup> {
    let setup = plan.environment.setup.as_ref()?;
    let environment = plan.environment.env.iter();
    Some(node::Setup {
        commands: setup.run.clone(),
        inputs: setup.inputs.clone(),
        placeholders: setup.placeholders.clone(),
        environment: environment.map(|(name, value)| (name.clone(), value.clone())).collect(),
        network: match setup.network {
            Network::None => "none",
            Network::Full => "full",
        }
        .to_owned(),
    })
}

impl Prepared {
    /// The layer with nothing but what the setup sees.
    pub(crate) async fn inputs_layer(&self, services: &Services) -> Result<LayerId, Error> {
        let setup = self.setup.as_ref().ok_or(Error::NotPrepared)?;
        let key = setup.key.as_ref().map(|key| format!("inputs:{key}"));
        let wanted = LayerWanted { kind: LayerKind::Commit, key, ..setup.clone() };
        let part = node::build_layer_request::Part::Inputs;
        built_layer(services, &wanted, &self.place, part).await
    }
}

/// The layer that is wanted, built of a source if it is not there or no longer.
async fn built_layer(
    services: &Services,
    wanted: &LayerWanted,
    place: &node::Source,
    part: node::build_layer_request::Part,
) -> Result<LayerId, Error> {
    let build = match services.turn(wanted).await? {
        Turn::Ready(layer) => return Ok(layer),
        Turn::Build(build) => build,
    };
    let request = node::BuildLayerRequest {
        source: Some(place.clone()),
        layer: build.layer.to_string(),
        part: part.into(),
    };
    let building = async {
        let built = services.node.clone().build_layer(request).await?;
        Ok(((), Some(built.into_inner())))
    };
    services.build(build, building).await?;
    Ok(build.layer)
}
