//! Pages of lists, and the bounds of what a query may hold.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// How many items a page has if nobody says.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// How many items a page has at most.
pub const MAX_PAGE_SIZE: u32 = 200;
/// The longest text in a query, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T: ToSchema> {
    /// The items.
    pub items: Vec<T>,
    /// What to pass as `pageToken` for the next page; null on the last one.
    pub next_page_token: Option<String>,
}

/// Which page.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// 1 to 200; default 50.
    pub page_size: Option<u32>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// The size of a page.
///
/// # Errors
/// If it is none or too many.
pub fn page_size(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(DEFAULT_PAGE_SIZE),
        Some(size @ 1..=MAX_PAGE_SIZE) => Ok(size),
        Some(size) => {
            let detail = format!("query: pageSize is {size}, and must be 1 to {MAX_PAGE_SIZE}");
            Err(Problem::invalid(detail))
        }
    }
}

/// A text of a query; an empty one counts as not given, as forms send them.
///
/// # Errors
/// If it is longer than any that could match.
pub fn text(name: &str, asked: Option<String>) -> Result<Option<String>, Problem> {
    match asked.filter(|text| !text.is_empty()) {
        Some(text) if text.len() > MAX_TEXT_BYTES => {
            Err(Problem::invalid(format!("query: {name} is longer than {MAX_TEXT_BYTES} bytes")))
        }
        given => Ok(given),
    }
}

/// A commit id or the start of one.
///
/// # Errors
/// If it is not 4 to 64 hex digits.
pub fn commit_prefix(asked: Option<String>) -> Result<Option<String>, Problem> {
    match asked.filter(|text| !text.is_empty()) {
        Some(text) if is_hex(&text) && (4..=64).contains(&text.len()) => {
            Ok(Some(text.to_ascii_lowercase()))
        }
        Some(_) => Err(Problem::invalid("query: sha must be 4 to 64 hex digits")),
        None => Ok(None),
    }
}

/// A whole commit id.
///
/// # Errors
/// If it is not 40 or 64 hex digits.
pub fn commit(text: &str) -> Result<String, Problem> {
    if is_hex(text) && matches!(text.len(), 40 | 64) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Problem::invalid("body: sha must be a whole commit id, 40 or 64 hex digits"))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
