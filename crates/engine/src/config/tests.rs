//! What the parser accepts, refuses, and how it says so.

use super::*;

mod errors;
mod good;
mod schema;

/// The example of the documentation: every key that is known.
const EVERY_KEY: &str = include_str!("tests/every-key.yaml");

/// Every key that is built.
const BUILT_KEYS: &str = include_str!("tests/built-keys.yaml");

fn good(text: &str) -> Parsed {
    parse(text, ".sandgate.yaml").unwrap_or_else(|errors| panic!("{errors}\n\n{text}"))
}

fn bad(text: &str) -> ConfigErrors {
    match parse(text, ".sandgate.yaml") {
        Ok(parsed) => panic!("no error in\n{text}\n{parsed:#?}"),
        Err(errors) => errors,
    }
}
