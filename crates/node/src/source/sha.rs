//! Full object names, and the names that users and events may give.

use std::fmt;
use std::str::FromStr;

use sandgate_objects::ObjectId;
use sha1::Digest as _;

use crate::Error;
use crate::error::shown;

/// The full name of a git object: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha(String);

impl Sha {
    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as objects are asked for.
    pub(super) fn id(&self) -> Result<ObjectId, Error> {
        self.0.parse().map_err(|_| Error::RevisionInvalid {
            revision: shown(self.0.as_bytes()),
            why: "it is no name of an object",
        })
    }

    pub(super) fn format(&self) -> ObjectFormat {
        if self.0.len() == 64 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => byte - b'0',
            _ => byte - b'a' + 10,
        };
        self.0.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }
}

impl From<ObjectId> for Sha {
    fn from(id: ObjectId) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Sha {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_full = matches!(text.len(), 40 | 64)
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_full {
            return Err(Error::RevisionInvalid {
                revision: shown(text.as_bytes()),
                why: "a full object name has 40 or 64 lower-case hex digits",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

/// How a repository names its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectFormat {
    Sha1,
    Sha256,
}

/// Computes the name that git gives to a file with certain contents.
pub(super) enum BlobHasher {
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl BlobHasher {
    /// For a file of `length` bytes.
    pub(super) fn new(format: ObjectFormat, length: u64) -> Self {
        let mut hasher = Self::plain(format);
        hasher.update(format!("blob {length}\0").as_bytes());
        hasher
    }

    /// Without the head that git puts before contents.
    pub(super) fn plain(format: ObjectFormat) -> Self {
        match format {
            ObjectFormat::Sha1 => Self::Sha1(sha1::Sha1::new()),
            ObjectFormat::Sha256 => Self::Sha256(sha2::Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish_bytes(self) -> Vec<u8> {
        match self {
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
        }
    }

    pub(super) fn finish(self) -> Sha {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in self.finish_bytes() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Sha(text)
    }
}

/// The name of a branch, as git allows them and a bit stricter: no control characters, no leading dash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchName(String);

impl BranchName {
    /// The name, without `refs/heads/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BranchName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why| Error::RevisionInvalid { revision: shown(text.as_bytes()), why };
        check_revision(text)?;
        let has_forbidden = text.chars().any(|c| " ~^:?*[\\".contains(c)) || text.contains("@{");
        if has_forbidden || text == "@" || text == "HEAD" {
            return Err(invalid("a branch name must not hold any of ` ~^:?*[\\` or `@{`"));
        }
        let bad_part = |part: &str| {
            part.is_empty()
                || part.starts_with('.')
                || part.ends_with('.')
                || part.ends_with(".lock")
        };
        if text.split('/').any(bad_part) {
            return Err(invalid(
                "no part of a branch name may be empty, begin or end with a dot, or end with `.lock`",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Refuses what no revision of a user may be, before git sees it.
pub(super) fn check_revision(text: &str) -> Result<(), Error> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > 250 {
        "it is longer than 250 bytes"
    } else if text.starts_with('-') {
        "it begins with a dash"
    } else if text.chars().any(|c| c.is_control()) {
        "it holds a control character"
    } else if text.contains("..") {
        "it holds `..`; name one commit, not a range"
    } else if text.contains(':') {
        "it holds `:`; name a commit, not a file"
    } else {
        return Ok(());
    };
    Err(Error::RevisionInvalid { revision: shown(text.as_bytes()), why })
}
