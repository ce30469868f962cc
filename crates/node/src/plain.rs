//! The process level of a node: the lowest layer of its sandboxes, and what tells their layers from those of namespaces.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sandgate_domain::{IsolationLevel, TrustTier};
use sandgate_sandbox::{PlainFolder, end_strays};

use crate::base::{GATE_HOME, HostBase, WORKSPACE};
use crate::error::Error;
use crate::layers::remove_tree;
use crate::node::remove_folder;

/// Plain processes reach all that their user does, so only what the user trusts is run so.
pub(crate) fn may_run(level: IsolationLevel, tier: TrustTier) -> Result<(), Error> {
    match (level, tier) {
        (IsolationLevel::Namespaces, _) | (IsolationLevel::Process, TrustTier::Member) => Ok(()),
        (IsolationLevel::Process, TrustTier::Agent | TrustTier::Fork) => {
            Err(Error::Untrusted(tier))
        }
    }
}

/// The key of a layer that holds owners or paths, which differ by level.
pub(crate) fn level_key(level: IsolationLevel, key: String) -> String {
    match level {
        IsolationLevel::Namespaces => key,
        IsolationLevel::Process => format!("process:{key}"),
    }
}

/// The base of the process level: its own lowest layer and fingerprint, and nothing to bind.
pub(crate) fn base(base: HostBase, folder: &Path, root: &Path) -> Result<HostBase, Error> {
    Ok(HostBase {
        skeleton: skeleton(&base, folder)?,
        fingerprint: fingerprint(&base.fingerprint, root),
        binds: Vec::new(),
        ..base
    })
}

/// The lowest layer: the home of the gate with its settings, and an empty workspace. Everything else of a root is the
/// machine's own. Made in a folder of `folder` unless it is there already.
fn skeleton(base: &HostBase, folder: &Path) -> Result<PathBuf, Error> {
    let key = base.skeleton.parent().and_then(Path::file_name).unwrap_or_default();
    let made = folder.join(key);
    if made.is_dir() {
        return Ok(made);
    }
    let mut temporary = std::ffi::OsString::from(format!(".new-{}-", std::process::id()));
    temporary.push(key);
    let temporary = folder.join(temporary);
    remove_folder(&temporary)?;
    for path in [WORKSPACE, GATE_HOME] {
        let path = temporary.join(path.trim_start_matches('/'));
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
    }
    let home = GATE_HOME.trim_start_matches('/');
    sandgate_sandbox::copy_layers(&[base.skeleton.join(home)], &temporary.join(home))?;
    match renameat_with(CWD, &temporary, CWD, &made, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(made),
        Err(Errno::EXIST) => remove_folder(&temporary).map(|()| made),
        Err(errno) => Err(Error::system("create", &made)(errno)),
    }
}

/// Ends what of a sandbox runs on, and removes the files of sandboxes that nobody has any more.
pub(crate) fn remove_remains(folder: &PlainFolder, name: &str) -> Result<(), Error> {
    end_strays(name).map_err(Error::io("end the processes of", name))?;
    let root = folder.root();
    let held = folder.hold().map_err(Error::io("lock", &root))?;
    // Whoever has the place removes what is in the way.
    let Ok(_hold) = held else { return Ok(()) };
    let parent = root.parent().unwrap_or(&root);
    let parent = fs::File::open(parent).map_err(Error::io("open", parent))?;
    remove_tree(&parent, c"root")
}

/// The fingerprint of a base at the process level. Layers hold the paths that they were made at, so those of another level, or
/// of another folder, are of another base.
fn fingerprint(base: &str, root: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [b"sandgate process level 1", base.as_bytes(), root.as_os_str().as_encoded_bytes()]
    {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    format!("process-{}", hasher.finalize().to_hex())
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

    #[test]
    fn levels_and_folders_have_bases_of_their_own() {
        let one = fingerprint("base", Path::new("/a"));
        assert_ne!(one, "base");
        assert_ne!(one, fingerprint("base", Path::new("/b")));
        assert_ne!(one, fingerprint("other", Path::new("/a")));
        assert_eq!(one, fingerprint("base", Path::new("/a")));
    }
}
