//! Goes on with a recorded run: as it was left, or as a person says.

use tracing::{Instrument, Span};

use super::build::Engine;
use super::drive::unix_ms;
use super::error::RunError;
use super::lease::HeldLease;
use super::observe::observe;
use super::on::READ_AGAIN;
use super::run::{Begun, RunHandle};
use crate::law::Law;
use crate::machine::{Folded, RunState, fold, unread};
use crate::record::{Ask, Cursor, End, Entry, Mode, Operator, Record, Request, RunId, Why};
use crate::safety::{Proof, prove, prove_rest};
use crate::state::Observation;
use crate::telemetry;

/// How a person wants a run gone on with.
#[derive(Clone, Debug)]
enum How {
    AsLeft,
    Retry(Operator),
    Skip(Operator),
    Back(Operator),
}

impl Engine {
    /// Goes on with a recorded run, wherever its controller left it: a run that is paused stays paused, and one that needs an
    /// operator is taken back from in place, or forward past the point of no return, or, where the change was taken from a node
    /// that did not take it ([`Why::Withdrawn`]), forward from that node on. Where a database was to be promoted, or was, and no
    /// consumers are led to it, it goes forward too: they wait, and nobody has to know first what became of it.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`RunError::Fold`] when the records do not make a run, [`RunError::Ended`] when it is
    /// all new or all old already. Nothing was changed in any of these cases.
    /// # Cancel safety
    /// Before the take-over is recorded, dropping the future leaves a lease that ends by itself; after it the run goes on.
    pub async fn resume(&self, run: RunId) -> Result<RunHandle, RunError> {
        self.go_on(run, How::AsLeft).await
    }

    /// Goes on with a run that needs an operator at the step where it ended, in the direction that it had: what is done of the
    /// step stays done, what did not happen is tried again. Who asks, and why, is recorded.
    ///
    /// The cluster is looked at first, and the rest of the plan is proven from there: the way back, and every single fault. Of a
    /// cluster so large that this has more than 1,000,000 states each order is judged before it is given, as it always is.
    ///
    /// # Errors
    /// As [`resume`](Self::resume), [`RunError::Unread`], and [`RunError::Refused`] where the run has not ended for a person, or
    /// the rest of the plan would break the law, with how. Nothing was changed in any of these cases.
    /// # Cancel safety
    /// As for [`resume`](Self::resume).
    pub async fn retry(&self, run: RunId, by: Operator) -> Result<RunHandle, RunError> {
        self.go_on(run, How::Retry(by)).await
    }

    /// Goes on with a run that needs an operator behind the step where it ended, which is not given any more. Who says so, and
    /// why, is recorded.
    ///
    /// The cluster is looked at first. Where it has what the step was to bring about, as where a person did it by hand, the step
    /// counts as done: it is lent, guarded and taken back as if the run had done it. Where it has not, the rest of the plan must
    /// hold the law from there without it.
    ///
    /// # Errors
    /// As [`retry`](Self::retry), and [`RunError::Refused`] where there is no step to skip, the step waits for an approval, or the run
    /// was going back.
    /// # Cancel safety
    /// As for [`resume`](Self::resume).
    pub async fn skip(&self, run: RunId, by: Operator) -> Result<RunHandle, RunError> {
        self.go_on(run, How::Skip(by)).await
    }

    /// Goes on with a run that nobody drives, backwards: the recorded steps are compensated from where it is. Who asks, and why,
    /// is recorded. A run that is driven is asked: [`ask`](Self::ask) with [`Ask::RollBack`].
    ///
    /// # Errors
    /// As [`resume`](Self::resume), and [`RunError::Refused`] past the point of no return. Nothing was changed in any of these
    /// cases.
    /// # Cancel safety
    /// As for [`resume`](Self::resume).
    pub async fn roll_back(&self, run: RunId, by: Operator) -> Result<RunHandle, RunError> {
        self.go_on(run, How::Back(by)).await
    }

    async fn go_on(&self, run: RunId, how: How) -> Result<RunHandle, RunError> {
        let span = telemetry::run_span(&run);
        self.take_over(run, how, &span).instrument(span.clone()).await
    }

