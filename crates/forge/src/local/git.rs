//! One git child: argument vectors only, an environment made by us, a deadline, bounded output.
//!
//! Git takes orders from configuration (hooks, file-system monitors, filters, merge and diff drivers, remote helpers,
//! partial-clone remotes). Here it sees neither the system's nor a user's configuration, may speak to nothing but local
//! paths, finds no hooks, fetches nothing lazily, and runs only in repositories that we made ourselves. The one program
//! that reads a foreign repository is the `upload-pack` that a fetch starts; git keeps its own guard there (it
//! refuses folders of other users, and takes no command from that repository's configuration).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use sandgate_objects::Readers;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::error::{Error, Result};

const OLDEST: (u32, u32) = (2, 38);
const QUICK: Duration = Duration::from_secs(30);
/// How long a child may take to tidy up when it is asked to end.
const GRACE: Duration = Duration::from_secs(5);
const SMALL_OUTPUT: usize = 1 << 20;
const MAX_STDERR: u64 = 64 << 10;
const SHOWN_DETAIL: usize = 400;
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What every call sets, whatever the machine's configuration says. `-c` outranks the repository's own file.
const SETTINGS: &[&str] = &[
    "advice.fetchShowForcedUpdates=false",
    "core.alternateRefsCommand=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "protocol.version=2",
    "submodule.recurse=false",
    "transfer.fsckObjects=true",
    // Defects that old but honest histories have, and that git itself only warns of when it reads them.
    "fetch.fsck.badTimezone=warn",
    "fetch.fsck.missingSpaceBeforeDate=warn",
    "fetch.fsck.zeroPaddedFilemode=warn",
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("GIT_ALLOW_PROTOCOL", "file"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PROTOCOL_FROM_USER", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
];

/// A git program that was found and is new enough.
#[derive(Debug, Clone)]
pub struct Git {
    program: Arc<PathBuf>,
    search_path: Arc<OsString>,
    readers: Readers,
}

impl Git {
    /// Looks for `git` in the folders of `search_path` (in the form of `PATH`) and asks it for its version.
    pub async fn find(search_path: &OsStr) -> Result<Self> {
        let program = std::env::split_paths(search_path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("git"))
            .find(|candidate| candidate.is_file())
            .ok_or_else(|| Error::NoGit { searched: search_path.to_string_lossy().into_owned() })?;
        let mut own_path = program.parent().unwrap_or(Path::new("/")).as_os_str().to_owned();
        own_path.push(":");
        own_path.push(SYSTEM_PATH);
        let readers = Readers::new(program.clone(), own_path.clone());
        let git = Self { program: Arc::new(program), search_path: Arc::new(own_path), readers };
        let answer = git.call("tell its version").argument("version").run().await?;
        match parse_version(&answer.stdout) {
            Some(version) if version >= OLDEST => Ok(git),
            _ => Err(Error::GitTooOld {
                program: git.program.as_ref().clone(),
                found: shorten(&answer.stdout),
            }),
        }
    }

    /// The objects of the bare repository at `folder`. To be asked where it may wait.
    pub(crate) fn objects(&self, folder: &Path) -> Result<sandgate_objects::Objects> {
        Ok(self.readers.open(folder)?)
    }

    /// A call outside any repository. `operation` completes the sentence "git could not …".
    pub(crate) fn call(&self, operation: &'static str) -> Call<'_> {
        let mut arguments: Vec<OsString> = Vec::with_capacity(SETTINGS.len() * 2 + 12);
        for setting in SETTINGS {
            arguments.push("-c".into());
            arguments.push(setting.into());
        }
        Call {
            git: self,
            operation,
            folder: PathBuf::from("/"),
            arguments,
            deadline: QUICK,
            max_output: SMALL_OUTPUT,
        }
    }

    /// A call in the bare repository at `folder`.
    pub(crate) fn call_in(&self, folder: &Path, operation: &'static str) -> Call<'_> {
        let mut call = self.call(operation);
        let mut git_dir = OsString::from("--git-dir=");
        git_dir.push(folder);
        call.arguments.push(git_dir);
        call.folder = folder.to_owned();
        call
    }
}

/// One call in the making.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    git: &'a Git,
    operation: &'static str,
    folder: PathBuf,
    arguments: Vec<OsString>,
    deadline: Duration,
    max_output: usize,
}

impl Call<'_> {
    pub(crate) fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn arguments<T: AsRef<OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) fn max_output(mut self, bytes: usize) -> Self {
        self.max_output = bytes;
        self
    }

    /// Runs it and gives its answer whatever its status is; an answer over the limit is cut, and says so.
    pub(crate) async fn answer(self) -> Result<Answer> {
        let failed = |source| Error::Io {
            operation: "run",
            path: self.git.program.as_ref().clone(),
            source,
        };
        let mut child = self.command().spawn().map_err(failed)?;
        let group = Group::of(&child);
        let conversation = self.converse(&mut child, &group);
        let answer = tokio::time::timeout(self.deadline, conversation).await;
        let Ok(answer) = answer else {
            group.end(&mut child).await;
            let (operation, seconds) = (self.operation, self.deadline.as_secs());
            return Err(Error::DeadlineExceeded { operation, seconds });
        };
        answer.map_err(failed)
    }

    /// Runs it and takes any status but zero, and any answer over the limit, for an error.
    pub(crate) async fn run(self) -> Result<Answer> {
        let (operation, limit) = (self.operation, self.max_output);
        let answer = self.answer().await?;
        if !answer.is_complete {
            return Err(Error::OutputTooLarge { operation, limit });
        }
        if answer.status != 0 {
            return Err(answer.into_error(operation));
        }
        Ok(answer)
    }

    async fn converse(&self, child: &mut Child, group: &Group) -> std::io::Result<Answer> {
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let listen = async {
            let heard = read_up_to(output, self.max_output).await;
            if !matches!(heard, Ok((_, true))) {
                group.signal(Signal::TERM);
            }
            heard
        };
        let (stdout, stderr) = tokio::join!(listen, read_and_drain(errors));
        let ((stdout, is_complete), stderr) = (stdout?, stderr?);
        let status = child.wait().await?;
        group.disarm();
        Ok(Answer {
            status: status.code().unwrap_or(-1),
            stdout,
            stderr: shorten(&stderr),
            is_complete,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.git.program.as_ref());
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", self.git.search_path.as_ref())
            .envs(ENVIRONMENT.iter().copied())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

/// What a child said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    /// Shortened, without control characters.
    pub(crate) stderr: String,
    /// Whether all of the output is there.
    pub(crate) is_complete: bool,
}

impl Answer {
    /// The output as text without the last line break.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or_default().trim_end_matches('\n')
    }

    /// The failure that is the same for every operation.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        if ["No space left on device", "Disk quota exceeded"].iter().any(|s| self.says(s)) {
            return Error::DiskFull { operation };
        }
        Error::GitFailed { operation, status: self.status, detail: self.stderr }
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.stderr.contains(text)
    }
}

