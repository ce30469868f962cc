//! The schema says what the reader says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::schema::definition;
use super::super::sections::Section;
use super::*;

const SECTIONS: [Section; 11] = [
    Section::Top,
    Section::Environment,
    Section::Setup,
    Section::Defaults,
    Section::Retry,
    Section::Resources,
    Section::Gate,
    Section::When,
    Section::Reports,
    Section::Debug,
    Section::Cancel,
];

#[test]
fn schema_and_reader_know_the_same_keys() {
    let schema = schema();
    for section in SECTIONS {
        let map = match definition(section) {
            None => &schema,
            Some(name) => &schema["$defs"][name],
        };
        let in_schema: BTreeSet<&str> =
            map["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let in_reader: BTreeSet<&str> = section
            .keys()
            .iter()
            .copied()
            .chain(section.missing().map(|missing| missing.key))
            .collect();
        assert_eq!(in_schema, in_reader, "{section:?}");
        assert_eq!(map["additionalProperties"], Value::Bool(false), "{section:?}");
    }
}

#[test]
fn good_files_fit_the_schema() {
    let schema = schema();
    for text in [EVERY_KEY, BUILT_KEYS, "version: 1\ngates: { a: { run: x } }\n"] {
        let value = read(text);
        assert_eq!(misfit(&schema, &schema, &value, "file"), None, "{text}");
    }
}

#[test]
fn bad_files_do_not() {
    let schema = schema();
    for (text, place) in [
        ("gates: { a: { run: x } }", "file"),
        ("version: 2\ngates: { a: { run: x } }", "file.version"),
        ("version: 1\ngates: {}", "file.gates"),
        ("version: 1\ngates: { a: {} }", "file.gates.a"),
        ("version: 1\ngates: { a: { run: x, tiemout: 1m } }", "file.gates.a.tiemout"),
        ("version: 1\ngates: { a: { run: x, blocking: 3 } }", "file.gates.a.blocking"),
        ("version: 1\ngates: { a: { run: x } }\nfail_fast: maybe", "file.fail_fast"),
        ("version: 1\ngates: { a: { run: x, when: } }", "file.gates.a.when"),
    ] {
        let value = read(text);
        assert_eq!(misfit(&schema, &schema, &value, "file").as_deref(), Some(place), "{text}");
        bad(text);
    }
}

/// As editors read it: `off` is a word.
fn read(text: &str) -> Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap()
}

/// The first place where `value` does not fit `rule`, by the keywords that the schema uses (patterns are not checked).
fn misfit(root: &Value, rule: &Value, value: &Value, place: &str) -> Option<String> {
    let here = || Some(place.to_owned());
    let rule = match rule["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => rule,
    };
    if let Some(expected) = rule.get("const")
        && expected != value
    {
        return here();
    }
    if let Some(words) = rule["enum"].as_array()
        && !words.contains(value)
    {
        return here();
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(options) = rule[keyword].as_array()
            && options.iter().all(|option| misfit(root, option, value, place).is_some())
        {
            return here();
        }
    }
    let types: Vec<&str> = match rule["type"].as_array() {
        Some(several) => several.iter().filter_map(Value::as_str).collect(),
        None => rule["type"].as_str().into_iter().collect(),
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_of_type = types.contains(&actual) || actual == "integer" && types.contains(&"number");
    if !types.is_empty() && !is_of_type {
        return here();
    }
    if let (Some(items), Value::Array(values)) = (rule.get("items"), value) {
        let misfits = |item| misfit(root, items, item, place);
        return values.iter().find_map(misfits);
    }
    let Value::Object(object) = value else { return None };
    if (object.len() as u64) < rule["minProperties"].as_u64().unwrap_or(0) {
        return here();
    }
    if let Some(required) = rule["required"].as_array()
        && required.iter().any(|key| !object.contains_key(key.as_str().unwrap()))
    {
        return here();
    }
    object.iter().find_map(|(key, value)| {
        let place = format!("{place}.{key}");
        match (rule["properties"].get(key), rule.get("additionalProperties")) {
            (Some(property), _) => misfit(root, property, value, &place),
            (None, Some(Value::Bool(false))) => Some(place),
            (None, Some(rest)) => misfit(root, rest, value, &place),
            (None, None) => None,
        }
    })
}
