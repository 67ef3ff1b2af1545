use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::build::Shared;
use super::error::RunError;
use super::events::Events;
use super::lease::HeldLease;
use super::mailbox::Mailbox;
use super::observe::{LOST_GRACE, observe_hosts};
use super::on::{Executor, Outcome};
use super::watch::{is_lost, watch, watch_lost};
use crate::action::{Action, At, Order, ServerAction, SiteAction};
use crate::backend::{ContentDigest, WorkId};
use crate::journal::JournalError;
use crate::machine::{Command, Input, RunMachine, Ticket};
use crate::plan::Plan;
use crate::procedure::{Planned, carry_on};
use crate::record::{End, Entry, Mode, OutcomeKind, Record, RunId};
use crate::report::{AskedFor, Event, ReportBuilder, RunReport};
use crate::state::{MemberState, Observation, Target, Traffic};
use crate::telemetry;
use crate::topology::{BalancerIx, NodeIx, SiteIx};

/// Drives one run to its end.
pub(super) struct Drive {
    pub(super) machine: RunMachine,
    pub(super) shared: Arc<Shared>,
    pub(super) plan: Arc<Plan>,
    pub(super) run: RunId,
    pub(super) lease: HeldLease,
    pub(super) next_sequence: u64,
    pub(super) events: Events<Event>,
    pub(super) report: ReportBuilder,
    pub(super) began: Instant,
    /// The wall-clock time of `began`, in milliseconds since 1970, and never before the last entry of an earlier controller.
    pub(super) began_unix_ms: u64,
    pub(super) started: BTreeMap<Order, Instant>,
    /// When orders were seen to end: at most the guard's interval before that is recorded.
    pub(super) ended: BTreeMap<Order, Instant>,
    /// The sequence number of the last intent of each order: what the host knows its command by.
    pub(super) intents: BTreeMap<Order, u64>,
    /// When servers that this run has stopped were seen to be gone.
    pub(super) gone_at: BTreeMap<NodeIx, Instant>,
    /// The balancers whose process is gone.
    pub(super) gone: BTreeSet<BalancerIx>,
    /// How long the last start took.
    pub(super) start_took: Option<Duration>,
    /// The sites that this run has demoted, and seen to be so.
    pub(super) demoted: BTreeSet<SiteIx>,
}

enum Ended {
    Observed(Observation),
    Watched(BalancerIx, Vec<MemberState>),
    Order(Order, Ticket, Outcome),
    Replanned(Result<Box<Planned>, String>),
}

