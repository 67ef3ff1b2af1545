use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
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
    let note = format!(
        "{name}: another process answered in the middle of {ROUNDS} readings, or none: find out who restarts it"
    );
    (vec![UNSEEN; shared.topology.seats_on(balancer).count()], vec![note])
}

/// The same of a balancer that has only members of `lost` domains, as long as `grace`: what does not answer by then is lost with
/// them.
pub(super) async fn watch_lost(shared: &Arc<Shared>, balancer: BalancerIx, grace: Duration) -> Vec<MemberState> {
    let seen = timeout(grace, watch(shared, balancer, Duration::ZERO)).await;
    seen.map_or_else(|_| vec![UNSEEN; shared.topology.seats_on(balancer).count()], |(seen, _)| seen)
}

/// Tells whether a balancer has only members of lost domains.
pub(super) fn is_lost(shared: &Shared, balancer: BalancerIx, lost: &[DomainIx]) -> bool {
    let mut seats = shared.topology.seats_on(balancer).peekable();
    seats.peek().is_some() && seats.all(|seat| lost.contains(&seat.domain))
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
        let patience = if is_lost(shared, balancer, lost) { Duration::ZERO } else { patience };
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

/// Reads all members once; `None` when several processes answered, or one ended or began meanwhile.
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
    let mut answers = Vec::with_capacity(members.len());
    while let Some(joined) = reads.join_next().await {
        match joined {
            Ok((place, (seen, note, generation))) => {
                answers.push((seen.traffic, generation));
                members[place] = seen;
                notes.extend(note);
            }
            Err(error) => notes.push(format!("an observation ended unexpectedly: {error}")),
        }
    }
    is_of_one(&answers).then_some((members, notes))
}

/// Tells whether the answers are of one process, which was there for all of them or for none.
fn is_of_one(answers: &[(Traffic, Option<u64>)]) -> bool {
    let mut processes = answers.iter().filter_map(|(_, process)| *process);
    let Some(first) = processes.next() else { return true };
    processes.all(|process| process == first) && answers.iter().all(|(traffic, _)| *traffic != Traffic::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_of_one_process_that_neither_ended_nor_began_in_it() {
        let (unread, gone, of) = ((Traffic::Unknown, None), (Traffic::Gone, None), |one| (Traffic::In, Some(one)));
        for (answers, is_one) in [
            (vec![], true),
            (vec![of(1), unread, of(1)], true),
            (vec![of(1), of(2)], false),
            (vec![gone, unread, gone], true),
            (vec![gone, of(1)], false),
            (vec![of(1), gone], false),
        ] {
            assert_eq!(is_of_one(&answers), is_one, "{answers:?}");
        }
    }
}
