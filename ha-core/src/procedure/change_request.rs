use std::fmt;

use super::change_file;
use super::{
    AddNodeRequest, AddServiceRequest, DrillRequest, FailBackRequest, HandOverRequest, OutageRequest, PatchRequest,
    PlanError, Procedure, Proposal, RejoinRequest, RetireNodeRequest, SiteLossRequest, Snapshot, UpdateRequest,
    UpgradeRequest,
};
use crate::state::ServiceRoute;
use crate::topology::Diagnostic;

/// A change of any procedure of this library, as a file asks for it.
///
/// The file is TOML: `procedure`, its name, and the keys of its request. An upgrade has the keys of its patch beside its own, and
/// a duration is written `"60s"`, as in `cluster.toml`. Its JSON Schema is `schema/change.json`.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::{ChangeRequest, OutageRequest};
///
/// let change = ChangeRequest::from_toml_str("procedure = \"outage\"\nlost = [\"esb1\"]\n")?;
/// assert_eq!(change, ChangeRequest::Outage(OutageRequest::of("esb1")));
/// assert_eq!(change.name(), "outage");
///
/// let refused = ChangeRequest::from_toml_str("procedure = \"outage\"\nlots = [\"esb1\"]\n").unwrap_err();
/// assert_eq!(refused.diagnostics()[0].to_string(), "line 2: lots: unknown key; did you mean lost?");
/// # Ok::<(), ha_core::procedure::ChangeError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChangeRequest {
    /// `patch`.
    Patch(PatchRequest),
    /// `update`.
    Update(UpdateRequest),
    /// `add-service`.
    AddService(AddServiceRequest),
    /// `upgrade`.
    Upgrade(UpgradeRequest),
    /// `outage`.
    Outage(OutageRequest),
    /// `rejoin`.
    Rejoin(RejoinRequest),
    /// `hand-over`.
    HandOver(HandOverRequest),
    /// `add-node`.
    AddNode(AddNodeRequest),
    /// `retire-node`.
    RetireNode(RetireNodeRequest),
    /// `site-loss`.
    SiteLoss(SiteLossRequest),
    /// `fail-back`.
    FailBack(FailBackRequest),
    /// `drill`.
    Drill(DrillRequest),
}

impl ChangeRequest {
    /// Reads a change.
    ///
    /// # Errors
    /// [`ChangeError`] with everything that is wrong at once: syntax, an unknown procedure, unknown and missing keys, values that
    /// cannot be used. Whether the cluster can take the change is what planning finds out.
    pub fn from_toml_str(text: &str) -> Result<Self, ChangeError> {
        change_file::read(text).map_err(|diagnostics| ChangeError { diagnostics })
    }

    /// Names its procedure, as the file does.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Patch(_) => "patch",
            Self::Update(_) => "update",
            Self::AddService(_) => "add-service",
            Self::Upgrade(_) => "upgrade",
            Self::Outage(_) => "outage",
            Self::Rejoin(_) => "rejoin",
            Self::HandOver(_) => "hand-over",
            Self::AddNode(_) => "add-node",
            Self::RetireNode(_) => "retire-node",
            Self::SiteLoss(_) => "site-loss",
            Self::FailBack(_) => "fail-back",
            Self::Drill(_) => "drill",
        }
    }

    fn request(&self) -> &dyn Procedure {
        match self {
            Self::Patch(request) => request,
            Self::Update(request) => request,
            Self::AddService(request) => request,
            Self::Upgrade(request) => request,
            Self::Outage(request) => request,
            Self::Rejoin(request) => request,
            Self::HandOver(request) => request,
            Self::AddNode(request) => request,
            Self::RetireNode(request) => request,
            Self::SiteLoss(request) => request,
            Self::FailBack(request) => request,
            Self::Drill(request) => request,
        }
    }
}

impl Procedure for ChangeRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        self.request().propose(seen)
    }

    fn route(&self) -> Option<&ServiceRoute> {
        self.request().route()
    }
}

/// Refuses a change file, with everything that is wrong in it.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::ChangeRequest;
///
/// let refused = ChangeRequest::from_toml_str("procedure = \"drill\"\n").unwrap_err();
/// assert_eq!(refused.to_string(), "the change has 1 error(s)\n  site: is missing; add site");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangeError {
    diagnostics: Vec<Diagnostic>,
}

impl ChangeError {
    /// Lists what is wrong, in the order of the lines.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the change has {} error(s)", self.diagnostics.len())?;
        for diagnostic in &self.diagnostics {
            write!(f, "\n  {diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ChangeError {}

#[cfg(feature = "schemars")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde_json::{Map, Value, json};

    use super::*;

    impl JsonSchema for ChangeRequest {
        fn schema_name() -> Cow<'static, str> {
            "Change".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let each = [
                ("patch", PatchRequest::json_schema(generator)),
                ("update", UpdateRequest::json_schema(generator)),
                ("add-service", AddServiceRequest::json_schema(generator)),
                ("upgrade", upgrade(generator)),
                ("outage", OutageRequest::json_schema(generator)),
                ("rejoin", RejoinRequest::json_schema(generator)),
                ("hand-over", HandOverRequest::json_schema(generator)),
                ("add-node", AddNodeRequest::json_schema(generator)),
                ("retire-node", RetireNodeRequest::json_schema(generator)),
                ("site-loss", SiteLossRequest::json_schema(generator)),
                ("fail-back", FailBackRequest::json_schema(generator)),
                ("drill", DrillRequest::json_schema(generator)),
            ];
            let each: Vec<Schema> = each.into_iter().map(|(name, schema)| of_procedure(name, schema)).collect();
            // A plan has these too, and may get new keys; in this file an unknown key is an error.
            for name in ["Generation", "SchemaRange"] {
                generator.definitions_mut()[name]["additionalProperties"] = json!(false);
            }
            generator.definitions_mut()["Generation"]["properties"]["sequence"]["minimum"] = json!(1);
            json_schema!({
                "description": "A change of a cluster: its procedure, and the keys of that.",
                "oneOf": each,
            })
        }
    }

    fn of_procedure(name: &str, mut schema: Schema) -> Schema {
        let object = schema.ensure_object();
        // A list that has to be there has to have something in it: what may be left out has a default.
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            let lists =
                properties.values_mut().filter(|value| value["type"] == "array" && value.get("default").is_none());
            lists.for_each(|list| list["minItems"] = json!(1));
        }
        set_property(object, "procedure", json!({ "const": name }));
        if let Value::Array(required) = object.entry("required").or_insert_with(|| json!([])) {
            required.insert(0, json!("procedure"));
        }
        object.insert("title".into(), json!(name));
        schema
    }

    /// The keys of the patch beside those of the upgrade.
    fn upgrade(generator: &mut SchemaGenerator) -> Schema {
        let (mut schema, mut own) = (PatchRequest::json_schema(generator), UpgradeRequest::json_schema(generator));
        let (object, own) = (schema.ensure_object(), own.ensure_object());
        for key in ["contract", "window_ms"] {
            let mut value = own["properties"][key].take();
            if key == "window_ms" {
                let description = value["description"].take();
                value = json!({ "description": description, "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" });
            } else {
                value["default"] = json!(true);
            }
            set_property(object, key.trim_end_matches("_ms"), value);
        }
        object.insert("description".into(), own["description"].take());
        schema
    }

    fn set_property(object: &mut Map<String, Value>, key: &str, value: Value) {
        if let Value::Object(properties) = object.entry("properties").or_insert_with(|| json!({})) {
            properties.insert(key.into(), value);
        }
    }
}
