use ha_core::backend::{Admin, Applied, Consumers, ErrorKind, Instance, Member, MemberCheck, Quiescence, Weight};
use ha_core::state::RouteKey;
use ha_core::topology::Name;
use serde::{Deserialize, Serialize};

/// One question to the embedded balancer: a line of JSON, one a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    Identify,
    Member { pool: String, member: String },
    Members { pool: String },
    CheckOf { pool: String, member: String },
    Quiescence { pool: String, member: String },
    SetAdmin { pool: String, member: String, admin: Admin, epoch: u64 },
    SetWeight { pool: String, member: String, weight: Weight, epoch: u64 },
    Route { key: RouteKey },
    SetRoute { key: RouteKey, pool: Option<Name>, epoch: u64 },
    Led,
    Lead { to: LedTo, epoch: u64 },
}

/// Where an embedded front leads its clients.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LedTo {
    Site(Name),
    Held,
    Nowhere,
}

impl From<LedTo> for Consumers {
    fn from(to: LedTo) -> Self {
        match to {
            LedTo::Site(site) => Self::To(site.to_string()),
            LedTo::Held => Self::Held,
            LedTo::Nowhere => Self::Nowhere,
        }
    }
}

impl Request {
    /// Returns the epoch with which it changes something; `None` when it only reads.
    pub(crate) fn epoch(&self) -> Option<u64> {
        match self {
            Self::Identify
            | Self::Member { .. }
            | Self::Members { .. }
            | Self::CheckOf { .. }
            | Self::Quiescence { .. }
            | Self::Route { .. }
            | Self::Led => None,
            Self::SetAdmin { epoch, .. }
            | Self::SetWeight { epoch, .. }
            | Self::SetRoute { epoch, .. }
            | Self::Lead { epoch, .. } => Some(*epoch),
        }
    }
}

/// Its answer: a line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Instance(Instance),
    Member(Member),
    Members(Vec<(Name, Member)>),
    CheckOf(MemberCheck),
    Quiescence(Quiescence),
    Applied(Applied),
    Route {
        value: Option<String>,
        after_restart: Option<String>,
    },
    /// Now, after a restart, before it was held, and how many requests are in progress in all sites.
    Led {
        to: LedTo,
        after_restart: LedTo,
        before: Option<Name>,
        in_progress: u64,
    },
    Error {
        kind: ErrorKind,
        message: String,
    },
}

/// Longer lines are refused.
pub(crate) const LINE_LIMIT: u64 = 64 * 1024;
