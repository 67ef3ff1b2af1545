use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::build::Shared;
use crate::backend::{CloseSessions, CutConsent, Effect, ErrorKind, LoadBalancer, MemberRef, SetAdmin, SetWeight};
use crate::machine::rotation::{AtDeadline, Call, Canary, Failure, Goal, Outcome, Reply, Rotation, RotationPolicy};
use crate::state::LeaseEpoch;
use crate::topology::{NodeIx, OnDrainDeadline, Policy};

/// A call that takes longer counts as failed; a write may have happened all the same.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Drives the rotation of one node over the real balancers.
pub(super) async fn rotate(shared: &Arc<Shared>, epoch: LeaseEpoch, node: NodeIx, goal: Goal) -> Outcome {
    let began = Instant::now();
    let (policy, member) = (policy_of(&shared.topology.policy), shared.member(node));
    let mut rotation = Rotation::new(goal, member.member, shared.balancers.len(), Duration::ZERO, policy);
    let mut calls: JoinSet<(usize, Reply)> = JoinSet::new();
    loop {
        while let Some((instance, call)) = rotation.poll_call(began.elapsed()) {
            let (backend, member) = (shared.balancers[instance].clone(), shared.member(node));
            calls.spawn(async move { (instance, answer(&*backend, epoch, member, call).await) });
        }
        if let Some(outcome) = rotation.outcome() {
            return outcome.clone();
        }
        let wake = rotation.poll_timeout();
        tokio::select! {
            biased;
            Some(joined) = calls.join_next() => match joined {
                Ok((instance, reply)) => rotation.handle(began.elapsed(), instance, reply),
                Err(error) => {
                    let why = format!("a balancer call ended unexpectedly: {error}");
                    return Outcome::Stuck { why, instances: (0..shared.balancers.len()).collect() };
                }
            },
            () = sleep_until(began + wake.unwrap_or(CALL_LIMIT)), if wake.is_some() => {}
            else => {
                let why = String::from("the rotation waits for nothing");
                return Outcome::Stuck { why, instances: (0..shared.balancers.len()).collect() };
            }
        }
    }
}

async fn answer(backend: &dyn LoadBalancer, epoch: LeaseEpoch, member: MemberRef, call: Call) -> Reply {
    let answered = timeout(CALL_LIMIT, async {
        match call {
            Call::Identify => backend.identify().await.map(Reply::Instance),
            Call::ReadMember => backend.member(&member).await.map(Reply::Member),
            Call::ReadPool => backend.members(&member.pool).await.map(Reply::Pool),
            Call::ReadQuiescence => backend.quiescence(&member).await.map(Reply::Quiescence),
            Call::SetAdmin(admin) => {
                backend.set_admin(epoch, SetAdmin::new(member.clone(), admin)).await.map(|_| Reply::Set)
            }
            Call::SetWeight(weight) => {
                backend.set_weight(epoch, SetWeight::new(member.clone(), weight)).await.map(|_| Reply::Set)
            }
            Call::CloseSessions => {
                let request = CloseSessions::new(member.clone(), consent());
                backend.close_sessions(epoch, request).await.map(|closed| Reply::Closed(closed.sessions))
            }
        }
    });
    match answered.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply::Failed(Failure::from(&error)),
        Err(_) => {
            let words = format!("no answer about {member} in {CALL_LIMIT:?}");
            Reply::Failed(Failure::new(ErrorKind::Timeout, Effect::Unknown, words))
        }
    }
}

fn policy_of(policy: &Policy) -> RotationPolicy {
    let at_deadline = match policy.on_drain_deadline {
        OnDrainDeadline::Cut => AtDeadline::Cut(consent()),
        OnDrainDeadline::RollBack | OnDrainDeadline::Hold => AtDeadline::TurnBack,
    };
    RotationPolicy::new(policy.drain_deadline)
        .with_at_deadline(at_deadline)
        .with_persistence_grace(policy.persistence_grace)
        .with_longest_request(policy.longest_request)
        .with_canary(policy.canary.map(|share| Canary::new(share, policy.canary_watch)))
}

/// The rotation asks for this only where the topology's owner has declared it.
fn consent() -> CutConsent {
    CutConsent::by("policy.on_drain_deadline = \"cut\"")
}
