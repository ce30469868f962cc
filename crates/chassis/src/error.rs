//! What can go wrong between a process and its machine.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use sandgate_domain::ErrorCode;

/// Why a process can't start or can't find another one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address to listen on is taken.
    #[error(
        "another program listens on {address} already; stop it or give another address with \
         {flag} (port 0 takes a free one)"
    )]
    AddressInUse {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// The address to listen on can't be used.
    #[error("can't listen on {address}; give another address with {flag}")]
    Bind {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket is bound, but can't be watched.
    #[error("can't serve {address}")]
    Serve {
        /// Where we listen.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be used.
    #[error("can't {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read the token, or it is not ours.
    #[error(
        "the token file `{}` {fault}; remove it and start the server again, so that it makes a new one",
        path.display()
    )]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as the end of a sentence.
        fault: &'static str,
    },
    /// No server answers for what was asked.
    #[error("no server is running {place}; start one with `sandgate dev`{hint}")]
    NoServer {
        /// Where we looked.
        place: String,
        /// What else may help.
        hint: &'static str,
    },
    /// More than one server is running.
    #[error("more than one server is running ({choices}); choose one with --data-dir or --server")]
    SeveralServers {
        /// Their addresses and folders.
        choices: String,
    },
    /// The server is known, but not the key to it.
    #[error("there is no token for {server}; set SANDGATE_TOKEN, or give the server's --data-dir")]
    NoToken {
        /// Which server.
        server: String,
    },
    /// Somebody else uses the data folder.
    #[error(
        "the folder `{}` is in use by {holder}; stop that first or give another folder with --data-dir",
        folder.display()
    )]
    Held {
        /// The data folder.
        folder: PathBuf,
        /// Who uses it, for people.
        holder: String,
    },
    /// A setting is wrong.
    #[error("{place}: {message}")]
    Config {
        /// The file with line and column, the variable or the flag.
        place: String,
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// A task of the process gave up.
    #[error("the task `{name}` failed")]
    TaskFailed {
        /// Which task.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A task of the process panicked.
    #[error("the task `{name}` panicked: {message}")]
    TaskPanicked {
        /// Which task.
        name: &'static str,
        /// What it said.
        message: String,
    },
    /// A task of the process ended though nobody told it to.
    #[error("the task `{name}` ended too early")]
    TaskEnded {
        /// Which task.
        name: &'static str,
    },
    /// There is nothing random to make a token from.
    #[error("the system gives no random bytes")]
    Random(#[source] io::Error),
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::AddressInUse { .. } | Self::Held { .. } => ErrorCode::Conflict,
            Self::Bind { .. } | Self::SeveralServers { .. } | Self::Config { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::Token { .. } | Self::NoToken { .. } => ErrorCode::PermissionDenied,
            Self::NoServer { .. } => ErrorCode::Unavailable,
            Self::Serve { .. }
            | Self::File { .. }
            | Self::TaskFailed { .. }
            | Self::TaskPanicked { .. }
            | Self::TaskEnded { .. }
            | Self::Random(_) => ErrorCode::Internal,
        }
    }

    pub(crate) fn file<'a>(
        action: &'static str,
        path: &'a std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}
