use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PlanError;
use crate::state::{Generation, Releases, SchemaRange, ServiceRoute};

/// What is declared of one release. What is not declared is not assumed: the proof fails instead.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::ReleaseFacts;
/// use ha_core::state::SchemaRange;
///
/// let old = ReleaseFacts::new("4.2.0").with_schema(SchemaRange::OLD);
/// let new = ReleaseFacts::new("5.0.0").with_beside("4.2.0").with_schema(SchemaRange::NEW);
/// assert_eq!(new.beside, [old.release]);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ReleaseFacts {
    /// The release, as the server prints it.
    pub release: String,
    /// The releases that it may serve beside: they share sessions, messages and caches.
    #[serde(default)]
    pub beside: Vec<String>,
    /// The schema states that it can read and write; needed where a database is declared.
    #[serde(default)]
    pub schema: Option<SchemaRange>,
}

impl ReleaseFacts {
    /// Names a release of which nothing is declared yet.
    pub fn new(release: impl Into<String>) -> Self {
        Self { release: release.into(), beside: Vec::new(), schema: None }
    }

    /// Declares that it may serve beside another release.
    #[must_use]
    pub fn with_beside(mut self, other: impl Into<String>) -> Self {
        self.beside.push(other.into());
        self
    }

    /// Declares which schema states it can use.
    #[must_use]
    pub fn with_schema(mut self, range: SchemaRange) -> Self {
        self.schema = Some(range);
        self
    }
}

/// Asks for a patch: every member gets `release`, by running a command on its stopped server.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::PatchRequest;
///
/// let script = |what: &str| vec!["bin/patch.sh".to_string(), what.to_string()];
/// let patch = PatchRequest::new("4.2.1", script("apply"), script("restore"))
///     .with_beside("4.2.0")
///     .in_test_domain_first();
/// assert!(patch.test_domain);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PatchRequest {
    /// The release as the patched server prints it.
    pub release: String,
    /// Installs it. Run with `HA_NODE` and `HA_RELEASE` set; it must write what the version command reads last.
    pub apply: Vec<String>,
    /// Brings the release in `HA_RELEASE` back, whatever half of the patch is there.
    pub restore: Vec<String>,
    /// What is declared of the releases that serve in the meantime.
    #[serde(default)]
    pub facts: Vec<ReleaseFacts>,
    /// Starts each changed server in its test domain first, tests it there, and starts it again to serve. Default no.
    #[serde(default)]
    pub test_domain: bool,
}

impl PatchRequest {
    /// Asks for a patch.
    pub fn new(release: impl Into<String>, apply: Vec<String>, restore: Vec<String>) -> Self {
        Self { release: release.into(), apply, restore, facts: Vec::new(), test_domain: false }
    }

    /// Declares that the patched release may serve beside another one: while the nodes are patched one after another,
    /// both do.
    #[must_use]
    pub fn with_beside(self, other: impl Into<String>) -> Self {
        let facts = ReleaseFacts::new(&self.release).with_beside(other);
        self.with_facts(facts)
    }

    /// Declares something of a release.
    #[must_use]
    pub fn with_facts(mut self, facts: ReleaseFacts) -> Self {
        self.facts.push(facts);
        self
    }

    /// Tests each changed server in its test domain before it joins the others.
    #[must_use]
    pub fn in_test_domain_first(mut self) -> Self {
        self.test_domain = true;
        self
    }
}

/// Asks for a version upgrade: a patch with a schema that is expanded before the first new node, and contracted after the
/// last old one, the spare included, is gone.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::{PatchRequest, ReleaseFacts, UpgradeRequest};
/// use ha_core::state::SchemaRange;
///
/// let script = |what: &str| vec!["bin/upgrade.sh".to_string(), what.to_string()];
/// let change = PatchRequest::new("5.0", script("apply"), script("restore"))
///     .with_facts(ReleaseFacts::new("4.2").with_schema(SchemaRange::OLD))
///     .with_facts(ReleaseFacts::new("5.0").with_beside("4.2").with_schema(SchemaRange::NEW));
/// // Without the contraction it can be rolled back to the end.
/// let upgrade = UpgradeRequest::new(change).without_contract();
/// assert!(!upgrade.contract);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpgradeRequest {
    /// The new release, how to install it and how to go back.
    pub change: PatchRequest,
    /// Whether what only the old release needs is removed at the end: the point of no return. Default yes.
    pub contract: bool,
    /// For how long at most the database may refuse writes, where the scripts break the release in use and cannot be split: it is
    /// cloned then, and the new release uses the clone. Default none: such scripts are refused. Past it the run turns back, unless
    /// the clone takes writes already.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "window_ms", with = "crate::millis::optional")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<u64>"))]
    pub window: Option<Duration>,
}

