use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::execute::{Executor, Outcome, done, not_done, pause, refused, said, tail, unknown};
use crate::action::Verb;
use crate::backend::{Effect, HoldFiles, Migrate, ReleaseFiles, RunCommand, Shared};
use crate::record::OutcomeKind;
use crate::state::{Generation, GenerationId, Sync, Work, WriterEpoch};
use crate::topology::NodeIx;

/// What nodes share: files, the schema, and pulled work.
impl Executor {
    /// Carries out an order on what nodes share: asks for it, then waits until it is seen.
    pub(super) async fn act_on_shared(&self, until: Instant, deadline: Duration) -> Outcome {
        if let Verb::Deploy { to } = self.order.verb {
            return self.deploy(to, deadline).await;
        }
        let asked = self.ask(deadline).await;
        let asked = match asked {
            Ok(asked) => asked,
            Err(outcome) => return outcome,
        };
        if let Some(refused) = refused(&asked) {
            return refused;
        }
        let asked_at = Instant::now();
        loop {
            let (kind, note) = self.look_at_shared().await;
            if kind == OutcomeKind::Done || Instant::now() >= until {
                return (kind, format!("{note}{}", said(&asked)));
            }
            sleep(pause(asked_at.elapsed())).await;
        }
    }

    async fn ask(
        &self,
        deadline: Duration,
    ) -> Result<Result<crate::backend::Applied, crate::backend::StepError>, Outcome> {
        let shared = &self.shared;
        let name = &shared.topology.node(self.order.node).name;
        let missing = |what: &str| not_done(format!("the cluster has no {what}"));
        let files = shared.files.as_ref().ok_or_else(|| missing("file sync"));
        let work = shared.work[self.order.node.index()].as_ref();
        Ok(match self.order.verb {
            Verb::Hold => files?.hold(self.epoch, HoldFiles::new(name.clone()).with_deadline(deadline)).await,
            Verb::Release => files?.release(self.epoch, ReleaseFiles::new(name.clone()).with_deadline(deadline)).await,
            Verb::HandWriter { to } => {
                let highest = self.highest_writer().await.map_err(unknown)?;
                let next = &shared.topology.node(to).name;
                files?.hand_writer(self.epoch, next, highest.next()).await
            }
            Verb::Quiesce => work.ok_or_else(|| done("it pulls no work"))?.quiesce(self.epoch).await,
            Verb::Resume => work.ok_or_else(|| done("it pulls no work"))?.resume(self.epoch).await,
            Verb::Migrate { to } => {
                let database = shared.database.as_ref().ok_or_else(|| missing("database"))?;
                database.migrate(self.epoch, Migrate::new(to).with_deadline(deadline)).await
            }
            _ => return Err(not_done("nothing is shared here")),
        })
    }

    /// Finds out whether an order on what nodes share has happened.
    pub(super) async fn look_at_shared(&self) -> Outcome {
        match self.order.verb {
            Verb::Hold => match self.shared_of(self.order.node).await {
                Ok(seen) if seen.sync == Sync::Held => done("the file sync is held"),
                Ok(seen) => not_done(format!("the file sync is {:?}", seen.sync)),
                Err(error) => unknown(error),
            },
            Verb::Release => self.look_at_release().await,
            Verb::HandWriter { to } => match self.shared_of(to).await {
                Ok(seen) if seen.writer > WriterEpoch::default() => {
                    done(format!("it may write, with epoch {}", seen.writer.number()))
                }
                Ok(_) => not_done("it may not write"),
                Err(error) => unknown(error),
            },
            Verb::Deploy { to } => self.look_at_generation(to).await,
            Verb::Quiesce | Verb::Resume => self.look_at_work().await,
            Verb::Migrate { to } => match &self.shared.database {
                None => not_done("the cluster has no database"),
                Some(database) => match self.read(database.schema()).await {
                    Ok(schema) if schema == to => done(format!("the schema is {schema}")),
                    Ok(schema) => not_done(format!("the schema is {schema}, not {to}")),
                    Err(error) => unknown(error),
                },
            },
            _ => not_done("nothing is shared here"),
        }
    }

    async fn look_at_work(&self) -> Outcome {
        let Some(workload) = &self.shared.work[self.order.node.index()] else { return done("it pulls no work") };
        let wanted = if self.order.verb == Verb::Quiesce { Work::Off } else { Work::On };
        match self.read(workload.work()).await {
            Ok(work) if work == wanted || work == Work::None => done(format!("pulled work is {work:?}")),
            Ok(work) => not_done(format!("pulled work is {work:?}")),
            Err(error) => unknown(error),
        }
    }

    async fn look_at_release(&self) -> Outcome {
        let (own, writer) = match (self.shared_of(self.order.node).await, self.find_writer().await) {
            (Ok(own), Ok(writer)) => (own, writer),
            (Err(error), _) | (_, Err(error)) => return unknown(error),
        };
        let in_step = writer.is_none_or(|writer| writer.generation == own.generation);
        match (own.sync, own.generation) {
            (Sync::Active, Some(generation)) if in_step => {
                done(format!("the file sync is released, generation {} is there", generation.sequence))
            }
            (sync, Some(generation)) => {
                not_done(format!("the file sync is {sync:?}, generation {} is there", generation.sequence))
            }
            (sync, None) => not_done(format!("the file sync is {sync:?}, half a set is there")),
        }
    }

    async fn deploy(&self, to: GenerationId, deadline: Duration) -> Outcome {
        let host = &self.shared.hosts[self.order.node.index()];
        let sequence = self.plan.facts.generations.sequence(to);
        let mut command = RunCommand::new(self.plan.commands.deploy.clone(), deadline)
            .with_env("HA_NODE", self.shared.topology.node(self.order.node).name.as_str())
            .with_env("HA_GENERATION", sequence.to_string());
        command.id.clone_from(&self.work);
        match host.run(self.epoch, command).await {
            Ok(ran) if ran.is_success() => self.look_at_generation(to).await,
            Ok(ran) => not_done(format!("the command ended with {}: {}", ran.ended, tail(&ran.stderr, &ran.stdout))),
            Err(error) if error.effect() == Effect::None => not_done(error),
            Err(error) => unknown(error),
        }
    }

    async fn look_at_generation(&self, to: GenerationId) -> Outcome {
        let wanted: Option<&Generation> = self.plan.facts.generations.get(to);
        match self.shared_of(self.order.node).await {
            Ok(seen) if seen.generation.as_ref() == wanted => {
                done(format!("generation {} is there", self.plan.facts.generations.sequence(to)))
            }
            Ok(seen) => not_done(format!("{:?} is there, not {wanted:?}", seen.generation)),
            Err(error) => unknown(error),
        }
    }

    async fn shared_of(&self, node: NodeIx) -> Result<Shared, String> {
        let Some(files) = &self.shared.files else { return Err("the cluster has no file sync".into()) };
        self.read(files.shared(&self.shared.topology.node(node).name)).await
    }

    async fn find_writer(&self) -> Result<Option<Shared>, String> {
        for (index, _) in self.shared.topology.nodes() {
            // A node whose host is gone cannot be the one that brings files.
            if let Ok(seen) = self.shared_of(index).await
                && seen.writer > WriterEpoch::default()
            {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }

    async fn highest_writer(&self) -> Result<WriterEpoch, String> {
        let mut highest = WriterEpoch::default();
        for (index, _) in self.shared.topology.nodes() {
            highest = highest.max(self.shared_of(index).await?.seen);
        }
        Ok(highest)
    }
}