    async fn take_over(&self, run: RunId, how: How, span: &Span) -> Result<RunHandle, RunError> {
        let lease = HeldLease::take(&self.shared).await?;
        let entries = match self.shared.journal.read(&run).await {
            Ok(entries) => entries,
            Err(error) => {
                lease.release().await;
                return Err(error.into());
            }
        };
        match self.prepare_to_go_on(&run, how, &entries, &lease, span).await {
            Ok((begun, first)) => self.spawn(run, begun, lease, first, &entries).await,
            Err(error) => {
                lease.release().await;
                Err(error)
            }
        }
    }

    /// Finds out from where the run goes on, and with which records.
    async fn prepare_to_go_on(
        &self,
        run: &RunId,
        how: How,
        entries: &[Entry],
        lease: &HeldLease,
        span: &Span,
    ) -> Result<(Begun, Vec<Record>), RunError> {
        let folded = self.fold(run, entries)?;
        telemetry::name_plan(span, folded.plan.procedure(), folded.plan.digest().short());
        if let Some(end @ (End::AllNew | End::AllOld)) = folded.end {
            return Err(RunError::Ended { run: run.clone(), end });
        }
        let owner = self.shared.owner.clone();
        let left = at_resume(&folded);
        let after = |records: &[Record]| {
            let from = entries.last().map_or(0, |entry| entry.sequence + 1);
            let new =
                (from..).zip(records).map(|(number, record)| Entry::new(number, lease.epoch(), 0, record.clone()));
            self.fold(run, &entries.iter().cloned().chain(new).collect::<Vec<_>>())
        };
        let (request, seen) = match self.asked(run, how, &folded).await? {
            Some((request, seen)) => (Some(request), seen),
            None => (None, None),
        };
        let mut first: Vec<Record> = Vec::new();
        let is_back = request.as_ref().is_some_and(|request| request.what == Ask::RollBack);
        first.extend(request.map(|request| Record::Requested { number: None, request, refused: None }));
        let at = match (&seen, is_back) {
            // Where a retry and a skip lead to, the fold says.
            (Some(_), _) => after(&first)?.state.cursor,
            (None, true)
                if folded.end.is_some()
                    && folded.plan.carries_on().is_none()
                    && !folded.state.plans_its_way_back(&folded.plan)
                    && !folded.state.promotion_in_doubt() =>
            {
                Cursor { mode: Mode::Compensating, ..left }
            }
            (None, _) => left,
        };
        first.push(Record::TakenOver { owner, at });
        let Folded { plan, mut state, hands, .. } = after(&first)?;
        if let Some(seen) = &seen {
            state.cluster.absorb(seen, |_| false);
        }
        let proof = self.proof_of(run, &folded, &state, &first).await?;
        Ok((Begun { plan, state, hands, proof, seen }, first))
    }

    /// Returns the request with which a run is gone on, where a person makes one, and what was seen of the cluster for it.
    async fn asked(
        &self,
        run: &RunId,
        how: How,
        folded: &Folded,
    ) -> Result<Option<(Request, Option<Observation>)>, RunError> {
        let (by, name) = match &how {
            How::AsLeft => return Ok(None),
            How::Retry(by) => (by.clone(), "retry"),
            How::Skip(by) => (by.clone(), "skip"),
            How::Back(by) => (by.clone(), "roll-back"),
        };
        let refused = |why: String| RunError::Refused { run: run.clone(), what: name, why };
        if by.name.trim().is_empty() {
            return Err(refused("it is recorded who asks: give a name".into()));
        }
        let (plan, state) = (&folded.plan, &folded.state);
        let request = |what| Request::new(by.clone(), what, unix_ms());
        let Cursor { stage, step, .. } = state.cursor;
        if let How::Back(_) = how {
            return match state.no_way_back(plan) {
                Some(why) => Err(refused(why)),
                None => Ok(Some((request(Ask::RollBack), None))),
            };
        }
        if folded.end.is_none() {
            return Err(refused("the run has not ended for a person: resume it, or abort it first".into()));
        }
        let is_skip = matches!(how, How::Skip(_));
        if is_skip && (state.targets.goes_back() || plan.step(stage.into(), step.into()).is_none()) {
            return Err(refused(match state.targets.goes_back() {
                true => "the run was going back: retry the step, or take it back by hand and retry".into(),
                false => "it has no step left to skip: retry or resume".into(),
            }));
        }
        if is_skip && plan.approval_before(stage, step).is_some() && state.is_before(stage, step) {
            return Err(refused("the step is to be approved, and nobody has: retry, and approve it".into()));
        }
        let (seen, notes) = observe(&self.shared, plan, READ_AGAIN).await;
        let mut now = RunState { cluster: state.cluster.clone(), ..state.clone() };
        now.cluster.set_losses(plan.start().lost());
        now.cluster.absorb(&seen, |_| false);
        let unread = unread(&self.shared.topology, plan, &now);
        if !unread.is_empty() {
            return Err(RunError::Unread { unread, notes });
        }
        let law = Law::new(&self.shared.topology, plan.facts());
        let holds = is_skip && now.holds(law, plan, (stage, step));
        let what = if is_skip { Ask::Skip { stage, step, holds } } else { Ask::Retry { stage, step } };
        Ok(Some((request(what), Some(seen))))
    }

