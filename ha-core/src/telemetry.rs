//! The names of spans, events and fields that the engine and the backends write for `tracing`. They are part of the public API:
//! dashboards read them.
//!
//! | Span | Fields | Where |
//! |---|---|---|
//! | `run` (info) | `run`, `procedure`, `plan` | around all that the engine does for a run, from taking the lease to giving it back |
//! | `step` (info) | `target`, `action`, `op` | inside a run, around each act of a step, and each look at what came of it |
//! | `monitor` (info) | `cluster` | around all that a monitor asks |
//! | `call` (debug) | `backend`, `op`, `target`, `instance`, `host` | around each call of a backend trait, in every backend |
//!
//! Of a run, `run` is its name, `procedure` the one that made its plan, as `patch`, and `plan` the first digits of its plan's
//! digest. Of a step, `target` is the node, `database` or `exposure`, `action` what is done, and `op` is `act` or `look`.
//!
//! Of a call, `backend` is the backend's name, as a topology gives it (`haproxy`, `local`, `rsync`, `ssh`, `http`, `tcp`, `command`,
//! `log`, `sqlite`). `op` is the method of the trait. `target` is what the call is about: a member, a server's home, a run, `artifacts`.
//! `instance` is the balancer instance that is asked, `host` the machine; each is there where the backend has one.
//!
//! [`EVENTS`] lists all events. Of the engine:
//!
//! | Event | Fields | When |
//! |---|---|---|
//! | `run event` (debug) | `event`, `detail` | with each [`Event`](crate::report::Event) of a run, also where its reader missed it |
//! | `monitor event` (debug) | `event`, `detail` | with each [`MonitorEvent`](crate::engine::MonitorEvent), also where its reader missed it |
//! | `lease not released, it ends by itself` (warn) | `error` | at the end of a run |
//! | `what people asked of the run cannot be read, it is gone on with` (warn) | `error` | as a run is begun or gone on with |
//! | `what people ask of the run cannot be read, it is tried again` (warn) | `error` | while a run lasts, once until it can be read again |
//! | `its supervisor kills it before stop_deadline` (warn) | `target`, `budget_ms`, `stop_deadline_ms` | as a plan is made |
//! | `a look at a node ended unexpectedly` (warn) | `error` | as a plan is made |
//! | `a look at a host ended unexpectedly` (warn) | `error` | as the doctor looks |
//! | `a look at a member ended unexpectedly` (warn) | `error` | as the doctor looks |
//! | `the step failed, and its effect is there` (debug) | `error` | a step on the clone of a database was answered with a failure, and is done |
//!
//! Of the backends, each inside of the `call` that caused it, but for `ssh ended`, which no call causes:
//!
//! | Event | Fields | When |
//! |---|---|---|
//! | `command started` (debug) | `program`, `pid` | `local` has started a process for a command, a start or a stop |
//! | `what is started ignores signals` (warn) | `program`, `fix` | `local` cannot give a process the default signal dispositions |
//! | `files not brought` (warn) | `target`, `error` | where a file sync could not copy a set; it is tried again |
//! | `files on their way` (debug) | `target`, `files`, `of`, `bytes` | every second of a copy by `rsync`: how much of it is done |
//! | `files brought` (debug) | `target`, `files`, `bytes`, `deletions_at_most` | what `rsync` has copied to a node |
//! | `connected` (debug) | `host`, `machine` | `ssh` has connected; `machine` identifies what answered |
//! | `ssh ended` (debug) | `host`, `detail` | a connection has ended; `detail` is what the ssh client wrote to its standard error |
//! | `shell given up` (debug) | `error` | a shell that `ssh` keeps did not answer as expected; another one replaces it |
//! | `command asked for again` (debug) | `work`, `error` | `ssh` has not seen a command end, and asks the host for it by its id |
//! | `migration command failed` (debug) | `error` | a call to the database failed; the migration judges what follows |
//! | `rows backfilled` (debug) | `script`, `rows`, `total`, `rate` | with each batch of a backfill: its rows, all so far, and rows a second |
//! | `statement ran` (debug) | `script`, `statement`, `run_ms`, `rows` | a statement of a migration script has taken effect |
//! | `script applied` (debug) | `script`, `run_ms` | a migration script is done, and the history says so |
//! | `statement found done` (warn) | `script`, `statement` | a dead migration had done it, as the database says |
//! | `session of an earlier migration ended by policy` (warn) | `session` | its client is dead, and it went on |
//!
//! `event` is the event's kind, as `step-ended`; `detail` is all of it as JSON, as `schema/event.json` and `schema/monitor.json`
//! describe it. Durations
//! are numbers of milliseconds under names that end in `_ms`. No field holds a secret: of a URL the query is left out, of a
//! command its arguments.

