//! A text that must not be shown: what prints it prints a placeholder.

use std::fmt::{Debug, Formatter, Result};

use constant_time_eq::constant_time_eq;

/// A password, key or token. It has no `Display` and its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is this text, in a time that depends on the lengths only.
    pub fn matches(&self, presented: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), presented.as_bytes())
    }
}

impl Debug for Secret {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matches_itself_only_and_is_never_printed() {
        let secret = Secret::new("open sesame");
        assert!(secret.matches("open sesame"));
        for other in ["", "open", "open sesamf", "open sesame "] {
            assert!(!secret.matches(other), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "<redacted>");
    }
}
