use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::build::Shared;
use super::rotate::{policy_of, rotate};
use crate::action::{Order, Verb};
use crate::backend::{
    Admin, Applied, Effect, Health, Installed, Ready, RunCommand, ServerProcess, StepError, WorkId, WorkState,
};
use crate::machine::rotation::{DrainOutcome, Goal, Outcome as Rotated};
use crate::plan::Plan;
use crate::record::OutcomeKind;
use crate::state::{LeaseEpoch, ReleaseId, ServerDomain};
use crate::topology::NodeIx;

/// What came of an act or a look, and what was seen.
pub(super) type Outcome = (OutcomeKind, String);

/// Returns the pause before the next look at what has taken so long: short for what takes short, and a look costs the more
/// the longer it may still take.
pub(super) fn pause(waited: Duration) -> Duration {
    (waited / 64).clamp(LEAST_PAUSE, LONGEST_PAUSE)
}

/// The shortest and the longest pause between two looks.
const LEAST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The least pause between two looks at a server that starts: while nobody knows how long it takes, which is once a run, and
/// near the time that the last one took.
const START_POLL: Duration = Duration::from_millis(30);
const NEAR_POLL: Duration = Duration::from_millis(5);

/// Returns the pause before the next look at a server that has been starting for so long. Once a start of this run has
/// shown how long one takes, the looks are close together near that time and rare long before it.
fn start_pause(starting: Duration, last_took: Option<Duration>) -> Duration {
    let usual = pause(starting).max(START_POLL);
    match last_took {
        None => usual,
        Some(took) if starting < took => ((took - starting) * 3 / 4).clamp(NEAR_POLL, LONGEST_PAUSE),
        Some(took) => ((starting - took) / 2).clamp(NEAR_POLL, usual),
    }
}

/// While a server starts, its process is looked at in one of so many looks at its probe, which costs less.
const LOOK_EVERY: u32 = 8;
/// The pause between two looks at a server under watch.
const WATCH: Duration = Duration::from_millis(200);
/// How often in a row a server under watch may fail its probe.
const WATCH_FAILURES: u8 = 3;
/// How long a server may be gone after its start: some wrappers start it again by themselves.
const RESPAWN: Duration = Duration::from_secs(5);
/// The last part of a stop's time, as 1/n, is for ending the server by force.
const KILL_SHARE: u32 = 6;
/// How long one read may take.
const READ: Duration = Duration::from_secs(5);

/// Carries out one order on one node; returns inside the deadline, give or take one read.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) shared: Arc<Shared>,
    pub(super) plan: Arc<Plan>,
    pub(super) epoch: LeaseEpoch,
    pub(super) order: Order,
    /// What the host knows the order's command by.
    pub(super) work: Option<WorkId>,
    /// When its server was last seen to have stopped, if this controller stopped it.
    pub(super) gone_at: Option<Instant>,
    /// How long the last start of this run took.
    pub(super) start_took: Option<Duration>,
    /// The release that the node has, as far as the run knows.
    pub(super) release: Option<ReleaseId>,
}

impl Executor {
    pub(super) async fn act(self, deadline: Duration) -> Outcome {
        let until = Instant::now() + deadline;
        match self.order.verb {
            Verb::TakeOut => self.rotate(Goal::Out).await,
            Verb::Reassert { admitted: false } => self.rotate(Goal::HeldOut).await,
            Verb::Admit | Verb::Reassert { admitted: true } => self.rotate(Goal::Back).await,
            Verb::Stop => self.stop(until, until - deadline / KILL_SHARE).await,
            Verb::Start => self.start(until, ServerDomain::Production).await,
            Verb::StartInTest => self.start(until, ServerDomain::Test).await,
            Verb::Apply { to } => self.run(&self.plan.commands.apply, to, deadline).await,
            Verb::Restore { to } => self.run(&self.plan.commands.restore, to, deadline).await,
            Verb::Gate => self.gate(deadline).await,
            Verb::StandBy => self.stand_by().await,
            Verb::Soak => self.soak().await,
            Verb::Hold
            | Verb::Release
            | Verb::HandWriter { .. }
            | Verb::Deploy { .. }
            | Verb::Quiesce
            | Verb::Resume
            | Verb::Migrate { .. } => self.act_on_shared(until, deadline).await,
        }
    }

