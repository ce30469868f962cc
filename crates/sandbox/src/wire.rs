//! What the two halves say to each other, and its bytes.
//!
//! Both halves are the same program, so there is no versioning; but the inner half sits beside hostile code, so
//! decoding never trusts: every length is checked and a bad message is `None`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Which way namespaces are made and ids mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMap {
    /// By root: inner 0..65536 are host 100000..165536, layers are shown through a mapping.
    Range,
    /// By anyone: inner 1000 is the caller.
    Single {
        /// The caller's user.
        user: u32,
        /// The caller's group.
        group: u32,
    },
}

/// A bind as the inner half needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindRequest {
    pub source: PathBuf,
    pub target: PathBuf,
    pub writable: bool,
}

/// How to build a sandbox. With it come the id mapping namespace and the version 2 cgroup, where there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub id_map: IdMap,
    pub hostname: OsString,
    pub stage: PathBuf,
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub binds: Vec<BindRequest>,
    pub proxied: bool,
    /// Files that the new process's id is written to (version 1).
    pub cgroup_files: Vec<PathBuf>,
    pub has_cgroup: bool,
    pub tmp_bytes: u64,
    pub tmp_inodes: u64,
    pub file_bytes: u64,
    /// Processes, where no cgroup counts them.
    pub process_limit: Option<u32>,
    /// Whether the built-in probes may be run in it.
    pub probe: bool,
}

/// How to serve at the process level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainLaunch {
    /// The top of the files of the sandbox.
    pub root: PathBuf,
    /// Files that the process's id is written to.
    pub cgroup_files: Vec<PathBuf>,
    pub file_bytes: u64,
    /// Processes, where no cgroup counts them and the kernel would for this user.
    pub process_limit: Option<u32>,
    /// Memory of each process, where no cgroup holds it for all of them.
    pub data_bytes: Option<u64>,
    /// The process that made it.
    pub host: u32,
    pub probe: bool,
}

/// A built-in program of the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Touch this much memory, end with 0.
    Memory(u64),
    /// Fork until refused or this many; end with the number of children (at most 255).
    Forks(u32),
    /// Use this many milliseconds of processor time.
    Spin(u32),
    /// Write one byte past this offset of a file in the root; end with the error number.
    FileSize(u64),
}

/// Where the descriptors of a command come from; they travel with the request in the order input, output, error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    Given,
    Terminal { rows: u16, cols: u16 },
}

/// A command to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    pub id: u32,
    pub argv: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub streams: Streams,
}

/// Host to inner half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Prepare { id_map: IdMap, program: PathBuf },
    Launch(Box<Launch>),
    LaunchPlain(Box<PlainLaunch>),
    Exec(Exec),
    Probe { id: u32, probe: Probe },
    Signal { id: u32, signal: i32 },
    KillAll,
}

/// Inner half to host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The outcome of each namespace (0 or an error number), with the program and mapping descriptors.
    Prepared {
        namespaces: Vec<u32>,
    },
    Ready,
    Failed {
        step: String,
        errno: i32,
    },
    Started {
        id: u32,
        nanoseconds: u64,
    },
    ExecFailed {
        id: u32,
        step: String,
        errno: i32,
    },
    Ended {
        id: u32,
        signaled: bool,
        code: i32,
    },
    Killed,
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, value: u8) {
        self.0.push(value);
    }
    fn word(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }
    fn long(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }
    fn text(&mut self, value: impl AsRef<OsStr>) {
        let bytes = value.as_ref().as_bytes();
        self.word(bytes.len() as u32);
        self.0.extend(bytes);
    }
    fn list<T>(&mut self, values: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.word(values.len() as u32);
        for value in values {
            each(self, value);
        }
    }
    fn id_map(&mut self, id_map: IdMap) {
        let (kind, user, group) = match id_map {
            IdMap::Range => (0, 0, 0),
            IdMap::Single { user, group } => (1, user, group),
        };
        self.byte(kind);
        self.word(user);
        self.word(group);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }
    fn flag(&mut self) -> Option<bool> {
        Some(self.byte()? != 0)
    }
    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
    fn signed(&mut self) -> Option<i32> {
        Some(self.word()? as i32)
    }
    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
    fn text(&mut self) -> Option<OsString> {
        let length = self.word()? as usize;
        Some(OsString::from_vec(self.take(length)?.to_vec()))
    }
    fn path(&mut self) -> Option<PathBuf> {
        self.text().map(PathBuf::from)
    }
    fn plain(&mut self) -> Option<String> {
        self.text()?.into_string().ok()
    }
    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // Not reserved ahead: the count is only a claim.
        (0..self.word()?).map(|_| each(self)).collect()
    }
    fn id_map(&mut self) -> Option<IdMap> {
        let (kind, user, group) = (self.byte()?, self.word()?, self.word()?);
        match kind {
            0 => Some(IdMap::Range),
            1 => Some(IdMap::Single { user, group }),
            _ => None,
        }
    }
    fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

