use ha_core::backend::{Admin, Applied, ErrorKind, Instance, Member, Quiescence, Weight};
use ha_core::topology::Name;
use serde::{Deserialize, Serialize};

/// One question to the embedded balancer: a line of JSON, one a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    Identify,
    Member { pool: String, member: String },
    Members { pool: String },
    Quiescence { pool: String, member: String },
    SetAdmin { pool: String, member: String, admin: Admin, epoch: u64 },
    SetWeight { pool: String, member: String, weight: Weight, epoch: u64 },
}

/// Its answer: a line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Instance(Instance),
    Member(Member),
    Members(Vec<(Name, Member)>),
    Quiescence(Quiescence),
    Applied(Applied),
    Error { kind: ErrorKind, message: String },
}

/// Longer lines are refused.
pub(crate) const LINE_LIMIT: u64 = 64 * 1024;
