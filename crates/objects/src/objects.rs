//! Asking a repository for objects.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Parsed, Place};
use crate::pool::Pool;
use crate::reader::{Conversation, Head};
use crate::{Commit, Error, Kind, ObjectId, Tree};

/// How long a few objects may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long many may take.
const LONG_DEADLINE: Duration = Duration::from_secs(600);
/// The longest commit or tag, in bytes.
const MAX_COMMIT: u64 = 16 << 20;
/// The longest list of a folder, in bytes.
const MAX_TREE: u64 = 64 << 20;
/// How many objects are asked for at a time.
const BATCH: usize = 4096;

/// The objects of one repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    pool: Arc<Pool>,
    place: Place,
    git_dir: PathBuf,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The object.
    pub id: ObjectId,
    /// What it is.
    pub kind: Kind,
    /// Its length.
    pub bytes: u64,
}

/// Takes the index of an object, its length and a chunk of its contents.
type UseChunk<'a, E> = &'a mut dyn FnMut(usize, u64, &[u8]) -> Result<(), E>;

impl Objects {
    pub(crate) fn new(pool: Arc<Pool>, place: Place, git_dir: PathBuf) -> Self {
        Self { pool, place, git_dir }
    }

    /// The object that `HEAD` names now; none if its branch has no commit yet.
    ///
    /// # Errors
    /// If the repository can't be read.
    pub fn head(&self) -> Result<Option<Found>, Error> {
        self.look_up("HEAD")
    }

    /// What an object is; none if the repository lacks it.
    ///
    /// # Errors
    /// If the repository can't be read.
    pub fn find(&self, id: ObjectId) -> Result<Option<Found>, Error> {
        self.look_up(&id.to_string())
    }

    fn look_up(&self, name: &str) -> Result<Option<Found>, Error> {
        let question = format!("info {name}\n");
        self.converse(&question, DEADLINE, &mut |conversation, _| {
            Ok(match conversation.head()? {
                Head::Missing => None,
                Head::Object { id, kind, bytes } => Some(Found { id, kind, bytes }),
            })
        })
    }

    /// A commit.
    ///
    /// # Errors
    /// If it is missing, malformed or something else.
    pub fn commit(&self, id: ObjectId) -> Result<Arc<Commit>, Error> {
        let found = self.commits(&[id])?.pop().flatten();
        found.ok_or(Error::Missing { id })
    }

    /// Several commits, in the order of their names; none for those that are missing.
    ///
    /// # Errors
    /// If one is malformed or something else, or the repository can't be read.
    pub fn commits(&self, ids: &[ObjectId]) -> Result<Vec<Option<Arc<Commit>>>, Error> {
        let read = self.parsed(ids, Kind::Commit, MAX_COMMIT, &|_, raw| {
            Commit::parse(raw).map(|commit| Parsed::Commit(Arc::new(commit)))
        })?;
        let commit =
            |parsed| if let Some(Parsed::Commit(commit)) = parsed { Some(commit) } else { None };
        Ok(read.into_iter().map(commit).collect())
    }

    /// A folder.
    ///
    /// # Errors
    /// If it is missing, malformed or something else.
    pub fn tree(&self, id: ObjectId) -> Result<Tree, Error> {
        self.trees(&[id])?.pop().ok_or(Error::Missing { id })
    }

    /// Several folders, in the order of their names.
    ///
    /// # Errors
    /// If one is missing, malformed or something else, or the repository can't be read.
    pub fn trees(&self, ids: &[ObjectId]) -> Result<Vec<Tree>, Error> {
        let read = self.parsed(ids, Kind::Tree, MAX_TREE, &|id, raw| {
            Tree::parse(raw, id.format().width()).map(Parsed::Tree)
        })?;
        let tree = |(parsed, id): (Option<Parsed>, &ObjectId)| match parsed {
            Some(Parsed::Tree(tree)) => Ok(tree),
            Some(Parsed::Commit(_) | Parsed::Blob(_)) | None => Err(Error::Missing { id: *id }),
        };
        read.into_iter().zip(ids).map(tree).collect()
    }

    /// The contents of one file of at most `limit` bytes; small ones are kept.
    ///
    /// # Errors
    /// If it is missing, larger, or something else.
    pub fn blob(&self, id: ObjectId, limit: u64) -> Result<Arc<[u8]>, Error> {
        let read =
            self.parsed(&[id], Kind::Blob, limit, &|_, raw| Some(Parsed::Blob(raw.into())))?;
        match read.into_iter().next().flatten() {
            // It may have been read by somebody with a higher limit.
            Some(Parsed::Blob(blob)) if blob.len() as u64 > limit => {
                Err(Error::TooLarge { id, bytes: blob.len() as u64, limit })
            }
            Some(Parsed::Blob(blob)) => Ok(blob),
            Some(Parsed::Commit(_) | Parsed::Tree(_)) | None => Err(Error::Missing { id }),
        }
    }