impl Drive {
    pub(super) async fn drive_to_end(mut self, mut mailbox: Mailbox) -> Result<RunReport, RunError> {
        let mut tasks: JoinSet<Ended> = JoinSet::new();
        let mut unrecorded: Option<JournalError> = None;
        loop {
            while let Some(command) = self.machine.poll_command(self.began.elapsed()) {
                match command {
                    Command::Record(records) => {
                        let input = match self.record(records).await {
                            Ok(()) => Input::Recorded,
                            Err(error) => {
                                unrecorded = Some(error);
                                Input::NotRecorded
                            }
                        };
                        self.machine.handle(self.began.elapsed(), input);
                        self.report.lent(&self.machine.open_loans());
                    }
                    Command::Observe => {
                        let (shared, plan) = (self.shared.clone(), self.plan.clone());
                        let (changing, lost) = (self.changing(), self.machine.run().cluster.lost().to_vec());
                        // The guard asks again by itself, a look later.
                        let observe =
                            async move { Ended::Observed(observe_hosts(&shared, &plan.facts, &changing, &lost).await) };
                        tasks.spawn(observe.in_current_span());
                    }
                    Command::Watch { balancer } => {
                        let shared = self.shared.clone();
                        let is_lost = is_lost(&shared, balancer, self.machine.run().cluster.lost());
                        let watch = async move {
                            let seen = match is_lost {
                                true => watch_lost(&shared, balancer, LOST_GRACE).await,
                                false => watch(&shared, balancer, Duration::ZERO).await.0,
                            };
                            Ended::Watched(balancer, seen)
                        };
                        tasks.spawn(watch.in_current_span());
                    }
                    Command::Act { ticket, order, deadline } => {
                        // After the intent is durable and directly before the effect: may this controller still act? One that
                        // has lost the lease leaves what is in flight to whoever holds it now, who looks.
                        self.lease.check()?;
                        let (executor, span) = (self.executor(order), self.step_span(order, "act"));
                        let act = async move { Ended::Order(order, ticket, executor.act(deadline).await) };
                        tasks.spawn(act.instrument(span));
                    }
                    Command::Look { ticket, order, deadline } => {
                        let (executor, span) = (self.executor(order), self.step_span(order, "look"));
                        let look = async move { Ended::Order(order, ticket, executor.look(deadline).await) };
                        tasks.spawn(look.instrument(span));
                    }
                    Command::Replan { back } => {
                        let (shared, plan, run) = (self.shared.clone(), self.plan.clone(), self.machine.run().clone());
                        // Proving may take a core for a while, and the lease is to be renewed meanwhile.
                        let replan =
                            move || Ended::Replanned(carry_on(&shared.topology, &plan, &run, back).map(Box::new));
                        tasks.spawn_blocking(replan);
                    }
                    Command::Close { end } => return Ok(self.close(end).await),
                }
            }
            if let Some(source) = unrecorded.take_if(|_| !self.machine.is_waiting()) {
                return Err(self.interrupt(source).await);
            }
            let wake = self.machine.poll_timeout();
            if wake.is_none() && tasks.is_empty() {
                return Err(RunError::Died("the run waits for nothing".into()));
            }
            let woken = self.began + wake.unwrap_or_default();
            tokio::select! {
                biased;
                Some(asked) = mailbox.next() => match asked {
                    Ok((number, request, late)) => {
                        let late = late.map(String::from);
                        let input = Input::Requested { number, request, late, unix_ms: unix_ms() };
                        self.machine.handle(self.began.elapsed(), input);
                    }
                    Err(error) => {
                        self.report.note(format!("what people asked of the run could not be read for a while: {error}"));
                    }
                },
                Some(joined) = tasks.join_next() => match joined {
                    Ok(Ended::Observed(seen)) => self.seen(self.began.elapsed(), seen),
                    Ok(Ended::Watched(balancer, members)) => {
                        self.note_gone(balancer, &members);
                        self.machine.handle(self.began.elapsed(), Input::Watched { balancer, members });
                        // After another controller, what serves is not known before the first look at the whole cluster.
                        if self.report.has_seen() {
                            self.note_capacities();
                        }
                    }
                    Ok(Ended::Order(order, ticket, (outcome, evidence))) => {
                        self.ended.insert(order, Instant::now());
                        let input = Input::Finished { ticket, outcome, evidence };
                        self.machine.handle(self.began.elapsed(), input);
                    }
                    Ok(Ended::Replanned(planned)) => self.replanned(planned),
                    Err(error) => return Err(RunError::Died(error.to_string())),
                },
                () = sleep_until(woken), if wake.is_some() => {}
            }
        }
    }

    /// Hands over the plan that was found after a loss, or why there is none. The machine takes it, unless it has given up waiting.
    fn replanned(&mut self, planned: Result<Box<Planned>, String>) {
        let proven =
            planned.and_then(|planned| planned.into_proven().ok_or_else(|| "its proof is of another plan".into()));
        let (plan, proof) =
            proven.map_or_else(|why| (Err(why), None), |(plan, proof)| (Ok(Arc::new(plan)), Some(proof)));
        self.machine.handle(self.began.elapsed(), Input::Replanned(plan));
        if !Arc::ptr_eq(&self.plan, self.machine.plan()) {
            self.plan = self.machine.plan().clone();
            self.report.replanned(&self.plan, proof);
        }
    }

