//! The connections: one that writes, a few that read, and the settings that durability depends on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

use crate::error::{Error, is_busy, while_doing};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection of its own process.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that read. Each is a thread; they are made when first needed.
const READERS: u32 = 4;

/// The pools of one database file.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Database {
    /// Opens or makes the file and asserts its settings; the schema is left alone.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        make_private(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // The rollback of a transaction that failed is only queued; this waits for it, or the next one could not begin.
            .test_before_acquire(true)
            .connect_with(options.clone())
            .await
            .map_err(|source| opening(path, source))?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options.read_only(true));
        let database = Self { inner: Arc::new(Inner { path: path.to_owned(), writer, reader }) };
        database.settle_settings().await?;
        Ok(database)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// For statements that only read.
    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.inner.reader
    }

    /// Begins a transaction that writes: the only way to one.
    ///
    /// It takes the lock of the file at once. A transaction that begins by reading could not wait for it later: SQLite
    /// refuses to upgrade a snapshot that somebody else wrote behind, whatever the busy timeout.
    pub(crate) async fn write(
        &self,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, Error> {
        let begun = match self.inner.writer.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::InvalidSavePointStatement) => self.begin_anew().await,
            begun => begun,
        };
        begun.map_err(while_doing(doing))
    }

    /// On a full disk SQLite undoes a transaction by itself, and the driver does not hear of it: that connection would never
    /// begin another one.
    async fn begin_anew(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.inner.writer.acquire().await?.close().await?;
        self.inner.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.inner.reader.close().await;
        self.inner.writer.close().await;
    }

    async fn settle_settings(&self) -> Result<(), Error> {
        let mut connection =
            self.inner.writer.acquire().await.map_err(|source| opening(self.path(), source))?;
        switch_to_wal(self.path(), &mut connection).await?;
        let settings = [
            ("journal_mode", "PRAGMA journal_mode", "wal"),
            ("synchronous", "PRAGMA synchronous", "2"),
            ("foreign_keys", "PRAGMA foreign_keys", "1"),
            ("busy_timeout", "PRAGMA busy_timeout", "5000"),
        ];
        for (pragma, query, wanted) in settings {
            let found = read_pragma(self.path(), &mut connection, query).await?;
            if found != wanted {
                let path = self.path().to_owned();
                return Err(Error::Setting { path, pragma, wanted, found });
            }
        }
        Ok(())
    }
}

/// Makes the file readable by its owner alone before SQLite would make it readable by all.
async fn make_private(path: &Path) -> Result<(), Error> {
    tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .await
        .map(drop)
        .map_err(|source| opening(path, sqlx::Error::Io(source)))
}

/// The mode is kept in the file. Changing it needs the file for itself and doesn't wait for that, so we do.
async fn switch_to_wal(path: &Path, connection: &mut SqliteConnection) -> Result<(), Error> {
    if read_pragma(path, connection, "PRAGMA journal_mode").await? == "wal" {
        return Ok(());
    }
    let switching = async {
        loop {
            let switched = sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await;
            match switched {
                Err(error) if is_busy(&error) => tokio::time::sleep(Duration::from_millis(2)).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(BUSY_TIMEOUT, switching).await {
        Ok(switched) => switched.map(drop).map_err(|source| opening(path, source)),
        Err(_) => Err(Error::Busy {
            doing: format!("opening {}", path.display()),
            source: sqlx::Error::PoolTimedOut,
        }),
    }
}

async fn read_pragma(
    path: &Path,
    connection: &mut SqliteConnection,
    query: &'static str,
) -> Result<String, Error> {
    let row =
        sqlx::query(query).fetch_one(connection).await.map_err(|source| opening(path, source))?;
    let text = row.try_get::<String, _>(0);
    let value = text.or_else(|_| row.try_get::<i64, _>(0).map(|number| number.to_string()));
    value.map_err(|source| opening(path, source))
}

fn opening(path: &Path, source: sqlx::Error) -> Error {
    let sorted = Error::of(&format!("opening {}", path.display()), source);
    let Error::Statement { source, .. } = sorted else { return sorted };
    Error::Open { path: path.to_owned(), source }
}
