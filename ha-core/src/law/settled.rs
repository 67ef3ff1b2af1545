use super::{Check, Invariant, Law, Phase, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks what is required while a failure domain stays lost: in each pool, what is left carries what was promised for
    /// that.
    ///
    /// # Errors
    /// The violation in the first such pool, with both figures.
    pub fn settled(&self, state: &ClusterState) -> Check {
        self.some_site(state, Invariant::Settled)?;
        for (index, pool) in self.required_pools(state) {
            let (has, required) = (self.capacity(state, index), pool.required_after_loss());
            if has < required {
                let prefix = self.topology.prefix(index);
                let facts = format!("{prefix}capacity {has} is left of the {required} required after a loss");
                return Err(Violation::new(Invariant::Settled, facts));
            }
        }
        Ok(())
    }

    /// Checks a step that is taken while a failure domain stays lost: in each pool, what would be left after one more loss is
    /// not lowered below what is required then.
    ///
    /// # Errors
    /// The violation in the first such pool, with the figures.
    pub fn keeps_reserve(&self, before: &ClusterState, after: &ClusterState) -> Check {
        for (index, pool) in self.required_pools(after) {
            let required = pool.required_after_loss();
            let left = |state: &ClusterState| self.worst_loss(state, index).map_or(0, |(left, _)| left);
            let (from, to) = (left(before), left(after));
            if to < from && to < required {
                let prefix = self.topology.prefix(index);
                let facts = format!(
                    "{prefix}a failure domain is lost, and this lowers what one more loss would leave from {from} to {to}, of \
                     {required} required"
                );
                return Err(Violation::new(Invariant::OneMoreFailure, facts));
            }
        }
        Ok(())
    }

    /// Returns what binds a plan that begins in a phase, once its run is in a state: a plan that begins while what is left does
    /// not carry what it must is bound as after a loss from then on that it does.
    pub fn phase_in(&self, begins: Phase, state: &ClusterState) -> Phase {
        match begins {
            Phase::Shaken if self.settled(state).is_ok() => Phase::Settled,
            phase @ (Phase::Quiet | Phase::Shaken | Phase::Settled) => phase,
        }
    }

    /// Checks a step of a plan that begins in a phase: what the state after it breaks, and what it lowers. An `unprotected` plan
    /// declares that one more loss is not survived.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_step(&self, begins: Phase, unprotected: bool, before: &ClusterState, after: &ClusterState) -> Check {
        match self.phase_in(begins, before) {
            Phase::Quiet => self.check(after, Phase::Quiet),
            Phase::Settled => {
                self.check(after, Phase::Settled)?;
                if unprotected { Ok(()) } else { self.keeps_reserve(before, after) }
            }
            Phase::Shaken => {
                self.check(after, Phase::Shaken)?;
                self.keeps(before, before, after)
            }
        }
    }
}
