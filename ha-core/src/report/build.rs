use std::collections::BTreeMap;
use std::time::Duration;

use super::AskedFor;
use super::chain::{Chain, ChainedRecord};
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
    /// When each order was begun, and whether to compensate.
    began: BTreeMap<Order, (u64, bool)>,
    /// The windows that are open, each with the time at which it began.
    open_windows: Vec<(Degraded, u64)>,
    /// When the last entry was written, in milliseconds since 1970.
    last_unix_ms: u64,
}

impl ReportBuilder {
    pub(crate) fn new(run: &RunId, plan: &Plan, proof: Option<Proof>, reached_otherwise: &[String]) -> Self {
        let mut report = RunReport {
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
        Self { report, chain, began: BTreeMap::new(), open_windows: Vec::new(), last_unix_ms: 0 }
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
                    let began = self.began.get(order).map_or(entry.unix_ms, |(began, _)| *began);
                    let took = Duration::from_millis(entry.unix_ms.saturating_sub(began));
                    self.ended(topology, *order, *result, evidence, took);
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
                self.began.insert(*order, (unix_ms, at.mode != Mode::Forward));
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
            | Record::Closed { .. } => self.end_windows(unix_ms),
            Record::Requested { request, refused, .. } => {
                self.report.requests.push(AskedFor::new(request, refused.as_deref()));
            }
            Record::ApprovalAsked { .. }
            | Record::Continued { .. }
            | Record::TakenOver { .. }
            | Record::Turned { .. }
            | Record::Outcome { .. }
            | Record::DomainLost { .. }
            | Record::Replanned { .. } => {}
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
                window.used_ms = window.used_ms.saturating_add(unix_ms.saturating_sub(since));
            }
        }
    }

    /// Notes that an order has ended, so long after its intent was recorded.
    pub(crate) fn ended(
        &mut self,
        topology: &Topology,
        order: Order,
        outcome: OutcomeKind,
        evidence: &Evidence,
        took: Duration,
    ) {
        let (began, compensating) = self.began.remove(&order).unwrap_or((self.last_unix_ms, false));
        self.report.steps.push(StepTiming {
            target: order.target_name(topology),
            resource: Resource::from(order.target()),
            action: order.name().into(),
            compensating,
            outcome,
            evidence: evidence.clone(),
            message: evidence.to_string(),
            start_ms: self.since_start(began),
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
        for loan in self.report.loans.iter_mut().filter(|loan| loan.repaid_ms.is_none()) {
            if !open.contains(&loan.what) {
                loan.repaid_ms = Some(now);
            }
        }
        for what in open {
            let mut known = self.report.loans.iter();
            if !known.any(|loan| loan.repaid_ms.is_none() && loan.what == *what) {
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

    /// Lists the orders that have begun and have no outcome, each with when it was begun, in milliseconds since 1970.
    pub(crate) fn in_flight(&self) -> Vec<(Order, u64)> {
        self.began.iter().map(|(order, (began, _))| (*order, *began)).collect()
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
            let margin = |look: &Capacity| look.serving.map(|serving| margin_of(serving, look.required));
            let lowest = pair.iter().copied().min_by_key(margin);
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

impl ChainedRecord {
    /// Tells whether it is a turn of the run that a reader looks for: not a step, and neither its beginning nor its end.
    pub fn is_turn(&self) -> bool {
        !matches!(self.kind.as_str(), "opened" | "intent" | "outcome" | "closed")
    }
}