use std::fmt::Display;

use tracing::field::{Empty, display};
use tracing::{Level, Span, debug_span, info_span};

/// The name of the span around one run.
pub const RUN_SPAN: &str = "run";

/// The name of the span around one step of a run.
pub const STEP_SPAN: &str = "step";

/// The name of the span around one monitor.
pub const MONITOR_SPAN: &str = "monitor";

/// The message of the event with which the engine reports each event of a run.
pub const RUN_EVENT: &str = "run event";

/// The message of the event with which the engine reports each event of a monitor.
pub const MONITOR_EVENT: &str = "monitor event";

/// The name of the span around one call of a backend.
pub const CALL: &str = "call";

/// The field with the backend's name.
pub const BACKEND: &str = "backend";

/// The field with the method of the trait.
pub const OP: &str = "op";

/// The field with what the call is about.
pub const TARGET: &str = "target";

/// The field with the balancer instance that is asked.
pub const INSTANCE: &str = "instance";

/// The field with the machine that is asked.
pub const HOST: &str = "host";

/// The field with the run's name.
pub const RUN: &str = "run";

/// The field with the procedure of a run's plan.
pub const PROCEDURE: &str = "procedure";

/// The field with the first digits of the digest of a run's plan.
pub const PLAN: &str = "plan";

/// The field with the name of the cluster that is watched.
pub const CLUSTER: &str = "cluster";

/// The field with what a step does.
pub const ACTION: &str = "action";

/// The field with the kind of a run's or a monitor's event.
pub const EVENT: &str = "event";

/// The field with all of a run's or a monitor's event, as JSON; of another event its text.
pub const DETAIL: &str = "detail";

/// The field with the reason of a failure.
pub const ERROR: &str = "error";

/// The field with what to do about it.
pub const FIX: &str = "fix";

/// The field with the program of a command, without its arguments.
pub const PROGRAM: &str = "program";

/// The field with the id of a process.
pub const PID: &str = "pid";

/// The field with the id by which a host knows a command.
pub const WORK: &str = "work";

/// The field with the identity of the machine that answered.
pub const MACHINE: &str = "machine";

/// The field with how long a supervisor waits for a stop, in milliseconds.
pub const BUDGET_MS: &str = "budget_ms";

/// The field with the policy's `stop_deadline`, in milliseconds.
pub const STOP_DEADLINE_MS: &str = "stop_deadline_ms";

/// One event: what is public of it.
///
/// # Examples
///
/// ```
/// use ha_core::telemetry::{EVENTS, RUN_EVENT};
///
/// let run_event = EVENTS.iter().find(|event| event.message == RUN_EVENT);
/// assert_eq!(run_event.map(|event| event.fields), Some(&["event", "detail"][..]));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EventSpec {
    /// Its message, always the same: what differs is in the fields.
    pub message: &'static str,
    /// Its level.
    pub level: Level,
    /// The names of its fields.
    pub fields: &'static [&'static str],
}

