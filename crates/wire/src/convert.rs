//! Between messages and domain values: fields are parsed at the edge, with the name of the field in the error.

use std::fmt::Display;
use std::str::FromStr;

use sandgate_domain::{ErrorCode, GateResult, Resources, Timestamp};

use crate::{node, runs, snapshots};

/// A field of a message that does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {problem}")]
pub struct FieldError {
    /// The field, as in the .proto file.
    pub field: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}

impl FieldError {
    /// Always an invalid argument: who sent the message must change it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }
}

impl From<FieldError> for tonic::Status {
    fn from(error: FieldError) -> Self {
        crate::status(error.code(), error.to_string())
    }
}

/// The value of a field that must be set: an id, a name, a result.
///
/// # Errors
/// If the text is no such value; an empty text never is.
pub fn required_field<T>(field: &'static str, text: &str) -> Result<T, FieldError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| FieldError { field, problem: error.to_string() })
}

/// The value of a field that may be missing.
///
/// # Errors
/// If it is set to something that is no such value.
pub fn optional_field<T>(field: &'static str, text: Option<&str>) -> Result<Option<T>, FieldError>
where
    T: FromStr,
    T::Err: Display,
{
    text.map(|text| required_field(field, text)).transpose()
}

impl From<Resources> for node::v1::Resources {
    fn from(resources: Resources) -> Self {
        Self {
            cpu_millis: resources.cpu_millis,
            memory_bytes: resources.memory_bytes,
            disk_bytes: resources.disk_bytes,
            disk_inodes: resources.disk_inodes,
            pids: resources.pids,
        }
    }
}

impl From<node::v1::Resources> for Resources {
    fn from(message: node::v1::Resources) -> Self {
        Self {
            cpu_millis: message.cpu_millis,
            memory_bytes: message.memory_bytes,
            disk_bytes: message.disk_bytes,
            disk_inodes: message.disk_inodes,
            pids: message.pids,
        }
    }
}

impl runs::v1::Run {
    /// The verdict, once there is one.
    ///
    /// # Errors
    /// If it names no result.
    pub fn verdict(&self) -> Result<Option<GateResult>, FieldError> {
        optional_field("run.result", self.result.as_deref())
    }

    /// When it was planned.
    pub fn created(&self) -> Timestamp {
        Timestamp::from_micros(self.created_at)
    }

    /// When it started, if it did.
    pub fn started(&self) -> Option<Timestamp> {
        self.started_at.map(Timestamp::from_micros)
    }

    /// When it ended, if it did.
    pub fn ended(&self) -> Option<Timestamp> {
        self.ended_at.map(Timestamp::from_micros)
    }
}

impl runs::v1::Gate {
    /// How it ended, once it did.
    ///
    /// # Errors
    /// If it names no result.
    pub fn outcome(&self) -> Result<Option<GateResult>, FieldError> {
        optional_field("gate.result", self.result.as_deref())
    }

    /// When it was planned.
    pub fn queued(&self) -> Timestamp {
        Timestamp::from_micros(self.queued_at)
    }

    /// When it was last claimed, if it was.
    pub fn claimed(&self) -> Option<Timestamp> {
        self.claimed_at.map(Timestamp::from_micros)
    }

    /// When the first instruction of its commands ran, if one did.
    pub fn started(&self) -> Option<Timestamp> {
        self.started_at.map(Timestamp::from_micros)
    }

    /// When it ended, if it did.
    pub fn ended(&self) -> Option<Timestamp> {
        self.ended_at.map(Timestamp::from_micros)
    }
}

impl snapshots::v1::Snapshot {
    /// When it was asked for.
    pub fn created(&self) -> Timestamp {
        Timestamp::from_micros(self.created_at)
    }

    /// When it may be removed; none means never by itself.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires_at.map(Timestamp::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use sandgate_domain::RunId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_bad_field_is_named() {
        let id = RunId::from_uuid(Uuid::from_u128(7));
        assert_eq!(required_field::<RunId>("run", &id.to_string()), Ok(id));
        assert_eq!(optional_field::<RunId>("run", None), Ok(None));
        let error = optional_field::<RunId>("run", Some("")).unwrap_err();
        assert_eq!(error.field, "run");
        let status = tonic::Status::from(error);
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().starts_with("field `run`: "), "{}", status.message());
    }
}