impl UpgradeRequest {
    /// Asks for an upgrade with a contraction at its end.
    pub fn new(change: PatchRequest) -> Self {
        Self { change, contract: true, window: None }
    }

    /// Allows the database to refuse writes for so long, for scripts that break the release in use: the database is cloned, the clone
    /// is migrated, and the members change to it one after another. Reads go on.
    #[must_use]
    pub fn with_window(mut self, at_most: Duration) -> Self {
        self.window = Some(at_most);
        self
    }

    /// Leaves the schema expanded.
    #[must_use]
    pub fn without_contract(mut self) -> Self {
        self.contract = false;
        self
    }
}

/// Asks for an update of the services: every member gets a new set of shared files.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::UpdateRequest;
/// use ha_core::state::Generation;
///
/// // The digest is the one that the file sync reports of the tree.
/// let update = UpdateRequest::new(Generation::new(42, "9f86d081"), vec!["bin/deploy.sh".into()]);
/// assert!(update.compatible);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateRequest {
    /// The new set.
    pub generation: Generation,
    /// Puts the set with the number in `HA_GENERATION` on a node, staged and swapped; old sets too, for the rollback. Where the
    /// artifact store has a place for the set on that node, `HA_ARTIFACT` is the folder that holds it.
    pub deploy: Vec<String>,
    /// Declares that the new set may serve beside the old one: data, sessions and messages. Without it there is no plan.
    pub compatible: bool,
}

impl UpdateRequest {
    /// Asks for an update that may serve beside what is there.
    pub fn new(generation: Generation, deploy: Vec<String>) -> Self {
        Self { generation, deploy, compatible: true }
    }
}

/// Asks for a new service: every member gets the set of shared files that has it, then its route is exposed.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::AddServiceRequest;
/// use ha_core::state::{Generation, RouteKey, ServiceRoute};
/// use ha_core::topology::Name;
///
/// // Requests to /orders go to the backend `esb` of the balancers, once every node has the service, tested.
/// let route = ServiceRoute::new(RouteKey::new("/orders")?, Name::new("esb")?);
/// let add = AddServiceRequest::new(Generation::new(42, "9f86d081"), vec!["bin/deploy.sh".into()], route);
/// assert!(add.compatible);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AddServiceRequest {
    /// The set that has the service, beside all that was there.
    pub generation: Generation,
    /// Puts the set with the number in `HA_GENERATION` on a node, staged and swapped; old sets too, for the rollback. Where the
    /// artifact store has a place for the set on that node, `HA_ARTIFACT` is the folder that holds it.
    pub deploy: Vec<String>,
    /// What leads consumers to the service: it must not lead anywhere yet.
    pub route: ServiceRoute,
    /// Declares that the new set may serve beside the old one: data, sessions and messages. Without it there is no plan.
    pub compatible: bool,
}

impl AddServiceRequest {
    /// Asks for a service whose files may serve beside what is there.
    pub fn new(generation: Generation, deploy: Vec<String>, route: ServiceRoute) -> Self {
        Self { generation, deploy, route, compatible: true }
    }
}

/// Enters what was declared into the table of a plan.
pub(super) fn declare(releases: &mut Releases, facts: &[ReleaseFacts]) -> Result<(), PlanError> {
    let incomplete = |error: crate::state::TooManyReleases| PlanError::Incomplete(error.to_string());
    for fact in facts {
        let id = releases.enter(&fact.release).map_err(incomplete)?;
        for other in &fact.beside {
            let other = releases.enter(other).map_err(incomplete)?;
            releases.declare_beside(id, other);
        }
        if let Some(range) = fact.schema {
            if range.first > range.last {
                let what = format!("facts of {}: schema begins with {} and ends before it", fact.release, range.first);
                return Err(PlanError::Incomplete(what));
            }
            releases.declare_schema(id, range);
        }
    }
    Ok(())
}
