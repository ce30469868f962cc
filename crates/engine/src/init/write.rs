//! Writes the proposed file.

use super::Part;

pub(super) fn file(parts: &[Part]) -> String {
    let mut out = "version: 1\n".to_owned();
    let all = |list: fn(&Part) -> &Vec<String>| -> Vec<String> {
        let mut items: Vec<String> = Vec::new();
        for item in parts.iter().flat_map(list) {
            if !items.contains(item) {
                items.push(item.clone());
            }
        }
        items
    };
    let setup = all(|part| &part.setup);
    if !setup.is_empty() {
        out.push_str(
            "\n# Runs once for the same inputs, and sees nothing else of the repository.\n",
        );
        out.push_str("environment:\n  setup:\n");
        out.push_str(&list("    run", &setup, 1));
        out.push_str(&list("    inputs", &all(|part| &part.inputs), usize::MAX));
        let placeholders = all(|part| &part.placeholders);
        if !placeholders.is_empty() {
            out.push_str(&list("    placeholders", &placeholders, usize::MAX));
        }
        out.push_str("    network: full\n");
    }
    out.push_str("\n# Each gate runs in its own copy, without network.\ngates:\n");
    for gate in parts.iter().flat_map(|part| &part.gates) {
        out.push_str(&format!("  {}:\n    run: {}\n", gate.name, scalar(&gate.run)));
        if let Some(junit) = &gate.junit {
            out.push_str(&format!("    reports: {{ junit: [{}] }}\n", scalar(junit)));
        }
    }
    out
}

/// `key: [a, b]` on one line, or one item a line if there are more than `most` or that is too long.
fn list(key: &str, items: &[String], most: usize) -> String {
    let items: Vec<String> = items.iter().map(|item| scalar(item)).collect();
    let line = format!("{key}: [{}]\n", items.join(", "));
    if items.len() <= most && line.len() <= 100 {
        return line;
    }
    let indent = " ".repeat(key.len() - key.trim_start().len() + 2);
    let lines: String = items.iter().map(|item| format!("{indent}- {item}\n")).collect();
    format!("{key}:\n{lines}")
}

/// A scalar, quoted where plain text could be read as something else.
fn scalar(text: &str) -> String {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " ._-/*=+@&|()$".contains(c);
    let is_word = matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off");
    if begins_well && text.chars().all(is_plain) && !text.ends_with(' ') && !is_word {
        return text.to_owned();
    }
    // A JSON text is a double-quoted YAML text.
    serde_json::Value::from(text).to_string()
}
