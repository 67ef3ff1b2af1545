//! What a fault may break, and for how long: DESIGN.md, section 4, "shaken" and "settled".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_core::action::Order;
use ha_core::journal::Journal;
use ha_core::record::{Entry, Record};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::FaultAt;
use super::watch::{Seen, Sum, sums};
use crate::world::{Served, World};

/// How long a fault may break capacity before the reaction must have ended.
pub(super) const REACTION: Duration = Duration::from_millis(4_000);
/// How long a balancer that forgot may send requests to what is under change.
pub(super) const EXPOSURE: Duration = Duration::from_millis(1_000);
/// How long the engine may take to see a fault: what it begins until then, it begins in what it holds for a quiet state.
pub(super) const UNSEEN: Duration = Duration::from_millis(600);

/// The sums below which the engine's own commands may not bring the cluster after a fault: what the fault left, and no more
/// than there was before it. Nodes with an order in flight are not counted, since that order goes on to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Floors(Arc<Mutex<Vec<BTreeMap<Sum, u64>>>>);

impl Floors {
    /// Does a fault to the world, and notes what must not be lowered from then on.
    pub(super) async fn shake(&self, world: &World, fault: impl FnOnce(&World)) {
        let changing = in_flight(world).await;
        let before = sums(world, &changing);
        fault(world);
        let floor = least(before, &sums(world, &changing));
        let index = {
            let mut floors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            floors.push(floor.clone());
            floors.len() - 1
        };
        sleep(UNSEEN).await;
        let changing = in_flight(world).await;
        let floor = least(floor, &sums(world, &changing));
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *known = floor;
        }
    }

    fn are_kept(&self, sum: &Sum, has: u64) -> bool {
        let floors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        floors.iter().any(|floor| floor.get(sum).is_none_or(|least| has >= *least))
    }

    /// Tells whether a fault may have broken this for a while.
    pub(super) fn excuse(&self, seen: &Seen, faults: &[FaultAt]) -> bool {
        faults.iter().any(|fault| match fault {
            FaultAt::Loss { after, .. } => seen.short.as_ref().is_some_and(|short| {
                // What is lost stays lost: once the reaction has ended, what is required after a loss is carried, and the run goes
                // on within that.
                let settled = short.sum.domain.is_none() && short.has >= short.after_loss;
                let reacting = short.sum.domain.is_some() || seen.at < *after + REACTION;
                seen.at >= *after && (settled || (reacting && self.are_kept(&short.sum, short.has)))
            }),
            FaultAt::BalancerGone { time: None, .. } => false,
            FaultAt::Forget { .. } | FaultAt::BalancerGone { .. } => {
                let after = &fault.forgets_after().unwrap_or_default();
                let within = if seen.short.is_some() { REACTION } else { EXPOSURE };
                let kept = seen.short.as_ref().is_none_or(|short| self.are_kept(&short.sum, short.has));
                (*after..*after + within).contains(&seen.at) && kept
            }
            FaultAt::Asked { .. }
            | FaultAt::Death { .. }
            | FaultAt::Call { .. }
            | FaultAt::Return { .. }
            | FaultAt::LossOnceSurvived { .. } => false,
        })
    }
}

/// Says which requests were lost that no fault accounts for.
pub(super) fn lost_without_excuse(served: &Served, faults: &[FaultAt]) -> Option<String> {
    let (first, last) = served.lost_between?;
    let excused = faults.iter().any(|fault| match fault {
        FaultAt::Loss { after, node } => {
            let of_it = |reason: &String| reason.starts_with(&format!("{node} ")) || reason == "no usable server";
            served.reasons.keys().all(of_it) && last < *after + REACTION
        }
        FaultAt::Forget { after, .. } => first + LONGEST_REQUEST >= *after && last < *after + EXPOSURE,
        // What was in flight over a balancer goes with it; and once it is back it may send where nothing serves.
        FaultAt::BalancerGone { after, balancer, time } => {
            let of_it = |reason: &String| reason.starts_with(&format!("{balancer} "));
            let began = if served.reasons.keys().any(of_it) { Some(*after) } else { time.map(|time| *after + time) };
            let only = served.reasons.keys().all(of_it);
            let until = if only { Some(*after) } else { time.map(|time| *after + time + EXPOSURE) };
            began.is_some_and(|began| first + LONGEST_REQUEST >= began) && until.is_some_and(|until| last <= until)
        }
        FaultAt::Asked { .. }
        | FaultAt::Death { .. }
        | FaultAt::Call { .. }
        | FaultAt::Return { .. }
        | FaultAt::LossOnceSurvived { .. } => false,
    });
    let message = format!("{} requests were lost, sent from {first:?} to {last:?}: {:?}", served.lost, served.reasons);
    (!excused).then_some(message)
}

/// A request that a fault cuts may have been sent so long before.
pub(super) const LONGEST_REQUEST: Duration = Duration::from_secs(2);

