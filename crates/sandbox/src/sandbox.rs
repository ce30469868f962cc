//! A sandbox, seen from the host.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::cgroup::Group;
use crate::ends::Ends;
use crate::plain::{MARK, Place};
use crate::process::{ExitStatus, Process, Terminal};
use crate::socket::{self, Message, Trust};
use crate::spec::{Command, Limit, Usage};
use crate::watch::{Fullness, Measure, Pace, Quota, TICK};
use crate::wire::{Event, Exec, Probe, Request};
use crate::{Error, raw};

/// How long the end of a sandbox is waited for before the caller is told.
const DESTROY_SECONDS: u64 = 20;
/// After this, what was asked to end is killed from outside as well.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running sandbox. Dropping it ends everything inside, soon; [`Sandbox::destroy`] waits for that.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
    pub(crate) listener: Option<TcpListener>,
}

/// What the handle, its processes and the attending task share.
#[derive(Debug)]
pub(crate) struct Inner {
    name: String,
    /// The process id of the launcher, whose child is pid 1.
    launcher: u32,
    socket: AsyncFd<OwnedFd>,
    /// Where its files are while it lives.
    files: PathBuf,
    /// What of them was there before.
    composed: Measure,
    /// At the process level, what commands call `/`.
    plain_root: Option<PathBuf>,
    state: Mutex<State>,
    done: watch::Receiver<bool>,
    next: AtomicU32,
}

#[derive(Debug)]
struct State {
    processes: HashMap<u32, Slot>,
    killers: Vec<oneshot::Sender<()>>,
    group: Group,
    /// Taken just before the groups are removed.
    last_usage: Option<Usage>,
    broken: Option<Limit>,
    disk: Option<Measure>,
    ended: bool,
}

#[derive(Debug)]
struct Slot {
    started: Option<oneshot::Sender<Result<Started, (String, i32)>>>,
    exit: watch::Sender<Option<ExitStatus>>,
}

#[derive(Debug)]
struct Started {
    at: Instant,
    terminal: Option<OwnedFd>,
}

/// What a sandbox of the process level holds until its end.
pub(crate) struct Plain {
    pub place: Place,
    /// None in a probe.
    pub _turn: Option<OwnedSemaphorePermit>,
}

/// A launched sandbox whose pid 1 has said that it is ready.
pub(crate) struct Launched {
    pub name: String,
    pub socket: AsyncFd<OwnedFd>,
    pub launcher: Child,
    pub group: Group,
    /// Where what it writes is while it lives.
    pub files: PathBuf,
    pub work: PathBuf,
    pub quota: Quota,
    /// What is there before it has written anything.
    pub composed: Measure,
    pub listener: Option<TcpListener>,
    pub plain: Option<Plain>,
}

