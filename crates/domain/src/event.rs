//! Events: facts that others may react to, in the envelope of CloudEvents 1.0 as JSON.
//!
//! Changes are additive; unknown fields are ignored. A new meaning is a new version of the type.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{EventId, TenantId, Timestamp};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Always `1.0`.
    #[serde(rename = "specversion")]
    version: SpecVersion,
    /// Its id: the same event has the same, however often it arrives.
    pub id: EventId,
    /// Who says so: the role, such as `sandgate/integration-agent`.
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// To what: the id of the entity.
    pub subject: String,
    /// When.
    #[serde(with = "rfc3339")]
    pub time: Timestamp,
    /// Whose it is.
    #[serde(rename = "tenantid")]
    pub tenant: TenantId,
    /// Always `application/json`.
    #[serde(rename = "datacontenttype", default)]
    content_type: JsonContent,
    /// The facts.
    pub data: serde_json::Value,
}

impl Event {
    /// An event with this content.
    pub fn new(
        id: EventId,
        source: impl Into<String>,
        kind: EventType,
        subject: impl Into<String>,
        time: Timestamp,
        tenant: TenantId,
        data: serde_json::Value,
    ) -> Self {
        Self {
            version: SpecVersion::One,
            id,
            source: source.into(),
            kind,
            subject: subject.into(),
            time,
            tenant,
            content_type: JsonContent::Json,
            data,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum SpecVersion {
    #[serde(rename = "1.0")]
    One,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum JsonContent {
    #[default]
    #[serde(rename = "application/json")]
    Json,
}

/// What kind of event it is: `sandgate.<entity>.<event>.v<n>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EventType {
    entity: String,
    event: String,
    version: u32,
}

impl EventType {
    /// A kind of event; entity and event are words of `a-z`, `0-9` and `_`.
    pub fn new(entity: &str, event: &str, version: u32) -> Result<Self, ParseEventTypeError> {
        if !is_word(entity) || !is_word(event) || version == 0 {
            return Err(ParseEventTypeError::of(&format!("sandgate.{entity}.{event}.v{version}")));
        }
        Ok(Self { entity: entity.to_owned(), event: event.to_owned(), version })
    }

    /// What it is about, such as `run`.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// What happened to it, such as `ended`.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The version of its meaning.
    pub fn version(&self) -> u32 {
        self.version
    }
}

/// A text that is no type of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a type of event of the form `sandgate.<entity>.<event>.v<n>`")]
pub struct ParseEventTypeError(String);

impl ParseEventTypeError {
    fn of(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sandgate.{}.{}.v{}", self.entity, self.event, self.version)
    }
}

impl FromStr for EventType {
    type Err = ParseEventTypeError;

    fn from_str(text: &str) -> Result<Self, ParseEventTypeError> {
        let error = || ParseEventTypeError::of(text);
        let words: Vec<&str> = text.split('.').collect();
        let ["sandgate", entity, event, version] = words[..] else { return Err(error()) };
        let number = version.strip_prefix('v').and_then(|digits| digits.parse().ok());
        let kind = Self::new(entity, event, number.ok_or_else(error)?)?;
        if kind.to_string() == text { Ok(kind) } else { Err(error()) }
    }
}

impl From<EventType> for String {
    fn from(kind: EventType) -> String {
        kind.to_string()
    }
}

impl TryFrom<String> for EventType {
    type Error = ParseEventTypeError;

    fn try_from(text: String) -> Result<Self, ParseEventTypeError> {
        text.parse()
    }
}

fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Times as RFC 3339 texts in UTC.
mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::Timestamp;

    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let time =
            jiff::Timestamp::from_microsecond(time.as_micros()).map_err(ser::Error::custom)?;
        serializer.collect_str(&time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Timestamp::from_micros(time.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event() -> Event {
        Event::new(
            EventId::from_uuid(Uuid::from_u128(7)),
            "sandgate/integration-agent",
            EventType::new("run", "ended", 1).unwrap(),
            "run_00000000000000000000000000000001",
            Timestamp::from_micros(1_767_225_600_123_456),
            TenantId::default(),
            serde_json::json!({"result": "success"}),
        )
    }

    #[test]
    fn the_envelope_is_cloud_events() {
        let value = serde_json::to_value(event()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "specversion": "1.0",
                "id": "evt_00000000000000000000000000000007",
                "source": "sandgate/integration-agent",
                "type": "sandgate.run.ended.v1",
                "subject": "run_00000000000000000000000000000001",
                "time": "2026-01-01T00:00:00.123456Z",
                "tenantid": "default",
                "datacontenttype": "application/json",
                "data": {"result": "success"},
            })
        );
        assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event());
    }

    #[test]
    fn unknown_fields_are_ignored_and_other_versions_refused() {
        let mut value = serde_json::to_value(event()).unwrap();
        value["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
        assert_eq!(serde_json::from_value::<Event>(value.clone()).unwrap(), event());
        value["specversion"] = "0.3".into();
        assert!(serde_json::from_value::<Event>(value).is_err());
    }

    #[test]
    fn types_read_back_and_others_are_refused() {
        let kind: EventType = "sandgate.gate.requested.v12".parse().unwrap();
        assert_eq!((kind.entity(), kind.event(), kind.version()), ("gate", "requested", 12));
        for text in [
            "gate.requested.v1",
            "sandgate.gate.requested",
            "sandgate.gate.requested.v0",
            "sandgate.gate.requested.v01",
            "sandgate.gate.requested.v+1",
            "sandgate.Gate.requested.v1",
            "sandgate.gate.*.v1",
            "sandgate..requested.v1",
            "sandgate.gate.requested.v1.x",
        ] {
            assert!(text.parse::<EventType>().is_err(), "{text}");
        }
    }
}
