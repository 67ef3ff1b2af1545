use super::change::{Change, Kind};
use super::update::new_files;
use super::{AddServiceRequest, PlanError, Procedure, Proposal, Snapshot};
use crate::plan::{ChangeCommands, Goal};
use crate::state::{Route, Service, ServiceRoute};

/// Adds a service. Its files go the way of an update's: deployed and tested dark on the first node, out of traffic, then over
/// the file sync to the others, one wave after another, each tested before it returns. The route is exposed last, once every
/// node that takes requests or could be admitted at once has the service, tested; then each of them is tested again. Until the
/// end it can be rolled back, and the rollback hides the route first.
impl Procedure for AddServiceRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        self.check_route(seen)?;
        let (facts, to) = new_files(seen, &self.generation, &self.deploy, self.compatible)?;
        let change = Change {
            procedure: "add service",
            topology: seen.topology,
            start: seen.state,
            facts: facts.with_service(Service::new(self.route.clone(), to)),
            goal: Goal::of_generation(to).with_exposure(Route::Exposed),
            commands: ChangeCommands::deployment(self.deploy.clone()),
            kind: Kind::Files { to },
            before: Vec::new(),
            after: Vec::new(),
            window: None,
        };
        change.propose()
    }

    fn route(&self) -> Option<&ServiceRoute> {
        Some(&self.route)
    }
}

impl AddServiceRequest {
    /// The route is one that this cluster can have, and nobody has it yet.
    fn check_route(&self, seen: Snapshot<'_>) -> Result<(), PlanError> {
        if seen.topology.exposure().is_none() {
            let what = "route: nothing exposes services in this cluster; declare [exposure] with a backend";
            return Err(PlanError::Incomplete(what.into()));
        }
        if seen.topology.pools().all(|(_, pool)| pool.backend != self.route.value) {
            let backends: Vec<&str> = seen.topology.pools().map(|(_, pool)| pool.backend.as_str()).collect();
            let (value, backends) = (&self.route.value, backends.join(", "));
            return Err(PlanError::Incomplete(format!(
                "route.value: {value} is the backend of no pool; the pools have {backends}"
            )));
        }
        let (what, fix) = match seen.state.exposure {
            Route::Dark => return Ok(()),
            Route::Exposed => ("it is exposed already", "update the service, or choose another key"),
            Route::Unknown => (
                "some balancers have it, or its key leads elsewhere, or it could not be read",
                "see the notes of the observation; hide it, or choose another key, then plan again",
            ),
        };
        Err(PlanError::NotReady { node: format!("the route {}", self.route), what: what.into(), fix: fix.into() })
    }
}
