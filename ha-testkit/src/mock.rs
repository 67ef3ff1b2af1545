//! A balancer, and an exposure, that are scripted call by call, for a test that needs exactly one failure at exactly one place. Prefer the
//! fakes of [`world`](crate::world), and [`FaultyBalancer`](crate::faulty::FaultyBalancer) around anything: a mock believes
//! whatever its test believes.

use std::fmt;

use async_trait::async_trait;
// mockall's own code has a name `Expectations`.
use ha_core::backend::{
    Applied, BalancerCapabilities, CloseSessions, Closed, ConfigFinding, Expectations as Expected, ExposeRoute,
    Exposure, HideRoute, Instance, LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, ObserveBalancer,
    ObserveExposure, Quiescence, RouteOn, SetAdmin, SetWeight, StepError,
};
use ha_core::state::{LeaseEpoch, RouteKey};
use ha_core::topology::Name;

mockall::mock! {
    /// A scripted balancer: `expect_set_admin()` and so on. A call that was not expected panics.
    pub Balancer {}

    #[async_trait]
    impl ObserveBalancer for Balancer {
        fn capabilities(&self) -> BalancerCapabilities;
        async fn identify(&self) -> Result<Instance, StepError>;
        async fn member(&self, member: &MemberRef) -> Result<Member, StepError>;
        async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError>;
        async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError>;
        async fn config_findings(&self, expect: &Expected) -> Result<Vec<ConfigFinding>, StepError>;
        async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError>;
        async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError>;
    }

    #[async_trait]
    impl LoadBalancer for Balancer {
        async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError>;
        async fn set_weight(&self, epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError>;
        async fn close_sessions(&self, epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError>;
    }
}

impl fmt::Debug for MockBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockBalancer")
    }
}

mockall::mock! {
    /// A scripted exposure: `expect_expose()` and so on. A call that was not expected panics.
    pub Exposure {}

    #[async_trait]
    impl ObserveExposure for Exposure {
        async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError>;
    }

    #[async_trait]
    impl Exposure for Exposure {
        async fn expose(&self, epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError>;
        async fn hide(&self, epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError>;
    }
}

impl fmt::Debug for MockExposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockExposure")
    }
}
