use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::AskedFor;
use super::chain::Chain;
use super::run::{Capacity, LoanSpan, PoolMargin, Replan, Resource, RunReport, StepTiming, WindowUse};
use crate::action::{CloneAction, Order, SiteAction};
use crate::machine::{FoldError, Folded, fold_with};
use crate::plan::{Degraded, Plan};
use crate::record::{End, Entry, Evidence, Mode, OutcomeKind, Record, RunId, Why};
use crate::safety::Proof;
use crate::state::CloneStep;
use crate::topology::{Name, Topology};

/// Past so many changes of a pool's capacity, two neighbours become one.
const MOST_CHANGES: usize = 4_096;

/// Puts a report together, entry by entry.
#[derive(Debug)]
pub(crate) struct ReportBuilder {
    report: RunReport,
    chain: Chain,
    /// The orders that were begun and that nobody knows the end of.
    began: BTreeMap<Order, Begun>,
    /// The place of each open loan in the report.
    open_loans: BTreeMap<String, usize>,
    /// The windows that are open, each with the time at which it began.
    open_windows: Vec<(Degraded, u64)>,
    /// When the last entry was written, in milliseconds since 1970.
    last_unix_ms: u64,
}

/// An order that was begun.
#[derive(Clone, Copy, Debug)]
struct Begun {
    unix_ms: u64,
    compensating: bool,
    /// Whether it has an outcome already, that nobody knows: a look tells another one.
    is_unknown: bool,
}

impl ReportBuilder {
    pub(crate) fn new(run: &RunId, plan: &Plan, proof: Option<Proof>, reached_otherwise: &[String]) -> Self {
        let mut report = RunReport {
            library: env!("CARGO_PKG_VERSION").into(),
            run: run.clone(),
            cluster: plan.cluster.to_string(),
            procedure: plan.procedure.clone(),
            goal: plan.goal_message(),
            plan: plan.digest().to_string(),
            proof,
            replanned: Vec::new(),
            reached_otherwise: reached_otherwise.to_vec(),
            ended: false,
            end: End::AllOld,
            end_message: String::new(),
            open: Vec::new(),
            notes: Vec::new(),
            lowest_margin: None,
            pools: Vec::new(),
            windows: Vec::new(),
            unmeasured_windows: Vec::new(),
            requests: Vec::new(),
            loans: Vec::new(),
            steps: Vec::new(),
            began_unix_ms: 0,
            took_ms: 0,
            records: Vec::new(),
        };
        declare_windows(&mut report, plan);
        let chain = Chain::begin(run, &plan.facts);
        let (began, open_loans, open_windows) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { report, chain, began, open_loans, open_windows, last_unix_ms: 0 }
    }

    /// Takes in what earlier controllers have recorded, with the proofs of the plans as far as they are known. Returns the state in
    /// which they left the run.
    ///
    /// # Errors
    /// When the entries do not make a run of this topology.
    pub(crate) fn take_in(
        &mut self,
        topology: &Topology,
        entries: &[Entry],
        mut proof_of: impl FnMut(&Plan) -> Option<Proof>,
    ) -> Result<Folded, FoldError> {
        fold_with(topology, entries, |law, state, entry| {
            self.recorded(topology, entry);
            match &entry.record {
                Record::Opened { plan } => {
                    self.report.plan = plan.digest().to_string();
                    self.report.goal = plan.goal_message();
                    self.report.proof = proof_of(plan);
                }
                Record::Outcome { order, result, evidence } => {
                    self.ended(topology, *order, *result, evidence, self.since_begun(*order));
                }
                Record::Replanned { plan } => self.replanned(plan, proof_of(plan)),
                Record::TakenOver { .. }
                | Record::Turned { .. }
                | Record::Intent { .. }
                | Record::DomainLost { .. }
                | Record::Requested { .. }
                | Record::ApprovalAsked { .. }
                | Record::Continued { .. }
                | Record::Closed { .. } => {}
            }
            self.lent(&law.open_loans(&state.cluster));
        })
    }

