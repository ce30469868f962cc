//! Texts on their way into the database: bounded, and the same on every engine.

use std::borrow::Cow;

use serde::Serialize;

use crate::error::Error;

/// Names: gates, owners, fingerprints, digests, keys.
pub(crate) const NAME: usize = 512;
/// Repositories, branches and folders.
pub(crate) const PATH: usize = 8 << 10;
/// Reasons in words.
pub(crate) const REASON: usize = 16 << 10;
/// JSON texts.
pub(crate) const JSON: usize = 4 << 20;
/// Layers of one snapshot or sandbox.
pub(crate) const LAYERS: usize = 256;

/// The text, if it is not longer than `bound` bytes. NUL, which PostgreSQL can't hold, becomes U+FFFD.
pub(crate) fn bounded<'t>(
    field: &'static str,
    text: &'t str,
    bound: usize,
) -> Result<Cow<'t, str>, Error> {
    within(field, text.len(), bound)?;
    Ok(without_nul(text))
}

/// Like [`bounded`], for a text that may be missing.
pub(crate) fn bounded_option<'t>(
    field: &'static str,
    text: Option<&'t str>,
    bound: usize,
) -> Result<Option<Cow<'t, str>>, Error> {
    text.map(|text| bounded(field, text, bound)).transpose()
}

/// Words for people: cut at [`REASON`] bytes instead of refused, as losing a result for its reason would be worse.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= REASON {
        return without_nul(text);
    }
    let end = text.floor_char_boundary(REASON);
    Cow::Owned(format!("{}…", without_nul(&text[..end])))
}

/// A value as JSON text.
pub(crate) fn json<T: Serialize>(field: &'static str, value: &T) -> Result<String, Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Row {
        table: "value",
        column: field,
        problem: error.to_string(),
    })?;
    within(field, text.len(), JSON)?;
    Ok(text)
}

/// A number of bytes or files as the database keeps it.
pub(crate) fn integer(field: &'static str, number: u64) -> Result<i64, Error> {
    let bound = i64::MAX as usize;
    i64::try_from(number).map_err(|_| Error::TooLarge { field, size: usize::MAX, bound })
}

/// Refuses a size over its bound.
pub(crate) fn within(field: &'static str, size: usize, bound: usize) -> Result<(), Error> {
    if size > bound {
        return Err(Error::TooLarge { field, size, bound });
    }
    Ok(())
}

fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_over_their_bound_are_refused_and_reasons_are_cut() {
        assert_eq!(bounded("name", "abc", 3).unwrap(), "abc");
        assert!(matches!(
            bounded("name", "abcd", 3),
            Err(Error::TooLarge { field: "name", size: 4, bound: 3 })
        ));
        let long = "é".repeat(REASON);
        let cut = shortened(&long);
        assert!(cut.len() <= REASON + '…'.len_utf8() && cut.ends_with('…'));
    }

    #[test]
    fn nul_never_reaches_the_database() {
        assert_eq!(bounded("name", "a\0b", 9).unwrap(), "a\u{fffd}b");
        assert_eq!(shortened("a\0b"), "a\u{fffd}b");
    }
}
