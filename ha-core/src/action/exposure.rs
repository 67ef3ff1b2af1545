use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Facets, KnownGood, Order};
use crate::law::{Invariant, Law};
use crate::state::{ClusterState, Facts, LoanKind, Rejected, Route, RouteEvent, Target};
use crate::topology::{Policy, Topology};

/// What is done to the route of the plan's service, on every balancer instance.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExposureAction {
    /// Leads consumers to the service.
    Expose,
    /// Takes the route away.
    Hide,
}

use ExposureAction as A;

impl From<ExposureAction> for Action {
    fn from(action: ExposureAction) -> Self {
        Self::Exposure(action)
    }
}

impl ExposureAction {
    fn event(self) -> RouteEvent {
        match self {
            A::Expose => RouteEvent::Exposed,
            A::Hide => RouteEvent::Hidden,
        }
    }

    fn route(self) -> Route {
        Route::Dark.on(self.event())
    }
}

impl Facets for ExposureAction {
    fn target(&self) -> Target {
        Target::Exposure
    }

    fn changes(&self, target: Target) -> bool {
        self.target() == target
    }

    fn puts_under_change(&self) -> bool {
        false
    }

    fn is_command(&self) -> bool {
        false
    }

    fn needs_fresh_observation(&self) -> bool {
        true
    }

    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        match (self, &law.facts.service) {
            (_, None) => Err("the plan names no service, and no route of one".into()),
            (A::Expose, Some(service)) => law.ready_to_expose(state, service),
            (A::Hide, Some(_)) => Ok(()),
        }
    }

    fn guards(&self) -> Invariant {
        match self {
            A::Expose => Invariant::Tested,
            A::Hide => Invariant::Order,
        }
    }

    fn opens(&self, _: Law<'_>, _: &ClusterState) -> Option<LoanKind> {
        None
    }

    fn begin(&self, _: Law<'_>, _: &mut ClusterState) {}

    fn complete(&self, _: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        state.exposure = state.exposure.on(self.event());
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        if state.exposure == self.route() {
            return Vec::new();
        }
        let mut half = state.clone();
        half.exposure = half.exposure.on(RouteEvent::ChangedInPart);
        vec![half]
    }

    fn repays(&self) -> &'static [LoanKind] {
        &[]
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        state.exposure == self.route()
    }

    fn inverse(&self, _: Option<KnownGood>) -> Vec<Order> {
        vec![Order::Exposure(match self {
            A::Expose => A::Hide,
            A::Hide => A::Expose,
        })]
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        policy.command_deadline
    }

    fn name(&self) -> &'static str {
        match self {
            A::Expose => "expose",
            A::Hide => "hide",
        }
    }

    fn what(&self, facts: &Facts) -> String {
        let name = self.name();
        facts.service.as_ref().map_or_else(|| name.into(), |service| format!("{name} {}", service.route))
    }

    fn message(&self, _: &Topology, facts: &Facts) -> String {
        self.what(facts)
    }
}
