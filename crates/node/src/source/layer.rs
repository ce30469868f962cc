//! The layer of a source: its files below `/workspace` and a `.git` beside them.

use sandgate_domain::LayerId;

use super::dot_git;
use super::inputs::{Inputs, KeyHasher};
use super::repository::Repository;
use super::sha::{BranchName, Sha};
use super::tree::{Tree, TreeFile};
use super::writer::TreeWriter;
use crate::Error;
use crate::layers::{COMMIT_TIME, Durability, Layer, LayerStore, Owner, SETUP_TIME};

/// What a source layer depends on besides its tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceOptions<'a> {
    /// What the setup below was built from: those files keep its time, so that their products count as fresh.
    pub setup: Option<&'a Inputs>,
    /// The commit that the source will be merged into; it becomes `refs/sandgate/base`.
    pub base: Option<&'a Sha>,
    /// The name of the branch; it becomes a branch in the sandbox. `HEAD` stays detached.
    pub branch: Option<&'a BranchName>,
}

impl SourceOptions<'_> {
    /// The time of a file, in seconds since 1970.
    pub(super) fn time_of(&self, path: &[u8], file: &TreeFile) -> i64 {
        if self.setup.is_some_and(|inputs| inputs.saw(path, file)) {
            SETUP_TIME
        } else {
            COMMIT_TIME
        }
    }
}

impl Tree {
    /// The key of the layer that [`Repository::source_layer`] makes: `commit:<sha>:<options>` or `tree:<contents>`.
    pub fn layer_key(&self, options: &SourceOptions<'_>) -> String {
        let mut key = KeyHasher::new("sandgate source 1");
        key.field(options.base.map_or("", Sha::as_str).as_bytes());
        key.field(options.branch.map_or("", BranchName::as_str).as_bytes());
        if let Some(setup) = options.setup {
            for path in self.files.iter().filter(|(path, file)| setup.saw(path, file)) {
                key.field(path.0);
            }
        }
        if !self.is_working_tree() {
            return format!("commit:{}:{}", self.commit, key.finish());
        }
        key.field(b"files");
        key.field(self.commit.as_str().as_bytes());
        for (path, file) in &self.files {
            key.field(path);
            key.number(file.kind.git_mode() as usize);
            key.field(file.sha.as_str().as_bytes());
        }
        for path in self.submodules.keys() {
            key.field(path);
        }
        format!("tree:{}", key.finish())
    }
}

impl Repository {
    /// Makes the layer of `tree`: all its files of [`COMMIT_TIME`], except those that the setup saw, and a `.git` with the
    /// recent history, in which `git status` shows what differs from [`Tree::commit`].
    pub fn source_layer(
        &self,
        store: &LayerStore,
        id: LayerId,
        tree: &Tree,
        options: &SourceOptions<'_>,
        owner: Owner,
    ) -> Result<Layer, Error> {
        let build = store.build(id)?;
        let layer = build.open()?;
        let mut writer = TreeWriter::create(&layer, "workspace", owner)?;
        let chosen = tree.files.iter().map(|(path, file)| (path.as_slice(), file)).collect();
        let workspace = build.path().join("workspace");
        let tips = dot_git::tips(tree, options);
        let history = self.history(&tips)?;
        dot_git::make_folders(&mut writer)?;
        // Nothing of a tree can lie in `.git`, so files and pack don't meet.
        let objects = workspace.join(".git/objects");
        std::thread::scope(|scope| {
            let packing = scope.spawn(|| dot_git::pack(self, &tips, &history, &objects));
            self.fill(tree, &chosen, &mut writer, &|path, file| options.time_of(path, file))?;
            for path in tree.submodules.keys() {
                writer.directory(path)?;
            }
            packing.join().unwrap_or(Err(Error::Interrupted))
        })?;
        dot_git::write(self, tree, options, &history, &workspace, &mut writer)?;
        writer.finish(&|path| dot_git::directory_time(path))?;
        build.publish(Durability::UntilReboot)
    }
}
