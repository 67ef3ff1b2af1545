use tokio::time::{Instant, timeout};

use super::super::build::NodeMember;
use super::super::rotate::{policy_of, rotate_reporting};
use super::{Executor, Outcome, READ_LIMIT, done, not_done, unknown};
use crate::action::TrafficAction;
use crate::backend::{Admin, CloseSessions, CutConsent, ErrorKind, Health, MemberSnapshot, Ready, SetAdmin, StepError};
use crate::machine::rotation::{DrainOutcome, Goal, Outcome as Rotated, Place};
use crate::record::{Evidence, OutcomeKind};
use crate::state::{MemberKind, MemberState, Site, Traffic};
use crate::topology::NodeIx;

impl Executor {
    pub(super) async fn act_on_traffic(&self, node: NodeIx, action: TrafficAction) -> Outcome {
        match action {
            TrafficAction::TakeOut => self.rotate(node, Goal::Out).await,
            TrafficAction::Reassert { admitted: false } => self.rotate(node, Goal::HeldOut).await,
            TrafficAction::Admit | TrafficAction::Reassert { admitted: true } => self.rotate(node, Goal::Back).await,
            TrafficAction::StandBy => self.stand_by(node).await,
            TrafficAction::Isolate => self.isolate(node).await,
            TrafficAction::StandIn => self.stand_in(node).await,
        }
    }

    pub(super) async fn look_at_traffic(&self, node: NodeIx, action: TrafficAction) -> Outcome {
        match action {
            TrafficAction::TakeOut | TrafficAction::Reassert { admitted: false } => {
                self.members(node, Admin::Maint).await
            }
            TrafficAction::Admit | TrafficAction::Reassert { admitted: true } => self.members(node, Admin::Ready).await,
            // A watch leaves nothing behind that could be looked up: it is done anew.
            TrafficAction::StandBy => not_done("not seen to its end"),
            TrafficAction::Isolate => self.held_out(node).await,
            TrafficAction::StandIn => self.stand_in(node).await,
        }
    }

    async fn rotate(&self, node: NodeIx, goal: Goal) -> Outcome {
        let shared = &self.shared;
        let gone_for = self.gone_at.map(|at| at.elapsed()).unwrap_or_default();
        let idle = shared.topology.node(node).site.and_then(|site| self.sites.get(site.index()));
        let mut policy = policy_of(shared.topology.policy())
            .with_server_gone_for(gone_for)
            .with_may_be_last(idle.is_some_and(|known| known.site != Site::Serving));
        let mut members = shared.members(node);
        let until = Instant::now() + policy.drain_deadline;
        let (mut cut_requests, mut older_processes_unseen) = (0, false);
        let rotated = loop {
            let places: Vec<_> = members.iter().map(|member| (member.backend.clone(), member.place.clone())).collect();
            let (rotated, unseen) = rotate_reporting(self.epoch, &places, goal, policy.clone()).await;
            older_processes_unseen |= unseen;
            cut_requests += cut(&rotated);
            if matches!(rotated, Rotated::Reached { .. }) {
                break rotated;
            }
            // A balancer that is gone says nothing: the node is rotated on those that are there.
            let (asked, there) = (members.len(), self.there(members.clone()).await);
            if there.is_empty()
                || there.len() == asked
                || (goal != Goal::HeldOut && is_stuck(&rotated, &members, &there))
            {
                break rotated;
            }
            members = there;
            if goal == Goal::Out {
                policy.drain_deadline = until.saturating_duration_since(Instant::now());
            }
        };
        match rotated {
            Rotated::Reached { drain: Some(_) } => {
                done(Evidence::OutOfTraffic { cut_requests, older_processes_unseen })
            }
            Rotated::Reached { drain: None } => done(Evidence::InTraffic { servers: members.len() as u64 }),
            Rotated::Restored { why, .. } => {
                let cut = if cut_requests == 0 { String::new() } else { format!("; {cut_requests} requests were cut") };
                not_done(format!("{why}{cut}; the node is as it was on every balancer"))
            }
            Rotated::Stuck { why, instances } => {
                let names: Vec<&str> = instances
                    .iter()
                    .filter_map(|index| members.get(*index))
                    .map(|member| member.name.as_str())
                    .collect();
                unknown(format!("{why}; its state is not known on {}", names.join(", ")))
            }
        }
    }