fn least(mut one: BTreeMap<Sum, u64>, other: &BTreeMap<Sum, u64>) -> BTreeMap<Sum, u64> {
    for (sum, least) in &mut one {
        *least = other.get(sum).map_or(*least, |other| (*least).min(*other));
    }
    one
}

/// Lists the nodes of which an order is in flight, as the journal tells.
async fn in_flight(world: &World) -> Vec<String> {
    let entries: Vec<Entry> = world.store().read(&"run".into()).await.unwrap_or_default();
    let mut open: Vec<Order> = Vec::new();
    for entry in &entries {
        match &entry.record {
            Record::Intent { order, .. } => open.push(*order),
            Record::Outcome { order, .. } => open.retain(|known| known != order),
            _ => {}
        }
    }
    let nodes = open.iter().filter_map(|order| order.node());
    nodes.map(|node| world.topology().node(node).name.to_string()).collect()
}

/// Does something to a world later.
pub(super) fn later<F: Future<Output = ()> + Send>(
    world: &World,
    after: Duration,
    act: impl FnOnce(World) -> F + Send + 'static,
) -> JoinHandle<()> {
    let (world, at) = (world.clone(), Instant::now() + after);
    tokio::spawn(async move {
        tokio::time::sleep_until(at).await;
        act(world).await;
    })
}

#[cfg(test)]
mod tests {
    use super::super::watch::Short;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn floors() -> Floors {
        let now = Sum { place: "esb on lb1".into(), domain: None };
        let without = Sum { domain: Some("rack-esb2".into()), ..now.clone() };
        Floors(Arc::new(Mutex::new(vec![BTreeMap::from([(now, 500), (without, 300)])])))
    }

    /// Something short, so many milliseconds after the fault; 600 is required after a loss.
    fn short(after: u64, domain: Option<&str>, has: u64) -> Seen {
        let sum = Sum { place: "esb on lb1".into(), domain: domain.map(Into::into) };
        let at = SECOND + Duration::from_millis(after);
        Seen { at, what: "short".into(), short: Some(Short { sum, has, after_loss: 600 }) }
    }

    #[test]
    fn a_loss_excuses_what_it_has_left_and_no_command_that_lowers_it_and_nothing_once_the_reaction_has_ended() {
        let loss = [FaultAt::Loss { after: SECOND, node: "esb1".into() }];
        for (after, domain, has, excused) in [
            (1_000, None, 500, true),
            (1_000, None, 499, false),
            (1_000, Some("rack-esb2"), 300, true),
            (1_000, Some("rack-esb2"), 299, false),
            (4_000, None, 500, false),
            (4_000, None, 600, true),
            (9_000, Some("rack-esb2"), 300, true),
            (9_000, Some("rack-esb2"), 299, false),
        ] {
            let seen = short(after, domain, has);
            assert_eq!(floors().excuse(&seen, &loss), excused, "{seen:?}");
        }
        let before = Seen { at: Duration::ZERO, ..short(0, None, 500) };
        assert!(!floors().excuse(&before, &loss), "the fault had not come yet");
        assert!(!floors().excuse(&Seen { short: None, ..short(1_000, None, 500) }, &loss), "an untested node serves");
    }

    #[test]
    fn a_balancer_that_forgets_excuses_its_reaction_and_nothing_later() {
        let forget = [FaultAt::Forget { after: SECOND, balancer: "lb1".into() }];
        for (after, has, excused) in [(500, 500, true), (500, 499, false), (4_000, 500, false)] {
            let seen = short(after, None, has);
            assert_eq!(floors().excuse(&seen, &forget), excused, "{seen:?}");
        }
        let exposed = |after| Seen { short: None, ..short(after, None, 0) };
        assert!(floors().excuse(&exposed(999), &forget) && !floors().excuse(&exposed(1_000), &forget));
    }

    #[test]
    fn requests_may_be_lost_on_the_lost_node_or_inside_the_window_only() {
        let loss = [FaultAt::Loss { after: SECOND, node: "esb1".into() }];
        let forget = [FaultAt::Forget { after: SECOND, balancer: "lb1".into() }];
        let lost = |reason: &str, at: Duration| Served {
            lost: 1,
            reasons: BTreeMap::from([(reason.to_string(), 1)]),
            lost_between: Some((at, at)),
            ..Served::default()
        };
        assert_eq!(lost_without_excuse(&lost("esb1 went away with a request in flight", SECOND), &loss), None);
        assert!(lost_without_excuse(&lost("esb10 went away with a request in flight", SECOND), &loss).is_some());
        assert_eq!(lost_without_excuse(&lost("esb2 was sent a request and did not serve", SECOND), &forget), None);
        let late = lost("esb2 was sent a request and did not serve", SECOND * 2);
        assert!(lost_without_excuse(&late, &forget).is_some() && lost_without_excuse(&late, &[]).is_some());
        assert_eq!(lost_without_excuse(&Served::default(), &[]), None);
    }
}