impl Sandbox {
    pub(crate) fn attend(launched: Launched) -> Self {
        let (finished, done) = watch::channel(false);
        let inner = Arc::new(Inner {
            name: launched.name,
            launcher: launched.launcher.id(),
            socket: launched.socket,
            files: launched.files,
            composed: launched.composed,
            plain_root: launched.plain.as_ref().map(|plain| plain.place.root.clone()),
            state: Mutex::new(State {
                processes: HashMap::new(),
                killers: Vec::new(),
                group: launched.group,
                last_usage: None,
                broken: None,
                disk: None,
                ended: false,
            }),
            done,
            next: AtomicU32::new(1),
        });
        let (work, plain) = (launched.work, launched.plain);
        tokio::spawn(attend(Arc::clone(&inner), launched.launcher, work, plain, finished));
        tokio::spawn(watch_disk(Arc::clone(&inner), launched.quota));
        Self { inner, listener: launched.listener }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where what it writes is on the host while it lives; afterwards it is in the writable layer. At the process level this is
    /// where commands see their files, with all that the layers brought.
    pub fn files(&self) -> &Path {
        &self.inner.files
    }

    /// Bytes and inodes that the layers brought along into [`Sandbox::files`], as they count against the limits.
    pub fn composed(&self) -> (u64, u64) {
        (self.inner.composed.bytes, self.inner.composed.inodes)
    }

    /// At the process level, where `/` of the layers is for its commands.
    pub fn plain_root(&self) -> Option<&Path> {
        self.inner.plain_root.as_deref()
    }

    /// Starts a command and waits until its program runs. Commands may run at the same time.
    ///
    /// At the process level [`Command::cwd`] is a path of the machine, and the environment names the sandbox besides.
    pub async fn exec(&self, mut command: Command) -> Result<Process, Error> {
        command.validate()?;
        if self.inner.plain_root.is_some() {
            command.env.push((MARK.into(), self.inner.name.clone().into()));
        }
        if let Some(limit @ (Limit::DiskBytes | Limit::DiskInodes)) = self.broken_limit() {
            return Err(Error::Gone { name: self.inner.name.clone(), broken: Some(limit) });
        }
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let program = command.argv[0].to_string_lossy().into_owned();
        let mut ends = Ends::open(command.stdin, command.output)
            .map_err(Error::host("could not make the pipes of a command"))?;
        let exec = Exec {
            id,
            argv: command.argv,
            env: command.env,
            cwd: command.cwd,
            streams: ends.streams,
        };
        let inner_ends: Vec<OwnedFd> = std::mem::take(&mut ends.inner);
        let fds: Vec<BorrowedFd<'_>> = inner_ends.iter().map(AsFd::as_fd).collect();
        let (started, exit) = self.inner.start(id, &Request::Exec(exec), &fds, &program).await?;
        drop(inner_ends);
        let terminal = started
            .terminal
            .map(Terminal::new)
            .transpose()
            .map_err(Error::host("could not use the terminal of a command"))?;
        Ok(Process {
            id,
            sandbox: Arc::clone(&self.inner),
            exit,
            started: started.at,
            stdin: ends.stdin,
            stdout: ends.stdout,
            stderr: ends.stderr,
            terminal,
        })
    }

    /// Runs a built-in probe to its end.
    pub(crate) async fn run_probe(&self, probe: Probe) -> Result<ExitStatus, Error> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let request = Request::Probe { id, probe };
        let (_, mut exit) = self.inner.start(id, &request, &[], "probe").await?;
        match exit.wait_for(Option::is_some).await {
            Ok(status) => Ok(status.unwrap_or(ExitStatus::Signaled(libc::SIGKILL))),
            Err(_) => Ok(ExitStatus::Signaled(libc::SIGKILL)),
        }
    }

    pub(crate) fn throttled(&self) -> Option<u64> {
        self.inner.state().group.throttled()
    }

    pub(crate) fn limit_cpu_shortly(&self, cpu_millis: u32) -> io::Result<()> {
        self.inner.state().group.limit_cpu_shortly(cpu_millis)
    }

    pub(crate) fn free_cpu(&self) -> io::Result<()> {
        self.inner.state().group.free_cpu()
    }

    /// The listener on the sandbox's own 127.0.0.1:[`crate::PROXY_PORT`], once, with [`crate::Network::Proxied`].
    ///
    /// Whatever is accepted from it comes from inside this sandbox and from nowhere else. It is non-blocking.
    pub fn take_proxy_listener(&mut self) -> Option<TcpListener> {
        self.listener.take()
    }

    /// What it has used until now.
    pub fn usage(&self) -> Usage {
        self.inner.usage()
    }

    /// The limit that something inside has broken, disk first as that ends all.
    pub fn broken_limit(&self) -> Option<Limit> {
        let usage = self.inner.usage();
        let broken = self.inner.state().broken;
        broken.or_else(|| {
            if usage.oom_kills.is_some_and(|kills| kills > 0) {
                return Some(Limit::Memory);
            }
            usage.pids_limit_hits.is_some_and(|hits| hits > 0).then_some(Limit::Pids)
        })
    }

