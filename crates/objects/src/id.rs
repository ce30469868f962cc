//! The names of objects.

use std::fmt;
use std::str::FromStr;

/// How a repository names its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
}

impl Format {
    /// The length of a name, in bytes.
    pub fn width(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The full name of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    bytes: [u8; 32],
    format: Format,
}

impl ObjectId {
    /// The name with these bytes; none unless there are 20 or 32.
    pub fn from_bytes(given: &[u8]) -> Option<Self> {
        let format = match given.len() {
            20 => Format::Sha1,
            32 => Format::Sha256,
            _ => return None,
        };
        let mut bytes = [0; 32];
        bytes.get_mut(..given.len())?.copy_from_slice(given);
        Some(Self { bytes, format })
    }

    pub(crate) fn of_sha1(digest: [u8; 20]) -> Self {
        let mut bytes = [0; 32];
        bytes[..20].copy_from_slice(&digest);
        Self { bytes, format: Format::Sha1 }
    }

    pub(crate) fn of_sha256(bytes: [u8; 32]) -> Self {
        Self { bytes, format: Format::Sha256 }
    }

    /// The name in hex digits of either case; none unless there are 40 or 64.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        if !matches!(digits.len(), 40 | 64) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
        }
        Self::from_bytes(bytes.get(..digits.len() / 2)?)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.format.width()]
    }

    /// How it was made.
    pub fn format(&self) -> Format {
        self.format
    }
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is no name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the full name of an object has 40 or 64 hex digits")]
pub struct IdError;

impl FromStr for ObjectId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::from_hex(text.as_bytes()).ok_or(IdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_written_as_they_are_read(bytes in any::<[u8; 32]>(), is_long: bool) {
            let id = ObjectId::from_bytes(&bytes[..if is_long { 32 } else { 20 }]).unwrap();
            prop_assert_eq!(id.to_string().parse::<ObjectId>().unwrap(), id);
            prop_assert_eq!(id.to_string().to_uppercase().parse::<ObjectId>().unwrap(), id);
        }

        #[test]
        fn no_text_panics(text in ".{0,70}") {
            let is_name = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(text.parse::<ObjectId>().is_ok(), is_name);
        }
    }
}
