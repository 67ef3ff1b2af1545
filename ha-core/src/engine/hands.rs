//! What people ask of a run, from any process that has its journal.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::build::Engine;
use super::drive::unix_ms;
use super::error::RunError;
use crate::law::Law;
use crate::machine::{Decision, Folded, Paused, Turn, decide, fold};
use crate::plan::Digest;
use crate::record::{ApprovalAsk, Ask, End, Entry, Mode, Operator, Record, Request, RunId};
use crate::report::AskedFor;

/// A request that is in the store.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::engine::{Answer, Engine, RunError};
/// use ha_core::record::{Ask, Operator, RunId};
///
/// /// Pauses a run that some controller drives, for two hours at most.
/// async fn pause(engine: &Engine, run: &RunId) -> Result<(), RunError> {
///     let anna = Operator::new("anna", "the storage team asks us to wait");
///     let until_unix_ms = engine.in_unix_ms(Duration::from_secs(7_200));
///     let asked = engine.ask(run, anna, Ask::Pause { until_unix_ms }).await?;
///     match engine.answer(&asked, Duration::from_secs(10)).await? {
///         Answer::Taken => println!("paused"),
///         Answer::Refused { why } => println!("not paused: {why}"),
///         Answer::Ended { end } => println!("the run has ended before: {end}"),
///         _ => println!("no controller drives it: the next one finds it asked to pause"),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Asked {
    /// The run that it is put to.
    pub run: RunId,
    /// Its number among the requests to this run.
    pub number: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "answer")]
#[non_exhaustive]
pub enum Answer {
    /// The run does it, and has recorded that.
    Taken,
    /// The run does not, and has recorded that.
    Refused {
        /// Why.
        why: String,
    },
    /// The run had ended before. One that needs an operator and is gone on with refuses what came so late.
    Ended {
        /// How.
        end: End,
    },
    /// No controller has taken it yet. It stays in the store, for whoever drives the run next.
    Pending,
}

/// How a run stands, as its records tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RunStatus {
    /// The run.
    pub run: RunId,
    /// The procedure, as `patch`.
    pub procedure: String,
    /// The digest of the plan that it has now.
    pub plan: Digest,
    /// The controller that took it over last; `None` while the first one has it.
    pub owner: Option<String>,
    /// Its direction: `forward`, `compensating`, `withdrawing`, `reacting` or `ended`.
    pub mode: &'static str,
    /// The stage, from 1 on.
    pub stage: usize,
    /// The step in it, from 1 on.
    pub step: usize,
    /// The step, for people.
    pub doing: String,
    /// The pause that holds it.
    pub paused: Option<Paused>,
    /// What it waits for a person to approve.
    pub approval: Option<ApprovalAsk>,
    /// What people asked, and what it said to each.
    pub requests: Vec<AskedFor>,
    /// What people asked, and nobody has taken yet.
    pub pending: Vec<Request>,
    /// Loans that are open, for people.
    pub open: Vec<String>,
    /// Orders of which nobody knows whether they happened, for people.
    pub unknown: Vec<String>,
    /// How it ended.
    pub end: Option<End>,
    /// The same for people.
    pub end_message: Option<String>,
}

impl Engine {
    /// Returns the time that people count, that much from now, in milliseconds since 1970: for the ends of pauses and approvals.
    pub fn in_unix_ms(&self, time: Duration) -> u64 {
        unix_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Tells how a run stands: from its records alone, without the lease, and whoever drives it. The cluster is not looked at.
    ///
    /// # Errors
    /// [`RunError::Journal`], [`RunError::Fold`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn status(&self, run: &RunId) -> Result<RunStatus, RunError> {
        let (entries, folded) = self.recorded(run).await?;
        let pending = self.shared.journal.requests(run, folded.hands.last_request()).await?;
        let topology = &self.shared.topology;
        let Folded { plan, mut state, hands, end, .. } = folded;
        // The records say that a step is left behind only once the next one begins.
        while let Decision::Move(to, turn @ Turn::NextStep) = decide(topology, &plan, &state) {
            state.enter(to, turn);
        }
        let (stage, step) = (usize::from(state.cursor.stage), usize::from(state.cursor.step));
        let doing = match (plan.stages().get(stage), plan.step(stage, step)) {
            (Some(stage), Some(step)) => format!("{}: {}", stage.name, step.action.what(plan.facts())),
            (Some(stage), None) => stage.name.clone(),
            (None, _) => "its end".into(),
        };
        let of = |entry: &Entry| {
            if let Record::TakenOver { owner, .. } = &entry.record { Some(owner.clone()) } else { None }
        };
        let asked = |entry: &Entry| {
            let Record::Requested { request, refused, .. } = &entry.record else { return None };
            Some(AskedFor::new(request, refused.as_deref()))
        };
        Ok(RunStatus {
            run: run.clone(),
            procedure: plan.procedure().into(),
            plan: plan.digest(),
            owner: entries.iter().rev().find_map(of),
            mode: match state.cursor.mode {
                Mode::Forward => "forward",
                Mode::Compensating => "compensating",
                Mode::Withdrawing => "withdrawing",
                Mode::Reacting => "reacting",
                Mode::Ended(_) => "ended",
            },
            stage: stage + 1,
            step: step + 1,
            doing,
            paused: hands.paused().cloned(),
            approval: hands.approval().cloned(),
            requests: entries.iter().filter_map(asked).collect(),
            pending: pending.into_iter().map(|(_, request)| request).collect(),
            open: Law::new(topology, plan.facts()).open_loans(&state.cluster),
            unknown: state.targets.unsettled().map(|order| order.message(topology, plan.facts())).collect(),
            end,
            end_message: end.map(|end| end.message(plan.ends())),
        })
    }

