use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Executor, LONGEST_PAUSE, Outcome, READ_LIMIT, Shared, done, not_done, pause, refused, said, unknown};
use crate::action::ServerAction;
use crate::backend::{Applied, ErrorKind, Installed, Ready, RunCommand, ServerProcess, StepError};
use crate::record::Evidence;
use crate::state::{Process, ReleaseId, ServerDomain};
use crate::topology::NodeIx;

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
/// Says of a server that its supervisor kills it too early.
pub(in crate::engine) const CUT_SHORT: &str = "a stop may be cut short";
/// The last part of a stop's time, as 1/n, is for ending the server by force.
const KILL_SHARE: u32 = 6;

/// A node's server as it was observed.
#[derive(Debug)]
pub(in crate::engine) struct SeenServer {
    pub(in crate::engine) process: Process,
    /// The release that answers, or the installed one where nothing answers.
    pub(in crate::engine) release: Option<Box<str>>,
    /// Whether it has just passed its test.
    pub(in crate::engine) tested: bool,
    /// Whether all of it could be read.
    pub(in crate::engine) read: bool,
    pub(in crate::engine) notes: Vec<String>,
}

impl Executor {
    pub(super) async fn act_on_server(&self, node: NodeIx, action: ServerAction, deadline: Duration) -> Outcome {
        let until = Instant::now() + deadline;
        let command = |argv: &[String], to: ReleaseId| {
            let command = RunCommand::new(argv.to_vec(), deadline);
            let command = command.with_env("HA_RELEASE", self.plan.facts.releases.name(to));
            match &self.plan.facts.clone {
                Some(clone) if clone.release == Some(to) => command.with_env("HA_DATABASE_URL", &*clone.url),
                Some(_) | None => command,
            }
        };
        match action {
            ServerAction::Stop => self.stop(node, until, until - deadline / KILL_SHARE).await,
            ServerAction::Start => self.start(node, until, ServerDomain::Production).await,
            ServerAction::StartInTest => self.start(node, until, ServerDomain::Test).await,
            ServerAction::Apply { to } => {
                self.run(node, command(&self.plan.commands.apply, to), || self.installed(node, to)).await
            }
            ServerAction::Restore { to } => {
                self.run(node, command(&self.plan.commands.restore, to), || self.installed(node, to)).await
            }
            ServerAction::Gate => self.gate(node, deadline).await,
            ServerAction::Soak => self.soak(node).await,
        }
    }

    pub(super) async fn look_at_server(&self, node: NodeIx, action: ServerAction) -> Outcome {
        match action {
            ServerAction::Stop => match self.process(node).await {
                Ok(ServerProcess::Stopped) => done(Evidence::Stopped { forced: false }),
                Ok(ServerProcess::Running(_)) => not_done("the server still runs"),
                Err(error) => unknown(error),
            },
            ServerAction::Start | ServerAction::StartInTest => {
                match (self.process(node).await, self.ready(node).await) {
                    (Ok(ServerProcess::Running(process)), Ok(Ready::Yes { release })) => {
                        done(Evidence::Ready { release: release.to_string(), process: Some(process.to_string()) })
                    }
                    (Ok(_), Ok(_)) => not_done("the server is not ready"),
                    (Err(error), _) | (_, Err(error)) => unknown(error),
                }
            }
            ServerAction::Apply { to } | ServerAction::Restore { to } => self.installed(node, to).await,
            // Tests and watches leave nothing behind that could be looked up: they are done anew.
            ServerAction::Gate | ServerAction::Soak => not_done("not seen to its end"),
        }
    }