    /// Proves what a person wants gone on with, or finds the proof of the plan again, which is not recorded. A plan of an earlier
    /// version of the law may have none any more.
    async fn proof_of(
        &self,
        run: &RunId,
        folded: &Folded,
        state: &RunState,
        first: &[Record],
    ) -> Result<Option<Proof>, RunError> {
        let whole = |topology| prove(topology, &folded.plan).ok();
        let Some(Record::Requested { request, .. }) = first.first() else { return Ok(whole(&self.shared.topology)) };
        let must_hold = match request.what {
            Ask::Retry { .. } => true,
            Ask::Skip { holds, .. } => !holds,
            Ask::Pause { .. } | Ask::Continue | Ask::RollBack | Ask::Abort | Ask::Approve { .. } => false,
        };
        if !must_hold {
            return Ok(whole(&self.shared.topology));
        }
        let (topology, plan, state) = (self.shared.topology.clone(), folded.plan.clone(), state.clone());
        // The lease is to be renewed meanwhile.
        let rest = tokio::task::spawn_blocking(move || prove_rest(&topology, &plan, &state)).await;
        let rest = rest.map_err(|error| RunError::Died(error.to_string()))?;
        let what = request.what.name();
        let refused = |why: String| RunError::Refused { run: run.clone(), what, why };
        match rest {
            Ok(None) if matches!(request.what, Ask::Skip { .. }) => {
                let why = "the rest of the plan has too many states to be proven without the step: do it by hand, then skip it";
                Err(refused(why.into()))
            }
            Ok(rest) => Ok(rest.or_else(|| whole(&self.shared.topology))),
            Err(counterexample) => {
                let last = counterexample.trace.last().map_or(String::new(), |event| format!(", after: {event}"));
                let violation = &counterexample.violation;
                Err(refused(format!(
                    "from how the cluster is, the rest of the plan would break the law: {violation}{last}"
                )))
            }
        }
    }

    fn fold(&self, run: &RunId, entries: &[Entry]) -> Result<Folded, RunError> {
        fold(&self.shared.topology, entries).map_err(|source| RunError::Fold { run: run.clone(), source })
    }
}

/// Returns where a run goes on that is resumed as it was left.
fn at_resume(folded: &Folded) -> Cursor {
    let cursor = folded.state.cursor;
    let Some(End::NeedsOperator(why)) = folded.end else { return cursor };
    let at = Cursor { phase: 0, attempt: 0, ..cursor };
    let forward = match why {
        Why::Withdrawn => return Cursor { mode: Mode::Forward, step: 0, ..at },
        // It failed there, and was repaired.
        Why::PastReturn => true,
        // It goes back from where it stopped, where it can, and what went back goes on doing so.
        Why::Stopped
        | Why::NotApproved
        | Why::DomainLost(_)
        | Why::OutcomeUnknown
        | Why::CompensationFailed
        | Why::LawWouldBreak
        | Why::Held
        | Why::LoansOpen
        | Why::BalancerLostState => {
            let state = &folded.state;
            let returns = state.may_return(&folded.plan) && !state.plans_its_way_back(&folded.plan);
            let may_be_promoted = state.promotion_in_doubt() || state.promotion_given_up();
            !state.targets.goes_back() && (!returns || may_be_promoted)
        }
    };
    Cursor { mode: if forward { Mode::Forward } else { Mode::Compensating }, ..at }
}
