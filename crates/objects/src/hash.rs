//! The name that contents get.

use sha1::Digest as _;

use crate::{Format, Kind, ObjectId};

/// Computes names.
pub enum Hasher {
    /// For repositories of SHA-1.
    Sha1(sha1::Sha1),
    /// For repositories of SHA-256.
    Sha256(sha2::Sha256),
}

impl Hasher {
    /// For bytes as they are.
    pub fn plain(format: Format) -> Self {
        match format {
            Format::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Format::Sha256 => Self::Sha256(sha2::Sha256::new()),
        }
    }

    /// For an object of this kind and length.
    pub fn object(format: Format, kind: Kind, length: u64) -> Self {
        let mut hasher = Self::plain(format);
        hasher.update(format!("{kind} {length}\0").as_bytes());
        hasher
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// The name.
    pub fn finish(self) -> ObjectId {
        match self {
            Self::Sha1(hasher) => ObjectId::of_sha1(hasher.finalize().into()),
            Self::Sha256(hasher) => ObjectId::of_sha256(hasher.finalize().into()),
        }
    }
}

/// The name of an object with these contents.
pub fn name_of(format: Format, kind: Kind, contents: &[u8]) -> ObjectId {
    let mut hasher = Hasher::object(format, kind, contents.len() as u64);
    hasher.update(contents);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_git() {
        let name = |format| name_of(format, Kind::Blob, b"x\n").to_string();
        assert_eq!(name(Format::Sha1), "587be6b4c3f93f93c489c0111bba5596147a26cb");
        assert_eq!(
            name(Format::Sha256),
            "14f5162e2fe3d240d0d37aaab0f90e4af9a7cfa79639f3bab005b5bfb4174d9f"
        );
    }
}
