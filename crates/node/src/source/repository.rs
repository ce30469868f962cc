//! Finding a repository and naming commits in it.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sandgate_objects::{Kind, ObjectId, Objects};

use super::git::{GitCommand, GitProgram, SHORT_ANSWER};
use super::sha::{Sha, check_revision};
use super::tree::{FileKind, Tree};
use crate::Error;
use crate::error::shown;

/// A git repository on this machine, opened for reading. Nothing of its configuration can run a program.
#[derive(Debug, Clone)]
pub struct Repository {
    git: GitProgram,
    /// The folder with `HEAD`.
    git_dir: PathBuf,
    top_level: Option<PathBuf>,
    head: Option<Sha>,
    objects: Objects,
}

impl Repository {
    /// Opens the repository that `path` lies in. A repository without any commit is an error.
    pub fn open(git: &GitProgram, path: &Path) -> Result<Self, Error> {
        let start = fs::canonicalize(path).map_err(Error::io("open", path))?;
        let (git_dir, top_level) = start
            .ancestors()
            .find_map(repository_at)
            .ok_or(Error::NotARepository(start.clone()))?;
        let objects = git.readers.open(&git_dir)?;
        let mut repository = Self { git: git.clone(), git_dir, top_level, head: None, objects };
        let head = repository.objects.head()?.filter(|found| found.kind == Kind::Commit);
        repository.head = head.map(|found| found.id.into());
        if repository.head.is_none() && !repository.has_any_commit()? {
            return Err(Error::EmptyRepository(start));
        }
        Ok(repository)
    }

    /// The folder of the working tree; `None` for a bare repository.
    pub fn top_level(&self) -> Option<&Path> {
        self.top_level.as_deref()
    }

    /// The repository as it is looked up: the same for every folder of it.
    pub fn key(&self) -> String {
        self.top_level.as_ref().unwrap_or(&self.git_dir).to_string_lossy().into_owned()
    }

