//! Paths with a query, encoded.

use std::fmt::{self, Write};

/// A path below the server's address, and what is asked for there.
#[derive(Debug, Clone)]
pub struct Query {
    path: String,
    pairs: Vec<(&'static str, String)>,
}

impl Query {
    /// A path without a query.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), pairs: Vec::new() }
    }

    /// The same with one more pair.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.pairs.push((name, value.into()));
        self
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path)?;
        for (index, (name, value)) in self.pairs.iter().enumerate() {
            let sign = if index == 0 { '?' } else { '&' };
            write!(formatter, "{sign}{name}={}", encoded(value))?;
        }
        Ok(())
    }
}

/// A text as one segment of a path, or as one value of a query.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_can_hold_anything() {
        let query = Query::new("/a").with("repo", "acme/web").with("sha", "ä &=?#%");
        assert_eq!(query.to_string(), "/a?repo=acme%2Fweb&sha=%C3%A4%20%26%3D%3F%23%25");
        assert_eq!(Query::new("/a").to_string(), "/a");
    }
}
