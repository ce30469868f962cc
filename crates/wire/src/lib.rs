//! The contracts between the services: messages, clients and servers generated from `proto/`, and what every caller needs
//! around them: a [`Connection`] that is a channel or in-process, the mapping of error codes, and the parsing of fields.
//!
//! Holds no behaviour of a service. Module paths follow the packages: `sandgate.runs.v1` is [`runs::v1`].

mod connection;
mod convert;
mod status;
pub mod token;

pub use connection::{AlreadyBound, Connection, InProcess};
pub use convert::{FieldError, optional_field, required_field};
pub use status::{CODE_KEY, error_code, status, status_with_causes};

/// The largest message that a server of `PullRequests` must take: a webhook body of 25 MiB and what is around it. The
/// generated servers refuse more than 4 MiB unless told so with `max_decoding_message_size`.
pub const MAX_ACCEPT_BYTES: usize = 26 << 20;

/// The largest message of `Agent`, both ways: a plan or a summary of reports, of 4 MiB each, and what is around them.
pub const MAX_AGENT_BYTES: usize = 12 << 20;

/// Values that several services speak of.
pub mod common {
    #[expect(missing_docs, reason = "generated; the words are in the .proto file")]
    pub mod v1 {
        //! Version 1.
        tonic::include_proto!("sandgate.common.v1");
    }
}

macro_rules! generated {
    ($($(#[$doc:meta])* $module:ident => $package:literal),+ $(,)?) => {
        $(
            $(#[$doc])*
            pub mod $module {
                #[expect(
                    missing_docs,
                    unused_qualifications,
                    clippy::allow_attributes,
                    clippy::allow_attributes_without_reason,
                    reason = "generated; the words are in the .proto file"
                )]
                pub mod v1 {
                    //! Version 1.
                    tonic::include_proto!($package);
                }
            }
        )+
    };
}

generated!(
    /// What runners ask of whoever hands out steps.
    agent => "sandgate.agent.v1",
    /// One machine: sandboxes, layers, sources.
    node => "sandgate.node.v1",
    /// Repositories, pull requests, deliveries, and the files of known repositories.
    pulls => "sandgate.pulls.v1",
    /// Runs as people and front doors see them.
    runs => "sandgate.runs.v1",
    /// Sandboxes over all providers.
    sandboxes => "sandgate.sandboxes.v1",
    /// Snapshots, layers and the environment cache.
    snapshots => "sandgate.snapshots.v1",
);