    /// The content of one file of `tree`; none if there is no such file. More than `max_bytes` is an error.
    pub fn file(&self, tree: &Tree, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = tree.files.get(path.as_bytes()) else { return Ok(None) };
        if file.kind == FileKind::Symlink {
            let path = path.to_owned();
            return Err(Error::HostileTree { path, why: "it is a symlink where a file is read" });
        }
        let mut content = Vec::new();
        self.read_files(tree, &vec![(path.as_bytes(), file)], &mut |_, chunk| {
            if content.len() as u64 + chunk.len() as u64 > max_bytes {
                return Err(Error::TooLarge { what: format!("`{path}`"), limit: max_bytes });
            }
            content.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(Some(content))
    }

    /// The commit that is checked out; `None` if the current branch has none yet.
    pub fn head(&self) -> Option<&Sha> {
        self.head.as_ref()
    }

    /// The commit that a user means by `revision`: a branch, a tag, a full or short SHA.
    pub fn resolve(&self, revision: &str) -> Result<Sha, Error> {
        check_revision(revision)?;
        if let Some(sha) = self.find_commit(revision)? {
            return Ok(sha);
        }
        let is_hex = revision.len() >= 7 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        Err(Error::RevisionMissing {
            revision: shown(revision.as_bytes()),
            repository: self.git_dir.clone(),
            hint: if is_hex {
                "the commit is not in this repository; fetch or push it first"
            } else {
                "no branch, tag or commit has that name; `git branch -a` lists the branches"
            },
        })
    }

    /// The best common ancestor of two commits; `None` if they have none.
    pub fn merge_base(&self, one: &Sha, other: &Sha) -> Result<Option<Sha>, Error> {
        let answer =
            self.git("merge-base").args([one.as_str(), other.as_str()]).ask(SHORT_ANSWER)?;
        if !answer.success {
            return Ok(None);
        }
        first_line(&answer.stdout).parse().map(Some)
    }

    /// The name of the branch that is checked out, if one is.
    pub fn branch(&self) -> Result<Option<String>, Error> {
        let answer =
            self.git("symbolic-ref").args(["--quiet", "--short", "HEAD"]).ask(SHORT_ANSWER)?;
        Ok(answer.success.then(|| first_line(&answer.stdout).to_owned()))
    }

    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The folder of its objects.
    pub(super) fn objects_folder(&self) -> PathBuf {
        self.common_dir().join("objects")
    }

    /// Its objects.
    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(super) fn git(&self, subcommand: &'static str) -> GitCommand {
        self.git.command(&self.git_dir, subcommand)
    }

    /// The commits at which the history of the repository itself is cut off.
    pub(super) fn shallow_commits(&self) -> Result<Vec<Sha>, Error> {
        let path = self.common_dir().join("shallow");
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let mut text = String::new();
        file.take(1 << 24).read_to_string(&mut text).map_err(Error::io("read", &path))?;
        text.lines().map(str::parse).collect()
    }

    pub(super) fn common_dir(&self) -> PathBuf {
        read_small(&self.git_dir.join("commondir"))
            .map_or_else(|| self.git_dir.clone(), |text| self.git_dir.join(text))
    }

    /// The commit with this full name.
    fn commit_named(&self, name: &str) -> Result<Option<Sha>, Error> {
        let Some(id) = ObjectId::from_hex(name.as_bytes()) else { return Ok(None) };
        let found = self.objects.find(id)?.filter(|found| found.kind == Kind::Commit);
        Ok(found.map(|found| found.id.into()))
    }

    fn find_commit(&self, revision: &str) -> Result<Option<Sha>, Error> {
        match self.commit_named(revision)? {
            Some(sha) => Ok(Some(sha)),
            None => self.verify(revision),
        }
    }

    fn verify(&self, revision: &str) -> Result<Option<Sha>, Error> {
        let commit = format!("{revision}^{{commit}}");
        let answer = self
            .git("rev-parse")
            .args(["--verify", "--quiet", "--end-of-options", &commit])
            .ask(SHORT_ANSWER);
        match answer {
            Ok(answer) if answer.success => first_line(&answer.stdout).parse().map(Some),
            Ok(_) => Ok(None),
            // A name that stands for something else than a commit ends with another status.
            Err(Error::Git { status, .. }) if status == "status 128" => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn has_any_commit(&self) -> Result<bool, Error> {
        if has_file(&self.common_dir().join("refs")) {
            return Ok(true);
        }
        let answer = self
            .git("for-each-ref")
            .args(["--count=1", "--format=%(objectname)"])
            .read(&[], SHORT_ANSWER)?;
        Ok(!answer.is_empty())
    }
}

/// Whether a file lies anywhere below a folder.
pub(super) fn has_file(top: &Path) -> bool {
    let mut pending = vec![top.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                Ok(_) => return true,
                Err(_) => {}
            }
        }
    }
    false
}

/// The git folder and the working tree, if `folder` is the top of a repository or a bare one.
fn repository_at(folder: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
    let dot_git = folder.join(".git");
    if is_git_dir(&dot_git) {
        return Some((dot_git, Some(folder.to_owned())));
    }
    // Linked working trees and submodules have a file that names the folder.
    if let Some(text) = read_small(&dot_git)
        && let Some(target) = text.strip_prefix("gitdir: ")
    {
        let git_dir = folder.join(target);
        if is_git_dir(&git_dir) {
            return Some((git_dir, Some(folder.to_owned())));
        }
    }
    is_git_dir(folder).then(|| (folder.to_owned(), None))
}

fn is_git_dir(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_dir();
    fs::symlink_metadata(folder.join("HEAD")).is_ok()
        && (folder.join("commondir").is_file() || (has("objects") && has("refs")))
}

fn read_small(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > 4096 {
        return None;
    }
    let text = fs::read(path).ok()?;
    let trimmed = text.trim_ascii_end();
    (!trimmed.is_empty()).then(|| String::from_utf8(trimmed.to_vec()).ok())?
}

fn first_line(answer: &[u8]) -> &str {
    std::str::from_utf8(answer).unwrap_or("").lines().next().unwrap_or("")
}

pub(super) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
