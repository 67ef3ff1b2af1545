//! What a rotation has seen of its instances.

use std::time::Duration;

use super::{Failure, Goal, Reply, Rotation};
use crate::backend::{Admin, Completeness, Counters, Instance, Member, Quiescence, Weight};
use crate::state::MemberKind;
use crate::topology::Name;

/// How many looks in a row must see a member work on nothing while requests wait in front of its pool, before it counts as
/// one that is given none: between two requests each has none for a moment.
const PASSED_OVER_LOOKS: u8 = 5;

/// One balancer instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The state of the member before anything was changed.
    pub(super) before: Option<Member>,
    /// Its state at the last observation.
    pub(super) now: Option<Member>,
    /// Which process answered last.
    generation: Option<u64>,
    /// How long that process had been running, and when it said so.
    uptime: (Duration, Duration),
    /// Whether another process than the first one answers.
    pub(super) replaced: bool,
    /// Whether its process was gone at the last answer: there is nothing to take back.
    pub(super) gone: bool,
    /// Whether another member was usable at the last look at the pool.
    pub(super) other_usable: bool,
    /// A member that is usable, where each of them works on nothing while requests wait.
    pub(super) passed_over: Option<Name>,
    /// How many looks at the pool in a row have seen that.
    passed_over_looks: u8,
    /// What it had taken when it was last not ready.
    pub(super) taken_before: u64,
    /// The weight that it is to have in the end.
    pub(super) weight: Option<Weight>,
    /// What had been counted when the canary began.
    pub(super) counted: Option<Counters>,
}

impl Seen {
    /// Tells whether a young process whose older generations cannot be asked may still hide requests.
    pub(super) fn may_hide(&self, now: Duration, figures: Quiescence, longest: Duration) -> bool {
        let (uptime, said_at) = self.uptime;
        figures.completeness == Completeness::OlderGenerationsInvisible
            && uptime.saturating_add(now.saturating_sub(said_at)) < longest
    }
}

impl Rotation {
    /// Takes a round's answers in.
    ///
    /// # Errors
    /// Why the rotation must turn back: what answers is not what it began with.
    pub(super) fn note(&mut self, now: Duration, replies: &[(usize, Reply)]) -> Result<(), String> {
        // A reading of the whole pool counts more than a look in the same round: a backend reads its declarations for it.
        let of_pool = |reply: &Reply| matches!(reply, Reply::Pool(_));
        let (pools, others): (Vec<_>, Vec<_>) = replies.iter().partition(|(_, reply)| of_pool(reply));
        for (instance, reply) in others.into_iter().chain(pools) {
            let place = self.place(*instance);
            let (place, member) = (place.as_str(), &self.places[*instance].member.member);
            let seen = &mut self.seen[*instance];
            match reply {
                Reply::Looked(snapshot) => {
                    note_process(seen, place, &snapshot.process, now)?;
                    note_member(seen, place, member, snapshot.member)?;
                    note_figures(seen, snapshot.quiescence.as_ref());
                }
                Reply::Pool(members) => {
                    let own = members.iter().find(|(found, _)| found == member);
                    let Some((_, own)) = own else {
                        return Err(format!("{place}: its pool has no {member} any more"));
                    };
                    if self.goal == Goal::Out {
                        entered_once(place, member, own, members)?;
                    }
                    note_others(seen, member, members);
                    note_member(seen, place, member, *own)?;
                }
                Reply::Member(own) => note_member(seen, place, member, *own)?,
                Reply::Quiescence(figures) => note_figures(seen, Some(figures)),
                Reply::Set | Reply::Closed(_) | Reply::Failed(_) => {}
            }
        }
        self.older_unseen |=
            figures(replies).any(|(_, figure)| figure.completeness == Completeness::OlderGenerationsInvisible);
        self.same_address()
    }

