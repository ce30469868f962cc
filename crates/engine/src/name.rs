//! Names of gates: stable, and good as names of GitHub checks.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a gate: 1 to 64 letters, digits, `.`, `_`, `-` and single spaces, beginning and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GateName(String);

/// Why a text is no name of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GateNameError {
    /// Nothing.
    #[error("a gate name can't be empty")]
    Empty,
    /// Longer than [`GateName::MAX_LENGTH`].
    #[error("a gate name has at most 64 characters")]
    TooLong,
    /// Another character.
    #[error("`{0}` can't stand in a gate name; letters, digits, `.`, `_`, `-` and spaces can")]
    Character(char),
    /// A sign or space at an end, or two spaces in a row.
    #[error("a gate name begins and ends with a letter or digit, and has no two spaces in a row")]
    Shape,
}

impl GateName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 64;
    /// The form as a regular expression, for the schema.
    pub const PATTERN: &'static str = r"^(?!.*  )[A-Za-z0-9]([A-Za-z0-9._ -]{0,62}[A-Za-z0-9])?$";

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GateName {
    type Err = GateNameError;

    fn from_str(text: &str) -> Result<Self, GateNameError> {
        if text.is_empty() {
            return Err(GateNameError::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
        if let Some(other) = text.chars().find(|character| !allowed(*character)) {
            let shown = if other.is_control() { char::REPLACEMENT_CHARACTER } else { other };
            return Err(GateNameError::Character(shown));
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(GateNameError::TooLong);
        }
        let at_an_end = |c: char| !c.is_ascii_alphanumeric();
        if text.starts_with(at_an_end) || text.ends_with(at_an_end) || text.contains("  ") {
            return Err(GateNameError::Shape);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for GateName {
    type Error = GateNameError;

    fn try_from(text: String) -> Result<Self, GateNameError> {
        text.parse()
    }
}

impl From<GateName> for String {
    fn from(name: GateName) -> String {
        name.0
    }
}

impl Borrow<str> for GateName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GateName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The known name nearest to `given`, if one is near enough to be meant.
pub(crate) fn nearest<'n>(
    given: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    if given.len() > 2 * GateName::MAX_LENGTH {
        return None;
    }
    let given = given.to_lowercase();
    let measured = known.into_iter().map(|name| {
        let lower = name.to_lowercase();
        // Between equally distant names the one with the same begin is meant.
        let unlike = 1.0 - strsim::jaro_winkler(&given, &lower);
        (strsim::damerau_levenshtein(&given, &lower), unlike, name)
    });
    measured
        .filter(|(distance, _, name)| *distance <= 1 + name.chars().count().max(3) / 4)
        .min_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)))
        .map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["unit", "a", "unit-2", "ios build", "node_18.x", &"a".repeat(64)] {
            assert_eq!(good.parse::<GateName>().map(String::from), Ok(good.to_owned()));
        }
        for (bad, why) in [
            ("", GateNameError::Empty),
            (&"a".repeat(65), GateNameError::TooLong),
            ("a/b", GateNameError::Character('/')),
            ("a\nb", GateNameError::Character('\u{fffd}')),
            ("größe", GateNameError::Character('ö')),
            ("-rf", GateNameError::Shape),
            ("..", GateNameError::Shape),
            (" a", GateNameError::Shape),
            ("a.", GateNameError::Shape),
            ("a  b", GateNameError::Shape),
        ] {
            assert_eq!(bad.parse::<GateName>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn suggestions_are_near() {
        let known = ["timeout", "needs", "from", "run", "network"];
        for (given, meant) in [
            ("tiemout", Some("timeout")),
            ("Timeout", Some("timeout")),
            ("need", Some("needs")),
            ("form", Some("from")),
            ("networks", Some("network")),
            ("volumes", None),
            ("x", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
    }
}
