//! The published JSON Schemas are what `--json` prints.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::{env, fs};

use hactl::json;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

fn schema_of<T: JsonSchema>() -> Schema {
    let text = |schema: &mut Schema| {
        if let Some(serde_json::Value::String(text)) = schema.get_mut("description")
            && let Some(end) = text.find("\n\n# Examples")
        {
            text.truncate(end);
        }
    };
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with_transform(schemars::transform::RecursiveTransform(text));
    settings.into_generator().into_root_schema_for::<T>()
}

#[test]
fn the_published_schemas_are_what_is_printed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let schemas = [
        ("error", schema_of::<json::Error>()),
        ("init", schema_of::<json::Init>()),
        ("journal", schema_of::<json::JournalLine>()),
        ("nothing-to-do", schema_of::<json::NothingToDo>()),
        ("plan", schema_of::<json::Planned>()),
        ("request", schema_of::<json::Request>()),
        ("run", schema_of::<json::RunLine>()),
        ("runs", schema_of::<Vec<json::RunSummary>>()),
        ("show", schema_of::<json::Show>()),
        ("status", schema_of::<json::Status>()),
        ("validate", schema_of::<json::Validate>()),
    ];
    let mut published: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    published.sort();
    assert_eq!(published, schemas.iter().map(|(name, _)| format!("{name}.json")).collect::<Vec<_>>());
    for (name, schema) in schemas {
        let (file, text) = (dir.join(format!("{name}.json")), serde_json::to_string_pretty(&schema).unwrap() + "\n");
        if env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&file, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&file).is_ok_and(|published| published == text),
            "schema/{name}.json is not what is printed; after a change that is meant, and noted in CHANGELOG.md: \
             UPDATE_SCHEMA=1 cargo test -p hactl --features schemars --test schema"
        );
    }
}
