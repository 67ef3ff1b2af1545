use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ha_core::backend::{
    AddMember, Admin, Applied, BalancerCapabilities, CloseSessions, Closed, ConfigFinding, ErrorKind, Expectations,
    Instance, LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, Membership, ObserveBalancer, Quiescence,
    SetAdmin, SetWeight, StepError, Weight,
};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span_of_instance;
use ha_core::topology::Name;
use tracing::{Instrument, Span};

use crate::config::HaProxyConfig;
use crate::declared::Declared;
use crate::error;
use crate::gather::Gather;
use crate::gone::Worker;
use crate::read::{Gathered, Reading};
use crate::running;
use crate::transport::{OpContext, Socket};
use crate::wire::{self, Malformed, PoolRow, ServerState, Stat};

/// What the version of an instance begins with.
const PRODUCT: &str = "HAProxy ";

/// Makes errors of HAProxy's machine readable on all versions from 2.4 on.
const SEVERITY: &str = "set severity-output number;";

/// One HAProxy instance, driven over its admin socket. Clones share its connections.
///
/// # Examples
///
/// ```no_run
/// use ha_core::backend::{Admin, LeaseEpoch, LoadBalancer, MemberRef, SetAdmin};
/// use ha_core::topology::Name;
/// use ha_haproxy::{HaProxy, HaProxyConfig};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let haproxy = HaProxy::new(HaProxyConfig::new("/run/haproxy/admin.sock"));
/// let member = MemberRef::new(Name::new("esb")?, Name::new("esb1")?);
/// haproxy.set_admin(LeaseEpoch::new(1), SetAdmin::new(member, Admin::Drain)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HaProxy {
    pub(crate) admin: Socket,
    pub(crate) master: Option<Socket>,
    declared: Declared,
    known: Arc<Mutex<Known>>,
    pub(crate) gather: Arc<Gather<Gathered>>,
}

/// What was read before and is checked against each answer.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The numbers of servers in the process of this pid.
    pub(crate) ids: HashMap<MemberRef, (u64, u32)>,
    /// Backends whose name another proxy has too.
    pub(crate) shadowed: HashSet<Name>,
    /// Whether it is a version before 2.5: it adds servers as an experiment only, and an older worker shows none of its own.
    pub(crate) before_2_5: bool,
    /// The pid of a worker that had no older ones beside it: as long as it is the current one there are none.
    pub(crate) alone: Option<u64>,
    /// The worker that has answered last.
    pub(crate) worker: Option<Worker>,
}

impl HaProxy {
    /// Drives the instance behind `config`. Nothing is touched yet.
    pub fn new(config: HaProxyConfig) -> Self {
        let socket =
            |endpoint, master| Socket::new(endpoint, config.deadline, config.max_reply, config.connections, master);
        let (admin, master) = (socket(config.socket.clone(), false), config.master.clone());
        let master = master.map(|endpoint| socket(endpoint, true));
        Self { admin, master, declared: Declared::of(&config), known: Arc::default(), gather: Arc::default() }
    }

