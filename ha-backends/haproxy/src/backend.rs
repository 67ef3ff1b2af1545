use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, BalancerCapabilities, ErrorKind, Instance, LoadBalancer, Member, MemberRef, ObserveBalancer,
    Quiescence, SetAdmin, StepError,
};
use ha_core::state::LeaseEpoch;

use crate::config::HaProxyConfig;
use crate::wire::{self, ServerState, Stat};
use crate::{error, transport};

/// One HAProxy instance, driven over its admin socket.
#[derive(Clone, Debug)]
pub struct HaProxy {
    config: HaProxyConfig,
}

impl HaProxy {
    /// Drives the instance behind `config`. Nothing is touched yet.
    pub fn new(config: HaProxyConfig) -> Self {
        Self { config }
    }

    async fn read(&self, operation: &'static str, target: &str, command: &str) -> Result<String, StepError> {
        let answer = transport::ask(&self.config, operation, target, command).await;
        let answer = answer.map_err(StepError::without_effect)?;
        match wire::refused(&answer) {
            Some(refused) => Err(error::refused(operation, target, &refused)),
            None => Ok(answer),
        }
    }

    async fn state(&self, operation: &'static str, member: &MemberRef) -> Result<ServerState, StepError> {
        let target = member.to_string();
        let answer = self.read(operation, &target, &wire::servers_state(member)).await?;
        let found = wire::parse_servers_state(&answer, member.member.as_str());
        found
            .map_err(|malformed| error::malformed(operation, &target, malformed))?
            .ok_or_else(|| not_found(operation, member))
    }

    async fn stat(&self, operation: &'static str, member: &MemberRef, id: u32) -> Result<Stat, StepError> {
        let target = member.to_string();
        let answer = self.read(operation, &target, &wire::stat(member, id)).await?;
        let found = wire::parse_stat(&answer, member.member.as_str());
        found
            .map_err(|malformed| error::malformed(operation, &target, malformed))?
            .ok_or_else(|| not_found(operation, member))
    }
}

fn not_found(operation: &'static str, member: &MemberRef) -> StepError {
    let words = format!("backend {} has no server {}", member.pool, member.member);
    StepError::new(ErrorKind::NotFound, operation, member.to_string()).with_context(words).without_effect()
}

#[async_trait]
impl ObserveBalancer for HaProxy {
    fn capabilities(&self) -> BalancerCapabilities {
        BalancerCapabilities::new(false, true)
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        let target = self.config.socket.display().to_string();
        let answer = self.read("identify", &target, wire::INFO).await?;
        let info = wire::parse_info(&answer).map_err(|malformed| error::malformed("identify", &target, malformed))?;
        Ok(Instance::new(format!("HAProxy {}", info.version), info.pid))
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        let state = self.state("member", member).await?;
        let stat = self.stat("member", member, state.id).await?;
        Ok(Member::new(state.admin(), stat.health(state.admin()), stat.row))
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        let state = self.state("quiescence", member).await?;
        Ok(self.stat("quiescence", member, state.id).await?.quiescence)
    }
}

#[async_trait]
impl LoadBalancer for HaProxy {
    async fn set_admin(&self, _epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        let SetAdmin { member, admin, .. } = request;
        if self.state("set_admin", &member).await?.admin() == admin {
            return Ok(Applied::AlreadySo);
        }
        let target = member.to_string();
        let answer = transport::ask(&self.config, "set_admin", &target, &wire::set_state(&member, admin)).await?;
        wire::changed(&answer).map_err(|refused| error::refused("set_admin", &target, &refused))?;
        let unknown =
            |words: String| StepError::new(ErrorKind::Conflict, "set_admin", target.as_str()).with_context(words);
        match self.state("set_admin", &member).await {
            Ok(state) if state.admin() == admin => Ok(Applied::Applied),
            Ok(state) => Err(unknown(differs(admin, state.admin()))),
            Err(error) => Err(unknown(format!("it was set, and could not be read back: {error}"))),
        }
    }
}

fn differs(wanted: Admin, found: Admin) -> String {
    format!("{wanted:?} was set and {found:?} is read back: a tracked server, or somebody else's change")
}
