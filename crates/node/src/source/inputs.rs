//! What a setup may see of a source: its input files and empty placeholders; and the key under which its layer is kept.

use std::collections::BTreeMap;

use sandgate_domain::LayerId;

use super::repository::Repository;
use super::tree::{FileKind, Tree, TreeFile};
use super::writer::TreeWriter;
use crate::Error;
use crate::layers::{Durability, Layer, LayerStore, Owner, SETUP_TIME};

/// The files that a setup sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    pub(super) files: BTreeMap<Vec<u8>, TreeFile>,
    /// BLAKE3 of the contents, in the order of the paths.
    contents: Vec<[u8; 32]>,
    placeholders: Vec<Vec<u8>>,
}

/// Everything besides its files that a setup depends on.
#[derive(Debug, Clone, Copy)]
pub struct SetupFacts<'a> {
    /// Its commands, in order.
    pub commands: &'a [String],
    /// Its environment, as configured.
    pub environment: &'a [(String, String)],
    /// What it may reach, in the words of the configuration.
    pub network: &'a str,
    /// The fingerprint of the base.
    pub base_fingerprint: &'a str,
    /// Who may share the layer.
    pub trust_domain: &'a str,
}

impl Inputs {
    /// The paths of the input files.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.files.keys().map(Vec::as_slice)
    }

    /// The paths of the placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &[u8]> {
        self.placeholders.iter().map(Vec::as_slice)
    }

    /// The key of the setup: equal if and only if a setup would see the same.
    pub fn setup_key(&self, facts: &SetupFacts<'_>) -> String {
        let mut key = KeyHasher::new("sandgate setup 1");
        key.number(self.files.len());
        for ((path, file), contents) in self.files.iter().zip(&self.contents) {
            key.field(path);
            key.number(file.kind.git_mode() as usize);
            key.field(contents);
        }
        key.number(self.placeholders.len());
        for path in &self.placeholders {
            key.field(path);
        }
        key.number(facts.commands.len());
        for command in facts.commands {
            key.field(command.as_bytes());
        }
        let mut environment: Vec<_> = facts.environment.iter().collect();
        environment.sort();
        key.number(environment.len());
        for (name, value) in environment {
            key.field(name.as_bytes());
            key.field(value.as_bytes());
        }
        for fact in [facts.network, facts.base_fingerprint, facts.trust_domain] {
            key.field(fact.as_bytes());
        }
        key.finish()
    }

    /// Whether the setup saw exactly this file.
    pub(super) fn saw(&self, path: &[u8], file: &TreeFile) -> bool {
        self.files.get(path) == Some(file)
    }
}

impl Repository {
    /// The files of `tree` that match `inputs`, and as placeholders those that match `placeholders` only.
    pub fn inputs(
        &self,
        tree: &Tree,
        inputs: &[String],
        placeholders: &[String],
    ) -> Result<Inputs, Error> {
        let files: BTreeMap<_, _> = tree
            .matching(inputs)?
            .into_iter()
            .filter_map(|path| tree.files.get(&path).cloned().map(|file| (path, file)))
            .collect();
        let placeholders = tree
            .matching(placeholders)?
            .into_iter()
            .filter(|path| !files.contains_key(path))
            .collect();
        let chosen = files.iter().map(|(path, file)| (path.as_slice(), file)).collect();
        let mut hashers = vec![blake3::Hasher::new(); files.len()];
        self.read_files(tree, &chosen, &mut |index, chunk| {
            hashers[index].update(chunk);
            Ok(())
        })?;
        let contents = hashers.iter().map(|hasher| *hasher.finalize().as_bytes()).collect();
        Ok(Inputs { files, contents, placeholders })
    }

    /// Makes the layer with only `inputs` below `/workspace`, all of [`SETUP_TIME`].
    pub fn inputs_layer(
        &self,
        store: &LayerStore,
        id: LayerId,
        tree: &Tree,
        inputs: &Inputs,
        owner: Owner,
    ) -> Result<Layer, Error> {
        let build = store.build(id)?;
        let mut writer = TreeWriter::create(&build.open()?, "workspace", owner)?;
        let chosen = inputs.files.iter().map(|(path, file)| (path.as_slice(), file)).collect();
        self.fill(tree, &chosen, &mut writer, &|_, _| SETUP_TIME)?;
        for path in &inputs.placeholders {
            let is_executable =
                tree.files.get(path).is_some_and(|file| file.kind == FileKind::Executable);
            writer.write(path, if is_executable { 0o755 } else { 0o644 }, &[], SETUP_TIME)?;
        }
        writer.finish(&|_| SETUP_TIME)?;
        build.publish(Durability::UntilReboot)
    }
}

/// Hashes fields so that no two lists of fields look alike.
pub(super) struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    pub(super) fn new(kind: &str) -> Self {
        let mut key = Self(blake3::Hasher::new());
        key.field(kind.as_bytes());
        key
    }

    pub(super) fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    pub(super) fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_le_bytes());
    }

    pub(super) fn finish(self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}
