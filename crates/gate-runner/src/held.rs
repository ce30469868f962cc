//! One sandbox that a step holds. When nobody holds it any more it is removed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::LayerId;
use sandgate_wire::node::v1 as node;
use sandgate_wire::sandboxes::v1 as sandboxes;
use sandgate_wire::token::with_step_token;
use tonic::{Request, Streaming};

use crate::error::Error;
use crate::lease::Lease;
use crate::services::Services;

/// A living sandbox.
pub(crate) struct Held {
    services: Services,
    lease: Arc<Lease>,
    id: String,
    environment: HashMap<String, String>,
    /// Where its folders are, by what sandboxes call them; empty if they are there.
    places: HashMap<String, String>,
    is_gone: bool,
}

/// A command to be started.
pub(crate) struct Command {
    pub argv: Vec<String>,
    pub directory: String,
    /// Beside those that every command of the sandbox gets.
    pub environment: Vec<(String, String)>,
    /// After this long everything inside is killed.
    pub timeout: Duration,
}

impl Held {
    /// Makes a sandbox for a step.
    pub async fn create(
        services: &Services,
        lease: &Arc<Lease>,
        spec: node::SandboxSpec,
    ) -> Result<Self, Error> {
        let request = sandboxes::CreateRequest { spec: Some(spec) };
        let request = with_step_token(request, &lease.token());
        let reply = services.sandboxes.clone().create(request).await?.into_inner();
        Ok(Self {
            services: services.clone(),
            lease: Arc::clone(lease),
            id: reply.id,
            environment: reply.environment,
            places: reply.places,
            is_gone: false,
        })
    }

    /// The variables that every command gets.
    pub fn environment(&self) -> &HashMap<String, String> {
        &self.environment
    }

    /// What sandboxes call a path that a tool told.
    pub fn inside(&self, path: &str) -> String {
        inside(&self.places, path)
    }

    /// Starts a command.
    pub async fn exec(&self, command: Command) -> Result<Streaming<node::ExecEvent>, Error> {
        let mut environment = self.environment.clone();
        environment.extend(command.environment);
        let request = node::ExecRequest {
            sandbox: self.id.clone(),
            command: command.argv,
            directory: command.directory,
            environment,
            timeout_ms: u64::try_from(command.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        Ok(self.services.node.clone().exec(self.signed(request)).await?.into_inner())
    }

    /// Kills every process inside; the sandbox stays.
    pub async fn kill(&self) -> Result<(), Error> {
        let request = node::KillRequest { sandbox: self.id.clone() };
        self.services.node.clone().kill(self.signed(request)).await?;
        Ok(())
    }

    /// What became of its limits and connections, after everything inside has ended.
    pub async fn inspect(&self) -> Result<node::InspectReply, Error> {
        let request = node::InspectRequest { sandbox: self.id.clone(), settled: true };
        Ok(self.services.node.clone().inspect(self.signed(request)).await?.into_inner())
    }

    /// Files that were written below the workspace.
    pub async fn read_files(
        &self,
        globs: Vec<String>,
        max_files: u32,
        max_bytes: u64,
        max_total_bytes: u64,
    ) -> Result<Streaming<node::ReadFilesReply>, Error> {
        let sandbox = self.id.clone();
        let request =
            node::ReadFilesRequest { sandbox, globs, max_files, max_bytes, max_total_bytes };
        Ok(self.services.node.clone().read_files(self.signed(request)).await?.into_inner())
    }

    /// Ends it and turns what was written into a layer.
    pub async fn seal(
        mut self,
        layer: LayerId,
        rule: node::SealRule,
    ) -> Result<node::LayerContent, Error> {
        let request = sandboxes::SealRequest {
            id: self.id.clone(),
            layer: layer.to_string(),
            rule: rule.into(),
        };
        let sealed = self.services.sandboxes.clone().seal(self.signed(request)).await?.into_inner();
        self.is_gone = true;
        Ok(sealed)
    }

    /// Ends it and removes what was written.
    pub async fn destroy(mut self) -> Result<(), Error> {
        self.is_gone = true;
        destroy(&self.services, &self.lease, &self.id).await
    }

    fn signed<T>(&self, message: T) -> Request<T> {
        with_step_token(message, &self.lease.token())
    }
}

fn inside(places: &HashMap<String, String>, path: &str) -> String {
    let found = places.iter().find_map(|(name, place)| {
        let rest = Path::new(path).strip_prefix(place).ok()?;
        Some(Path::new(name).join(rest).display().to_string())
    });
    found.unwrap_or_else(|| path.to_owned())
}

async fn destroy(services: &Services, lease: &Lease, id: &str) -> Result<(), Error> {
    let request = sandboxes::DestroyRequest { id: id.to_owned() };
    let request = with_step_token(request, &lease.token());
    services.sandboxes.clone().destroy(request).await?;
    Ok(())
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_gone {
            return;
        }
        let (services, lease) = (self.services.clone(), Arc::clone(&self.lease));
        let id = std::mem::take(&mut self.id);
        tokio::spawn(async move {
            if let Err(error) = destroy(&services, &lease, &id).await {
                let error = error.chain();
                tracing::warn!(
                    sandbox.id = id,
                    error,
                    "a sandbox that was let go is left to the sweep"
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_tools_tell_are_named_as_everywhere() {
        let places =
            [("/workspace", "/state/root/workspace"), ("/home/gate", "/state/root/home/gate")];
        let places = places.map(|(name, place)| (name.to_owned(), place.to_owned())).into();
        for (told, named) in [
            ("/state/root/workspace/src/a.rs", "/workspace/src/a.rs"),
            ("/state/root/home/gate/.cargo/x.rs", "/home/gate/.cargo/x.rs"),
            ("/state/root/workspaces/a.rs", "/state/root/workspaces/a.rs"),
            ("src/a.rs", "src/a.rs"),
            ("/usr/lib/x.py", "/usr/lib/x.py"),
        ] {
            assert_eq!(inside(&places, told), named);
            assert_eq!(inside(&HashMap::new(), told), told);
        }
    }
}