const fn event(level: Level, message: &'static str, fields: &'static [&'static str]) -> EventSpec {
    EventSpec { message, level, fields }
}

/// Every event of the engine and of the backends of this workspace. `ha-core/tests/telemetry.rs` compares it with the sources.
pub const EVENTS: &[EventSpec] = &[
    event(Level::DEBUG, RUN_EVENT, &[EVENT, DETAIL]),
    event(Level::DEBUG, MONITOR_EVENT, &[EVENT, DETAIL]),
    event(Level::WARN, "lease not released, it ends by itself", &[ERROR]),
    event(Level::WARN, "what people asked of the run cannot be read, it is gone on with", &[ERROR]),
    event(Level::WARN, "what people ask of the run cannot be read, it is tried again", &[ERROR]),
    event(Level::WARN, "its supervisor kills it before stop_deadline", &[TARGET, BUDGET_MS, STOP_DEADLINE_MS]),
    event(Level::WARN, "a look at a node ended unexpectedly", &[ERROR]),
    event(Level::WARN, "a look at a host ended unexpectedly", &[ERROR]),
    event(Level::WARN, "a look at a member ended unexpectedly", &[ERROR]),
    event(Level::DEBUG, "the step failed, and its effect is there", &[ERROR]),
    event(Level::DEBUG, "command started", &[PROGRAM, PID]),
    event(Level::WARN, "what is started ignores signals", &[PROGRAM, FIX]),
    event(Level::WARN, "files not brought", &[TARGET, ERROR]),
    event(Level::DEBUG, "files on their way", &[TARGET, "files", "of", "bytes"]),
    event(Level::DEBUG, "files brought", &[TARGET, "files", "bytes", "deletions_at_most"]),
    event(Level::DEBUG, "connected", &[HOST, MACHINE]),
    event(Level::DEBUG, "ssh ended", &[HOST, DETAIL]),
    event(Level::DEBUG, "shell given up", &[ERROR]),
    event(Level::DEBUG, "command asked for again", &[WORK, ERROR]),
    event(Level::DEBUG, "migration command failed", &[ERROR]),
    event(Level::DEBUG, "rows backfilled", &["script", "rows", "total", "rate"]),
    event(Level::DEBUG, "statement ran", &["script", "statement", "run_ms", "rows"]),
    event(Level::DEBUG, "script applied", &["script", "run_ms"]),
    event(Level::WARN, "statement found done", &["script", "statement"]),
    event(Level::WARN, "session of an earlier migration ended by policy", &["session"]),
];

/// Makes the span of one run. Everything that the engine does for the run is inside, before its plan is known too: that is
/// said with [`name_plan`] then.
pub(crate) fn run_span(run: impl Display) -> Span {
    info_span!("run", run = %run, procedure = Empty, plan = Empty)
}

/// Says in a run's span which plan the run has.
pub(crate) fn name_plan(span: &Span, procedure: &str, plan: &str) {
    span.record(PROCEDURE, procedure);
    span.record(PLAN, plan);
}

/// Makes the span of one step of a run; `op` is `act` or `look`.
pub(crate) fn step_span(target: &str, action: &str, op: &'static str) -> Span {
    info_span!("step", target, action, op)
}

/// Makes the span of one monitor.
pub(crate) fn monitor_span(cluster: impl Display) -> Span {
    info_span!("monitor", cluster = %cluster)
}

/// Makes the span of one call. A backend instruments the call with it, and whatever the call spawns with the current span.
///
/// # Examples
///
/// ```
/// use ha_core::telemetry::call_span;
/// use tracing::Instrument;
///
/// # async fn ask() {}
/// # async fn example() {
/// let span = call_span("mine", "member", "esb/esb1");
/// ask().instrument(span).await;
/// # }
/// ```
pub fn call_span(backend: &'static str, op: &'static str, target: impl Display) -> Span {
    debug_span!("call", backend, op, target = %target, instance = Empty, host = Empty)
}

/// As [`call_span`], of a backend that asks one balancer instance.
///
/// # Examples
///
/// ```
/// use ha_core::telemetry::call_span_of_instance;
/// use tracing::Instrument;
///
/// # async fn ask() {}
/// async fn member() {
///     ask().instrument(call_span_of_instance("mine", "member", "esb/esb1", "lb1")).await;
/// }
/// ```
pub fn call_span_of_instance(
    backend: &'static str,
    op: &'static str,
    target: impl Display,
    instance: impl Display,
) -> Span {
    let span = call_span(backend, op, target);
    span.record(INSTANCE, display(instance));
    span
}

/// As [`call_span`], of a backend that asks another machine.
///
/// # Examples
///
/// ```
/// use ha_core::telemetry::call_span_on_host;
/// use tracing::Instrument;
///
/// # async fn ask() {}
/// async fn process() {
///     ask().instrument(call_span_on_host("mine", "process", "/srv/esb1", "esb1.example")).await;
/// }
/// ```
pub fn call_span_on_host(backend: &'static str, op: &'static str, target: impl Display, host: impl Display) -> Span {
    let span = call_span(backend, op, target);
    span.record(HOST, display(host));
    span
}