    /// Asks something of a run, whoever drives it: its controller takes the request or refuses it within about 250 ms. Where
    /// none does, the next one that goes on with the run does so before it does anything else.
    ///
    /// # Idempotency
    /// What is asked twice is asked twice; [`Ask`] says what the second does. None harms.
    /// # Errors
    /// Nothing was asked: [`RunError::Fold`] where there is no such run, [`RunError::Ended`] where it has ended (one that needs an
    /// operator is gone on with: [`resume`](Self::resume), [`retry`](Self::retry), [`skip`](Self::skip),
    /// [`roll_back`](Self::roll_back)), [`RunError::Refused`] where nobody is named, or for what has a call of its own. [`RunError::Journal`]: unknown whether it is
    /// in the store; [`status`](Self::status) lists it.
    /// # Cancel safety
    /// Not cancel safe: [`status`](Self::status) tells whether it is in the store.
    pub async fn ask(&self, run: &RunId, by: Operator, what: Ask) -> Result<Asked, RunError> {
        let refused = |why: &str| RunError::Refused { run: run.clone(), what: what.name(), why: why.into() };
        if by.name.trim().is_empty() {
            return Err(refused("it is recorded who asks: give a name"));
        }
        if matches!(what, Ask::Retry { .. } | Ask::Skip { .. }) {
            return Err(refused("it is given to a run that has ended for a person: Engine::retry, Engine::skip"));
        }
        let (_, folded) = self.recorded(run).await?;
        if let Some(end) = folded.end {
            return Err(RunError::Ended { run: run.clone(), end });
        }
        let number = self.shared.journal.put(run, Request::new(by, what, unix_ms())).await?;
        Ok(Asked { run: run.clone(), number })
    }

    /// Approves what a run waits for now, for `valid_for`: binds the approval to the plan, the step and the facts for which it
    /// was asked, and [asks](Self::ask). What that is, it reads itself: who has shown it to a person approves what was shown,
    /// with [`ApprovalAsk::approve_until`].
    ///
    /// # Errors
    /// As for [`ask`](Self::ask), and [`RunError::Refused`] where the run waits for no approval.
    /// # Cancel safety
    /// As for [`ask`](Self::ask).
    pub async fn approve(&self, run: &RunId, by: Operator, valid_for: Duration) -> Result<Asked, RunError> {
        let (_, folded) = self.recorded(run).await?;
        let Some(approval) = folded.hands.approval() else {
            let why = "the run waits for no approval".to_string();
            return Err(RunError::Refused { run: run.clone(), what: "approve", why });
        };
        self.ask(run, by, approval.approve_until(self.in_unix_ms(valid_for))).await
    }

    /// Waits for what a run says to a request, at most for so long.
    ///
    /// # Errors
    /// [`RunError::Journal`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn answer(&self, asked: &Asked, at_most: Duration) -> Result<Answer, RunError> {
        let (until, mut pause) = (Instant::now() + at_most, POLL);
        loop {
            let entries = self.shared.journal.read(&asked.run).await?;
            let said = entries.iter().find_map(|entry| {
                let Record::Requested { number, refused, .. } = &entry.record else { return None };
                let answer = || refused.clone().map_or(Answer::Taken, |why| Answer::Refused { why });
                (*number == Some(asked.number)).then(answer)
            });
            if let Some(answer) = said {
                return Ok(answer);
            }
            if let Some(Record::Closed { end, .. }) = entries.last().map(|entry| &entry.record) {
                return Ok(Answer::Ended { end: *end });
            }
            if Instant::now() >= until {
                return Ok(Answer::Pending);
            }
            sleep(pause.min(until - Instant::now())).await;
            pause = (pause * 2).min(SLOWEST_POLL);
        }
    }

    async fn recorded(&self, run: &RunId) -> Result<(Vec<Entry>, Folded), RunError> {
        let entries = self.shared.journal.read(run).await?;
        let folded = fold(&self.shared.topology, &entries);
        let folded = folded.map_err(|source| RunError::Fold { run: run.clone(), source })?;
        Ok((entries, folded))
    }
}

/// How soon the records are read again for an answer: as soon as a controller looks for requests; then less and less often, since
/// each time all of them are read.
const POLL: Duration = Duration::from_millis(250);
const SLOWEST_POLL: Duration = Duration::from_secs(1);
