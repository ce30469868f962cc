//! Typed ids: a prefix and a UUIDv7 in 32 lower-case hex digits, `run_0199…`. Parsed at the edge, never a bare string past it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Makes new ids. The one implementation that reads a clock and randomness lives in `chassis`.
pub trait Ids: Send + Sync {
    /// A new, never repeated, time-ordered UUID (version 7).
    fn uuid(&self) -> Uuid;
}

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form `{prefix}_` and 32 hex digits")]
pub struct ParseIdError {
    /// The prefix that was wanted, without the underscore.
    pub prefix: &'static str,
    /// What was given, shortened to 80 characters.
    pub text: String,
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of this kind of id, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id.
            pub fn new(ids: &dyn Ids) -> Self {
                Self(ids.uuid())
            }

            /// The id around a known UUID.
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(parse_simple)
                    .map(Self)
                    .ok_or_else(|| ParseIdError {
                        prefix: $prefix,
                        text: text.chars().take(80).collect(),
                    })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }
    };
}

fn parse_simple(digits: &str) -> Option<Uuid> {
    let is_canonical =
        digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_canonical {
        return None;
    }
    Uuid::try_parse(digits).ok()
}

typed_id!(
    /// One run: the gates of one commit or working tree.
    RunId, "run"
);
typed_id!(
    /// One step: the claimable row of one gate or setup in one run.
    StepId, "step"
);
typed_id!(
    /// One sandbox.
    SandboxId, "sbx"
);
typed_id!(
    /// One snapshot: an ordered list of layers and what is needed to enter it.
    SnapshotId, "snap"
);
typed_id!(
    /// One layer of files in a layer store.
    LayerId, "layer"
);

typed_id!(
    /// One pull request.
    PullRequestId, "pr"
);
typed_id!(
    /// One event, as published on the bus.
    EventId, "evt"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_reads_back(bits: u128) {
            let id = RunId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        }

        #[test]
        fn any_text_is_an_id_or_an_error(text in ".{0,60}") {
            if let Ok(id) = text.parse::<SnapshotId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn other_kinds_and_spellings_are_refused() {
        let run = RunId::from_uuid(Uuid::from_u128(7)).to_string();
        for text in [
            run.replace("run_", "snap_"),
            run.to_uppercase(),
            run.replace("run_", ""),
            format!("{run}0"),
            "run_00000000-0000-0000-0000-000000000007".to_owned(),
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
