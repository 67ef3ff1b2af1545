use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Executor, Outcome, READ_LIMIT, Shared, done, not_done, unknown};
use crate::action::FilesAction;
use crate::backend::{HandWriter, HoldFiles, ReleaseFiles, RunCommand, Shared as SharedFiles};
use crate::record::Evidence;
use crate::state::{Generation, GenerationId, Sync, WriterEpoch};
use crate::topology::{Name, NodeIx};

impl Executor {
    pub(super) async fn act_on_files(&self, node: NodeIx, action: FilesAction, deadline: Duration) -> Outcome {
        let Some(files) = &self.shared.files else { return not_done("the cluster has no file sync") };
        let (until, name) = (Instant::now() + deadline, self.shared.topology.node(node).name.clone());
        let asked = match action {
            FilesAction::Hold => files.hold(self.epoch, HoldFiles::new(name).with_deadline(deadline)).await,
            FilesAction::Release => files.release(self.epoch, ReleaseFiles::new(name).with_deadline(deadline)).await,
            FilesAction::HandWriter | FilesAction::TakeWriter => match self.highest_writer().await {
                Ok(highest) => {
                    let request = HandWriter::new(name, highest.next());
                    let request = if action == FilesAction::TakeWriter {
                        request.passing_over(self.lost_nodes())
                    } else {
                        request
                    };
                    files.hand_writer(self.epoch, request).await
                }
                Err(error) => return unknown(error),
            },
            FilesAction::Deploy { to } => return self.deploy(node, to, deadline).await,
        };
        self.wait_until(until, asked, || self.look_at_files(node, action)).await
    }

    pub(super) async fn look_at_files(&self, node: NodeIx, action: FilesAction) -> Outcome {
        let seen = match self.shared_of(node).await {
            Ok(seen) => seen,
            Err(error) => return unknown(error),
        };
        let evidence = Evidence::Files { sync: seen.sync, generation: seen.generation.clone() };
        match action {
            FilesAction::Hold if seen.sync == Sync::Held => done(evidence),
            FilesAction::Hold => not_done(evidence),
            FilesAction::Release => match self.find_writer().await {
                Ok(writer) => {
                    let in_step = writer.is_none_or(|writer| writer.generation == seen.generation);
                    let released = seen.sync == Sync::Active && seen.generation.is_some() && in_step;
                    if released { done(evidence) } else { not_done(evidence) }
                }
                Err(error) => unknown(error),
            },
            FilesAction::HandWriter | FilesAction::TakeWriter if seen.writer > WriterEpoch::default() => {
                done(Evidence::Writer { epoch: seen.writer.number() })
            }
            FilesAction::HandWriter | FilesAction::TakeWriter => not_done("it may not write"),
            FilesAction::Deploy { to } => {
                let wanted: Option<&Generation> = self.plan.facts.generations.get(to);
                if seen.generation.as_ref() == wanted {
                    done(evidence)
                } else {
                    not_done(format!("{:?} is there, not {wanted:?}", seen.generation))
                }
            }
        }
    }

    async fn deploy(&self, node: NodeIx, to: GenerationId, deadline: Duration) -> Outcome {
        let sequence = self.plan.facts.generations.sequence(to);
        let mut command = RunCommand::new(self.plan.commands.deploy.clone(), deadline)
            .with_env("HA_GENERATION", sequence.to_string());
        // A command that may rely on the place is not run without it.
        match self.place_of(node, to).await {
            Ok(Some(place)) => command = command.with_env("HA_ARTIFACT", place),
            Ok(None) => {}
            Err(error) => return not_done(error),
        }
        self.run(node, command, || self.look_at_files(node, FilesAction::Deploy { to })).await
    }

    async fn shared_of(&self, node: NodeIx) -> Result<SharedFiles, String> {
        let Some(files) = &self.shared.files else { return Err("the cluster has no file sync".into()) };
        self.read(files.shared(&self.shared.topology.node(node).name)).await
    }

    async fn find_writer(&self) -> Result<Option<SharedFiles>, String> {
        let mut unread = None;
        for (index, node) in self.shared.topology.nodes() {
            match self.shared_of(index).await {
                Ok(seen) if seen.writer > WriterEpoch::default() => return Ok(Some(seen)),
                Ok(_) => {}
                // A lost node cannot be the one that brings files; any other that does not answer may be.
                Err(_) if self.lost.contains(&node.domain) => {}
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        unread.map_or(Ok(None), Err)
    }

    async fn highest_writer(&self) -> Result<WriterEpoch, String> {
        let mut highest = WriterEpoch::default();
        for (index, node) in self.shared.topology.nodes() {
            match self.shared_of(index).await {
                Ok(seen) => highest = highest.max(seen.seen),
                // Whoever could write with it has said so to the others.
                Err(_) if self.lost.contains(&node.domain) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(highest)
    }

    fn lost_nodes(&self) -> Vec<Name> {
        let lost = self.shared.topology.nodes().filter(|(_, node)| self.lost.contains(&node.domain));
        lost.map(|(_, node)| node.name.clone()).collect()
    }
}

/// Observes how a node takes part in file sharing; `None` where nothing is shared. The note says why it could not be seen.
pub(in crate::engine) async fn observe_files(shared: &Shared, node: NodeIx) -> (Option<SharedFiles>, Option<String>) {
    let Some(files) = &shared.files else { return (None, None) };
    let name = &shared.topology.node(node).name;
    let unseen = || Some(SharedFiles::new(Sync::Unknown, None));
    match timeout(READ_LIMIT, files.shared(name)).await {
        Ok(Ok(seen)) => (Some(seen), None),
        Ok(Err(error)) => (unseen(), Some(format!("{name}: its file sync cannot be read: {error:#}"))),
        Err(_) => (unseen(), Some(format!("{name}: its file sync did not answer in {READ_LIMIT:?}"))),
    }
}