/// The child and what it started. All of it is asked to end when this is dropped before the child is waited for: on a
/// request, git removes its locks and half-written packs; killed outright, it leaves them.
struct Group(AtomicI32);

impl Group {
    const NOBODY: i32 = 0;

    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(AtomicI32::new(id.unwrap_or(Self::NOBODY)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = Pid::from_raw(self.0.load(Ordering::Relaxed)) {
            // It may have ended by itself: then there is nobody left to tell.
            let _ = kill_process_group(id, signal);
        }
    }

    /// Asks, and kills what does not listen.
    async fn end(&self, child: &mut Child) {
        self.signal(Signal::TERM);
        let ended = tokio::time::timeout(GRACE, child.wait()).await;
        self.signal(Signal::KILL);
        if ended.is_ok() {
            self.disarm();
        }
    }

    fn disarm(&self) {
        self.0.store(Self::NOBODY, Ordering::Relaxed);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

async fn read_up_to(
    pipe: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> std::io::Result<(Vec<u8>, bool)> {
    let Some(mut pipe) = pipe else { return Ok((Vec::new(), true)) };
    let mut bytes = Vec::new();
    let wanted = u64::try_from(limit).unwrap_or(u64::MAX);
    (&mut pipe).take(wanted).read_to_end(&mut bytes).await?;
    let mut rest = [0_u8; 1];
    let is_complete = bytes.len() < limit || pipe.read(&mut rest).await? == 0;
    Ok((bytes, is_complete))
}

async fn read_and_drain(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    (&mut pipe).take(MAX_STDERR).read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

fn parse_version(answer: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(answer).ok()?;
    let mut numbers = text.strip_prefix("git version ")?.split('.');
    let mut number = || numbers.next()?.trim().parse().ok();
    Some((number()?, number()?))
}

fn shorten(text: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(text);
    let shown = lossy.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    shown.take(SHOWN_DETAIL).collect()
}

/// The path as git prints and takes it.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    OsStr::from_bytes(bytes).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_vendor() {
        assert_eq!(parse_version(b"git version 2.47.3\n"), Some((2, 47)));
        assert_eq!(parse_version(b"git version 2.39.5 (Apple Git-154)\n"), Some((2, 39)));
        assert_eq!(parse_version(b"git version 3\n"), None);
        assert_eq!(parse_version(b"busybox"), None);
    }

    #[tokio::test]
    async fn no_git_is_said_with_the_place() {
        let error = Git::find(OsStr::new("/nonexistent:relative")).await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent:relative"), "{error}");
    }

    /// A program that says it is git, and otherwise does as the script says. Another process writes it: a file that is
    /// still open for writing anywhere here could not be run.
    async fn impostor(folder: &Path, script: &str) -> Result<Git> {
        let text = format!(
            "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = version ] && exec echo git version 2.47.0\n{script}\n"
        );
        let written = std::process::Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$2/git\" && chmod +x \"$2/git\"", "sh", &text])
            .arg(folder)
            .status();
        assert!(written.unwrap().success());
        Git::find(folder.as_os_str()).await
    }

    fn is_alive(process: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    async fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let all = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), all).await;
        assert!(waited.is_ok(), "{what}");
    }

    #[tokio::test]
    async fn a_deadline_and_a_dropped_call_end_the_child_and_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("child");
        let script =
            format!("sleep 1000 & echo $! > '{0}.new'; mv '{0}.new' '{0}'; wait", mark.display());
        let git = impostor(folder.path(), &script).await.unwrap();

        let call = git.call("wait").deadline(Duration::from_secs(2));
        let error = call.run().await.unwrap_err();
        assert!(matches!(error, Error::DeadlineExceeded { seconds: 2, .. }), "{error}");
        let child = std::fs::read_to_string(&mark).unwrap();
        wait_until("the child of the child lives on", || !is_alive(child.trim())).await;

        std::fs::remove_file(&mark).unwrap();
        let call = git.clone();
        let task = tokio::spawn(async move { call.call("wait").run().await });
        wait_until("the child never started", || mark.exists()).await;
        let child = std::fs::read_to_string(&mark).unwrap();
        assert!(is_alive(child.trim()));
        task.abort();
        wait_until("the child of the dropped call lives on", || !is_alive(child.trim())).await;
    }

    #[tokio::test]
    async fn endless_output_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let git = impostor(folder.path(), "yes >&2 & yes").await.unwrap();
        let error = git.call("shout").max_output(1_000).run().await.unwrap_err();
        assert!(matches!(error, Error::OutputTooLarge { limit: 1_000, .. }), "{error}");
    }

    #[tokio::test]
    async fn the_child_sees_our_environment_only() {
        let folder = tempfile::tempdir().unwrap();
        let git = impostor(folder.path(), "exec env").await.unwrap();
        let answer = git.call("list").run().await.unwrap();
        let names: std::collections::BTreeSet<&str> =
            answer.text().lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        let by_shell = ["PATH", "PWD", "_", "SHLVL", "OLDPWD"];
        let ours: std::collections::BTreeSet<&str> =
            ENVIRONMENT.iter().map(|(name, _)| *name).chain(by_shell).collect();
        assert!(names.is_subset(&ours), "{names:?}");
        assert!(names.contains("GIT_CONFIG_NOSYSTEM"));
    }
}
