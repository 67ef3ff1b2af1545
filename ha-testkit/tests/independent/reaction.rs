//! The bounded reaction: what a balancer has forgotten is re-applied; after a loss, what can serve is admitted until what is
//! required after a loss is carried. "Our commands never lower an I1 or I2 sum below the last quiet state's, less the lost
//! domain's part", and I3 to I7 bind them.

use super::model::{At, State};
use super::moves::is_flying;
use super::orders::{Order, What};
use super::walk::{Event, Next, Run, Walk};
use super::wording::Rule;

impl Walk<'_> {
    /// Re-applies one node: one that lowers no sum, where there is one.
    pub(super) fn reapply(&self, run: &Run, lost: &[(usize, At)]) -> Result<Option<Next>, Rule> {
        let mut worst = None;
        for (node, at) in lost {
            let what = if *at == At::Admitted { What::Admit } else { What::TakeOut };
            let order = Order { node: *node, what };
            if *at == At::Admitted && order.refused(&self.cluster, &run.state).is_some() {
                continue;
            }
            let mut next = run.clone();
            self.cluster.nodes[*node].seats.iter().for_each(|seat| next.state.seats[*seat] = *at);
            match self.harm(run, &next.state) {
                None => return Ok(Some((Event::Reapplied(*node, *at), next))),
                Some(rule) => worst = Some(rule),
            }
        }
        worst.map_or(Ok(None), Err)
    }

    /// Admits, of those that may be, the one with which most of what is required is carried.
    pub(super) fn secure(&self, run: &Run, orders: &[Order]) -> Result<Option<Next>, Rule> {
        if !self.cluster.short(&run.state) {
            return Ok(None);
        }
        let carried = |state: &State| {
            let pools = self.cluster.pools.iter().enumerate();
            pools.map(|(index, pool)| self.cluster.serves(state, index).min(pool.after_loss)).sum::<u64>()
        };
        let mut best: Option<(u64, usize, Run)> = None;
        for node in 0..self.cluster.nodes.len() {
            let order = Order { node, what: What::Admit };
            let seats = &self.cluster.nodes[node].seats;
            let moving = orders
                .iter()
                .zip(&run.fates)
                .any(|(other, fate)| other.node == node && other.moves_traffic() && is_flying(*fate));
            let admitted = seats.iter().all(|seat| run.state.seats[*seat] == At::Admitted);
            if moving || admitted || order.refused(&self.cluster, &run.state).is_some() {
                continue;
            }
            let mut next = run.clone();
            order.begin(&self.cluster, &mut next.state);
            let Some(state) = order.complete(&self.cluster, &next.state) else { continue };
            if self.harm(run, &state).is_some() {
                continue;
            }
            let carries = carried(&state);
            (next.state, next.wishes[node]) = (state, Some(At::Admitted));
            if best.as_ref().is_none_or(|(most, ..)| carries > *most) {
                best = Some((carries, node, next));
            }
        }
        Ok(best.map(|(_, node, next)| (Event::Secured(node), next)))
    }

    /// What one command of the reaction would break that is not broken before it.
    fn harm(&self, run: &Run, after: &State) -> Option<Rule> {
        let before = self.cluster.bound(&run.state);
        if let Some(rule) = self.cluster.bound(after).into_iter().find(|rule| !before.contains(rule)) {
            return Some(rule);
        }
        let floor = run.floor.as_ref()?;
        let falls = self.cluster.sums(after).falls(&self.cluster.sums(&run.state), floor);
        falls.then_some(Rule::Lowered)
    }
}