    /// Asks reading commands, several in one line. Without the severity: its empty answer is a write of HAProxy's and a
    /// wake-up here of its own, and whatever is neither a table nor a known refusal is an error all the same.
    pub(crate) async fn read(&self, about: OpContext<'_>, commands: &[String]) -> Result<String, StepError> {
        let answer = match self.admin.ask(about, &commands.join(";")).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.gone_or(about, error.without_effect())),
        };
        match wire::refused(&answer) {
            Some(refused) => Err(error::refused(about, &refused)),
            None => Ok(answer),
        }
    }

    async fn change(&self, about: OpContext<'_>, line: &str) -> Result<String, StepError> {
        self.admin.ask(about, line).await.map_err(|error| self.gone_or(about, error))
    }

    /// Gives one changing command; what it did is for the caller to read.
    pub(crate) async fn command(&self, about: OpContext<'_>, command: &str) -> Result<(), StepError> {
        let answer = self.change(about, &format!("{SEVERITY}{command}")).await?;
        wire::changed(&answer).map_err(|refused| error::refused(about, &refused))
    }

    /// Reads how a server stands; `None` where its pool has none of this name.
    async fn find(&self, about: OpContext<'_>, member: &MemberRef) -> Result<Option<ServerState>, StepError> {
        let answer = self.read(about, &[wire::states(&member.pool)]).await?;
        wire::parse_state(&answer, member).map_err(|malformed| error::malformed(about, malformed))
    }

    async fn state(&self, about: OpContext<'_>, member: &MemberRef) -> Result<ServerState, StepError> {
        self.find(about, member).await?.ok_or_else(|| missing(about, member))
    }

    /// Returns the number of a server, read anew where it is not known.
    pub(crate) async fn id(&self, about: OpContext<'_>, member: &MemberRef) -> Result<u32, StepError> {
        if let Some((_, id)) = self.lock().ids.get(member) {
            return Ok(*id);
        }
        let answer = self.read(about, &[wire::INFO.into(), wire::states(&member.pool)]).await?;
        let malformed = |malformed: Malformed| error::malformed(about, malformed);
        let process = self.process(about, &answer)?;
        let state = wire::parse_state(&answer, member).map_err(malformed)?.ok_or_else(|| missing(about, member))?;
        self.lock().ids.insert(member.clone(), (process.generation, state.id));
        Ok(state.id)
    }

    /// Reads figures of one server by its number, which another process may have given to another server.
    async fn figures(&self, about: OpContext<'_>, member: &MemberRef) -> Result<(u64, Stat), StepError> {
        let id = self.id(about, member).await?;
        let question = wire::server_stat(self.scope(&member.pool), id);
        let answer = self.read(about, &[wire::INFO.into(), question]).await?;
        let malformed = |malformed: Malformed| error::malformed(about, malformed);
        let process = self.process(about, &answer)?;
        let (stats, _) = wire::parse_stats(&answer, &member.pool).map_err(malformed)?;
        let stat = stats.into_iter().find(|stat| stat.server == member.member.as_str());
        let known = self.lock().ids.get(member).copied();
        match stat {
            Some(stat) if known == Some((process.generation, id)) => Ok((process.generation, stat)),
            Some(_) | None => {
                self.lock().ids.remove(member);
                let read = self.ask_alone(about, member).await?;
                Ok((read.process.generation, read.stat))
            }
        }
    }

    pub(crate) fn describe(&self, pool: &Name, state: &ServerState, stat: &Stat, row: &PoolRow) -> Member {
        let checked = stat.is_checked(state) || stat.tracks;
        let (persistent, cuts) = self.declared.of_pool(pool);
        Member::new(state.admin(), stat.health(state), stat.row)
            .with_checks(checked)
            .with_weight(state.weight, state.configured_weight)
            .with_address(state.address)
            .with_inherited(stat.is_inherited(state))
            .with_persistence(row.cookie || persistent, cuts)
            .with_counters(stat.counters)
            .with_queue(row.queued, stat.quiescence.sessions)
    }

    /// Adds to a command what wakes a server that may sleep after it; without a `maxconn` none does.
    fn and_wake(&self, member: &MemberRef, read: &Reading, command: String) -> String {
        let Some(slots) = read.stat.slots else { return command };
        let version = read.process.version.strip_prefix(PRODUCT).unwrap_or_default();
        match wire::wake(member, slots, version) {
            Some(wake) => format!("{command};{wake}"),
            None => command,
        }
    }

    /// Sets something of a server and reads it back, in one line; the words say how the server stands instead.
    async fn set(
        &self,
        about: OpContext<'_>,
        member: &MemberRef,
        command: &str,
        stands: impl Fn(&ServerState) -> Result<(), String>,
    ) -> Result<Applied, StepError> {
        let answer = self.change(about, &format!("{SEVERITY}{command};{}", wire::states(&member.pool))).await?;
        wire::changed_before_states(&answer).map_err(|refused| error::refused(about, &refused))?;
        let conflict =
            |words: String| StepError::new(ErrorKind::Conflict, about.operation, about.target).with_context(words);
        let unread = |words: &str| {
            conflict(format!(
                "it was set, and could not be read back: {words}; look at the server before anything else"
            ))
        };
        match wire::parse_state(&answer, member) {
            Ok(Some(state)) => stands(&state).map(|()| Applied::Applied).map_err(conflict),
            Ok(None) => Err(unread("its pool has no such server any more")),
            Err(malformed) => Err(unread(&malformed.0)),
        }
    }

    /// Reads a change back; the words say how the server stands instead.
    async fn confirm(
        &self,
        about: OpContext<'_>,
        member: &MemberRef,
        stands: impl Fn(&ServerState) -> Result<(), String>,
    ) -> Result<Applied, StepError> {
        let conflict =
            |words: String| StepError::new(ErrorKind::Conflict, about.operation, about.target).with_context(words);
        match self.state(about, member).await {
            Ok(state) => stands(&state).map(|()| Applied::Applied).map_err(conflict),
            Err(error) => Err(conflict(format!("it was set, and could not be read back: {error}"))),
        }
    }

    /// Reads which process has answered, and remembers what its version can do.
    pub(crate) fn process(&self, about: OpContext<'_>, answer: &str) -> Result<Instance, StepError> {
        let info = wire::parse_info(answer).map_err(|malformed| error::malformed(about, malformed))?;
        let worker = Worker::answering(self.lock().worker, info.pid);
        let mut known = self.lock();
        known.before_2_5 = wire::is_before(&info.version, [2, 5, 0]);
        known.worker = Some(worker);
        drop(known);
        let instance = Instance::new(format!("{PRODUCT}{}", info.version), info.pid);
        Ok(instance.with_uptime(info.uptime).with_stopping(info.stopping))
    }

    fn call(&self, op: &'static str, target: impl Display) -> Span {
        call_span_of_instance("haproxy", op, target, &self.admin.endpoint)
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn missing(about: OpContext<'_>, member: &MemberRef) -> StepError {
    error::not_found(about, format!("backend {} has no server {}", member.pool, member.member))
}

#[async_trait]
impl ObserveBalancer for HaProxy {
    fn capabilities(&self) -> BalancerCapabilities {
        BalancerCapabilities::none()
            .with_idle_connections(true)
            .with_older_generations(self.sees_older())
            .with_weights(true)
            .with_close(true)
            .with_added_members(!self.lock().before_2_5)
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        async {
            let target = self.admin.endpoint.to_string();
            let about = OpContext { operation: "identify", target: &target };
            let answer = self.read(about, &[wire::INFO.into()]).await?;
            self.process(about, &answer)
        }
        .instrument(self.call("identify", &self.admin.endpoint))
        .await
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        async {
            let target = member.to_string();
            let about = OpContext { operation: "member", target: &target };
            let read = self.ask_alone(about, member).await?;
            Ok(self.describe(&member.pool, &read.state, &read.stat, &read.row))
        }
        .instrument(self.call("member", member))
        .await
    }

    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
        async {
            let target = member.to_string();
            let about = OpContext { operation: "look", target: &target };
            let table = self.gathered(about, &member.pool).await?;
            let (process, stands, figures) = match table.and_then(|table| self.of_table(member, &table)) {
                Some(found) => found,
                None => self.look_alone(about, member).await?,
            };
            let figures = match stands.admin {
                Admin::Ready => None,
                Admin::Drain | Admin::Maint => self.complete(process.generation, figures),
            };
            Ok(MemberSnapshot::new(process, stands).with_quiescence(figures))
        }
        .instrument(self.call("look", member))
        .await
    }

    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        async {
            let about = OpContext { operation: "members", target: pool.as_str() };
            self.declared.refresh(pool).await?;
            let table = match self.gathered(about, pool).await? {
                Some(table) => table,
                None => Arc::new(self.table(about, pool).await?),
            };
            let malformed = |words: String| error::malformed(about, Malformed(words));
            let mut members = Vec::with_capacity(table.states.len());
            for state in &table.states {
                let stat = table.stats.get(&state.name);
                let stat = stat.ok_or_else(|| malformed(format!("show stat has no server {}", state.name)))?;
                let name = Name::new(&state.name).map_err(|error| malformed(error.to_string()))?;
                members.push((name, self.describe(pool, state, stat, &table.row)));
            }
            Ok(members)
        }
        .instrument(self.call("members", pool))
        .await
    }

    async fn config_findings(&self, expect: &Expectations) -> Result<Vec<ConfigFinding>, StepError> {
        let answer = async {
            let linted = self.declared.config_findings(expect).await?;
            let about = OpContext { operation: "config_findings", target: expect.pool.as_str() };
            let answer = self.read(about, &[wire::ALL_STATES.into()]).await?;
            let states = wire::parse_all_states(&answer).map_err(|malformed| error::malformed(about, malformed))?;
            let running = running::findings(&states, expect, &linted, |rule| self.declared.accepts(rule));
            Ok(linted.findings.into_iter().chain(running).collect())
        };
        answer.instrument(self.call("config_findings", &expect.pool)).await
    }

    async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError> {
        self.declared.check_of(member).instrument(self.call("check_of", member)).await
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        async {
            let target = member.to_string();
            let about = OpContext { operation: "quiescence", target: &target };
            let (pid, stat) = self.figures(about, member).await?;
            let older = self.older_sessions(about, member, pid).await?;
            Ok(self.with_older(pid, stat.quiescence, older))
        }
        .instrument(self.call("quiescence", member))
        .await
    }
}

