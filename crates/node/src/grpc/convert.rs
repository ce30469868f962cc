//! Messages into the values of this crate, with the name of the field in each error.

use std::path::PathBuf;

use sandgate_domain::{ErrorCode, LayerId, SandboxId, StepId, TrustTier};
use sandgate_wire::node::v1 as wire;
use sandgate_wire::{required_field, status};
use tonic::Status;

use crate::checkouts::{Place, Setup, Source};
use crate::node::Request;
use crate::scripts::RunFiles;

pub(super) fn missing(field: &str) -> Status {
    status(ErrorCode::InvalidArgument, format!("field `{field}` is missing"))
}

pub(super) fn layers(texts: &[String]) -> Result<Vec<LayerId>, Status> {
    let parse = |text: &String| required_field("layers", text).map_err(Status::from);
    texts.iter().map(parse).collect()
}

pub(super) fn source(source: Option<wire::Source>) -> Result<Source, Status> {
    let source = source.ok_or_else(|| missing("source"))?;
    let place = match source.from.ok_or_else(|| missing("source.from"))? {
        wire::source::From::Held(name) => Place::Held(name),
        wire::source::From::Repository(repository) => Place::Repository {
            folder: PathBuf::from(repository.folder),
            sha: repository.sha,
            base: repository.base_sha,
            branch: repository.branch,
        },
    };
    let setup = source.setup.map(|setup| {
        let mut environment: Vec<_> = setup.environment.into_iter().collect();
        environment.sort();
        Setup {
            commands: setup.commands,
            inputs: setup.inputs,
            placeholders: setup.placeholders,
            environment,
            network: setup.network,
        }
    });
    let tier = required_field("source.tier", &source.tier)?;
    Ok(Source { place, setup, tier })
}

pub(super) fn spec(
    id: SandboxId,
    step: Option<StepId>,
    tier: TrustTier,
    spec: Option<wire::SandboxSpec>,
) -> Result<Request, Status> {
    let spec = spec.ok_or_else(|| missing("spec"))?;
    let limits = spec.limits.ok_or_else(|| missing("spec.limits"))?;
    Ok(Request {
        id,
        step,
        tier,
        layers: layers(&spec.layers)?,
        network: spec.network,
        private_ranges: spec.private_ranges,
        limits: limits.into(),
        files: RunFiles {
            scripts: spec.scripts,
            directory: spec.directory,
            changed_paths: spec.changed_paths.map(|changed| changed.paths),
        },
    })
}