    /// Calls `use_chunk(index, length of the object, chunk)` for the contents of all files `ids`, in their order. An empty
    /// file is one call with an empty chunk.
    ///
    /// # Errors
    /// If one is missing or something else, the repository can't be read, or `use_chunk` fails.
    pub fn blobs<E: From<Error>>(
        &self,
        ids: &[ObjectId],
        use_chunk: UseChunk<'_, E>,
    ) -> Result<(), E> {
        let mut first = 0;
        for batch in ids.chunks(BATCH) {
            let questions = contents_of(batch);
            self.converse(&questions, LONG_DEADLINE, &mut |conversation, is_touched| {
                for (index, id) in batch.iter().enumerate() {
                    let bytes = expect(conversation.head()?, *id, Kind::Blob)?
                        .ok_or(Error::Missing { id: *id })?;
                    *is_touched = true;
                    pass_on(conversation, bytes, &mut |chunk| {
                        use_chunk(first + index, bytes, chunk)
                    })?;
                }
                Ok::<(), E>(())
            })?;
            first += batch.len();
        }
        Ok(())
    }

    fn parsed(
        &self,
        ids: &[ObjectId],
        kind: Kind,
        limit: u64,
        parse: &dyn Fn(ObjectId, &[u8]) -> Option<Parsed>,
    ) -> Result<Vec<Option<Parsed>>, Error> {
        let mut found: Vec<_> = ids.iter().map(|id| self.cached(*id, kind)).collect();
        let unknown: Vec<usize> =
            (0..ids.len()).filter(|index| found.get(*index).is_some_and(Option::is_none)).collect();
        for batch in unknown.chunks(BATCH) {
            let wanted: Vec<ObjectId> =
                batch.iter().filter_map(|index| ids.get(*index).copied()).collect();
            let read = self.read_parsed(&wanted, kind, limit, parse)?;
            for (index, object) in batch.iter().zip(read) {
                if let Some(place) = found.get_mut(*index) {
                    *place = object;
                }
            }
        }
        Ok(found)
    }

    fn read_parsed(
        &self,
        ids: &[ObjectId],
        kind: Kind,
        limit: u64,
        parse: &dyn Fn(ObjectId, &[u8]) -> Option<Parsed>,
    ) -> Result<Vec<Option<Parsed>>, Error> {
        self.converse(&contents_of(ids), DEADLINE, &mut |conversation, _| {
            let mut read = Vec::with_capacity(ids.len());
            for &id in ids {
                let Some(bytes) = expect(conversation.head()?, id, kind)? else {
                    read.push(None);
                    continue;
                };
                if bytes > limit {
                    return Err(Error::TooLarge { id, bytes, limit });
                }
                let contents = conversation.contents(bytes)?;
                let object = parse(id, &contents).ok_or(Error::Malformed { id, kind })?;
                self.pool.cache.put(self.place, id, object.clone());
                read.push(Some(object));
            }
            Ok(read)
        })
    }

    fn cached(&self, id: ObjectId, wanted: Kind) -> Option<Parsed> {
        self.pool.cache.get(self.place, id).filter(|known| {
            matches!(
                (known, wanted),
                (Parsed::Commit(_), Kind::Commit)
                    | (Parsed::Tree(_), Kind::Tree)
                    | (Parsed::Blob(_), Kind::Blob)
            )
        })
    }

    /// Asks, and hears the answers. A reader that died while it waited is replaced once, unless an answer was used already.
    fn converse<T, E: From<Error>>(
        &self,
        questions: &str,
        deadline: Duration,
        hear: &mut dyn FnMut(&mut Conversation<'_>, &mut bool) -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let mut lease = self.pool.take(self.place, &self.git_dir)?;
            let is_new = lease.is_new;
            let Some(reader) = lease.reader() else { continue };
            let mut is_touched = false;
            let mut conversation = reader.ask(questions.as_bytes(), deadline);
            let heard = hear(&mut conversation, &mut is_touched);
            let is_over = conversation.is_over();
            let has_died = conversation.has_died();
            match heard {
                Ok(answer) if is_over => {
                    lease.give_back();
                    return Ok(answer);
                }
                Ok(_) => {
                    let what = "more than was asked for".to_owned();
                    return Err(Error::Answer { what }.into());
                }
                Err(_) if has_died && !is_new && !is_touched => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn contents_of(ids: &[ObjectId]) -> String {
    let mut questions = String::with_capacity(ids.len() * 74);
    for id in ids {
        questions.push_str("contents ");
        questions.push_str(&id.to_string());
        questions.push('\n');
    }
    questions
}

/// The length of an answer about `id`; none if it is missing.
fn expect(head: Head, id: ObjectId, wanted: Kind) -> Result<Option<u64>, Error> {
    match head {
        Head::Missing => Ok(None),
        Head::Object { id: answered, .. } if answered != id => {
            Err(Error::Answer { what: format!("{answered} instead of {id}") })
        }
        Head::Object { kind, .. } if kind != wanted => {
            Err(Error::OtherKind { id, found: kind, wanted })
        }
        Head::Object { bytes, .. } => Ok(Some(bytes)),
    }
}

fn pass_on<E: From<Error>>(
    conversation: &mut Conversation<'_>,
    bytes: u64,
    use_chunk: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut left = bytes;
    if left == 0 {
        use_chunk(&[])?;
    }
    while left > 0 {
        let chunk = conversation.chunk(left)?;
        left -= chunk.len() as u64;
        use_chunk(chunk)?;
    }
    Ok(conversation.end_of_contents()?)
}