    /// Takes in an entry: its link of the chain, and what it begins or ends.
    pub(crate) fn recorded(&mut self, topology: &Topology, entry: &Entry) {
        let unix_ms = entry.unix_ms;
        if self.report.records.is_empty() {
            self.report.began_unix_ms = unix_ms;
        }
        self.last_unix_ms = self.last_unix_ms.max(unix_ms);
        let link = self.chain.link(topology, entry, self.since_start(unix_ms));
        self.report.records.push(link);
        match &entry.record {
            // A plan that leaves a window in which no site serves begins in it.
            Record::Opened { .. } => self.begin_window(Degraded::NoSite, unix_ms),
            Record::Intent { order, at } => {
                let compensating = at.mode != Mode::Forward;
                self.began.insert(*order, Begun { unix_ms, compensating, is_unknown: false });
                if let Order::Clone(CloneAction(CloneStep::Freeze)) = order {
                    self.begin_window(Degraded::WritesRefused, unix_ms);
                } else if let Order::Site(SiteAction::Hold { .. }) = order {
                    self.begin_window(Degraded::ConsumersWait, unix_ms);
                }
            }
            Record::Outcome {
                order:
                    Order::Clone(CloneAction(CloneStep::Thaw | CloneStep::Open)) | Order::Site(SiteAction::Open { .. }),
                result: OutcomeKind::Done,
                ..
            }
            | Record::Closed { end: End::AllNew | End::AllOld, .. } => self.end_windows(unix_ms),
            Record::Requested { request, refused, .. } => {
                self.report.requests.push(AskedFor::new(request, refused.as_deref()));
            }
            Record::ApprovalAsked { .. }
            | Record::Continued { .. }
            | Record::TakenOver { .. }
            | Record::Turned { .. }
            | Record::Outcome { .. }
            | Record::DomainLost { .. }
            | Record::Replanned { .. }
            // A run that ends for a person leaves open what is open: it may go on.
            | Record::Closed { end: End::NeedsOperator(_), .. } => {}
        }
    }

    fn since_start(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_sub(self.report.began_unix_ms)
    }

    fn begin_window(&mut self, what: Degraded, unix_ms: u64) {
        let is_declared = self.report.windows.iter().any(|window| window.what == what);
        if is_declared && !self.open_windows.iter().any(|(known, _)| *known == what) {
            self.open_windows.push((what, unix_ms));
        }
    }

    fn end_windows(&mut self, unix_ms: u64) {
        for (what, since) in self.open_windows.drain(..) {
            if let Some(window) = self.report.windows.iter_mut().find(|window| window.what == what) {
                window.used_ms = window.used_ms.max(unix_ms.saturating_sub(since));
            }
        }
    }

    /// Returns how long before the last record the intent of an order was recorded, by whichever controller.
    pub(crate) fn since_begun(&self, order: Order) -> Duration {
        let began = self.began.get(&order).map_or(self.last_unix_ms, |begun| begun.unix_ms);
        Duration::from_millis(self.last_unix_ms.saturating_sub(began))
    }