    /// Finds out whether the order has happened, by looking.
    pub(super) async fn look(self, deadline: Duration) -> Outcome {
        if self.order.verb.is_command()
            && let Err(unsettled) = self.settle(Instant::now() + deadline).await
        {
            return unsettled;
        }
        match self.order.verb {
            Verb::TakeOut | Verb::Reassert { admitted: false } => self.rows(Admin::Maint).await,
            Verb::Admit | Verb::Reassert { admitted: true } => self.rows(Admin::Ready).await,
            Verb::Stop => match self.process().await {
                Ok(ServerProcess::Stopped) => done("the server is gone"),
                Ok(ServerProcess::Running(_)) => not_done("the server still runs"),
                Err(error) => unknown(error),
            },
            Verb::Start | Verb::StartInTest => match (self.process().await, self.ready().await) {
                (Ok(ServerProcess::Running(_)), Ok(Ready::Yes { .. })) => done("the server is ready"),
                (Ok(_), Ok(_)) => not_done("the server is not ready"),
                (Err(error), _) | (_, Err(error)) => unknown(error),
            },
            Verb::Apply { to } | Verb::Restore { to } => self.installed(to).await,
            // Tests and watches leave nothing behind that could be looked up: they are done anew.
            Verb::Gate | Verb::StandBy | Verb::Soak => not_done("not seen to its end"),
            Verb::Hold
            | Verb::Release
            | Verb::HandWriter { .. }
            | Verb::Deploy { .. }
            | Verb::Quiesce
            | Verb::Resume
            | Verb::Migrate { .. } => self.look_at_shared().await,
        }
    }

    async fn rotate(&self, goal: Goal) -> Outcome {
        let shared = &self.shared;
        let gone_for = self.gone_at.map(|at| at.elapsed()).unwrap_or_default();
        let policy = policy_of(&shared.topology.policy).with_server_gone_for(gone_for);
        let rows = shared.rows(self.order.node);
        let places: Vec<_> = rows.iter().map(|row| (row.backend.clone(), row.place.clone())).collect();
        match rotate(self.epoch, &places, goal, policy).await {
            Rotated::Reached { drain: Some(DrainOutcome::Forced { killed }) } => {
                done(format!("out of traffic, {killed} requests were cut at the drain deadline as the policy says"))
            }
            Rotated::Reached { drain: Some(_) } => done("out of traffic, nothing connects to it"),
            Rotated::Reached { drain: None } => done("in traffic, confirmed by every balancer"),
            Rotated::Restored { why, .. } => not_done(format!("{why}; the node is as it was on every balancer")),
            Rotated::Stuck { why, instances } => {
                let names: Vec<&str> =
                    instances.iter().filter_map(|index| rows.get(*index)).map(|row| row.name.as_str()).collect();
                unknown(format!("{why}; not known how the node stands on {}", names.join(", ")))
            }
        }
    }

    /// Asks the server to stop and waits; one that has not stopped at `kill_at` is ended by force.
    async fn stop(&self, until: Instant, kill_at: Instant) -> Outcome {
        let host = &self.shared.hosts[self.order.node.index()];
        let asked = host.stop(self.epoch).await;
        if let Some(refused) = refused(&asked) {
            return refused;
        }
        let (mut forced, asked_at) = ("", Instant::now());
        loop {
            match self.process().await {
                Ok(ServerProcess::Stopped) => return done(format!("the server is gone{forced}")),
                Ok(ServerProcess::Running(life)) if Instant::now() >= kill_at && forced.is_empty() => {
                    if matches!(host.kill(self.epoch, life).await, Ok(Applied::Applied)) {
                        forced = ", forced: it did not stop by itself and was killed";
                    }
                    sleep(pause(Duration::ZERO)).await;
                }
                Ok(ServerProcess::Running(_)) if Instant::now() >= until => {
                    return not_done(format!("the server still runs at the stop deadline{}", said(&asked)));
                }
                Err(error) if Instant::now() >= until => return unknown(error),
                Ok(ServerProcess::Running(_)) | Err(_) => sleep(pause(asked_at.elapsed())).await,
            }
        }
    }

    async fn start(&self, until: Instant, domain: ServerDomain) -> Outcome {
        let host = &self.shared.hosts[self.order.node.index()];
        let began = Instant::now();
        let asked = host.start(self.epoch, domain).await;
        if let Some(refused) = refused(&asked) {
            return refused;
        }
        let (mut seen_running, mut gone_since) = (false, None::<Instant>);
        for look in 0_u32.. {
            let ready = self.ready().await;
            // That something answers proves nothing before the process is seen too.
            let looks = look.is_multiple_of(LOOK_EVERY) || matches!(ready, Ok(Ready::Yes { .. }));
            let process = if looks { self.process().await.map(Some) } else { Ok(None) };
            match process {
                Ok(Some(ServerProcess::Running(incarnation))) => {
                    (seen_running, gone_since) = (true, None);
                    if let Ok(Ready::Yes { release }) = &ready {
                        return done(format!("ready with release {release}, process {incarnation}"));
                    }
                }
                Ok(Some(ServerProcess::Stopped)) if seen_running => {
                    let since = *gone_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= RESPAWN {
                        return not_done("the server ended right after its start: see its log");
                    }
                }
                Ok(Some(ServerProcess::Stopped) | None) | Err(_) => {}
            }
            if Instant::now() >= until {
                let last = match ready {
                    Ok(Ready::NotYet(words)) => format!("its probe last said: {words}"),
                    Ok(Ready::Closed) => "nothing listens on its traffic port".into(),
                    Ok(Ready::Yes { .. }) => "something else answers on its address".into(),
                    Err(error) => error,
                };
                return not_done(format!("the server did not become ready{}; {last}", said(&asked)));
            }
            sleep(start_pause(began.elapsed(), self.start_took)).await;
        }
        not_done("the server was not seen to become ready")
    }