    /// Ends every command and everything it left behind, and waits for that. The sandbox itself stays usable.
    pub async fn kill_processes(&self) {
        self.inner.kill_processes().await;
    }

    /// Ends everything inside, waits until it is gone and removes its groups. The writable layer stays.
    pub async fn destroy(self) -> Result<Usage, Error> {
        self.inner.close();
        let mut done = self.inner.done.clone();
        let waited = Duration::from_secs(DESTROY_SECONDS);
        match tokio::time::timeout(waited, done.wait_for(|&done| done)).await {
            Ok(_) => Ok(self.inner.usage()),
            Err(_) => Err(Error::Stuck { name: self.inner.name.clone(), seconds: DESTROY_SECONDS }),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl Inner {
    fn usage(&self) -> Usage {
        let state = self.state();
        let usage = state.last_usage.unwrap_or_else(|| state.group.usage());
        let written = |all: u64, composed: u64| all.saturating_sub(composed);
        Usage {
            disk_bytes: state.disk.map(|disk| written(disk.bytes, self.composed.bytes)),
            disk_inodes: state.disk.map(|disk| written(disk.inodes, self.composed.inodes)),
            ..usage
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if something did, the values are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> Error {
        Error::Gone { name: self.name.clone(), broken: self.state().broken }
    }

    /// Pid 1 sees the end of its socket and ends, and the kernel ends the rest.
    fn close(&self) {
        // Only fails if it is closed already.
        rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Both).ok();
    }

    pub(crate) async fn ask(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let body = request.encode();
        let send = |socket: &OwnedFd| socket::send(socket, &body, fds);
        let sent = self.socket.async_io(Interest::WRITABLE, send).await;
        sent.map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => self.gone(),
            _ => Error::Host {
                doing: format!("could not reach sandbox `{}`", self.name),
                source: error,
            },
        })
    }

    async fn start(
        self: &Arc<Self>,
        id: u32,
        request: &Request,
        fds: &[BorrowedFd<'_>],
        program: &str,
    ) -> Result<(Started, watch::Receiver<Option<ExitStatus>>), Error> {
        let (tell_started, started) = oneshot::channel();
        let (tell_exit, exit) = watch::channel(None);
        {
            let mut state = self.state();
            if state.ended {
                drop(state);
                return Err(self.gone());
            }
            let slot = Slot { started: Some(tell_started), exit: tell_exit };
            state.processes.insert(id, slot);
        }
        let mut abandoned = Abandoned { inner: self, id, armed: true };
        self.ask(request, fds).await?;
        let outcome = started.await;
        abandoned.armed = false;
        match outcome {
            Ok(Ok(started)) => Ok((started, exit)),
            Ok(Err((step, errno))) => Err(Error::Exec {
                program: program.to_owned(),
                step,
                source: io::Error::from_raw_os_error(errno),
            }),
            Err(_) => Err(self.gone()),
        }
    }

    async fn kill_processes(&self) {
        let (tell, killed) = oneshot::channel();
        {
            let mut state = self.state();
            if state.ended {
                return;
            }
            state.killers.push(tell);
        }
        if self.ask(&Request::KillAll, &[]).await.is_ok() {
            // An error means that the sandbox itself ended, and with it all processes.
            killed.await.ok();
        } else {
            self.done.clone().wait_for(|&done| done).await.ok();
        }
    }

    fn hear(&self, event: Event, fds: Vec<OwnedFd>) -> io::Result<()> {
        let mut state = self.state();
        match event {
            Event::Started { id, nanoseconds } => {
                let started =
                    Started { at: instant(nanoseconds), terminal: fds.into_iter().next() };
                if let Some(tell) =
                    state.processes.get_mut(&id).and_then(|slot| slot.started.take())
                {
                    // Nobody waits any more if the caller gave up.
                    tell.send(Ok(started)).ok();
                }
            }
            Event::ExecFailed { id, step, errno } => {
                if let Some(slot) = state.processes.remove(&id)
                    && let Some(tell) = slot.started
                {
                    tell.send(Err((step, errno))).ok();
                }
            }
            Event::Ended { id, signaled, code } => {
                if let Some(slot) = state.processes.remove(&id) {
                    let status = if signaled {
                        ExitStatus::Signaled(code)
                    } else {
                        ExitStatus::Exited(code)
                    };
                    slot.exit.send_replace(Some(status));
                }
            }
            Event::Killed => {
                for killer in state.killers.drain(..) {
                    killer.send(()).ok();
                }
            }
            Event::Prepared { .. } | Event::Ready | Event::Failed { .. } => {
                return Err(socket::malformed("comes at the wrong time"));
            }
        }
        Ok(())
    }

    async fn receive(&self) -> io::Result<Option<Message>> {
        let receive = |socket: &OwnedFd| socket::receive(socket, Trust::Inner);
        self.socket.async_io(Interest::READABLE, receive).await
    }
}

/// Kills a command whose caller stopped waiting for its start.
struct Abandoned<'a> {
    inner: &'a Arc<Inner>,
    id: u32,
    armed: bool,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if self.armed {
            let (inner, id) = (Arc::clone(self.inner), self.id);
            tokio::spawn(async move {
                let request = Request::Signal { id, signal: libc::SIGKILL };
                // If it cannot be reached it is gone.
                inner.ask(&request, &[]).await.ok();
            });
        }
    }
}

/// The moment of a monotonic clock reading of this machine.
fn instant(nanoseconds: u64) -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    let ago = Duration::from_nanos(now.saturating_sub(nanoseconds));
    Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
}

