use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::Instrument;

use super::build::Shared;
use super::on::{observe_member, read_again};
use crate::state::{MemberKind, MemberState, Traffic};
use crate::topology::{BalancerIx, DomainIx};

/// How often a balancer is read when another process answers in the middle.
const ROUNDS: u8 = 3;
const UNSEEN: MemberState = MemberState { kind: MemberKind::Primary, traffic: Traffic::Unknown };

/// Reads all members on one balancer, in the order of [`Topology::seats_on`](crate::topology::Topology::seats_on), and what is to
/// be noted; what cannot be read is asked for again for `patience`. All answers are of one process: what one has forgotten and another has not is the state of neither.
pub(super) async fn watch(
    shared: &Arc<Shared>,
    balancer: BalancerIx,
    patience: Duration,
) -> (Vec<MemberState>, Vec<String>) {
    for _ in 0..ROUNDS {
        if let Some(seen) = read(shared, balancer, patience).await {
            return seen;
        }
    }
    let name = &shared.topology.balancer(balancer).name;
    let note = format!("{name}: another process answered in the middle of {ROUNDS} readings: find out who restarts it");
    (vec![UNSEEN; shared.topology.seats_on(balancer).count()], vec![note])
}

/// Reads all members on every balancer, in the order of the topology, and what is to be noted. One that has only members of `lost`
/// domains is lost with them, and is not asked twice.
pub(super) async fn watch_all(
    shared: &Arc<Shared>,
    patience: Duration,
    lost: &[DomainIx],
) -> (Vec<MemberState>, Vec<String>) {
    let mut balancers = JoinSet::new();
    for (balancer, _) in shared.topology.balancers() {
        let mut seats = shared.topology.seats_on(balancer);
        let patience = if seats.all(|seat| lost.contains(&seat.domain)) { Duration::ZERO } else { patience };
        let shared = shared.clone();
        let one = async move { (balancer, watch(&shared, balancer, patience).await) };
        balancers.spawn(one.in_current_span());
    }
    let (mut members, mut notes) = (vec![UNSEEN; shared.topology.member_layout().count()], Vec::new());
    while let Some(joined) = balancers.join_next().await {
        match joined {
            Ok((balancer, (seen, noted))) => {
                for (seat, seen) in shared.topology.seats_on(balancer).zip(seen) {
                    members[seat.member.index()] = seen;
                }
                notes.extend(noted);
            }
            Err(error) => notes.push(format!("an observation ended unexpectedly: {error}")),
        }
    }
    (members, notes)
}

/// Reads all members once; `None` when several processes answered.
async fn read(
    shared: &Arc<Shared>,
    balancer: BalancerIx,
    patience: Duration,
) -> Option<(Vec<MemberState>, Vec<String>)> {
    let mut reads = JoinSet::new();
    let seats = shared.topology.seats_on(balancer).enumerate();
    let members = seats.filter_map(|(place, seat)| {
        let member = shared.members(seat.node).into_iter().find(|member| member.member == seat.member);
        member.map(|member| (place, member))
    });
    for (place, member) in members {
        let one = async move {
            let is_read = |(seen, ..): &(MemberState, _, _)| seen.traffic != Traffic::Unknown;
            (place, read_again(patience, || observe_member(&member), is_read).await)
        };
        reads.spawn(one.in_current_span());
    }
    let (mut members, mut notes) = (vec![UNSEEN; shared.topology.seats_on(balancer).count()], Vec::new());
    let mut process = None;
    while let Some(joined) = reads.join_next().await {
        match joined {
            Ok((place, (seen, note, generation))) => {
                if process.is_some() && generation.is_some() && process != generation {
                    return None;
                }
                process = process.or(generation);
                members[place] = seen;
                notes.extend(note);
            }
            Err(error) => notes.push(format!("an observation ended unexpectedly: {error}")),
        }
    }
    Some((members, notes))
}
