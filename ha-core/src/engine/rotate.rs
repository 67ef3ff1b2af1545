use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::build::Shared;
use crate::backend::{LoadBalancer, MemberRef, SetAdmin};
use crate::machine::rotation::{Call, Goal, Outcome, Reply, Rotation};
use crate::state::LeaseEpoch;
use crate::topology::NodeIx;

/// A call that takes longer counts as failed; a write may have happened all the same.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Drives the rotation of one node over the real balancers.
pub(super) async fn rotate(
    shared: &Arc<Shared>,
    epoch: LeaseEpoch,
    node: NodeIx,
    goal: Goal,
    drain: Duration,
) -> Outcome {
    let began = Instant::now();
    let mut rotation = Rotation::new(goal, shared.balancers.len(), Duration::ZERO, drain);
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
            Call::ReadMember => backend.member(&member).await.map(Reply::Member),
            Call::ReadQuiescence => backend.quiescence(&member).await.map(Reply::Quiescence),
            Call::SetAdmin(admin) => {
                backend.set_admin(epoch, SetAdmin::new(member.clone(), admin)).await.map(|_| Reply::Set)
            }
        }
    });
    match answered.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply::Failed(error.to_string()),
        Err(_) => Reply::Failed(format!("no answer about {member} in {CALL_LIMIT:?}")),
    }
}