    async fn run(&self, argv: &[String], to: ReleaseId, deadline: Duration) -> Outcome {
        let host = &self.shared.hosts[self.order.node.index()];
        let release = self.plan.facts.releases.name(to);
        let mut command = RunCommand::new(argv.to_vec(), deadline)
            .with_env("HA_NODE", self.shared.topology.node(self.order.node).name.as_str())
            .with_env("HA_RELEASE", release);
        command.id.clone_from(&self.work);
        match host.run(self.epoch, command).await {
            Ok(ran) if ran.is_success() => match self.installed(to).await {
                (OutcomeKind::NotDone, note) => not_done(format!("the command ended well, and yet {note}")),
                outcome => outcome,
            },
            Ok(ran) => not_done(format!("the command ended with {}: {}", ran.ended, tail(&ran.stderr, &ran.stdout))),
            Err(error) if error.effect() == Effect::None => not_done(error),
            Err(error) => unknown(error),
        }
    }

    /// Waits until the order's command, which another controller may have started, runs no more.
    async fn settle(&self, until: Instant) -> Result<(), Outcome> {
        let host = &self.shared.hosts[self.order.node.index()];
        let (Some(work), Some(id)) = (host.work(), &self.work) else { return Ok(()) };
        let began = Instant::now();
        loop {
            let state = self.read(work.state(id)).await;
            match state {
                Ok(WorkState::Absent) => return Ok(()),
                Ok(state) if state.is_final() => return Ok(()),
                Ok(_) if Instant::now() >= until => return Err(unknown("its command still runs")),
                Err(error) if Instant::now() >= until => return Err(unknown(error)),
                Ok(_) | Err(_) => sleep(pause(began.elapsed())).await,
            }
        }
    }

    async fn gate(&self, deadline: Duration) -> Outcome {
        let probe = &self.shared.probes[self.order.node.index()];
        let host = &self.shared.hosts[self.order.node.index()];
        // Nothing is installed while it is tested.
        let (tested, installed) = tokio::join!(timeout(deadline, probe.test()), self.read(host.installed()));
        let tested = match tested {
            Ok(Ok(release)) => release,
            Ok(Err(error)) => return not_done(error),
            Err(_) => return not_done(format!("the test did not end in {deadline:?}")),
        };
        match installed {
            Ok(Installed::Release(installed)) if installed == tested => match self.release {
                // What passes is what the run takes into traffic: it must be what the run has put there.
                Some(known) if *self.plan.facts.releases.name(known) != *tested => {
                    let known = self.plan.facts.releases.name(known);
                    not_done(format!(
                        "release {tested} is installed and passed its test, and this run left {known} there: find out who \
                         installs on this node"
                    ))
                }
                Some(_) | None => done(format!("release {tested} passed its test")),
            },
            Ok(Installed::Release(installed)) => {
                not_done(format!("release {tested} answered the test, {installed} is installed: an old process serves"))
            }
            Ok(Installed::Absent) => not_done("the server is not installed any more"),
            Err(error) => not_done(error),
        }
    }

    async fn stand_by(&self) -> Outcome {
        match (self.rows(Admin::Maint).await, self.ready().await) {
            ((OutcomeKind::Done, _), Ok(Ready::Yes { release })) => {
                done(format!("ready with release {release}, held out"))
            }
            ((OutcomeKind::Done, _), Ok(_)) => not_done("the server is not ready"),
            ((OutcomeKind::Done, _), Err(error)) => not_done(error),
            ((_, note), _) => not_done(note),
        }
    }

