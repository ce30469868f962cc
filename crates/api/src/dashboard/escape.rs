//! The escaping of every value on every page: no markup, no control characters, no characters that turn the order of text.

use std::fmt::{Result, Write};

use askama::filters::Escaper;

use crate::text::visible;

/// Escapes for HTML what can be seen of a text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut page: W, text: &str) -> Result {
        for character in text.chars().filter_map(visible) {
            match character {
                '<' => page.write_str("&#60;")?,
                '>' => page.write_str("&#62;")?,
                '&' => page.write_str("&#38;")?,
                '"' => page.write_str("&#34;")?,
                '\'' => page.write_str("&#39;")?,
                other => page.write_char(other)?,
            }
        }
        Ok(())
    }
}