    /// Lists what orders in flight are changing.
    fn changing(&self) -> Vec<Target> {
        let targets = &self.machine.run().targets;
        let of = |node| [Target::Server(node), Target::Files(node), Target::Work(node)];
        let all =
            self.shared.topology.nodes().flat_map(|(node, _)| of(node)).chain([Target::Database, Target::Exposure]);
        let all = all.chain(self.shared.topology.site_indices().map(Target::Site));
        all.filter(|target| targets.is_changing(*target)).collect()
    }

    fn step_span(&self, order: Order, op: &'static str) -> tracing::Span {
        telemetry::step_span(&self.target(order), order.name(), op)
    }

    fn target(&self, order: Order) -> String {
        order.target_name(&self.shared.topology)
    }

    /// Ends a run whose journal failed, once what had begun has ended.
    async fn interrupt(mut self, source: JournalError) -> RunError {
        let (open, unknown) = (self.machine.open_loans(), self.machine.unsettled());
        self.emit(Event::Interrupted { reason: source.to_string(), open: open.clone(), unknown: unknown.clone() });
        self.lease.release().await;
        RunError::Unrecorded { run: self.run, source, open, unknown }
    }

    pub(super) async fn record(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        let (epoch, now) = (self.lease.epoch(), self.unix_ms());
        let entries = (self.next_sequence..).zip(records);
        let entries: Vec<Entry> = entries.map(|(sequence, record)| Entry::new(sequence, epoch, now, record)).collect();
        self.shared.journal.append(&self.run, entries.clone()).await?;
        for entry in &entries {
            let record = &entry.record;
            self.report.recorded(&self.shared.topology, entry);
            if let Record::Intent { order, .. } = record {
                self.intents.insert(*order, self.next_sequence);
            }
            self.next_sequence += 1;
            self.emit_of(record);
        }
        Ok(())
    }

    /// Tells when the process of a balancer is gone, and when it is there again.
    fn note_gone(&mut self, balancer: BalancerIx, members: &[MemberState]) {
        let (any, gone) = (!members.is_empty(), members.iter().all(|member| member.traffic == Traffic::Gone));
        let name = self.shared.topology.balancer(balancer).name.to_string();
        if any && gone && self.gone.insert(balancer) {
            self.report.note(format!("the process of balancer {name} was gone: find out why"));
            self.emit(Event::BalancerGone { balancer: name });
        } else if !gone
            && members.iter().all(|member| member.traffic != Traffic::Unknown)
            && self.gone.remove(&balancer)
        {
            self.emit(Event::BalancerBack { balancer: name });
        }
    }

    /// Takes in the state of the cluster at `at`.
    pub(super) fn seen(&mut self, at: Duration, seen: Observation) {
        self.machine.handle(at, Input::Observed(seen));
        if let Some(margin) = self.note_capacities() {
            self.emit(Event::Observed { margin });
        }
    }

    /// Notes in the report what serves in each pool, and returns the lowest margin.
    fn note_capacities(&mut self) -> Option<i64> {
        let (now, topology) = (self.unix_ms(), &self.shared.topology);
        let pools = self.machine.capacities();
        self.report
            .capacities(now, pools.map(|(pool, serving, required)| (&topology.pool(pool).name, serving, required)))
    }