    /// Checks that in one pool the node's name means one server, whichever balancer is asked.
    fn same_address(&self) -> Result<(), String> {
        for (instance, seen) in self.seen.iter().enumerate() {
            let Some(address) = seen.now.and_then(|member| member.address) else { continue };
            for (first, before) in self.seen.iter().enumerate().take(instance) {
                let Some(other) = before.now.and_then(|member| member.address) else { continue };
                if self.places[first].pool == self.places[instance].pool && other != address {
                    return Err(format!(
                        "{} is {other} on {} and {address} on {}: the name means two servers",
                        self.places[instance].member.member,
                        self.place(first),
                        self.place(instance)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Tells whether another process than before answers somewhere, and forgets it.
    pub(super) fn take_replaced(&mut self) -> bool {
        let replaced = self.seen.iter().any(|seen| seen.replaced);
        for seen in &mut self.seen {
            seen.replaced = false;
        }
        replaced
    }

    /// Returns the instance on which nothing else could take the traffic of a node that serves there.
    pub(super) fn nothing_else_usable(&self) -> Option<usize> {
        let last = |seen: &Seen| seen.before.is_some_and(|member| member.is_usable()) && !seen.other_usable;
        self.seen.iter().position(last).filter(|_| !self.policy.may_be_last)
    }

    /// Tells whether the next look at the pool may show that what seems usable is given nothing.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.seen.iter().any(|seen| seen.before.is_some_and(|member| member.is_usable()) && seen.passed_over.is_some())
    }

    /// Tells whether a node that was made ready takes its part: some of the requests that wait, where any do.
    pub(super) fn serves(&self, instance: usize) -> bool {
        let seen = &self.seen[instance];
        seen.now.is_some_and(|member| {
            let asked = member.weight > Weight::new(0) && member.kind == MemberKind::Primary;
            !asked || !member.is_passed_over() || member.counters.taken > seen.taken_before
        })
    }

    pub(super) fn all_now(&self, holds: impl Fn(&Member) -> bool) -> bool {
        self.seen.iter().all(|seen| seen.now.is_some_and(|member| holds(&member)))
    }

    pub(super) fn any_now(&self, holds: impl Fn(&Member) -> bool) -> bool {
        self.seen.iter().any(|seen| seen.now.is_some_and(|member| holds(&member)))
    }

    pub(super) fn goes_out(&self) -> bool {
        self.goal != Goal::Back
    }
}

/// Checks that no other member is the same server: it would go on sending requests to it.
fn entered_once(place: &str, member: &Name, own: &Member, members: &[(Name, Member)]) -> Result<(), String> {
    let same = |(other, twin): &&(Name, Member)| {
        other != member && twin.admin != Admin::Maint && twin.address.is_some() && twin.address == own.address
    };
    match (members.iter().find(same), own.address) {
        (Some((other, _)), Some(address)) => Err(format!(
            "{place}: {member} and {other} are both {address}: one server entered twice, and {other} would go on sending \
             requests to it; remove one of them"
        )),
        _ => Ok(()),
    }
}

fn note_others(seen: &mut Seen, member: &Name, members: &[(Name, Member)]) {
    let usable = || members.iter().filter(|(other, state)| other != member && state.is_usable());
    let first = usable().next().map(|(other, _)| other.clone());
    seen.passed_over = first.filter(|_| usable().all(|(_, state)| state.is_passed_over()));
    seen.passed_over_looks = if seen.passed_over.is_some() { seen.passed_over_looks.saturating_add(1) } else { 0 };
    seen.other_usable = usable().next().is_some() && seen.passed_over_looks < PASSED_OVER_LOOKS;
}

fn note_process(seen: &mut Seen, place: &str, process: &Instance, now: Duration) -> Result<(), String> {
    if process.stopping {
        return Err(format!("{place}: its process is stopping, another one takes over: try again"));
    }
    seen.replaced |= seen.generation.is_some_and(|known| known != process.generation);
    (seen.generation, seen.uptime) = (Some(process.generation), (process.uptime, now));
    Ok(())
}

/// A process that did not say who it is yet has forgotten what was set.
fn note_figures(seen: &mut Seen, figures: Option<&Quiescence>) {
    let other = |known: u64| figures.is_some_and(|figures| figures.generation != known);
    seen.replaced |= seen.generation.is_some_and(other);
}

fn note_member(seen: &mut Seen, place: &str, name: &Name, observed: Member) -> Result<(), String> {
    if observed.admin != Admin::Ready {
        seen.taken_before = observed.counters.taken;
    }
    let Some(before) = seen.before else {
        if observed.inherited {
            return Err(format!(
                "{place}: {name} tracks another server, or is held out by its agent, setting its own state has no effect: take \
                 that one out, or ask the agent to"
            ));
        }
        (seen.before, seen.now) = (Some(observed), Some(observed));
        return Ok(());
    };
    if before.address.is_some() && observed.address.is_some() && before.address != observed.address {
        let (old, new) = (before.address.map_or_else(String::new, |at| at.to_string()), observed.address);
        let new = new.map_or_else(String::new, |at| at.to_string());
        return Err(format!("{place}: {name} was {old} and is {new} now: the same name, another server"));
    }
    seen.now = Some(observed);
    Ok(())
}

/// Finds the first failed call like this.
pub(super) fn failure(replies: &[(usize, Reply)], like: impl Fn(&Failure) -> bool) -> Option<(usize, &Failure)> {
    replies.iter().find_map(|(instance, reply)| match reply {
        Reply::Failed(failure) if like(failure) => Some((*instance, failure)),
        Reply::Member(_)
        | Reply::Looked(_)
        | Reply::Pool(_)
        | Reply::Quiescence(_)
        | Reply::Set
        | Reply::Closed(_)
        | Reply::Failed(_) => None,
    })
}

/// Lists what runs on the member, by instance.
pub(super) fn figures(replies: &[(usize, Reply)]) -> impl Iterator<Item = (usize, Quiescence)> {
    replies.iter().filter_map(|(instance, reply)| match reply {
        Reply::Quiescence(figures) => Some((*instance, *figures)),
        Reply::Looked(snapshot) => snapshot.quiescence.map(|figures| (*instance, figures)),
        Reply::Member(_) | Reply::Pool(_) | Reply::Set | Reply::Closed(_) | Reply::Failed(_) => None,
    })
}
