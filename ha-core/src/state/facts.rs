use serde::{Deserialize, Serialize};

use super::{Generations, Releases, Service};

/// What the ids inside a state stand for, and what was declared of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facts {
    /// The releases, with the schema states that they can use and the releases that they may serve beside.
    pub releases: Releases,
    /// The sets of shared files; empty where nothing is shared.
    pub generations: Generations,
    /// The service whose route the state speaks of; `None` where a plan exposes and hides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

impl Facts {
    /// Puts both tables together, without a service.
    pub fn new(releases: Releases, generations: Generations) -> Self {
        Self { releases, generations, service: None }
    }

    /// Adds the service that is exposed or hidden.
    #[must_use]
    pub fn with_service(mut self, service: Service) -> Self {
        self.service = Some(service);
        self
    }
}