    /// Leaves out what is on balancers that are gone: they send nothing to anybody, and have nothing to be told.
    async fn there(&self, members: Vec<NodeMember>) -> Vec<NodeMember> {
        let mut there = Vec::new();
        for member in members {
            let answer = timeout(READ_LIMIT, member.backend.member(&member.place.member)).await;
            if !matches!(answer, Ok(Err(error)) if error.kind() == ErrorKind::Gone) {
                there.push(member);
            }
        }
        there
    }

    async fn stand_by(&self, node: NodeIx) -> Outcome {
        match (self.members(node, Admin::Maint).await, self.ready(node).await) {
            ((OutcomeKind::Done, _), Ok(Ready::Yes { release })) => {
                done(Evidence::StandingBy { release: release.to_string() })
            }
            ((OutcomeKind::Done, _), Ok(_)) => not_done("the server is not ready"),
            ((OutcomeKind::Done, _), Err(error)) => not_done(error),
            ((_, evidence), _) => not_done(evidence),
        }
    }

    /// Holds a lost node out everywhere, whatever is still open to it. One that answers, as the neighbour in a failure domain of
    /// which only a part is gone, ends what it has in maintenance; of one that does not, nothing is waited for.
    async fn isolate(&self, node: NodeIx) -> Outcome {
        let answers = matches!(self.ready(node).await, Ok(Ready::Yes { .. }));
        let (mut cut, mut failed) = (0, None);
        for NodeMember { backend, place: Place { member, .. }, name, .. } in &self.shared.members(node) {
            let hold_out = backend.set_admin(self.epoch, SetAdmin::new(member.clone(), Admin::Maint));
            match self.write(if_there(hold_out)).await {
                Ok(Some(_)) if !answers => {}
                Ok(_) => continue,
                // One balancer that does not answer keeps no other from being told.
                Err(error) => {
                    failed.get_or_insert(format!("{name}: {error}"));
                    continue;
                }
            }
            let consent = CutConsent::by("the loss of its failure domain");
            // What hangs there would only wait for its timeout; a balancer that cannot close it lets it do so.
            if let Ok(closed) =
                self.write(backend.close_sessions(self.epoch, CloseSessions::new(member.clone(), consent))).await
            {
                cut += closed.sessions;
            }
        }
        if let Some(error) = failed {
            return unknown(error);
        }
        match self.held_out(node).await {
            (OutcomeKind::Done, _) => done(Evidence::OutOfTraffic { cut_requests: cut, older_processes_unseen: false }),
            other => other,
        }
    }

    /// Finds out whether every balancer holds a node out, whatever is still open to it.
    async fn held_out(&self, node: NodeIx) -> Outcome {
        for NodeMember { backend, place: Place { member, .. }, name, .. } in &self.shared.members(node) {
            match self.read(if_there(backend.member(member))).await {
                Ok(Some(observed)) if observed.admin != Admin::Maint => {
                    return not_done(format!("{member} is {:?} on {name}", observed.admin));
                }
                Ok(_) => {}
                Err(error) => return unknown(error),
            }
        }
        done(Evidence::BalancersAgree { admitted: false })
    }

    /// Takes note that a spare stands in: it is ready.
    async fn stand_in(&self, node: NodeIx) -> Outcome {
        match self.ready(node).await {
            Ok(Ready::Yes { release }) => done(Evidence::Ready { release: release.to_string(), process: None }),
            Ok(Ready::NotYet(_) | Ready::Closed) => not_done("the server is not ready"),
            Err(error) => not_done(error),
        }
    }

    async fn members(&self, node: NodeIx, wanted: Admin) -> Outcome {
        let mut is_any_there = false;
        for NodeMember { backend, place: Place { member, .. }, name: place, .. } in &self.shared.members(node) {
            let observed = match self.read(if_there(backend.member(member))).await {
                Ok(Some(observed)) => observed,
                Ok(None) => continue,
                Err(error) => return unknown(error),
            };
            is_any_there = true;
            if observed.admin != wanted {
                return not_done(format!("{member} is {:?} on {place}", observed.admin));
            }
            match wanted {
                Admin::Ready if matches!(observed.health, Health::Down | Health::Rising | Health::Paused) => {
                    return not_done(format!("{member} is admitted and not up on {place}"));
                }
                Admin::Maint => match self.read(if_there(backend.quiescence(member))).await {
                    Ok(Some(figures)) if !figures.is_closed() => {
                        return not_done(format!("connections to {member} are still open on {place}"));
                    }
                    Ok(_) => {}
                    Err(error) => return unknown(error),
                },
                Admin::Ready | Admin::Drain => {}
            }
        }
        if !is_any_there && wanted == Admin::Ready {
            return not_done("no balancer is there to admit it");
        }
        done(Evidence::BalancersAgree { admitted: wanted == Admin::Ready })
    }
}