/// Listens to pid 1 until it is gone, then cleans up. Owns the launcher.
async fn attend(
    inner: Arc<Inner>,
    launcher: Child,
    work: PathBuf,
    plain: Option<Plain>,
    finished: watch::Sender<bool>,
) {
    loop {
        match inner.receive().await {
            Ok(Some(message)) => {
                let event = Event::decode(&message.body);
                let heard = event.map(|event| inner.hear(event, message.fds));
                if !matches!(heard, Some(Ok(()))) {
                    tracing::warn!(sandbox.name = inner.name, "pid 1 broke the protocol");
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(sandbox.name = inner.name, %error, "cannot hear pid 1");
                break;
            }
        }
    }
    inner.close();
    inner.state().ended = true;
    reap(&inner, launcher).await;
    match plain {
        None => open_scratch(&inner.name, &work),
        Some(plain) => leave_place(&inner, plain).await,
    }
    let left = {
        let mut state = inner.state();
        for (_, slot) in state.processes.drain() {
            slot.exit.send_replace(Some(ExitStatus::Signaled(libc::SIGKILL)));
        }
        state.killers.clear();
        state.last_usage = Some(state.group.usage());
        std::mem::take(&mut state.group)
    };
    remove_group(&inner.name, left).await;
    finished.send_replace(true);
}

/// Ends what the inner half could not, if it was killed itself, and gives the files and the place back.
async fn leave_place(inner: &Arc<Inner>, plain: Plain) {
    inner.state().group.kill();
    let named = Arc::clone(inner);
    let leaving = tokio::task::spawn_blocking(move || {
        let strays = crate::plain::strays::end_strays(&named.name)?;
        if strays > 0 {
            tracing::warn!(sandbox.name = named.name, strays, "processes outlived their reaper");
        }
        plain.place.leave()
    });
    let left = leaving.await.map_err(io::Error::other);
    if let Err(error) = left.and_then(|left| left) {
        tracing::error!(sandbox.name = inner.name, %error, "a plain sandbox is not tidied up");
    }
}

/// Overlay leaves directories in its scratch directory that even their owner may not look into, so that ordinary removal
/// fails for all but root; and its mark of a mount that did not wait for the disk, with which it refuses the next mount.
pub(crate) fn open_scratch(name: &str, work: &Path) {
    let opened = remove_closed(&work.join("work"));
    match opened.map_err(|error| error.kind()) {
        // The caller may have removed it; what overlay left in it is the caller's to remove.
        Ok(()) | Err(io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {}
        Err(error) => {
            tracing::warn!(sandbox.name = name, %error, "the scratch directory stays closed");
        }
    }
}

fn remove_closed(top: &Path) -> io::Result<()> {
    let marks = top.join("incompat");
    let mark = marks.join("volatile");
    let directories = [top, &marks, &mark];
    for directory in directories {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        match std::fs::set_permissions(directory, open) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            other => other?,
        }
    }
    match std::fs::remove_file(mark.join("dirty")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for directory in directories.into_iter().rev() {
        match std::fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

async fn reap(inner: &Inner, mut launcher: Child) {
    if let Err(error) = end_of(&mut launcher, PATIENCE).await {
        tracing::warn!(sandbox.name = inner.name, %error, "killing a sandbox that does not end");
        inner.state().group.kill();
        // Its death is pid 1's death; it may have ended just now.
        launcher.kill().ok();
        if let Err(error) = end_of(&mut launcher, Duration::from_secs(600)).await {
            tracing::error!(sandbox.name = inner.name, %error, "a sandbox cannot be ended");
        }
    }
}

/// Waits for a child without blocking a thread.
pub(crate) async fn end_of(child: &mut Child, patience: Duration) -> io::Result<()> {
    let pid = Pid::from_raw(child.id() as raw::Pid).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = raw::register(rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?)?;
    tokio::time::timeout(patience, handle.readable())
        .await
        .map_err(io::Error::from)??
        .retain_ready();
    child.wait().map(drop)
}

/// Removes groups; they stay busy for moments after the last process.
pub(crate) async fn remove_group(name: &str, mut group: Group) {
    let mut pause = Duration::from_millis(1);
    while let Err(error) = group.try_remove() {
        if pause > Duration::from_secs(2) {
            tracing::warn!(sandbox.name = name, %error, "a cgroup stays behind");
            return;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn watch_disk(inner: Arc<Inner>, quota: Quota) {
    let mut done = inner.done.clone();
    let mut pace = None;
    loop {
        let over = tokio::time::timeout(TICK, done.wait_for(|&done| done)).await.is_ok();
        if over || inner.state().ended {
            return;
        }
        match look(&inner, quota, &mut pace).await {
            Ok(None) => {}
            Ok(Some(limit)) => {
                inner.state().broken = Some(limit);
                inner.kill_processes().await;
                return;
            }
            Err(error) => {
                tracing::warn!(sandbox.name = inner.name, %error, "cannot measure the writable layer");
            }
        }
    }
}

async fn look(inner: &Inner, quota: Quota, pace: &mut Option<Pace>) -> io::Result<Option<Limit>> {
    let upper = &inner.files;
    let fullness = Fullness::of(upper)?;
    let now = Instant::now();
    let pace = pace.get_or_insert_with(|| Pace::new(quota, fullness, now));
    if !pace.due(fullness, now) {
        return Ok(None);
    }
    let path = upper.clone();
    let walk = tokio::task::spawn_blocking(move || crate::watch::measure(&path, quota));
    let mut measure = walk.await.map_err(io::Error::other)??;
    if pace.unexplained(measure, fullness) {
        let launcher = inner.launcher;
        let hidden = tokio::task::spawn_blocking(move || crate::watch::deleted_bytes(launcher));
        let (bytes, closed) = hidden.await.map_err(io::Error::other)?;
        measure.bytes = measure.bytes.saturating_add(bytes);
        measure.closed += closed;
    }
    inner.state().disk = Some(measure);
    Ok(pace.walked(measure, fullness, now, Instant::now()))
}