#[async_trait]
impl LoadBalancer for HaProxy {
    async fn set_admin(&self, _epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        let span = self.call("set_admin", &request.member);
        async {
            let SetAdmin { member, admin, .. } = request;
            let target = member.to_string();
            let about = OpContext { operation: "set_admin", target: &target };
            let mut command = wire::set_state(&member, admin);
            let is_there = if admin == Admin::Ready {
                let read = self.ask_alone(about, &member).await?;
                let asleep = read.row.queued > 0 && read.stat.quiescence.sessions == 0;
                command = self.and_wake(&member, &read, command);
                read.state.admin() == admin && !(asleep && read.stat.slots.is_some())
            } else {
                self.state(about, &member).await?.admin() == admin
            };
            if is_there {
                return Ok(Applied::AlreadySo);
            }
            let is_so = |state: &ServerState| match state.admin() {
                found if found == admin => Ok(()),
                found => Err(differs(admin, found)),
            };
            self.set(about, &member, &command, is_so).await
        }
        .instrument(span)
        .await
    }

    async fn set_weight(&self, _epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError> {
        let span = self.call("set_weight", &request.member);
        async {
            let SetWeight { member, weight, .. } = request;
            let target = member.to_string();
            let about = OpContext { operation: "set_weight", target: &target };
            let state = self.state(about, &member).await?;
            if state.weight == weight {
                return Ok(Applied::AlreadySo);
            }
            let mut command = wire::set_weight(&member, weight);
            if state.weight == Weight::new(0) && state.admin() == Admin::Ready {
                command = self.and_wake(&member, &self.ask_alone(about, &member).await?, command);
            }
            let is_so = |state: &ServerState| match state.weight {
                found if found == weight => Ok(()),
                found => Err(format!("weight {weight} was set and {found} is read back: somebody else's change")),
            };
            self.set(about, &member, &command, is_so).await
        }
        .instrument(span)
        .await
    }

    async fn close_sessions(&self, _epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError> {
        let span = self.call("close_sessions", &request.member);
        async {
            let member = request.member;
            let target = member.to_string();
            let about = OpContext { operation: "close_sessions", target: &target };
            // Its answer is empty whatever it closes: what was there is read before.
            let (_, stat) = self.figures(about, &member).await?;
            self.command(about, &wire::close_sessions(&member)).await?;
            Ok(Closed::new(stat.quiescence.sessions))
        }
        .instrument(span)
        .await
    }
}

#[async_trait]
impl Membership for HaProxy {
    async fn add(&self, _epoch: LeaseEpoch, request: AddMember) -> Result<Applied, StepError> {
        let span = self.call("add", &request.member);
        async {
            let member = request.member.clone();
            let target = member.to_string();
            let about = OpContext { operation: "add", target: &target };
            if let Some(state) = self.find(about, &member).await? {
                if state.address == Some(request.address) {
                    return Ok(Applied::AlreadySo);
                }
                let words = format!("a server of this name is there with another address, {:?}", state.address);
                return Err(StepError::new(ErrorKind::Conflict, "add", target).with_context(words).without_effect());
            }
            self.command(about, &wire::add_server(&request)).await?;
            if request.check_every.is_some() {
                // Checks of an added server rest until they are asked for; they begin when it leaves maintenance.
                self.command(about, &wire::enable_health(&member)).await.map_err(|error| {
                    let words = format!("it was added, its checks could not be enabled: {error}");
                    StepError::new(error.kind(), "add", target.as_str()).with_context(words)
                })?;
            }
            let is_so = |state: &ServerState| match (state.address, state.admin()) {
                (address, Admin::Maint) if address == Some(request.address) => Ok(()),
                (address, admin) => {
                    Err(format!("it was added, and is read back as {admin:?} with address {address:?}"))
                }
            };
            self.confirm(about, &member, is_so).await
        }
        .instrument(span)
        .await
    }

    async fn remove(&self, _epoch: LeaseEpoch, member: MemberRef) -> Result<Applied, StepError> {
        let span = self.call("remove", &member);
        async {
            let target = member.to_string();
            let about = OpContext { operation: "remove", target: &target };
            if self.find(about, &member).await?.is_none() {
                return Ok(Applied::AlreadySo);
            }
            self.command(about, &wire::del_server(&member)).await?;
            self.lock().ids.remove(&member);
            match self.find(about, &member).await {
                Ok(None) => Ok(Applied::Applied),
                Ok(Some(_)) => {
                    let words = "it was removed and is there again: somebody else's change";
                    Err(StepError::new(ErrorKind::Conflict, "remove", target).with_context(words))
                }
                Err(error) => {
                    let words = format!("it was removed, and could not be read back: {error}");
                    Err(StepError::new(ErrorKind::Conflict, "remove", target).with_context(words))
                }
            }
        }
        .instrument(span)
        .await
    }
}

fn differs(wanted: Admin, found: Admin) -> String {
    format!("{wanted:?} was set and {found:?} is read back: a tracked server, or somebody else's change")
}
