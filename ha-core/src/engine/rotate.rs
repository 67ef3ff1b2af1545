use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use crate::backend::{CloseSessions, CutConsent, Effect, ErrorKind, LoadBalancer, MemberRef, SetAdmin, SetWeight};
use crate::machine::rotation::{
    AtDeadline, Call, Canary, Failure, Goal, Outcome, Place, Reply, Rotation, RotationPolicy,
};
use crate::state::LeaseEpoch;
use crate::topology::{OnDrainDeadline, Policy};

/// A call that takes longer counts as failed; a write may have happened all the same.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Takes one node out of all its balancer instances, or puts it back: drives a [`Rotation`] to its end.
///
/// The engine does this for every take-out and admission; it is here for those who rotate members by themselves. The
/// places, each with its balancer, must be all that the node has: in every pool, on every balancer, standby
/// ones included. One that is not asked sends traffic to a stopped server.
///
/// # Errors
/// None: how it ended, and the state of the member then, is the [`Outcome`].
/// # Cancel safety
/// Not cancel safe: a dropped future leaves the member drained or in maintenance on some instances; rotate it again.
///
/// # Examples
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use ha_core::backend::{LeaseEpoch, LoadBalancer, MemberRef};
/// use ha_core::engine::rotate;
/// use ha_core::machine::rotation::{Goal, Outcome, Place, RotationPolicy};
///
/// async fn take_out(epoch: LeaseEpoch, balancers: Vec<Arc<dyn LoadBalancer>>, member: MemberRef) -> bool {
///     let place = |balancer| (balancer, Place::new(member.clone()));
///     let places: Vec<_> = balancers.into_iter().map(place).collect();
///     let policy = RotationPolicy::new(Duration::from_secs(60));
///     matches!(rotate(epoch, &places, Goal::Out, policy).await, Outcome::Reached { .. })
/// }
/// ```
pub async fn rotate(
    epoch: LeaseEpoch,
    places: &[(Arc<dyn LoadBalancer>, Place)],
    goal: Goal,
    policy: RotationPolicy,
) -> Outcome {
    rotate_reporting(epoch, places, goal, policy).await.0
}

/// The same; tells also whether older balancer processes could not be seen.
pub(super) async fn rotate_reporting(
    epoch: LeaseEpoch,
    places: &[(Arc<dyn LoadBalancer>, Place)],
    goal: Goal,
    policy: RotationPolicy,
) -> (Outcome, bool) {
    let began = Instant::now();
    let consent = match &policy.at_deadline {
        AtDeadline::Cut(consent) => Some(consent.clone()),
        AtDeadline::TurnBack => None,
    };
    let members = places.iter().map(|(_, place)| place.clone()).collect();
    let mut rotation = Rotation::new(goal, members, Duration::ZERO, policy);
    let mut calls: JoinSet<(usize, Reply)> = JoinSet::new();
    loop {
        while let Some((instance, call)) = rotation.poll_call(began.elapsed()) {
            let (backend, place) = &places[instance];
            let (backend, member, consent) = (backend.clone(), place.member.clone(), consent.clone());
            let call = async move { (instance, answer(&*backend, epoch, member, call, consent).await) };
            calls.spawn(call.in_current_span());
        }
        if let Some(outcome) = rotation.outcome() {
            return (outcome.clone(), rotation.older_processes_unseen());
        }
        let wake = rotation.poll_timeout();
        tokio::select! {
            biased;
            Some(joined) = calls.join_next() => match joined {
                Ok((instance, reply)) => rotation.handle(began.elapsed(), instance, reply),
                Err(error) => {
                    let why = format!("a balancer call ended unexpectedly: {error}");
                    return (Outcome::Stuck { why, instances: (0..places.len()).collect() }, true);
                }
            },
            () = sleep_until(began + wake.unwrap_or(CALL_LIMIT)), if wake.is_some() => {}
            else => {
                let why = String::from("the rotation waits for nothing");
                return (Outcome::Stuck { why, instances: (0..places.len()).collect() }, true);
            }
        }
    }
}

async fn answer(
    backend: &dyn LoadBalancer,
    epoch: LeaseEpoch,
    member: MemberRef,
    call: Call,
    consent: Option<CutConsent>,
) -> Reply {
    let answered = timeout(CALL_LIMIT, async {
        match call {
            Call::ReadMember => backend.member(&member).await.map(Reply::Member),
            Call::Look => backend.look(&member).await.map(Reply::Looked),
            Call::ReadPool => backend.members(&member.pool).await.map(Reply::Pool),
            Call::ReadQuiescence => backend.quiescence(&member).await.map(Reply::Quiescence),
            Call::SetAdmin(admin) => {
                backend.set_admin(epoch, SetAdmin::new(member.clone(), admin)).await.map(|_| Reply::Set)
            }
            Call::SetWeight(weight) => {
                backend.set_weight(epoch, SetWeight::new(member.clone(), weight)).await.map(|_| Reply::Set)
            }
            Call::CloseSessions => {
                let Some(consent) = consent else {
                    let message = format!("nobody consents to cut requests on {member}");
                    return Ok(Reply::Failed(Failure::new(ErrorKind::Denied, Effect::None, message)));
                };
                let request = CloseSessions::new(member.clone(), consent);
                backend.close_sessions(epoch, request).await.map(|closed| Reply::Closed(closed.sessions))
            }
        }
    });
    match answered.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply::Failed(Failure::from(&error)),
        Err(_) => {
            let message = format!("no answer about {member} in {CALL_LIMIT:?}");
            Reply::Failed(Failure::new(ErrorKind::Timeout, Effect::Unknown, message))
        }
    }
}

/// Returns how the policy of a topology wants members rotated.
pub(super) fn policy_of(policy: &Policy) -> RotationPolicy {
    let at_deadline = match policy.on_drain_deadline {
        OnDrainDeadline::Cut => AtDeadline::Cut(CutConsent::by("policy.on_drain_deadline = \"cut\"")),
        OnDrainDeadline::RollBack | OnDrainDeadline::Hold => AtDeadline::TurnBack,
    };
    RotationPolicy::new(policy.drain_deadline)
        .with_at_deadline(at_deadline)
        .with_persistence_grace(policy.persistence_grace)
        .with_longest_request(policy.longest_request)
        .with_canary(policy.canary.map(|share| Canary::new(share, policy.canary_watch)))
}
