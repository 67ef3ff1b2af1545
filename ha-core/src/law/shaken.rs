use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;
use crate::topology::PoolIx;

impl Law<'_> {
    /// Checks a command that is given after a fault, until the reaction has ended: in each pool it lowers no I1 and no I2 sum
    /// below that of `quiet`, the last quiet state without what was lost. The fault itself may have broken capacity.
    ///
    /// # Errors
    /// The violation in the first such pool, with the figures.
    pub fn keeps(&self, quiet: &ClusterState, before: &ClusterState, after: &ClusterState) -> Check {
        let left = |state: &ClusterState, pool: PoolIx| self.worst_loss(state, pool).map_or(0, |(left, _)| left);
        for (pool, _) in self.topology.pools() {
            let serves = [quiet, before, after].map(|state| self.capacity(state, pool));
            let survives = [quiet, before, after].map(|state| left(state, pool));
            for (invariant, what, [kept, from, to]) in [
                (Invariant::Now, "the capacity that serves", serves),
                (Invariant::OneMoreFailure, "the capacity that the worst loss would leave", survives),
            ] {
                if to < from && to < kept {
                    let prefix = self.topology.prefix(pool);
                    let facts =
                        format!("{prefix}a command of the reaction lowers {what} from {from} to {to}, it was {kept}");
                    return Err(Violation::new(invariant, facts));
                }
            }
        }
        Ok(())
    }
}