impl Request {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Prepare { id_map, program } => {
                out.byte(0);
                out.id_map(*id_map);
                out.text(program);
            }
            Self::Launch(launch) => {
                out.byte(1);
                launch.write(&mut out);
            }
            Self::Exec(exec) => {
                out.byte(2);
                exec.write(&mut out);
            }
            Self::Probe { id, probe } => {
                let (kind, value) = match *probe {
                    Probe::Memory(bytes) => (0, bytes),
                    Probe::Forks(count) => (1, u64::from(count)),
                    Probe::Spin(milliseconds) => (2, u64::from(milliseconds)),
                    Probe::FileSize(bytes) => (3, bytes),
                };
                out.byte(3);
                out.word(*id);
                out.byte(kind);
                out.long(value);
            }
            Self::Signal { id, signal } => {
                out.byte(4);
                out.word(*id);
                out.word(*signal as u32);
            }
            Self::KillAll => out.byte(5),
            Self::LaunchPlain(launch) => {
                out.byte(6);
                launch.write(&mut out);
            }
        }
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        let request = match input.byte()? {
            0 => Self::Prepare { id_map: input.id_map()?, program: input.path()? },
            1 => Self::Launch(Box::new(Launch::read(&mut input)?)),
            2 => Self::Exec(Exec::read(&mut input)?),
            3 => {
                let (id, kind, value) = (input.word()?, input.byte()?, input.long()?);
                let probe = match kind {
                    0 => Probe::Memory(value),
                    1 => Probe::Forks(value.try_into().ok()?),
                    2 => Probe::Spin(value.try_into().ok()?),
                    3 => Probe::FileSize(value),
                    _ => return None,
                };
                Self::Probe { id, probe }
            }
            4 => Self::Signal { id: input.word()?, signal: input.signed()? },
            5 => Self::KillAll,
            6 => Self::LaunchPlain(Box::new(PlainLaunch::read(&mut input)?)),
            _ => return None,
        };
        input.end(request)
    }
}

impl Launch {
    fn write(&self, out: &mut Writer) {
        out.id_map(self.id_map);
        out.text(&self.hostname);
        out.text(&self.stage);
        out.list(&self.lower, |out, path| out.text(path));
        out.text(&self.upper);
        out.text(&self.work);
        out.list(&self.binds, |out, bind| {
            out.text(&bind.source);
            out.text(&bind.target);
            out.byte(bind.writable.into());
        });
        out.byte(self.proxied.into());
        out.list(&self.cgroup_files, |out, path| out.text(path));
        out.byte(self.has_cgroup.into());
        out.long(self.tmp_bytes);
        out.long(self.tmp_inodes);
        out.long(self.file_bytes);
        out.word(self.process_limit.unwrap_or(0));
        out.byte(self.probe.into());
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            id_map: input.id_map()?,
            hostname: input.text()?,
            stage: input.path()?,
            lower: input.list(Reader::path)?,
            upper: input.path()?,
            work: input.path()?,
            binds: input.list(|input| {
                let (source, target) = (input.path()?, input.path()?);
                Some(BindRequest { source, target, writable: input.flag()? })
            })?,
            proxied: input.flag()?,
            cgroup_files: input.list(Reader::path)?,
            has_cgroup: input.flag()?,
            tmp_bytes: input.long()?,
            tmp_inodes: input.long()?,
            file_bytes: input.long()?,
            process_limit: Some(input.word()?).filter(|&limit| limit > 0),
            probe: input.flag()?,
        })
    }
}

