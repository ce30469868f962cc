//! Writes the `.git` of a sandbox. Every file in it is ours: no hooks, no remotes, no filters, no alternates; of the source
//! it holds only a pack with the recent history.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::git::{LONG_DEADLINE, SHORT_ANSWER};
use super::history::History;
use super::index::write_index;
use super::layer::SourceOptions;
use super::repository::Repository;
use super::sha::{BranchName, ObjectFormat, Sha};
use super::tree::Tree;
use super::writer::TreeWriter;
use crate::Error;
use crate::layers::COMMIT_TIME;

/// The time of what is in `.git`: later than that of the files, so that the index does not doubt what it knows of them.
const GIT_TIME: i64 = COMMIT_TIME + 1;

pub(super) fn directory_time(path: &[u8]) -> i64 {
    if path == b".git" || path.starts_with(b".git/") { GIT_TIME } else { COMMIT_TIME }
}

/// Makes the folders of `.git`.
pub(super) fn make_folders(writer: &mut TreeWriter) -> Result<(), Error> {
    for folder in [".git/objects/pack", ".git/objects/info", ".git/refs/heads", ".git/refs/tags"] {
        writer.directory(folder.as_bytes())?;
    }
    Ok(())
}

/// Where histories of a source end.
pub(super) fn tips<'a>(tree: &'a Tree, options: &SourceOptions<'a>) -> Vec<&'a Sha> {
    [Some(tree.commit()), options.base].into_iter().flatten().collect()
}

/// Writes the files of `.git`, and takes over its pack.
pub(super) fn write(
    repository: &Repository,
    tree: &Tree,
    options: &SourceOptions<'_>,
    history: &History,
    workspace: &Path,
    writer: &mut TreeWriter,
) -> Result<(), Error> {
    take_over_pack(&workspace.join(".git/objects/pack"), writer)?;
    let head = format!("{}\n", tree.commit());
    let mut put = |name: &str, text: &[u8]| {
        writer.write(format!(".git/{name}").as_bytes(), 0o644, text, GIT_TIME)
    };
    put("HEAD", head.as_bytes())?;
    put("config", config(tree.commit().format()).as_bytes())?;
    put("packed-refs", packed_refs(tree.commit(), options, history).as_bytes())?;
    if !history.cut.is_empty() {
        let lines: String = history.cut.iter().map(|sha| format!("{sha}\n")).collect();
        put("shallow", lines.as_bytes())?;
    }
    let committed;
    let head_tree = if tree.is_working_tree() {
        committed = repository.list_commit(tree.commit())?;
        &committed
    } else {
        tree
    };
    put("index", &write_index(head_tree, tree, options, workspace)?)
}

fn config(format: ObjectFormat) -> String {
    let (version, extension) = match format {
        ObjectFormat::Sha1 => (0, ""),
        ObjectFormat::Sha256 => (1, "[extensions]\n\tobjectFormat = sha256\n"),
    };
    // Inode numbers and change times are those of the machine that wrote the index, and mean nothing in a sandbox.
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\
         \tlogallrefupdates = true\n\tcheckStat = minimal\n\ttrustctime = false\n{extension}\
         [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
    )
}

fn packed_refs(head: &Sha, options: &SourceOptions<'_>, history: &History) -> String {
    let mut refs = vec![("refs/sandgate/head".to_owned(), head, None)];
    if let Some(base) = options.base {
        refs.push(("refs/sandgate/base".to_owned(), base, None));
    }
    if let Some(branch) = options.branch.map(BranchName::as_str) {
        refs.push((format!("refs/heads/{branch}"), head, None));
    }
    for tag in &history.tags {
        refs.push((tag.name.clone(), &tag.sha, tag.peeled.as_ref()));
    }
    refs.sort();
    let mut text = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    for (name, sha, peeled) in refs {
        text.push_str(&format!("{sha} {name}\n"));
        if let Some(commit) = peeled {
            text.push_str(&format!("^{commit}\n"));
        }
    }
    text
}

/// Packs a history below the folder `objects`.
pub(super) fn pack(
    repository: &Repository,
    tips: &[&Sha],
    history: &History,
    objects: &Path,
) -> Result<(), Error> {
    let mut request = String::new();
    for sha in &history.cut {
        request.push_str(&format!("--shallow {sha}\n"));
    }
    for sha in tips.iter().copied().chain(history.tags.iter().map(|tag| &tag.sha)) {
        request.push_str(&format!("{sha}\n"));
    }
    // Deltas that the source has are used again; looking for new ones costs more than they save.
    repository
        .git("pack-objects")
        .args(["--revs", "--quiet", "--delta-base-offset", "--window=0", "--threads=1"])
        .args([objects.join("pack/pack")])
        .objects(objects, &repository.objects_folder())
        .deadline(LONG_DEADLINE)
        .read(request.as_bytes(), SHORT_ANSWER)
        .map(drop)
}

fn take_over_pack(folder: &Path, writer: &mut TreeWriter) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name();
        let path = [b".git/objects/pack/", name.as_bytes()].concat();
        writer.take_over(&path, 0o444, GIT_TIME)?;
    }
    Ok(())
}