    /// Asks the server to stop and waits; one that has not stopped at `kill_at` is ended by force.
    async fn stop(&self, node: NodeIx, until: Instant, kill_at: Instant) -> Outcome {
        let host = &self.shared.hosts[node.index()];
        let asked = host.stop(self.epoch).await;
        if let Some(refused) = refused(&asked) {
            return refused;
        }
        let (mut forced, asked_at) = (false, Instant::now());
        loop {
            match self.process(node).await {
                // What its host has stopped is what its probe has asked: a server that goes on answering is another one.
                Ok(ServerProcess::Stopped) => match self.ready(node).await {
                    Ok(Ready::Yes { release }) if asked_at.elapsed() >= STILL_ANSWERS => {
                        return not_done(format!(
                            "its server has stopped, and its address still serves {release}: host and probe are of two \
                             servers, correct the node's block"
                        ));
                    }
                    Ok(Ready::Yes { .. }) => sleep(pause(asked_at.elapsed())).await,
                    Ok(Ready::NotYet(_) | Ready::Closed) | Err(_) => return done(Evidence::Stopped { forced }),
                },
                Ok(ServerProcess::Running(life)) if Instant::now() >= kill_at && !forced => {
                    if matches!(host.kill(self.epoch, life).await, Ok(Applied::Applied)) {
                        forced = true;
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

    async fn start(&self, node: NodeIx, until: Instant, domain: ServerDomain) -> Outcome {
        let host = &self.shared.hosts[node.index()];
        let began = Instant::now();
        let asked = host.start(self.epoch, domain).await;
        if let Some(refused) = refused(&asked) {
            return refused;
        }
        let (mut seen_running, mut gone_since) = (false, None::<Instant>);
        for look in 0_u32.. {
            let ready = self.ready(node).await;
            // That something answers proves nothing before the process is seen too.
            let looks = look.is_multiple_of(LOOK_EVERY) || matches!(ready, Ok(Ready::Yes { .. }));
            let process = if looks { self.process(node).await.map(Some) } else { Ok(None) };
            match process {
                Ok(Some(ServerProcess::Running(incarnation))) => {
                    (seen_running, gone_since) = (true, None);
                    if let Ok(Ready::Yes { release }) = &ready {
                        return done(Evidence::Ready {
                            release: release.to_string(),
                            process: Some(incarnation.to_string()),
                        });
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
                    Ok(Ready::NotYet(message)) => format!("its probe last said: {message}"),
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

    async fn gate(&self, node: NodeIx, deadline: Duration) -> Outcome {
        let probe = &self.shared.probes[node.index()];
        let host = &self.shared.hosts[node.index()];
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
                Some(_) | None => done(Evidence::GatePassed { release: tested.to_string() }),
            },
            Ok(Installed::Release(installed)) => {
                not_done(format!("release {tested} answered the test, {installed} is installed: an old process serves"))
            }
            Ok(Installed::Absent) => not_done("the server is not installed any more"),
            Err(error) => not_done(error),
        }
    }

    async fn soak(&self, node: NodeIx) -> Outcome {
        let soak = self.shared.topology.policy().soak;
        let (until, mut failures, mut samples) = (Instant::now() + soak, 0_u8, 0_u32);
        loop {
            match self.ready(node).await {
                Ok(Ready::Yes { .. }) => (failures, samples) = (0, samples + 1),
                Ok(Ready::NotYet(message)) => {
                    failures += 1;
                    if failures >= WATCH_FAILURES {
                        return not_done(format!("the node failed under traffic: {message}"));
                    }
                }
                Ok(Ready::Closed) => return not_done("the node closed its port under traffic"),
                Err(error) => {
                    failures += 1;
                    if failures >= WATCH_FAILURES {
                        return not_done(format!("the node failed under traffic: {error:#}"));
                    }
                }
            }
            if Instant::now() >= until {
                // A watch without a single good sample has shown nothing.
                return if samples > 0 {
                    done(Evidence::Watched { soak_ms: millis(soak), probes_passed: samples })
                } else {
                    not_done("no probe passed while it was watched")
                };
            }
            sleep(WATCH.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn installed(&self, node: NodeIx, to: ReleaseId) -> Outcome {
        let wanted = self.plan.facts.releases.name(to);
        match self.read(self.shared.hosts[node.index()].installed()).await {
            Ok(Installed::Release(release)) if *release == *wanted => {
                done(Evidence::Installed { release: release.to_string() })
            }
            Ok(Installed::Release(release)) => not_done(format!("release {release} is installed, not {wanted}")),
            Ok(Installed::Absent) => not_done("no release is installed"),
            Err(error) => not_done(format!("the installed release cannot be read: {error:#}")),
        }
    }

    async fn process(&self, node: NodeIx) -> Result<ServerProcess, String> {
        self.read(self.shared.hosts[node.index()].process()).await
    }

    pub(super) async fn ready(&self, node: NodeIx) -> Result<Ready, String> {
        self.read(self.shared.probes[node.index()].ready()).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long an address may answer after its server was seen stopped.
const STILL_ANSWERS: Duration = Duration::from_secs(1);

/// Observes a node's server: its process, its release and, with `gate`, whether its test passes.
pub(in crate::engine) async fn observe_server(shared: &Shared, node: NodeIx, gate: bool) -> SeenServer {
    let name = &shared.topology.node(node).name;
    let mut notes = Vec::new();
    let (host, probe) = (&shared.hosts[node.index()], &shared.probes[node.index()]);
    let (process, ready) = tokio::join!(timeout(READ_LIMIT, host.process()), timeout(READ_LIMIT, probe.ready()));
    let mut note = |what: &str, error: String| notes.push(format!("{name}: {what}: {error}"));
    let mut read = matches!((&process, &ready), (Ok(Ok(_)), Ok(Ok(_))));
    let ready = match ready {
        Ok(Ok(ready)) => Some(ready),
        Ok(Err(error)) => {
            note("its probe failed", error.to_string());
            None
        }
        Err(_) => {
            note("its probe did not answer", format!("nothing came in {READ_LIMIT:?}"));
            None
        }
    };
    let (process, running) = match (process, ready) {
        (Ok(Ok(ServerProcess::Running(_))), Some(Ready::Yes { release })) => {
            (Process::Ready { warm: false }, Some(release))
        }
        (Ok(Ok(ServerProcess::Running(_))), Some(Ready::NotYet(_) | Ready::Closed)) => (Process::Starting, None),
        (Ok(Ok(ServerProcess::Running(_))), None) => (Process::Starting, None),
        (Ok(Ok(ServerProcess::Stopped)), Some(Ready::Yes { .. })) => {
            note("something else answers", "its own server is stopped, and its address serves".into());
            (Process::Unknown, None)
        }
        (Ok(Ok(ServerProcess::Stopped)), _) => (Process::Stopped, None),
        (Ok(Err(error)), _) => {
            note("its host cannot say whether the server runs", error.to_string());
            (Process::Unknown, None)
        }
        (Err(_), _) => {
            note("its host did not answer", format!("nothing came in {READ_LIMIT:?}"));
            (Process::Unknown, None)
        }
    };
    let mut process = process;
    let release = match running {
        Some(release) => Some(release),
        None => match timeout(READ_LIMIT, host.installed()).await {
            Ok(Ok(Installed::Release(release))) => Some(release),
            Ok(Ok(Installed::Absent)) => {
                process = Process::Absent;
                None
            }
            Ok(Err(error)) => {
                read = false;
                note("its release cannot be read", error.to_string());
                None
            }
            Err(_) => {
                read = false;
                note("its release was not read", format!("in {READ_LIMIT:?}"));
                None
            }
        },
    };
    if gate {
        let policy = shared.topology.policy().stop_deadline;
        // What does not answer is noted above.
        if let Ok(Ok(Some(budget))) = timeout(READ_LIMIT, host.stop_budget()).await
            && budget < policy
        {
            let (budget_ms, stop_deadline_ms) = (millis(budget), millis(policy));
            tracing::warn!(target = %name, budget_ms, stop_deadline_ms, "its supervisor kills it before stop_deadline");
            let message = "let its supervisor wait as long, or lower stop_deadline";
            note(
                CUT_SHORT,
                format!("its supervisor kills it after {budget:?}, and stop_deadline is {policy:?}: {message}"),
            );
        }
    }
    let mut tested = false;
    if gate && process.is_ready() {
        match timeout(READ_LIMIT * 3, probe.test()).await {
            Ok(Ok(tested_release)) => tested = release.as_deref() == Some(&*tested_release),
            Ok(Err(error)) => {
                read &= !is_passing(&error);
                note("its test failed", error.to_string());
            }
            Err(_) => note("its test did not end", format!("in {:?}", READ_LIMIT * 3)),
        }
    }
    SeenServer { process, release, tested, read, notes }
}

/// Tells whether the same question may be answered a moment later.
pub(in crate::engine) fn is_passing(error: &StepError) -> bool {
    matches!(error.kind(), ErrorKind::Busy | ErrorKind::Timeout | ErrorKind::Unreachable)
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
