//! What can go wrong in the database, and what to do about it.

use std::path::PathBuf;

use sandgate_domain::ErrorCode;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened or made.
    #[error(
        "can't open the database {path}; check that the folder is writable, or name another one with --data-dir"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The file was written by a newer version that this one must not touch.
    #[error(
        "the database {path} has schema {found} and needs a program that knows at least schema \
         {minimum}, this one knows up to {known}; update sandgate, or name another folder with --data-dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
        /// The oldest schema whose programs may still use the file.
        minimum: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The file is no database, or is damaged.
    #[error(
        "while {doing}: the database is damaged or is no SQLite file; move it away to start anew, \
         or restore it from a backup (`sqlite3 FILE .recover` saves what is readable)"
    )]
    Corrupt {
        /// What we were doing.
        doing: String,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// A setting that durability depends on does not hold.
    #[error(
        "the database {path} runs with {pragma} = {found} instead of {wanted}; it must lie on a local file system"
    )]
    Setting {
        /// The file.
        path: PathBuf,
        /// The name of the setting.
        pragma: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// Another process held the database for longer than we wait.
    #[error("while {doing}: the database was busy for too long; try again")]
    Busy {
        /// What we were doing.
        doing: String,
        /// What was waited for.
        #[source]
        source: sqlx::Error,
    },
    /// There is no room on the disk.
    #[error("while {doing}: no room on the disk of the database; free some, nothing was changed")]
    DiskFull {
        /// What we were doing.
        doing: String,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// It exists already, or what it refers to does not.
    #[error("while {doing}: it exists already, or what it refers to does not")]
    Conflict {
        /// What we were doing.
        doing: String,
        /// The broken constraint.
        #[source]
        source: sqlx::Error,
    },
    /// Any other failure of a statement.
    #[error("while {doing}: the statement failed")]
    Statement {
        /// What we were doing.
        doing: String,
        /// What the database says.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value that this version can't read.
    #[error("{table}.{column} holds a value that can't be read: {problem}")]
    Row {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A text or list over its bound.
    #[error("{field} has a size of {size}, the bound is {bound}")]
    TooLarge {
        /// What it is.
        field: &'static str,
        /// Its size in bytes or items.
        size: usize,
        /// The most that is kept.
        bound: usize,
    },
    /// Somebody else took over since; what was reported changed nothing.
    #[error(
        "{what} is no longer held under fence {fence}: it was taken over or ended; drop this work"
    )]
    StaleFence {
        /// The id of the step or layer.
        what: String,
        /// The fence that was named.
        fence: u64,
    },
    /// A transaction that was committed or given up, or of which a part failed.
    #[error("while {doing}: the transaction is over, or a part of it failed; begin it again")]
    TransactionEnded {
        /// What was tried.
        doing: &'static str,
    },
    /// A subscription that nobody made.
    #[error("there is no subscription `{name}`; subscribe before you fetch")]
    UnknownSubscription {
        /// Its name.
        name: String,
    },
    /// A layer that should be used was removed, or is not complete.
    #[error("{layer} is not there any more, or not complete; build it again")]
    LayerGone {
        /// The layer.
        layer: sandgate_domain::LayerId,
    },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            // The file itself is refused: nothing that waiting would cure.
            Self::Open { source: sqlx::Error::Io(_), .. } => ErrorCode::Internal,
            Self::Open { .. } | Self::Busy { .. } => ErrorCode::Unavailable,
            Self::Newer { .. } | Self::Setting { .. } => ErrorCode::Unsupported,
            Self::DiskFull { .. } => ErrorCode::ResourceExhausted,
            Self::UnknownSubscription { .. } => ErrorCode::NotFound,
            Self::TooLarge { .. } => ErrorCode::InvalidArgument,
            Self::Conflict { .. } | Self::StaleFence { .. } | Self::LayerGone { .. } => {
                ErrorCode::Conflict
            }
            Self::Corrupt { .. }
            | Self::Statement { .. }
            | Self::Row { .. }
            | Self::TransactionEnded { .. } => ErrorCode::Internal,
        }
    }

    /// Sorts a failure of the driver into the variants above.
    pub(crate) fn of(doing: &str, source: sqlx::Error) -> Self {
        let doing = doing.to_owned();
        if matches!(source, sqlx::Error::PoolTimedOut) {
            return Self::Busy { doing, source };
        }
        match primary_code(&source) {
            Some(BUSY | LOCKED) => Self::Busy { doing, source },
            Some(FULL) => Self::DiskFull { doing, source },
            Some(CORRUPT | NOT_A_DATABASE) => Self::Corrupt { doing, source },
            Some(CONSTRAINT) => Self::Conflict { doing, source },
            _ => Self::Statement { doing, source },
        }
    }
}

// https://www.sqlite.org/rescode.html
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CONSTRAINT: i32 = 19;
const NOT_A_DATABASE: i32 = 26;

/// The primary result code of SQLite: the low byte of the extended one.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

/// Whether another connection held the file.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(BUSY | LOCKED))
}

/// For `map_err`: what we were doing when the driver failed.
pub(crate) fn while_doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::of(doing, source)
}
