//! Lists in pages, the newest first, with a cursor that stays right while rows are added.

use std::fmt;
use std::str::FromStr;

use sandgate_domain::Timestamp;

/// Items of a page at most.
const LARGEST_PAGE: u32 = 500;

/// Which page of a list.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// Items wanted; held between 1 and 500.
    pub limit: u32,
    /// Where the page before ended; none for the first page.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// The first page, of `limit` items.
    pub fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    pub(crate) fn bounded_limit(&self) -> usize {
        self.limit.clamp(1, LARGEST_PAGE) as usize
    }

    /// One more than wanted, to see whether another page follows.
    pub(crate) fn fetch_limit(&self) -> i64 {
        i64::from(self.limit.clamp(1, LARGEST_PAGE)) + 1
    }

    /// The place after which the page begins, as `(created_at, id)`.
    pub(crate) fn boundary(&self) -> (i64, &str) {
        match &self.after {
            Some(cursor) => (cursor.created_at.as_micros(), &cursor.id),
            None => (i64::MAX, ""),
        }
    }
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, the newest first.
    pub items: Vec<T>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// A page of what was fetched with [`PageRequest::fetch_limit`].
    pub(crate) fn of(
        mut items: Vec<T>,
        request: &PageRequest,
        position: impl Fn(&T) -> (Timestamp, String),
    ) -> Self {
        let limit = request.bounded_limit();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|last| {
            let (created_at, id) = position(last);
            Cursor { created_at, id }
        });
        Self { items, next }
    }
}

/// A place in a list. Its text is the `nextPageToken` of the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    created_at: Timestamp,
    id: String,
}

/// A text that is no place in a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a page token; take `nextPageToken` of the page before as it is")]
pub struct ParseCursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.created_at.as_micros(), self.id)
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let error = || ParseCursorError(text.chars().take(80).collect());
        let (micros, id) = text.split_once('-').ok_or_else(error)?;
        let micros = micros.parse().map_err(|_| error())?;
        let is_id =
            id.len() <= 64 && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !is_id {
            return Err(error());
        }
        Ok(Self { created_at: Timestamp::from_micros(micros), id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_other_texts_are_refused() {
        let cursor = Cursor { created_at: Timestamp::from_micros(17), id: "run_0a".to_owned() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "17", "x-run_0a", "17-run'0a", "17-\0", &format!("1-{}", "a".repeat(65))] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