    /// Returns the time in milliseconds since 1970. It never goes back in a run, whatever is done to the machine's clock meanwhile.
    fn unix_ms(&self) -> u64 {
        self.began_unix_ms.saturating_add(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn emit_of(&mut self, record: &Record) {
        let topology = self.shared.topology.clone();
        match record {
            Record::Opened { .. } | Record::TakenOver { .. } => {}
            Record::Turned { message, .. } => self.emit(Event::Turned { message: message.clone() }),
            Record::Intent { order, at } => {
                self.started.insert(*order, Instant::now());
                // A late answer to an attempt before it says nothing of this one.
                self.ended.remove(order);
                let compensating = at.mode != Mode::Forward;
                let target = self.target(*order);
                self.emit(Event::StepStarted { target, action: order.name().into(), compensating });
            }
            Record::Outcome { order, result, evidence } => {
                let ended = self.ended.remove(order).unwrap_or_else(Instant::now);
                let measured = self.started.get(order).map(|began| ended.duration_since(*began));
                // What another controller had begun is timed by the records.
                let took = measured.unwrap_or_else(|| self.report.since_begun(*order));
                if let (Order::Server(At { node, action }), OutcomeKind::Done) = (order, result) {
                    if *action == ServerAction::Stop {
                        self.gone_at.insert(*node, ended);
                    } else if matches!(action, ServerAction::Start | ServerAction::StartInTest) {
                        self.start_took = measured;
                    }
                }
                self.demoted.extend(demoted(*order, *result));
                self.report.ended(&topology, *order, *result, evidence, took);
                self.emit(Event::StepEnded {
                    target: self.target(*order),
                    action: order.name().into(),
                    outcome: *result,
                    message: evidence.to_string(),
                    evidence: evidence.clone(),
                    took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                });
            }
            Record::DomainLost { domain } => {
                let domain = topology.domain_name(*domain).to_string();
                self.emit(Event::DomainLost { domain });
            }
            Record::Replanned { plan } => self.emit(Event::Replanned {
                plan: plan.digest().to_string(),
                back: plan.goes_back(),
                text: plan.to_text(&topology),
            }),
            Record::Requested { request, refused, .. } => {
                let AskedFor { by, reason, what, step, refused, .. } = AskedFor::new(request, refused.as_deref());
                self.emit(Event::Requested { by, reason, what, step, refused });
            }
            Record::ApprovalAsked { approval } => self.emit(Event::ApprovalAsked {
                point: approval.point,
                step: format!("{}.{}", approval.stage + 1, approval.step + 1),
                plan: approval.plan.to_string(),
                fingerprint: approval.fingerprint.to_string(),
                differs: approval.differs.clone(),
                until_unix_ms: approval.until_unix_ms,
                then: approval.then,
            }),
            Record::Continued { message } => self.emit(Event::Continued { message: message.clone() }),
            Record::Closed { end, open } => {
                self.emit(Event::Closed { end: *end, message: end.message(self.plan.ends()), open: open.clone() });
            }
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        tracing::debug!(event = event.kind(), detail = serde_json::to_string(&event).unwrap_or_default(), "run event");
        self.events.send(event);
    }

    fn executor(&self, order: Order) -> Executor {
        let work = self.intents.get(&order).and_then(|sequence| work_id(&self.run, *sequence));
        let gone_at = order.node().and_then(|node| self.gone_at.get(&node).copied());
        Executor {
            shared: self.shared.clone(),
            plan: self.plan.clone(),
            epoch: self.lease.epoch(),
            order,
            work,
            gone_at,
            start_took: self.start_took,
            lost: self.machine.run().cluster.lost().to_vec(),
            sites: self.machine.run().cluster.sites.clone(),
            demoted: self.demoted.clone(),
            release: order.node().and_then(|node| self.machine.run().cluster.node(node).release),
        }
    }

    async fn close(mut self, end: End) -> RunReport {
        for balancer in &self.gone {
            let name = &self.shared.topology.balancer(*balancer).name;
            self.report.note(format!(
                "balancer {name} was still gone when the run ended: once it is back it has its configured state, which may not be \
                 what the run has made of the others; look at it"
            ));
        }
        let open = (self.machine.open_loans(), self.machine.left_behind());
        let report = self.report.finish(Some(end), end.message(self.plan.ends()), open);
        self.lease.release().await;
        report
    }
}

/// Returns the site that an order has demoted.
pub(super) fn demoted(order: Order, result: OutcomeKind) -> Option<SiteIx> {
    let Action::Site(SiteAction::Demote { site }) = order.action() else { return None };
    (result == OutcomeKind::Done).then_some(site)
}

/// Names the command of one intent for good, so that a host can be asked for it after the death of its controller.
fn work_id(run: &RunId, sequence: u64) -> Option<WorkId> {
    let plain = WorkId::new(&format!("{run}.{sequence}")).ok();
    plain.or_else(|| WorkId::new(&format!("{}.{sequence}", ContentDigest::of(run.as_str().as_bytes()))).ok())
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where wall-clock time enters: what people read, and what they say it is to last"
)]
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
