use serde::{Deserialize, Serialize};

use super::{Drill, Generations, Releases, SchemaChange, Service, SiteFacts};

/// What the ids inside a state stand for, and what was declared of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Facts {
    /// The releases, with the schema states that they can use and the releases that they may serve beside.
    pub releases: Releases,
    /// The sets of shared files; empty where nothing is shared.
    pub generations: Generations,
    /// The service whose route the state speaks of; `None` where a plan exposes and hides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// What waits for the shared database; `None` where none is declared, or its scripts could not be reviewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_change: Option<SchemaChange>,
    /// What is known of the sites, in the order of the topology; empty where none was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteFacts>,
    /// What the last drill, or the last real change of sites, has measured; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
}

impl Facts {
    /// Puts both tables together, without a service.
    pub fn new(releases: Releases, generations: Generations) -> Self {
        Self { releases, generations, ..Self::default() }
    }

    /// Adds the service that is exposed or hidden.
    #[must_use]
    pub fn with_service(mut self, service: Service) -> Self {
        self.service = Some(service);
        self
    }
}