    /// Notes that an order has ended, so long after its intent was recorded; or that a look has told what became of it.
    pub(crate) fn ended(
        &mut self,
        topology: &Topology,
        order: Order,
        outcome: OutcomeKind,
        evidence: &Evidence,
        took: Duration,
    ) {
        let begun = self.began.remove(&order);
        let begun = begun.unwrap_or(Begun { unix_ms: self.last_unix_ms, compensating: false, is_unknown: false });
        if outcome == OutcomeKind::Unknown {
            self.began.insert(order, Begun { is_unknown: true, ..begun });
        }
        self.report.steps.push(StepTiming {
            target: order.target_name(topology),
            resource: Resource::from(order.target()),
            action: order.name().into(),
            compensating: begun.compensating,
            outcome,
            evidence: evidence.clone(),
            message: evidence.to_string(),
            start_ms: self.since_start(begun.unix_ms),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Notes that the run goes on with another plan.
    pub(crate) fn replanned(&mut self, plan: &Plan, proof: Option<Proof>) {
        declare_windows(&mut self.report, plan);
        self.report.replanned.push(Replan { plan: plan.digest().to_string(), back: plan.goes_back(), proof });
    }

    /// Notes what a person has to see to in his own time.
    pub(crate) fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    /// Notes which loans are open now.
    pub(crate) fn lent(&mut self, open: &[String]) {
        let now = self.since_start(self.last_unix_ms);
        let still: BTreeSet<&String> = open.iter().collect();
        self.open_loans.retain(|what, place| {
            let is_open = still.contains(what);
            if !is_open {
                self.report.loans[*place].repaid_ms = Some(now);
            }
            is_open
        });
        for what in open {
            if !self.open_loans.contains_key(what) {
                self.open_loans.insert(what.clone(), self.report.loans.len());
                self.report.loans.push(LoanSpan { what: what.clone(), opened_ms: now, repaid_ms: None });
            }
        }
    }

    /// Notes what serves in each pool and what is required there, as a look at `unix_ms` saw it; no pool where something could not be
    /// read. Returns the lowest margin.
    pub(crate) fn capacities<'a>(
        &mut self,
        unix_ms: u64,
        pools: impl Iterator<Item = (&'a Name, u64, u64)>,
    ) -> Option<i64> {
        let (at_ms, mut lowest) = (self.since_start(unix_ms), None::<i64>);
        for (pool, serving, required) in pools {
            let margin = margin_of(serving, required);
            lowest = Some(lowest.map_or(margin, |least| least.min(margin)));
            let place = self.report.pools.iter().position(|known| known.pool == pool.as_str());
            let place = place.unwrap_or_else(|| {
                self.report.pools.push(PoolMargin { pool: pool.to_string(), lowest: margin, capacity: Vec::new() });
                self.report.pools.len() - 1
            });
            let known = &mut self.report.pools[place];
            known.lowest = known.lowest.min(margin);
            note(&mut known.capacity, Capacity { at_ms, serving: Some(serving), required });
        }
        if lowest.is_none() {
            for pool in &mut self.report.pools {
                let required = pool.capacity.last().map_or(0, |last| last.required);
                note(&mut pool.capacity, Capacity { at_ms, serving: None, required });
            }
        }
        self.report.lowest_margin = self.report.lowest_margin.into_iter().chain(lowest).min();
        lowest
    }

    /// Tells whether what serves was seen.
    pub(crate) fn has_seen(&self) -> bool {
        !self.report.pools.is_empty()
    }

    /// Lists the orders that have begun and have no outcome.
    pub(crate) fn in_flight(&self) -> Vec<Order> {
        self.began.iter().filter(|(_, begun)| !begun.is_unknown).map(|(order, _)| *order).collect()
    }

    /// Ends the report of a run that has ended, or of one that has not: `end` is `None` then.
    pub(crate) fn finish(
        mut self,
        end: Option<End>,
        message: String,
        (open, notes): (Vec<String>, Vec<String>),
    ) -> RunReport {
        self.report.notes.extend(notes);
        self.report.ended = end.is_some();
        self.report.end = end.unwrap_or(End::NeedsOperator(Why::OutcomeUnknown));
        self.report.end_message = message;
        self.lent(&open);
        self.end_windows(self.last_unix_ms);
        self.report.open = open;
        self.report.took_ms = self.since_start(self.last_unix_ms);
        self.report
    }
}

fn margin_of(serving: u64, required: u64) -> i64 {
    let margin = i128::from(serving) - i128::from(required);
    i64::try_from(margin).unwrap_or(if margin < 0 { i64::MIN } else { i64::MAX })
}

/// Appends a look where it shows something else than the one before it.
fn note(looks: &mut Vec<Capacity>, look: Capacity) {
    if looks.last().is_some_and(|last| (last.serving, last.required) == (look.serving, look.required)) {
        return;
    }
    if looks.len() >= MOST_CHANGES {
        let lower = |pair: &[Capacity]| {
            // A shortage comes before what could not be read, and that before what was enough.
            let worse = |look: &Capacity| match look.serving.map(|serving| margin_of(serving, look.required)) {
                Some(short @ ..0) => (0, short),
                None => (1, 0),
                Some(enough) => (2, enough),
            };
            let lowest = pair.iter().copied().min_by_key(worse);
            lowest.zip(pair.first()).map(|(lowest, first)| Capacity { at_ms: first.at_ms, ..lowest })
        };
        *looks = looks.chunks(2).filter_map(lower).collect();
    }
    looks.push(look);
}

/// Notes the windows that a plan declares, beside those that are noted already.
fn declare_windows(report: &mut RunReport, plan: &Plan) {
    let is_measured = |what: Degraded| match what {
        Degraded::WritesRefused | Degraded::NoSite | Degraded::ConsumersWait => true,
        Degraded::ReloadExposure | Degraded::OneMoreFailure | Degraded::PulledWork => false,
    };
    for window in &plan.windows {
        if !is_measured(window.what) {
            if !report.unmeasured_windows.contains(window) {
                report.unmeasured_windows.push(window.clone());
            }
        } else if !report.windows.iter().any(|known| known.what == window.what) {
            let at_most_ms = u64::try_from(window.at_most.as_millis()).unwrap_or(u64::MAX);
            report.windows.push(WindowUse { what: window.what, at_most_ms, used_ms: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_changes_that_become_one_a_shortage_is_left_and_then_what_could_not_be_read() {
        let joined = |one: [Option<u64>; 2]| {
            let serving = one.into_iter().cycle().take(MOST_CHANGES);
            let mut looks: Vec<Capacity> =
                (0..).zip(serving).map(|(at_ms, serving)| Capacity { at_ms, serving, required: 100 }).collect();
            note(&mut looks, Capacity { at_ms: 5_000, serving: Some(1), required: 0 });
            assert_eq!(looks.len(), MOST_CHANGES / 2 + 1);
            (looks[1].at_ms, looks[1].serving)
        };
        assert_eq!(joined([None, Some(50)]), (2, Some(50)));
        assert_eq!(joined([None, Some(150)]), (2, None));
        assert_eq!(joined([Some(150), Some(120)]), (2, Some(120)));
    }
}
