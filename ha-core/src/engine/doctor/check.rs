use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Something that the doctor looks at. [`manual::doctor`](crate::manual::doctor) says of each what it means and what to do.
///
/// # Examples
///
/// ```
/// use ha_core::engine::Check;
///
/// assert_eq!(Check::ClockSkew.id(), "clock-skew");
/// assert_eq!("clock-skew".parse(), Ok(Check::ClockSkew));
/// assert!(Check::ALL.iter().all(|check| check.id().parse() == Ok(*check)));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Check {
    /// What serves carries what is required now, in each pool.
    CapacityNow,
    /// What is left after the loss of any one failure domain carries what is required then, in each pool.
    CapacityAfterLoss,
    /// What is declared would: three quarters where all members serve, everything where some stand by.
    CapacityDeclared,
    /// Each server that has to serve runs, is ready and passes its test.
    ServerDown,
    /// Each server that stands by hot could take over at once.
    StandbyCold,
    /// The database's copy in a site that stands by is fresh.
    ReplicaBehind,
    /// Each site does what it is declared to do at rest.
    SiteRole,
    /// The members have one release.
    ReleaseDrift,
    /// Each server serves the release that is installed.
    RestartPending,
    /// The schema is not in the middle of a change.
    SchemaBetween,
    /// No clone of the database is left over, and nothing is frozen.
    CloneLeft,
    /// The members have the shared files of the writer.
    FilesApart,
    /// Exactly one node may write shared files.
    OneWriter,
    /// No file sync is held.
    SyncHeld,
    /// No member is held out of traffic.
    Drained,
    /// Each member has its configured weight.
    WeightChanged,
    /// No balancer calls a ready server down.
    BalancerDown,
    /// No spare is in traffic.
    SpareInTraffic,
    /// No pulled work is paused.
    WorkPaused,
    /// Nobody holds the lease.
    LeaseHeld,
    /// No earlier run is open.
    RunOpen,
    /// No lock of a tool or a person is left on a machine.
    LockLeft,
    /// The last drill is not old.
    DrillOld,
    /// The machines' clocks agree.
    ClockSkew,
    /// There is space on the disk of each server.
    DiskFull,
    /// Each machine's Java is one that the product supports.
    JavaRange,
    /// The secret files of all servers are the same.
    SecretsDiffer,
    /// No supervisor kills a server before its time to stop is over.
    StopBudget,
    /// Nodes that are declared to fail apart are on machines of their own.
    OneMachine,
    /// What a change needs is on the machines.
    Missing,
    /// Each balancer checks the port and the path that tell whether a server is well.
    CheckTarget,
    /// Every backend that sends requests to a member is declared as a pool.
    LeftOut,
    /// Nothing else in a balancer's configuration endangers a change.
    BalancerConfig,
    /// Everything could be read.
    Unread,
    /// Nothing else was seen to be wrong.
    Observation,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 35] = [
        Self::CapacityNow,
        Self::CapacityAfterLoss,
        Self::CapacityDeclared,
        Self::ServerDown,
        Self::StandbyCold,
        Self::ReplicaBehind,
        Self::SiteRole,
        Self::ReleaseDrift,
        Self::RestartPending,
        Self::SchemaBetween,
        Self::CloneLeft,
        Self::FilesApart,
        Self::OneWriter,
        Self::SyncHeld,
        Self::Drained,
        Self::WeightChanged,
        Self::BalancerDown,
        Self::SpareInTraffic,
        Self::WorkPaused,
        Self::LeaseHeld,
        Self::RunOpen,
        Self::LockLeft,
        Self::DrillOld,
        Self::ClockSkew,
        Self::DiskFull,
        Self::JavaRange,
        Self::SecretsDiffer,
        Self::StopBudget,
        Self::OneMachine,
        Self::Missing,
        Self::CheckTarget,
        Self::LeftOut,
        Self::BalancerConfig,
        Self::Unread,
        Self::Observation,
    ];

    /// Returns its name, which does not change from one version to the next.
    pub const fn id(self) -> &'static str {
        match self {
            Self::CapacityNow => "capacity-now",
            Self::CapacityAfterLoss => "capacity-after-loss",
            Self::CapacityDeclared => "capacity-declared",
            Self::ServerDown => "server-down",
            Self::StandbyCold => "standby-cold",
            Self::ReplicaBehind => "replica-behind",
            Self::SiteRole => "site-role",
            Self::ReleaseDrift => "release-drift",
            Self::RestartPending => "restart-pending",
            Self::SchemaBetween => "schema-between",
            Self::CloneLeft => "clone-left",
            Self::FilesApart => "files-apart",
            Self::OneWriter => "one-writer",
            Self::SyncHeld => "sync-held",
            Self::Drained => "drained",
            Self::WeightChanged => "weight-changed",
            Self::BalancerDown => "balancer-down",
            Self::SpareInTraffic => "spare-in-traffic",
            Self::WorkPaused => "work-paused",
            Self::LeaseHeld => "lease-held",
            Self::RunOpen => "run-open",
            Self::LockLeft => "lock-left",
            Self::DrillOld => "drill-old",
            Self::ClockSkew => "clock-skew",
            Self::DiskFull => "disk-full",
            Self::JavaRange => "java-range",
            Self::SecretsDiffer => "secrets-differ",
            Self::StopBudget => "stop-budget",
            Self::OneMachine => "one-machine",
            Self::Missing => "missing",
            Self::CheckTarget => "check-target",
            Self::LeftOut => "left-out",
            Self::BalancerConfig => "balancer-config",
            Self::Unread => "unread",
            Self::Observation => "observation",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Check {
    type Err = UnknownCheck;

    fn from_str(text: &str) -> Result<Self, UnknownCheck> {
        let known = Self::ALL.into_iter().find(|check| check.id() == text);
        known.ok_or_else(|| UnknownCheck { text: text.chars().take(160).collect() })
    }
}

/// Refuses a text that names no check.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is no check of the doctor; known: {}", Check::ALL.map(Check::id).join(", "))]
pub struct UnknownCheck {
    text: String,
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Check {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "What was looked at, by its stable name; later versions may have more.",
            "type": "string",
            "examples": Self::ALL.map(Self::id).as_slice(),
        })
    }
}