    async fn soak(&self) -> Outcome {
        let soak = self.shared.topology.policy.soak;
        let (until, mut failures, mut samples) = (Instant::now() + soak, 0_u8, 0_u32);
        loop {
            match self.ready().await {
                Ok(Ready::Yes { .. }) => (failures, samples) = (0, samples + 1),
                Ok(Ready::NotYet(words)) => {
                    failures += 1;
                    if failures >= WATCH_FAILURES {
                        return not_done(format!("the node failed under traffic: {words}"));
                    }
                }
                Ok(Ready::Closed) => return not_done("the node closed its port under traffic"),
                Err(error) => {
                    failures += 1;
                    if failures >= WATCH_FAILURES {
                        return not_done(format!("the node failed under traffic: {error}"));
                    }
                }
            }
            if Instant::now() >= until {
                // A watch without a single good sample has shown nothing.
                return if samples > 0 {
                    done(format!("watched for {soak:?}, {samples} probes passed"))
                } else {
                    not_done("no probe passed while it was watched")
                };
            }
            sleep(WATCH.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn rows(&self, wanted: Admin) -> Outcome {
        for row in self.shared.rows(self.order.node) {
            let (backend, member, place) = (&row.backend, &row.place.member, &row.name);
            let stands = match self.read(backend.member(member)).await {
                Ok(stands) => stands,
                Err(error) => return unknown(error),
            };
            if stands.admin != wanted {
                return not_done(format!("{member} is {:?} on {place}", stands.admin));
            }
            match wanted {
                Admin::Ready if matches!(stands.health, Health::Down | Health::Rising | Health::Paused) => {
                    return not_done(format!("{member} is admitted and not up on {place}"));
                }
                Admin::Maint => match self.read(backend.quiescence(member)).await {
                    Ok(figures) if figures.is_closed() => {}
                    Ok(_) => return not_done(format!("connections to {member} are still open on {place}")),
                    Err(error) => return unknown(error),
                },
                Admin::Ready | Admin::Drain => {}
            }
        }
        done(format!("every balancer says {wanted:?}"))
    }

    async fn installed(&self, to: ReleaseId) -> Outcome {
        let wanted = self.plan.facts.releases.name(to);
        match self.read(self.shared.hosts[self.order.node.index()].installed()).await {
            Ok(Installed::Release(release)) if *release == *wanted => done(format!("release {release} is installed")),
            Ok(Installed::Release(release)) => not_done(format!("release {release} is installed, not {wanted}")),
            Ok(Installed::Absent) => not_done("no release is installed"),
            Err(error) => not_done(format!("the installed release cannot be read: {error}")),
        }
    }

    async fn process(&self) -> Result<ServerProcess, String> {
        self.read(self.shared.hosts[self.order.node.index()].process()).await
    }

    async fn ready(&self) -> Result<Ready, String> {
        self.read(self.shared.probes[self.order.node.index()].ready()).await
    }

    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T, StepError>>) -> Result<T, String> {
        let node = self.order.node;
        match timeout(READ, read).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{} was not answered for in {READ:?}", self.name(node))),
        }
    }

    fn name(&self, node: NodeIx) -> &str {
        self.shared.topology.node(node).name.as_str()
    }
}

/// A request that provably changed nothing has failed; any other failure is judged by what the server does then.
pub(super) fn refused(asked: &Result<Applied, StepError>) -> Option<Outcome> {
    match asked {
        Err(error) if error.effect() == Effect::None => Some(not_done(error)),
        Ok(_) | Err(_) => None,
    }
}

pub(super) fn said(asked: &Result<Applied, StepError>) -> String {
    asked.as_ref().err().map(|error| format!(" ({error})")).unwrap_or_default()
}

pub(super) fn tail(stderr: &str, stdout: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout.trim() } else { stderr.trim() };
    let skip = text.chars().count().saturating_sub(400);
    text.chars().skip(skip).collect()
}

pub(super) fn done(note: impl ToString) -> Outcome {
    (OutcomeKind::Done, note.to_string())
}

pub(super) fn not_done(note: impl ToString) -> Outcome {
    (OutcomeKind::NotDone, note.to_string())
}

pub(super) fn unknown(note: impl ToString) -> Outcome {
    (OutcomeKind::Unknown, note.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starting_server_is_looked_at_rarely_before_the_time_that_the_last_start_took_and_often_near_it() {
        let ms = Duration::from_millis;
        for (starting, last_took, expected) in [
            (0, None, 30),
            (6_400, None, 100),
            (60_000, None, 250),
            (0, Some(520), 250),
            (200, Some(520), 240),
            (420, Some(520), 75),
            (515, Some(520), 5),
            (525, Some(520), 5),
            (550, Some(520), 15),
            (700, Some(520), 30),
            (2_000, Some(520), 31),
            (0, Some(60_000), 250),
            (59_800, Some(60_000), 150),
            (120_000, Some(60_000), 250),
        ] {
            let pause = start_pause(ms(starting), last_took.map(ms));
            assert_eq!(pause.as_millis(), expected, "{starting} ms after a start, {last_took:?}");
        }
    }
}
