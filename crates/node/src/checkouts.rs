//! The files of runs, read: what the layers made of them are called, and how they are made.
//!
//! What was read lately is kept, since a layer is often made of it right after.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::layers::{Layer, LayerStore, Owner};
use crate::plain::level_key;
use crate::source::{
    BranchName, GitProgram, Inputs, Repository, SetupFacts, Sha, SourceOptions, Tree,
};
use sandgate_domain::{IsolationLevel, LayerId, TrustTier};

/// How many sources are kept.
const KEPT: usize = 16;

/// The files of a run, in a repository of this machine.
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

/// Where the files of a run are, and what else its layers depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub place: Place,
    pub setup: Option<Setup>,
    pub tier: TrustTier,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A checkout that was handed over in this process, by its name.
    Held(String),
    Repository {
        folder: PathBuf,
        sha: String,
        base: Option<String>,
        branch: Option<String>,
    },
}

/// What a setup is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Setup {
    pub commands: Vec<String>,
    pub inputs: Vec<String>,
    pub placeholders: Vec<String>,
    /// Sorted by name.
    pub environment: Vec<(String, String)>,
    pub network: String,
}

/// A source that was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub checkout: Arc<Checkout>,
    pub source_key: String,
    pub setup: Option<ReadSetup>,
    /// The paths that differ from the base, if there is one.
    pub changed_paths: Option<Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct ReadSetup {
    pub key: String,
    inputs: Inputs,
}

/// What of a source a layer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All files, and a repository with the recent history.
    Source,
    /// What the setup sees.
    Inputs,
}

/// The sources of one machine.
#[derive(Debug, Default)]
pub(crate) struct Checkouts {
    held: Mutex<HashMap<String, Arc<Checkout>>>,
    /// Found when it is first needed; its readers live on.
    git: Mutex<Option<GitProgram>>,
    /// The latest last.
    read: Mutex<VecDeque<(Source, Arc<Read>)>>,
}

impl Checkouts {
    pub fn hold(&self, name: String, checkout: Checkout) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(name, Arc::new(checkout));
    }

    fn git(&self, search_path: &[PathBuf]) -> Result<GitProgram, Error> {
        let mut known = self.git.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(git) = &*known {
            return Ok(git.clone());
        }
        let git = GitProgram::find(search_path)?;
        *known = Some(git.clone());
        Ok(git)
    }

    fn known(&self, source: &Source) -> Option<Arc<Read>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.iter().find(|(known, _)| known == source).map(|(_, found)| Arc::clone(found))
    }

    /// Reads a source, or takes it from what was read lately. Blocks.
    pub fn read(
        &self,
        source: &Source,
        search_path: &[PathBuf],
        fingerprint: &str,
        level: IsolationLevel,
    ) -> Result<Arc<Read>, Error> {
        if let Some(known) = self.known(source) {
            return Ok(known);
        }
        let checkout = match &source.place {
            Place::Held(name) => {
                let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                held.get(name).cloned().ok_or_else(|| Error::NotHeld(name.clone()))?
            }
            Place::Repository { folder, sha, base, branch } => {
                let git = self.git(search_path)?;
                Arc::new(Checkout::of(&git, folder, sha, base.as_deref(), branch.as_deref())?)
            }
        };
        let read = Arc::new(Read::of(checkout, source, fingerprint, level)?);
        let mut kept = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((source.clone(), Arc::clone(&read)));
        Ok(read)
    }
}

impl Checkout {
    fn of(
        git: &GitProgram,
        folder: &Path,
        sha: &str,
        base: Option<&str>,
        branch: Option<&str>,
    ) -> Result<Self, Error> {
        let repository = Repository::open(git, folder)?;
        let sha = repository.resolve(sha)?;
        let tree = repository.commit_tree(&sha)?;
        let base = base.map(|base| repository.resolve(base)).transpose()?;
        let branch = branch.and_then(|branch| branch.parse().ok());
        Ok(Self { repository, tree, base, branch })
    }

    fn changed_paths(&self) -> Result<Option<Vec<String>>, Error> {
        let Some(base) = &self.base else { return Ok(None) };
        let base = self.repository.commit_tree(base)?;
        let changed = self.tree.changed_since(&base);
        let texts = changed.into_iter().map(|path| String::from_utf8_lossy(&path).into_owned());
        Ok(Some(texts.collect()))
    }

    fn options<'a>(&'a self, inputs: Option<&'a Inputs>) -> SourceOptions<'a> {
        SourceOptions { setup: inputs, base: self.base.as_ref(), branch: self.branch.as_ref() }
    }
}

impl Read {
    fn of(
        checkout: Arc<Checkout>,
        source: &Source,
        fingerprint: &str,
        level: IsolationLevel,
    ) -> Result<Self, Error> {
        let setup = source
            .setup
            .as_ref()
            .map(|setup| ReadSetup::of(&checkout, setup, source.tier, fingerprint))
            .transpose()?;
        let inputs = setup.as_ref().map(|setup| &setup.inputs);
        let source_key = checkout.tree.layer_key(&checkout.options(inputs));
        let source_key = level_key(level, source_key);
        let changed_paths = checkout.changed_paths()?;
        Ok(Self { checkout, source_key, setup, changed_paths })
    }

    /// Makes a layer of it. Blocks.
    pub fn build(
        &self,
        store: &LayerStore,
        id: LayerId,
        part: Part,
        owner: Owner,
    ) -> Result<Layer, Error> {
        let Checkout { repository, tree, .. } = &*self.checkout;
        let inputs = self.setup.as_ref().map(|setup| &setup.inputs);
        match part {
            Part::Source => {
                let options = self.checkout.options(inputs);
                repository.source_layer(store, id, tree, &options, owner)
            }
            Part::Inputs => {
                let inputs = inputs.ok_or(Error::NoSetup)?;
                repository.inputs_layer(store, id, tree, inputs, owner)
            }
        }
    }
}

impl ReadSetup {
    fn of(
        checkout: &Checkout,
        setup: &Setup,
        tier: TrustTier,
        fingerprint: &str,
    ) -> Result<Self, Error> {
        let inputs =
            checkout.repository.inputs(&checkout.tree, &setup.inputs, &setup.placeholders)?;
        let key = inputs.setup_key(&SetupFacts {
            commands: &setup.commands,
            environment: &setup.environment,
            network: &setup.network,
            base_fingerprint: fingerprint,
            trust_domain: tier.as_str(),
        });
        Ok(Self { key, inputs })
    }
}