/// Asks a balancer; `None` where it is gone: it sends nothing to anybody, and has nothing to be told.
async fn if_there<T>(ask: impl Future<Output = Result<T, StepError>>) -> Result<Option<T>, StepError> {
    match ask.await {
        Err(error) if error.kind() == ErrorKind::Gone => Ok(None),
        answer => answer.map(Some),
    }
}

/// Counts the requests that a rotation has cut, whether it came to its goal or not.
fn cut(rotated: &Rotated) -> u64 {
    match rotated {
        Rotated::Reached { drain: Some(DrainOutcome::Forced { killed }) }
        | Rotated::Restored { drain: Some(DrainOutcome::Forced { killed }), .. } => *killed,
        Rotated::Reached { .. } | Rotated::Restored { .. } | Rotated::Stuck { .. } => 0,
    }
}

/// Tells whether the state of the node is not known on a balancer that is there: nobody goes on over that.
fn is_stuck(rotated: &Rotated, asked: &[NodeMember], there: &[NodeMember]) -> bool {
    let Rotated::Stuck { instances, .. } = rotated else { return false };
    let is_there = |instance: &NodeMember| there.iter().any(|other| other.member == instance.member);
    instances.iter().filter_map(|index| asked.get(*index)).any(is_there)
}

/// Observes a node's server on one balancer; returns also which process answered.
pub(in crate::engine) async fn observe_member(node: &NodeMember) -> (MemberState, Option<String>, Option<u64>) {
    let NodeMember { backend, place: Place { member, .. }, name, .. } = node;
    let unseen = MemberState::new(MemberKind::Primary, Traffic::Unknown);
    let snapshot = match timeout(READ_LIMIT, backend.look(member)).await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(error)) if error.kind() == ErrorKind::Gone => {
            let gone = MemberState::new(MemberKind::Primary, Traffic::Gone);
            return (gone, Some(format!("{name}: {error:#}")), None);
        }
        Ok(Err(error)) => return (unseen, Some(format!("{name}: {error:#}")), None),
        Err(_) => return (unseen, Some(format!("{name}: member {member} was not answered in {READ_LIMIT:?}")), None),
    };
    let generation = snapshot.process.generation;
    let (seen, note) = state_of(node, snapshot).await;
    (seen, note, Some(generation))
}

async fn state_of(node: &NodeMember, snapshot: MemberSnapshot) -> (MemberState, Option<String>) {
    let NodeMember { backend, place: Place { member, .. }, name, .. } = node;
    let MemberSnapshot { member: observed, quiescence, .. } = snapshot;
    let seen = |traffic: Traffic| MemberState::new(observed.kind, traffic);
    match (observed.admin, observed.kind) {
        (Admin::Ready, _) if !observed.is_usable() => {
            let weightless = observed.weight.number() == 0;
            (seen(Traffic::Down), weightless.then(|| format!("{name}: {member} has weight 0 and is given no requests")))
        }
        (Admin::Drain | Admin::Maint, _) if observed.inherited => {
            let note = format!(
                "{name}: {member} is held out by what it tracks or by its agent, setting its own state has no effect"
            );
            (seen(Traffic::Down), Some(note))
        }
        (Admin::Ready, MemberKind::Primary) => (seen(Traffic::In), None),
        (Admin::Ready, MemberKind::Backup) => (seen(Traffic::Backup), None),
        (Admin::Drain | Admin::Maint, _) => {
            let figures = match quiescence {
                Some(figures) => Ok(Ok(figures)),
                None => timeout(READ_LIMIT, backend.quiescence(member)).await,
            };
            match figures {
                Ok(Ok(figures)) if observed.admin == Admin::Maint && figures.is_closed() => (seen(Traffic::Out), None),
                Ok(Ok(figures)) => (seen(Traffic::Draining { in_flight: figures.in_flight() > 0 }), None),
                Ok(Err(error)) => (seen(Traffic::Unknown), Some(format!("{name}: {error:#}"))),
                Err(_) => (seen(Traffic::Unknown), Some(format!("{name}: quiescence of {member} was not answered"))),
            }
        }
    }
}
