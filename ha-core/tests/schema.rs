//! The published JSON Schemas are what the types say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::{env, fs};

use ha_core::engine::{Diagnosis, MonitorEvent};
use ha_core::plan::Plan;
use ha_core::report::{Event, RunReport};
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(without_examples));
    settings.into_generator().into_root_schema_for::<T>()
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
