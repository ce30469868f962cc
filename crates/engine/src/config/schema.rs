//! The JSON Schema of the file, generated from the types that the reader fills, so that editors know what the reader knows.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::sections::{MISSING, Section};
use super::{Config, Gate, MAX_GATES};
use crate::name::GateName;

/// The schema of `.sandgate.yaml` (JSON Schema 2020-12). Unknown keys are errors in it.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Value::from(generator.root_schema_for::<Config>());
    // The reader takes a key without value for a mistake, except where null has a meaning.
    remove_nulls(&mut schema);
    schema["properties"]["approve_from"] = json!({ "description": schema["properties"]["approve_from"]["description"],
                "anyOf": [{ "type": "string" }, { "type": "null" }] });
    for missing in MISSING {
        let map = match definition(missing.section) {
            None => &mut schema,
            Some(name) => &mut schema["$defs"][name],
        };
        map["properties"][missing.key] = json!({
            "description": format!("Not built yet: {}. Instead: {}.", missing.why, missing.instead),
            "deprecated": true,
        });
    }
    schema["properties"]["mode"] = json!({
        "description": "`shadow` is not built yet.",
        "enum": ["enforce", "shadow"],
    });
    schema
}

/// The name of the type behind a section; none for the file itself.
pub(super) fn definition(section: Section) -> Option<&'static str> {
    Some(match section {
        Section::Top => return None,
        Section::Environment => "Environment",
        Section::Setup => "Setup",
        Section::Defaults => "Defaults",
        Section::Retry => "Retry",
        Section::Resources => "Limits",
        Section::Gate => "Gate",
        Section::When => "When",
        Section::Reports => "Reports",
        Section::Debug => "Debug",
        Section::Cancel => "Cancel",
    })
}

fn remove_nulls(value: &mut Value) {
    if let Value::Array(items) = value {
        items.iter_mut().for_each(remove_nulls);
    }
    let Value::Object(object) = value else { return };
    object.values_mut().for_each(remove_nulls);
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            object["type"] = only.clone();
        }
    }
    if let Some(Value::Array(options)) = object.get_mut("anyOf") {
        options.retain(|option| option != &json!({ "type": "null" }));
        if options.len() == 1
            && let Some(Value::Object(only)) = options.pop()
        {
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

macro_rules! texts {
    ($($name:ident: $schema:tt)+) => {$(
        /// A form of value, for the schema only.
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

texts! {
    DurationText: { "type": "string", "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" }
    SizeText: { "type": "string", "pattern": "^[0-9]+(Ki|Mi|Gi|Ti)$" }
    Processors: { "type": ["number", "string"] }
    Scripts: {
        "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1, "maxItems": 64 },
        ],
    }
    Globs: {
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "maxItems": 64 }],
    }
    Path: { "type": "string", "minLength": 1 }
    Variables: {
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    }
    AnyNetwork: {
        "anyOf": [
            { "enum": ["none", "full"] },
            { "type": "array", "items": { "type": "string" }, "description": "A list of hosts is not built yet.", "deprecated": true },
        ],
    }
    AnyImage: {
        "anyOf": [
            { "const": "host" },
            { "type": ["string", "object"], "description": "Another image is not built yet.", "deprecated": true },
        ],
    }
    GateReference: { "type": "string" }
    GateReferences: {
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "maxItems": 64 }],
    }
}

/// The map of gates, for the schema only.
pub(super) struct Gates;

impl JsonSchema for Gates {
    fn schema_name() -> Cow<'static, str> {
        "Gates".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let gate = generator.subschema_for::<Gate>();
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": GateName::PATTERN },
            "additionalProperties": gate,
            "minProperties": 1,
            "maxProperties": MAX_GATES,
        })
    }
}