impl PlainLaunch {
    fn write(&self, out: &mut Writer) {
        out.text(&self.root);
        out.list(&self.cgroup_files, |out, path| out.text(path));
        out.long(self.file_bytes);
        out.word(self.process_limit.unwrap_or(0));
        out.long(self.data_bytes.unwrap_or(0));
        out.word(self.host);
        out.byte(self.probe.into());
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            root: input.path()?,
            cgroup_files: input.list(Reader::path)?,
            file_bytes: input.long()?,
            process_limit: Some(input.word()?).filter(|&limit| limit > 0),
            data_bytes: Some(input.long()?).filter(|&limit| limit > 0),
            host: input.word()?,
            probe: input.flag()?,
        })
    }
}

impl Exec {
    fn write(&self, out: &mut Writer) {
        out.word(self.id);
        out.list(&self.argv, |out, text| out.text(text));
        out.list(&self.env, |out, (name, value)| {
            out.text(name);
            out.text(value);
        });
        out.text(&self.cwd);
        let (kind, rows, cols) = match self.streams {
            Streams::Given => (0, 0, 0),
            Streams::Terminal { rows, cols } => (1, rows, cols),
        };
        out.byte(kind);
        out.word(rows.into());
        out.word(cols.into());
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let id = input.word()?;
        let argv = input.list(Reader::text)?;
        let env = input.list(|input| Some((input.text()?, input.text()?)))?;
        let cwd = input.path()?;
        let (kind, rows, cols) = (input.byte()?, input.word()?, input.word()?);
        let streams = match kind {
            0 => Streams::Given,
            1 => Streams::Terminal { rows: rows.try_into().ok()?, cols: cols.try_into().ok()? },
            _ => return None,
        };
        Some(Self { id, argv, env, cwd, streams })
    }
}

impl Event {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Prepared { namespaces } => {
                out.byte(0);
                out.list(namespaces, |out, &errno| out.word(errno));
            }
            Self::Ready => out.byte(1),
            Self::Failed { step, errno } => {
                out.byte(2);
                out.text(step);
                out.word(*errno as u32);
            }
            Self::Started { id, nanoseconds } => {
                out.byte(3);
                out.word(*id);
                out.long(*nanoseconds);
            }
            Self::ExecFailed { id, step, errno } => {
                out.byte(4);
                out.word(*id);
                out.text(step);
                out.word(*errno as u32);
            }
            Self::Ended { id, signaled, code } => {
                out.byte(5);
                out.word(*id);
                out.byte((*signaled).into());
                out.word(*code as u32);
            }
            Self::Killed => out.byte(6),
        }
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        let event = match input.byte()? {
            0 => Self::Prepared { namespaces: input.list(Reader::word)? },
            1 => Self::Ready,
            2 => Self::Failed { step: input.plain()?, errno: input.signed()? },
            3 => Self::Started { id: input.word()?, nanoseconds: input.long()? },
            4 => {
                let (id, step) = (input.word()?, input.plain()?);
                Self::ExecFailed { id, step, errno: input.signed()? }
            }
            5 => {
                let (id, signaled) = (input.word()?, input.flag()?);
                Self::Ended { id, signaled, code: input.signed()? }
            }
            6 => Self::Killed,
            _ => return None,
        };
        input.end(event)
    }
}

#[cfg(test)]
mod tests;
