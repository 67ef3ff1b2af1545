//! The published JSON Schemas are what the types say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::{env, fs};

use ha_core::engine::{Diagnosis, MonitorEvent};
use ha_core::plan::Plan;
use ha_core::procedure::ChangeRequest;
use ha_core::report::{Event, RunReport};
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

fn schema_of<T: JsonSchema>() -> Schema {
    schema_by::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn schema_by<T: JsonSchema>(settings: SchemaSettings) -> Schema {
    settings.with_transform(RecursiveTransform(without_examples)).into_generator().into_root_schema_for::<T>()
}

/// Whoever reads a schema may write another language: the examples of the documentation are left out.
fn without_examples(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description")
        && let Some(end) = text.find("\n\n# Examples")
    {
        text.truncate(end);
    }
}

#[test]
fn the_published_schemas_are_what_the_types_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let schemas = [
        ("doctor.json", schema_of::<Diagnosis>()),
        // It is read, and not written.
        ("change.json", schema_by::<ChangeRequest>(SchemaSettings::draft2020_12().for_deserialize())),
        ("event.json", schema_of::<Event>()),
        ("monitor.json", schema_of::<MonitorEvent>()),
        ("plan.json", schema_of::<Plan>()),
        ("report.json", schema_of::<RunReport>()),
    ];
    for (name, schema) in schemas {
        let (file, text) = (dir.join(name), serde_json::to_string_pretty(&schema).unwrap() + "\n");
        if env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&file, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&file).is_ok_and(|published| published == text),
            "schema/{name} is not what the types say; after a change that is meant, and noted in CHANGELOG.md: \
             UPDATE_SCHEMA=1 cargo test -p ha-core --features schemars --test schema"
        );
    }
}

/// What a file may say is read key by key, and described apart: each key of the one is a key of the other.
#[test]
fn the_schema_of_a_change_has_the_keys_that_are_read() {
    let schema = schema_by::<ChangeRequest>(SchemaSettings::draft2020_12().for_deserialize());
    let procedures = schema.get("oneOf").and_then(Value::as_array).unwrap();
    assert_eq!(procedures.len(), 12);
    let definitions = schema.get("$defs").and_then(Value::as_object).unwrap();
    for (name, definition) in definitions.iter().filter(|(_, definition)| definition["type"] == "object") {
        assert_eq!(definition["additionalProperties"], false, "{name}");
    }
    assert_eq!(definitions["Generation"]["properties"]["sequence"]["minimum"], 1);
    for described in procedures {
        let name = described["properties"]["procedure"]["const"].as_str().unwrap();
        let errors = |text: &str| ChangeRequest::from_toml_str(&format!("procedure = \"{name}\"\n{text}")).unwrap_err();
        let mut known: Vec<&str> = described["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        known.sort_unstable();
        let unknown = errors("no_such_key_at_all = 1");
        let fix = &unknown.diagnostics().iter().find(|found| found.key == "no_such_key_at_all").unwrap().fix;
        let mut read: Vec<&str> = fix.split_once("known here: ").unwrap().1.split(", ").collect();
        read.sort_unstable();
        assert_eq!(read, known, "{name}");
        let mut required: Vec<&str> =
            described["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
        required.retain(|key| *key != "procedure");
        required.sort_unstable();
        for key in required.iter().filter(|key| described["properties"][**key]["type"] == "array") {
            let is_empty = errors(&format!("{key} = []")).diagnostics().iter().any(|found| found.message == "is empty");
            assert!(is_empty && described["properties"][*key]["minItems"] == 1, "{name}: {key}");
        }
        let (empty, mut missing) = (errors(""), Vec::new());
        missing.extend(empty.diagnostics().iter().map(|found| found.key.as_str()));
        missing.sort_unstable();
        assert_eq!(missing, required, "{name}");
    }
}
