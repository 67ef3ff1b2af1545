use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Admin, MemberRef, Weight};
use crate::state::MemberKind;

/// Asks for an administrative state of one member: an absolute value, never a toggle.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Admin, MemberRef, SetAdmin};
///
/// fn into_maintenance(member: MemberRef) -> SetAdmin {
///     SetAdmin::new(member, Admin::Maint)
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SetAdmin {
    /// The member.
    pub member: MemberRef,
    /// The state it is to have.
    pub admin: Admin,
}

impl SetAdmin {
    /// Asks for `admin` on `member`.
    pub fn new(member: MemberRef, admin: Admin) -> Self {
        Self { member, admin }
    }
}

/// Asks for a weight of one member: an absolute value, never a percentage, which rounds down to no traffic at all.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{MemberRef, SetWeight, Weight};
///
/// fn a_canary(member: MemberRef) -> SetWeight {
///     SetWeight::new(member, Weight::new(5))
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SetWeight {
    /// The member.
    pub member: MemberRef,
    /// The weight it is to have.
    pub weight: Weight,
}

impl SetWeight {
    /// Asks for `weight` on `member`.
    pub fn new(member: MemberRef, weight: Weight) -> Self {
        Self { member, weight }
    }
}

/// Somebody's consent that requests in flight are cut. Nothing in this library makes one unless its user says so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CutConsent(Box<str>);

impl CutConsent {
    /// Consents, in the name of `who`: a policy or a person, for the report.
    pub fn by(who: impl Into<Box<str>>) -> Self {
        Self(who.into())
    }

    /// Returns in whose name.
    pub fn who(&self) -> &str {
        &self.0
    }
}

/// Asks to close the sessions of one member by force: those requests are lost.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{CloseSessions, CutConsent, MemberRef};
///
/// fn cut(member: MemberRef) -> CloseSessions {
///     CloseSessions::new(member, CutConsent::by("J. Doe, change 4711"))
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseSessions {
    /// The member.
    pub member: MemberRef,
    /// Who consents to the loss.
    pub consent: CutConsent,
}

impl CloseSessions {
    /// Asks to cut what runs on `member`.
    pub fn new(member: MemberRef, consent: CutConsent) -> Self {
        Self { member, consent }
    }
}

/// How many sessions were there when they were closed by force: an upper bound of what was cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Closed {
    /// Sessions in progress directly before.
    pub sessions: u64,
}

impl Closed {
    /// States the number of sessions.
    pub fn new(sessions: u64) -> Self {
        Self { sessions }
    }
}

/// Asks for a new server. It begins in maintenance, whatever the balancer's own default is.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::{AddMember, MemberRef, Weight};
/// use ha_core::state::MemberKind;
///
/// fn spare(member: MemberRef) -> AddMember {
///     AddMember::new(member, ([10, 0, 0, 7], 8280).into())
///         .with_kind(MemberKind::Primary)
///         .with_weight(Weight::new(100))
///         .with_checks(Duration::from_secs(1))
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AddMember {
    /// The member.
    pub member: MemberRef,
    /// Where the balancer reaches it.
    pub address: SocketAddr,
    /// A primary or a backup member.
    pub kind: MemberKind,
    /// Its weight.
    pub weight: Weight,
    /// The pause between two checks; `None` for no checks.
    pub check_every: Option<Duration>,
}

impl AddMember {
    /// Asks for a backup member of weight 1 without checks.
    pub fn new(member: MemberRef, address: SocketAddr) -> Self {
        Self { member, address, kind: MemberKind::Backup, weight: Weight::ONE, check_every: None }
    }

    /// Makes it a primary or a backup member.
    #[must_use]
    pub fn with_kind(mut self, kind: MemberKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets its weight.
    #[must_use]
    pub fn with_weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// Lets the balancer check it this often, in the way of its pool.
    #[must_use]
    pub fn with_checks(mut self, every: Duration) -> Self {
        self.check_every = Some(every);
        self
    }
}
