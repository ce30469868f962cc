//! Which readers are there, and for how long.
//!
//! A reader that has answered to the end waits on the shelf of its repository for the next question. One that waited too
//! long is closed, as are those over the bound, the longest waiting first; one that broke never comes back.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat, stat};

use crate::Error;
use crate::cache::{Cache, Place};
use crate::objects::Objects;
use crate::reader::Reader;

/// How long a reader may wait for the next question.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// How many may wait at a time.
const MAX_WAITING: usize = 8;
/// How many may answer at a time; who asks beyond it waits.
const MAX_BUSY: usize = 16;
/// How many repositories are known at a time.
const MAX_PLACES: usize = 64;

/// The readers of this process. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Pool>);

#[derive(Debug)]
pub(crate) struct Pool {
    program: PathBuf,
    search_path: OsString,
    pub(crate) cache: Cache,
    shelf: Mutex<Shelf>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    /// By the folder.
    places: HashMap<PathBuf, Known>,
    /// The longest waiting first.
    waiting: Vec<Waiting>,
    busy: usize,
    next_place: Place,
    is_swept: bool,
}

/// A repository: what its folder was when it was first asked. While it is open its number belongs to nobody else.
#[derive(Debug)]
struct Known {
    place: Place,
    folder: OwnedFd,
    used: Instant,
}

#[derive(Debug)]
struct Waiting {
    place: Place,
    since: Instant,
    reader: Reader,
}

impl Readers {
    /// Readers that run the git at `program`, which finds its own parts in the folders of `search_path`.
    pub fn new(program: PathBuf, search_path: OsString) -> Self {
        Self(Arc::new(Pool {
            program,
            search_path,
            cache: Cache::default(),
            shelf: Mutex::default(),
            returned: Condvar::new(),
        }))
    }

    /// The objects of the repository whose folder, the one with `HEAD`, is `git_dir`.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn open(&self, git_dir: &Path) -> Result<Objects, Error> {
        let place = self.0.place_of(git_dir)?;
        Ok(Objects::new(Arc::clone(&self.0), place, git_dir.to_owned()))
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the folder: another one if another folder has taken its place.
    fn place_of(&self, git_dir: &Path) -> Result<Place, Error> {
        let failed = |errno: rustix::io::Errno| Error::io("open", git_dir)(errno.into());
        let now = stat(git_dir).map_err(failed)?;
        let mut shelf = self.lock();
        if let Some(known) = shelf.places.get_mut(git_dir) {
            let then = fstat(&known.folder).map_err(failed)?;
            if (then.st_dev, then.st_ino) == (now.st_dev, now.st_ino) {
                known.used = Instant::now();
                return Ok(known.place);
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, git_dir, flags, Mode::empty()).map_err(failed)?;
        let place = shelf.next_place;
        shelf.next_place += 1;
        let known = Known { place, folder, used: Instant::now() };
        let replaced = shelf.places.insert(git_dir.to_owned(), known);
        let surplus = shelf.remove_surplus_place();
        let gone: Vec<Place> =
            replaced.into_iter().chain(surplus).map(|known| known.place).collect();
        let closed: Vec<Waiting> =
            shelf.waiting.extract_if(.., |waiting| gone.contains(&waiting.place)).collect();
        drop(shelf);
        drop(closed);
        Ok(place)
    }

    /// A reader of the repository, and whether it is new.
    pub(crate) fn take(self: &Arc<Self>, place: Place, git_dir: &Path) -> Result<Lease, Error> {
        let mut shelf = self.lock();
        while shelf.busy >= MAX_BUSY {
            shelf = self.returned.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
        shelf.busy += 1;
        let found = shelf.waiting.iter().rposition(|waiting| waiting.place == place);
        let reader = found.map(|index| shelf.waiting.remove(index).reader);
        drop(shelf);
        let mut lease = Lease { pool: Arc::clone(self), place, is_new: reader.is_none(), reader };
        if lease.reader.is_none() {
            lease.reader = Some(Reader::start(&self.program, &self.search_path, git_dir)?);
        }
        Ok(lease)
    }

    fn give_back(self: &Arc<Self>, place: Place, reader: Option<Reader>) {
        let mut shelf = self.lock();
        shelf.busy -= 1;
        if let Some(reader) = reader {
            shelf.waiting.push(Waiting { place, since: Instant::now(), reader });
        }
        let surplus = shelf.waiting.len().saturating_sub(MAX_WAITING);
        let closed: Vec<Waiting> = shelf.waiting.drain(..surplus).collect();
        let needs_sweeper = !shelf.is_swept && !shelf.waiting.is_empty();
        shelf.is_swept |= needs_sweeper;
        drop(shelf);
        drop(closed);
        self.returned.notify_one();
        if needs_sweeper {
            self.start_sweeper();
        }
    }

    /// A thread that closes what waited too long, and ends when nothing waits.
    fn start_sweeper(self: &Arc<Self>) {
        let pool = Arc::downgrade(self);
        let name = "git-readers".to_owned();
        if std::thread::Builder::new().name(name).spawn(move || sweep(&pool)).is_err() {
            // Without it the bound on their number still holds; the next one to come back tries again.
            self.lock().is_swept = false;
        }
    }
}

fn sweep(pool: &Weak<Pool>) {
    let mut pause = MAX_IDLE;
    loop {
        std::thread::sleep(pause);
        let Some(pool) = pool.upgrade() else { return };
        let mut shelf = pool.lock();
        let closed = shelf.take_idle(Instant::now());
        let Some(oldest) = shelf.waiting.first() else {
            shelf.is_swept = false;
            return;
        };
        pause = (oldest.since + MAX_IDLE).saturating_duration_since(Instant::now());
        drop(shelf);
        drop(closed);
    }
}

impl Shelf {
    fn take_idle(&mut self, now: Instant) -> Vec<Waiting> {
        self.waiting.extract_if(.., |waiting| now >= waiting.since + MAX_IDLE).collect()
    }

    fn remove_surplus_place(&mut self) -> Option<Known> {
        if self.places.len() <= MAX_PLACES {
            return None;
        }
        let (folder, _) = self.places.iter().min_by_key(|(_, known)| known.used)?;
        let folder = folder.clone();
        self.places.remove(&folder)
    }
}

/// A reader in use. Unless it is given back, it is closed.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    place: Place,
    /// Whether nobody asked it before.
    pub(crate) is_new: bool,
    reader: Option<Reader>,
}

impl Lease {
    pub(crate) fn reader(&mut self) -> Option<&mut Reader> {
        self.reader.as_mut()
    }

    /// It has answered everything.
    pub(crate) fn give_back(mut self) {
        let reader = self.reader.take();
        self.pool.give_back(self.place, reader);
        self.place = Place::MAX;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.place != Place::MAX {
            drop(self.reader.take());
            self.pool.give_back(self.place, None);
        }
    }
}
