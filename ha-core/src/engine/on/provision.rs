use std::time::Duration;

use super::{Executor, Outcome, done, not_done, unknown};
use crate::action::ProvisionAction;
use crate::backend::{Applied, Deprovision, Effect, Installation, Provision, Provisioner, ServerProcess, StepError};
use crate::record::Evidence;
use crate::state::ReleaseId;
use crate::topology::NodeIx;

impl Executor {
    pub(super) async fn act_on_provision(&self, node: NodeIx, action: ProvisionAction, deadline: Duration) -> Outcome {
        let asked = match action {
            ProvisionAction::Install { to, like } => {
                let (provisioner, wanted) = match (self.provisioner(node), self.wanted(to, like).await) {
                    (Ok(provisioner), Ok(wanted)) => (provisioner, wanted),
                    (Err(error), _) | (_, Err(error)) => return not_done(error),
                };
                provisioner.provision(self.epoch, Provision::new(wanted).with_deadline(deadline)).await
            }
            ProvisionAction::Remove => match self.provisioner(node) {
                Ok(provisioner) => {
                    provisioner.deprovision(self.epoch, Deprovision::new().with_deadline(deadline)).await
                }
                Err(error) => return not_done(error),
            },
            ProvisionAction::Retire => Ok(Applied::AlreadySo),
        };
        self.judged(node, action, asked).await
    }

    /// Says what came of a call: what it left behind counts, unless it provably did nothing.
    async fn judged(&self, node: NodeIx, action: ProvisionAction, asked: Result<Applied, StepError>) -> Outcome {
        match asked {
            Err(error) if error.effect() == Effect::None => not_done(error),
            Err(error) => match self.look_at_provision(node, action).await {
                (kind, evidence @ Evidence::Failed { .. }) => (kind, Evidence::failed(format!("{evidence} ({error})"))),
                outcome => outcome,
            },
            // Who removes says itself that all of it is gone.
            Ok(_) if action == ProvisionAction::Remove => match self.installation(node).await {
                Ok(None) => done(Evidence::Removed),
                Ok(Some(found)) => not_done(format!("{found} is still there")),
                Err(error) => unknown(error),
            },
            Ok(_) => self.look_at_provision(node, action).await,
        }
    }

    pub(super) async fn look_at_provision(&self, node: NodeIx, action: ProvisionAction) -> Outcome {
        match action {
            ProvisionAction::Install { to, like } => {
                let wanted = match self.wanted(to, like).await {
                    Ok(wanted) => wanted,
                    Err(error) => return unknown(error),
                };
                match self.installation(node).await {
                    Ok(Some(found)) if found == wanted => done(Evidence::Installed { release: found.release.into() }),
                    Ok(Some(found)) => not_done(format!("{found} is there, not {wanted}")),
                    Ok(None) => not_done("nothing whole is installed"),
                    Err(error) => unknown(error),
                }
            }
            ProvisionAction::Remove => match self.installation(node).await {
                // A part of it may be there still: a removal is done anew.
                Ok(None) => not_done("the removal was not seen to its end"),
                Ok(Some(found)) => not_done(format!("{found} is still there")),
                Err(error) => unknown(error),
            },
            ProvisionAction::Retire => match self.read(self.shared.hosts[node.index()].process()).await {
                Ok(ServerProcess::Stopped) => done(Evidence::Stopped { forced: false }),
                Ok(ServerProcess::Running(_)) => not_done("its server runs"),
                Err(error) => unknown(error),
            },
        }
    }

    /// Returns the installation of the member that a node is to be like. It must be the release of the plan.
    async fn wanted(&self, to: ReleaseId, like: NodeIx) -> Result<Installation, String> {
        let (name, release) = (&self.shared.topology.node(like).name, self.plan.facts.releases.name(to));
        match self.installation(like).await? {
            Some(found) if *found.release == *release => Ok(found),
            Some(found) => Err(format!("{name} has {found}, and release {release} was planned")),
            None => Err(format!("nothing whole is installed on {name}")),
        }
    }

    async fn installation(&self, node: NodeIx) -> Result<Option<Installation>, String> {
        self.read(self.provisioner(node)?.installation()).await
    }

    fn provisioner(&self, node: NodeIx) -> Result<&dyn Provisioner, String> {
        let name = &self.shared.topology.node(node).name;
        let there = self.shared.provision[node.index()].as_deref();
        there.ok_or_else(|| format!("nothing installs on {name}: the topology declares no [node.provision] there"))
    }
}
