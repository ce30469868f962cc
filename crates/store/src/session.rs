//! Where a repository reads and writes: in transactions of its own, or in one that spans several repositories.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Sqlite, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::database::Database;
use crate::error::{Error, while_doing};

/// What a repository works on. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Session {
    /// Each call for itself.
    Each(Database),
    /// All calls in one transaction.
    Together(Arc<Open>),
}

/// A transaction that spans several repositories.
#[derive(Debug)]
pub(crate) struct Open {
    transaction: Arc<Mutex<Option<Transaction<'static, Sqlite>>>>,
    broken: AtomicBool,
}

impl Session {
    /// A connection to read with.
    pub(crate) async fn read(&self, doing: &'static str) -> Result<Reading, Error> {
        match self {
            Self::Each(database) => {
                let connection = database.reader().acquire().await.map_err(while_doing(doing))?;
                Ok(Reading::Own(connection))
            }
            Self::Together(open) => Ok(Reading::Shared(open.enter(doing).await?)),
        }
    }

    /// A transaction to write in; what is not committed is undone.
    pub(crate) async fn write(&self, doing: &'static str) -> Result<Writing, Error> {
        match self {
            Self::Each(database) => Ok(Writing::Own(database.write(doing).await?)),
            Self::Together(open) => {
                let guard = open.enter(doing).await?;
                let part = Part { open: Arc::clone(open), is_done: false };
                Ok(Writing::Shared { guard, part })
            }
        }
    }
}

impl Open {
    pub(crate) fn new(transaction: Transaction<'static, Sqlite>) -> Self {
        Self {
            transaction: Arc::new(Mutex::new(Some(transaction))),
            broken: AtomicBool::new(false),
        }
    }

    /// Commits all that was written. Refused if a step of it failed: half of it must not stay.
    pub(crate) async fn commit(&self) -> Result<(), Error> {
        const DOING: &str = "committing";
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::TransactionEnded { doing: DOING });
        }
        let taken = self.transaction.lock().await.take();
        let transaction = taken.ok_or(Error::TransactionEnded { doing: DOING })?;
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// Undoes all that was written.
    pub(crate) fn abandon(&self) {
        self.broken.store(true, Ordering::SeqCst);
        if let Ok(mut transaction) = self.transaction.try_lock() {
            drop(transaction.take());
        }
    }

    async fn enter(&self, doing: &'static str) -> Result<Guard, Error> {
        let guard = Arc::clone(&self.transaction).lock_owned().await;
        if guard.is_none() || self.broken.load(Ordering::SeqCst) {
            return Err(Error::TransactionEnded { doing });
        }
        Ok(Guard(guard))
    }
}

/// Exclusive use of an open transaction; there is always one inside.
pub(crate) struct Guard(OwnedMutexGuard<Option<Transaction<'static, Sqlite>>>);

impl Deref for Guard {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.0.as_ref().expect("a guard is only made around a transaction")
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().expect("a guard is only made around a transaction")
    }
}

/// A connection to read with.
pub(crate) enum Reading {
    Own(PoolConnection<Sqlite>),
    Shared(Guard),
}

impl Deref for Reading {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Shared(guard) => guard,
        }
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Shared(guard) => guard,
        }
    }
}

/// A transaction to write in, of its own or a part of one that spans several repositories.
pub(crate) enum Writing {
    Own(Transaction<'static, Sqlite>),
    Shared { guard: Guard, part: Part },
}

impl Writing {
    /// Keeps what was written; of a part, as soon as the whole is committed.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Own(transaction) => transaction.commit().await,
            Self::Shared { mut part, .. } => {
                part.is_done = true;
                Ok(())
            }
        }
    }
}

impl Deref for Writing {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Own(transaction) => transaction,
            Self::Shared { guard, .. } => guard,
        }
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(transaction) => transaction,
            Self::Shared { guard, .. } => guard,
        }
    }
}

/// A part of a transaction. One that fails breaks the whole: it can't be committed any more.
pub(crate) struct Part {
    open: Arc<Open>,
    is_done: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_done {
            self.open.broken.store(true, Ordering::SeqCst);
        }
    }
}
