//! Data to standard output, everything else to standard error.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use sandgate_domain::ErrorCode;
use serde::Serialize;

use crate::failure::Failure;

/// The form of the data on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// One YAML document.
    Yaml,
    /// Names or ids only, one a line.
    Name,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Whether to colour what goes to standard error.
    pub fn on_stderr(self, environment: &sandgate_chassis::Environment) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                environment.get("NO_COLOR").is_none()
                    && environment.text("TERM") != Some("dumb")
                    && std::io::stderr().is_terminal()
            }
        }
    }
}

/// One column of a table: its heading and how to read it from a row.
pub type Column<T> = (&'static str, fn(&T) -> String);

/// Writes rows in the wanted form.
pub fn rows<T: Serialize>(
    format: Format,
    items: &[T],
    columns: &[Column<T>],
    name: fn(&T) -> String,
) -> Result<(), Failure> {
    let mut text = String::new();
    match format {
        Format::Table => text = table(items, columns),
        Format::Json | Format::Yaml => {
            let page = serde_json::json!({ "items": items, "nextPageToken": null });
            return document(format, &page);
        }
        Format::Jsonl => {
            for item in items {
                text.push_str(&line(item)?);
            }
        }
        Format::Name => {
            for item in items {
                text.push_str(&name(item));
                text.push('\n');
            }
        }
    }
    write(&text)
}

/// Writes one document: as YAML or a line of JSON if that is wanted, else as JSON.
pub fn document<T: Serialize>(format: Format, item: &T) -> Result<(), Failure> {
    let text = match format {
        Format::Jsonl => line(item)?,
        Format::Yaml => yaml(item)?,
        Format::Table | Format::Json | Format::Name => pretty(item)?,
    };
    write(&text)
}

/// Writes one thing in the wanted form: its document, its name, or the text for people.
pub fn one<T: Serialize>(
    format: Format,
    item: &T,
    name: &str,
    text: Option<&str>,
) -> Result<(), Failure> {
    match format {
        Format::Table => write(text.unwrap_or_default()),
        Format::Name => write(&format!("{name}\n")),
        Format::Json | Format::Jsonl | Format::Yaml => document(format, item),
    }
}

/// Writes text to standard output; a reader that went away is not an error.
pub fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// The document as YAML in which every reader, old or new, finds the same types.
pub fn yaml<T: Serialize>(item: &T) -> Result<String, Failure> {
    // Through JSON, so that both forms say the same.
    let value = serde_json::to_value(item).map_err(std::io::Error::from)?;
    // Folded lines read well and lose spaces at their ends.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&value, options)
        .map_err(|error| Failure::from_error(ErrorCode::Internal, &error))
}

fn pretty<T: Serialize>(item: &T) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(item).map_err(std::io::Error::from)?;
    text.push('\n');
    Ok(text)
}

fn line<T: Serialize>(item: &T) -> Result<String, Failure> {
    let mut text = serde_json::to_string(item).map_err(std::io::Error::from)?;
    text.push('\n');
    Ok(text)
}

fn table<T>(items: &[T], columns: &[Column<T>]) -> String {
    let mut cells: Vec<Vec<String>> =
        vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect()];
    for item in items {
        cells.push(columns.iter().map(|(_, read)| read(item)).collect());
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in cells {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_says_what_json_says() {
        let hostile = [
            "yes",
            "no",
            "on",
            "~",
            "null",
            "",
            " ",
            "1e3",
            "0x10",
            "0o7",
            "12:30:45",
            "2026-11-21",
            "1234567890123456789012345678901234567890",
            "- a",
            "a: b",
            "# c",
            "!tag",
            "&a",
            "*a",
            "%d",
            "@x",
            "`y`",
            "{",
            "[",
            "'",
            "\"",
            "a\nb\n",
            " lead",
            "trail ",
            "tab\t",
            "\u{1b}[31m",
            "\u{feff}",
            "\u{85}\u{2028}",
            "---",
            "...",
            "? k",
            "<<",
            "=",
            "ä ✗",
            "a\r\nb",
        ];
        let long = format!("{}  two spaces {} ", "word ".repeat(40), "x".repeat(200));
        let document = serde_json::json!({
            "items": hostile.to_vec(), "long": long, "nothing": null, "none": [], "empty": {},
            "number": 3, "big": u64::MAX, "part": 0.5, "yes": true, "no": { "on": hostile[0] },
        });
        let text = yaml(&document).unwrap();
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, document, "{text}");
        assert!(text.ends_with('\n') && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_table_is_as_wide_as_its_longest_cell() {
        let columns: [Column<(&str, &str)>; 2] =
            [("NAME", |row| row.0.to_owned()), ("STATE", |row| row.1.to_owned())];
        let text = table(&[("a", "running"), ("longer", "ok")], &columns);
        assert_eq!(text, "NAME    STATE\na       running\nlonger  ok\n");
    }
}
