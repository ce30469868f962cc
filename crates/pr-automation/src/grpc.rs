//! The servers: parse, call one function, convert the reply.

mod pull_requests;
mod repositories;
mod source;

use std::str::FromStr;

use sandgate_domain::PullRequestId;
use sandgate_wire::{FieldError, optional_field, required_field};

use crate::change::Key;

/// A pull request by its id, else by repository and number.
fn key(id: Option<&str>, repository: &str, number: u64) -> Result<Key, FieldError> {
    match optional_field::<PullRequestId>("id", id)? {
        Some(id) => Ok(Key::Id(id)),
        None => Ok(Key::Number(required_field("repository", repository)?, number)),
    }
}

/// A token that is a number.
fn position<T: FromStr>(token: Option<&str>) -> Result<Option<T>, FieldError>
where
    T::Err: std::fmt::Display,
{
    optional_field("page_token", token)
}
