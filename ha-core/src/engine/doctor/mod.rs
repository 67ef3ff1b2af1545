//! One look at a cluster at rest: what would hurt the next change or the next loss. It changes nothing: what it asks by itself it
//! asks the observing halves of the traits, and hosts by commands that only read (`df`, `ls`, `sha256sum`, and the `java_command`
//! that is declared, which must only read). [`look`] gathers the facts, [`judge`] is pure.

mod answer;
mod check;
mod finding;
mod judge;
mod look;

pub use check::{Check, UnknownCheck};
pub use finding::{Diagnosis, Finding, NotNeeded, Place, Severity};

use super::build::Engine;

impl Engine {
    /// Looks once at the whole cluster, and tells what is not as it should be at rest, how bad that is, and what to do. Runs the
    /// test of every server that serves, as [`observe`](Self::observe) does; asks the hosts `df`, and the Java's version, `sha256sum`
    /// and `ls` where [`Expect`](crate::topology::Expect) says so.
    ///
    /// It never fails: what could not be looked at is a finding of its own, [`Severity::NotChecked`].
    ///
    /// # Idempotency
    /// It changes nothing; ask again as often as you like.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn doctor(&self) -> Diagnosis {
        let look = look::look(self).await;
        judge::judge(self.topology(), &look)
    }
}
