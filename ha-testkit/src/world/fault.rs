//! What goes wrong in a world: with one call to a fake, and with its nodes and balancers by other hands.

use std::collections::BTreeMap;
use std::time::Duration;

use ha_core::backend::{Admin, Effect, ErrorKind, StepError};
use ha_core::state::{Generation, MemberKind, WriterEpoch};
use ha_core::topology::Role;
use tokio::time::{Instant, sleep};

use super::World;
use super::model::Life;

/// A call that a fault can be planned for.
///
/// # Examples
///
/// ```
/// use ha_testkit::world::Operation;
///
/// assert!(Operation::Quiescence.reads() && !Operation::SetAdmin.reads());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Operation {
    /// `LoadBalancer::set_admin`; the name is the balancer's.
    SetAdmin,
    /// `ObserveBalancer::member`; the name is the balancer's.
    Member,
    /// `ObserveBalancer::quiescence`; the name is the balancer's.
    Quiescence,
    /// `Host::start`; the name is the node's.
    Start,
    /// `Host::stop`; the name is the node's.
    Stop,
    /// `Host::run`; the name is the node's.
    Run,
    /// `Probe::test`; the name is the node's.
    Test,
    /// `FileSync::hold`, `release` and `hand_writer`; the name is the node's.
    Share,
    /// `Database::migrate`; the name is `database`.
    Migrate,
    /// `CloneDatabase::clone_step`; the name is `database`.
    CloneStep,
    /// `CloneDatabase::copies`; the name is `database`.
    Copies,
    /// `Workload::quiesce` and `resume`; the name is the node's.
    Work,
    /// `ObserveHost::process`; the name is the node's.
    Process,
    /// `ObserveHost::installed`; the name is the node's.
    Installed,
    /// `Probe::ready`; the name is the node's.
    Ready,
    /// `ObserveFileSync::shared`; the name is the node's.
    Shared,
    /// `ObserveDatabase::schema`; the name is `database`.
    Schema,
    /// `ObserveDatabase::review`; the name is `database`.
    Review,
    /// `ObserveWorkload::work`; the name is the node's.
    Working,
    /// `Exposure::expose` and `hide`; the name is `exposure`.
    Expose,
    /// `ObserveExposure::route`; the name is `exposure`.
    Route,
    /// `ArtifactStore::put` and `prune`; the name is `artifacts`.
    Keep,
    /// What `ObserveArtifactStore` reads; the name is `artifacts`.
    Artifact,
    /// `SiteSwitch::lead`; the name is `switch`.
    Lead,
    /// `ObserveSiteSwitch::consumers`; the name is `switch`.
    Consumers,
    /// `Fence::fence`; the name is the site's.
    FenceSite,
    /// `Fence::lift`; the name is the site's.
    LiftFence,
    /// `ObserveFence::fenced`; the name is the site's.
    Fenced,
    /// `Replica::promote`; the name is the site's.
    Promote,
    /// `Replica::demote`; the name is the site's.
    Demote,
    /// `Replica::follow`; the name is the site's.
    Follow,
    /// `ObserveReplica::replica`; the name is the site's.
    Copy,
    /// `Provisioner::provision` and `deprovision`; the name is the node's.
    Provision,
    /// `ObserveProvisioner::installation`; the name is the node's.
    Installation,
}

impl Operation {
    /// Tells whether it only reads. A test reads too, and is carried out once.
    pub fn reads(self) -> bool {
        match self {
            Self::Member
            | Self::Quiescence
            | Self::Process
            | Self::Installed
            | Self::Ready
            | Self::Shared
            | Self::Schema
            | Self::Review
            | Self::Copies
            | Self::Working
            | Self::Route
            | Self::Artifact
            | Self::Consumers
            | Self::Fenced
            | Self::Copy
            | Self::Installation => true,
            Self::SetAdmin
            | Self::Start
            | Self::Stop
            | Self::Run
            | Self::Test
            | Self::Share
            | Self::Migrate
            | Self::CloneStep
            | Self::Work
            | Self::Expose
            | Self::Keep
            | Self::Lead
            | Self::FenceSite
            | Self::LiftFence
            | Self::Promote
            | Self::Demote
            | Self::Follow
            | Self::Provision => false,
        }
    }
}

/// What goes wrong with one call.
///
/// # Examples
///
/// ```
/// use ha_core::record::End;
/// use ha_testkit::world::{Fault, Operation, World};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let (world, clients) = { let world = World::active_passive(); (world.clone(), world.clients()) };
/// world.plan_fault(Operation::Run, "esb2", Fault::Half); // the patch of esb2 breaks off in its middle
/// let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
/// let report = world.engine().run("first".into(), planned).await.unwrap().wait().await.unwrap();
/// assert_eq!(report.end, End::AllOld);
/// assert_eq!((world.installed("esb2").as_deref(), clients.stop().await.lost), (Some("1.0"), 0));
/// # });
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It is refused and changes nothing.
    Refused,
    /// Nobody listens: it changes nothing.
    Unreachable,
    /// It changes nothing, and nobody can tell.
    LostBefore,
    /// It happens, and nobody can tell.
    LostAfter,
    /// It happens, and the connection breaks.
    Broken,
    /// It happens a second later, when it has long been given up: a frozen server carries out what it finds as it wakes. Where
    /// it only reads, as `LostBefore`.
    Late,
    /// It happens, and the answer comes when nobody waits for it any more.
    AnswersLate,
    /// It answers that all is so already, and does nothing. Where it only reads, nothing goes wrong.
    Lies,
    /// What is asked for is answered well and not done, which a balancer's read-back notices: `Conflict`. Writes of balancers
    /// only; elsewhere as `Refused`.
    Ignored,
    /// It happens in half.
    Half,
}

impl World {
    /// Plans one fault for the next call of `operation` on `name` (a node's or a balancer's); several queue up.
    ///
    /// # Panics
    /// Where this world has nothing of that name: such a fault would never come.
    pub fn plan_fault(&self, operation: Operation, name: &str, fault: Fault) {
        self.plan_fault_after(operation, name, 0, fault);
    }

    /// Plans one fault for the call of `operation` on `name` after `skip` more that go well.
    ///
    /// # Panics
    /// Where this world has nothing of that name: such a fault would never come.
    pub fn plan_fault_after(&self, operation: Operation, name: &str, skip: usize, fault: Fault) {
        let there = self.names_of(operation);
        assert!(
            there.iter().any(|known| known == name),
            "no {name} here that {operation:?} is called on; there are {there:?}"
        );
        let mut inner = self.lock();
        let planned = inner.faults.entry((operation, name.into())).or_default();
        planned.extend(std::iter::repeat_n(None, skip));
        planned.push(Some(fault));
    }

    /// Lets every call of `operation` on `name` fail like this from now on.
    ///
    /// # Panics
    /// Where this world has nothing of that name.
    pub fn set_lasting_fault(&self, operation: Operation, name: &str, fault: Fault) {
        let there = self.names_of(operation);
        assert!(
            there.iter().any(|known| known == name),
            "no {name} here that {operation:?} is called on; there are {there:?}"
        );
        self.lock().lasting.insert((operation, name.into()), fault);
    }

    /// Lets a node's host miss something: a program of a change by its name, or what a setting names, as `setting start: ...`.
    pub fn miss(&self, node: &str, what: &str) {
        self.change(node, |node| {
            node.missing.insert(what.into());
        });
    }

    /// Makes a node's server never become ready again after its next start.
    pub fn never_ready(&self, node: &str) {
        self.change(node, |node| node.never_ready = true);
    }

    /// Makes the business test fail on a node for one release.
    pub fn fail_test_of(&self, node: &str, release: &str) {
        self.change(node, |node| node.fails_test_of = Some(release.into()));
    }

    /// Loses a node: its server is gone and its host answers nothing.
    pub fn lose(&self, node: &str) {
        self.change(node, |node| {
            node.host_lost = true;
            node.process = None;
        });
        for members in self.lock().balancers.values_mut() {
            for fake in members.iter_mut().filter(|fake| fake.node == node) {
                (fake.in_flight, fake.idle) = (0, 0);
            }
        }
    }

    /// Brings the host of a lost node back; its server is stopped.
    pub fn repair(&self, node: &str) {
        self.change(node, |node| node.host_lost = false);
    }

    /// Brings a lost node back as its own machine does it: the host answers, and its server starts.
    pub fn return_by_itself(&self, node: &str) {
        let mut inner = self.lock();
        inner.lives += 1;
        let number = inner.lives;
        if let Some(node) = inner.nodes.get_mut(node) {
            node.host_lost = false;
            let (release, ready_at) = (node.installed.clone(), Instant::now() + node.start_delay);
            node.process.get_or_insert(Life { number, release, ready_at });
        }
    }

    /// Ends a node's server, as kill -9 does; its host answers on.
    pub fn crash(&self, node: &str) {
        self.change(node, |node| node.process = None);
    }

    /// Lets somebody install another release on a node by hand: its server serves it from its next start.
    pub fn install(&self, node: &str, release: &str) {
        self.change(node, |node| node.installed = release.into());
    }

    /// Lets somebody put another set of shared files on a node by hand.
    pub fn put_files(&self, node: &str, sequence: u64) {
        self.change(node, |node| node.generation = Some(Generation::new(sequence, format!("g{sequence}"))));
    }

    /// Lets somebody make a node a writer of shared files by hand, whoever else is one.
    pub fn make_writer(&self, node: &str) {
        self.change(node, |node| node.writer = WriterEpoch::new(1));
    }

    /// Lets the supervisor of a node's server kill it so long after it was asked to stop.
    pub fn limit_stops_of(&self, node: &str, budget: Duration) {
        self.change(node, |node| node.stop_budget = Some(budget));
    }

    /// Configures a node's servers on every balancer, as they are from now on and after each restart.
    pub fn configure(&self, node: &str, kind: MemberKind, admin: Admin) {
        for fake in self.lock().balancers.values_mut().flatten().filter(|fake| fake.node == node) {
            (fake.kind, fake.admin, fake.configured) = (kind, admin, admin);
        }
    }

    /// Lets the balancers say for so long that a node is down, though it is not: one health flap.
    pub fn flap(&self, node: &str, time: Duration) {
        self.change(node, |node| node.said_down_until = Some(Instant::now() + time));
    }

    /// Makes maintenance close a node's sessions by force, on every balancer.
    pub fn cut_on_maintenance(&self, node: &str) {
        for fake in self.lock().balancers.values_mut().flatten().filter(|fake| fake.node == node) {
            fake.cuts_on_maint = true;
        }
    }

    /// Restarts a balancer: it has its configured state and members again, and its connections are gone to an older process.
    pub fn restart_balancer(&self, name: &str) {
        let mut inner = self.lock();
        *inner.restarts.entry(name.into()).or_default() += 1;
        inner.began.insert(name.into(), Instant::now());
        if let Some(members) = inner.balancers.get_mut(name) {
            members.retain(|fake| fake.added.is_none());
            for fake in members {
                (fake.admin, fake.weight, fake.counters) = (fake.configured, fake.configured_weight, (0, 0));
            }
        }
        if let Some(on) = inner.routes.get_mut(name) {
            on.running = on.written.clone();
        }
    }

    /// Lists the faults that were planned and have come so far, in their order.
    pub fn fired(&self) -> Vec<(Operation, String, Fault)> {
        self.lock().fired.clone()
    }

    /// Names what an operation is called on.
    fn names_of(&self, operation: Operation) -> Vec<String> {
        match operation {
            Operation::SetAdmin | Operation::Member | Operation::Quiescence => {
                self.topology().balancers().map(|(_, balancer)| balancer.name.to_string()).collect()
            }
            Operation::Migrate | Operation::CloneStep | Operation::Schema | Operation::Review | Operation::Copies => {
                vec!["database".into()]
            }
            Operation::Expose | Operation::Route => vec!["exposure".into()],
            Operation::Keep | Operation::Artifact => vec!["artifacts".into()],
            Operation::Lead | Operation::Consumers => {
                self.topology().switch().map(|_| "switch".to_string()).into_iter().collect()
            }
            Operation::FenceSite | Operation::LiftFence | Operation::Fenced => self.sites_with(Role::Fence),
            Operation::Promote | Operation::Demote | Operation::Follow | Operation::Copy => {
                self.sites_with(Role::Replica)
            }
            Operation::Start
            | Operation::Stop
            | Operation::Run
            | Operation::Test
            | Operation::Share
            | Operation::Work
            | Operation::Process
            | Operation::Installed
            | Operation::Ready
            | Operation::Shared
            | Operation::Working
            | Operation::Provision
            | Operation::Installation => self.topology().nodes().map(|(_, node)| node.name.to_string()).collect(),
        }
    }

    fn sites_with(&self, role: Role) -> Vec<String> {
        let with = self.topology().sites().iter().filter(|site| site.component(role).is_some());
        with.map(|site| site.name.to_string()).collect()
    }

    /// Returns how often each operation was called so far, by its name.
    pub fn calls(&self) -> BTreeMap<(Operation, String), usize> {
        self.lock().calls.clone()
    }

    /// Carries out a late write, if that is the fault.
    pub(crate) fn if_late(&self, fault: Option<Fault>, change: impl FnOnce(&Self) + Send + 'static) {
        if fault == Some(Fault::Late) {
            self.later(LATE, change);
        }
    }

    /// Answers a read that a fault was planned for.
    pub(crate) async fn before_read(
        &self,
        of: Operation,
        operation: &'static str,
        name: &str,
    ) -> Result<(), StepError> {
        let fault = self.take_fault(of, name);
        before(fault, operation, name).map_err(StepError::without_effect)?;
        if matches!(of, Operation::Member | Operation::Quiescence) {
            self.balancer_answers(name, operation)?;
        }
        answer_late(fault).await;
        Ok(())
    }

    pub(crate) fn take_fault(&self, operation: Operation, name: &str) -> Option<Fault> {
        let mut inner = self.lock();
        let key = (operation, name.to_string());
        *inner.calls.entry(key.clone()).or_default() += 1;
        let fault = match inner.faults.get_mut(&key).filter(|planned| !planned.is_empty()) {
            Some(planned) => planned.remove(0),
            None => inner.lasting.get(&key).copied(),
        };
        inner.fired.extend(fault.map(|fault| (key.0, key.1, fault)));
        fault
    }
}

/// How much later a late write happens.
const LATE: Duration = Duration::from_secs(1);
/// How much later a late answer comes: a read and a call of a balancer have been given up by then.
const LATE_ANSWER: Duration = Duration::from_secs(8);

/// Holds the answer to a call that has happened back, if that is the fault.
pub(crate) async fn answer_late(fault: Option<Fault>) {
    if fault == Some(Fault::AnswersLate) {
        sleep(LATE_ANSWER).await;
    }
}

/// Answers a call that a fault was planned for: `Ok(true)` to go on and do it, `Ok(false)` to do nothing and say well.
pub(crate) fn before(fault: Option<Fault>, operation: &'static str, target: &str) -> Result<bool, StepError> {
    match fault {
        None | Some(Fault::LostAfter | Fault::Broken | Fault::Half | Fault::AnswersLate) => Ok(true),
        Some(Fault::Lies) => Ok(false),
        Some(Fault::Refused | Fault::Ignored) => {
            Err(StepError::new(ErrorKind::Denied, operation, target).without_effect())
        }
        Some(Fault::Unreachable) => Err(StepError::new(ErrorKind::Unreachable, operation, target).without_effect()),
        Some(Fault::LostBefore | Fault::Late) => Err(lost(operation, target)),
    }
}

/// Answers after the call has happened.
pub(crate) fn after(fault: Option<Fault>, operation: &'static str, target: &str) -> Result<(), StepError> {
    match fault {
        Some(Fault::LostAfter | Fault::Half) => Err(lost(operation, target)),
        Some(Fault::Broken) => Err(StepError::new(ErrorKind::Unreachable, operation, target)),
        None
        | Some(
            Fault::Lies
            | Fault::Ignored
            | Fault::Refused
            | Fault::Unreachable
            | Fault::LostBefore
            | Fault::Late
            | Fault::AnswersLate,
        ) => Ok(()),
    }
}

fn lost(operation: &'static str, target: &str) -> StepError {
    let error = StepError::new(ErrorKind::Timeout, operation, target);
    debug_assert_eq!(error.effect(), Effect::Unknown);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "no esb9 here that Start is called on")]
    async fn a_fault_on_a_name_that_is_not_there_is_told_where_it_is_planned() {
        World::active_passive().plan_fault(Operation::Start, "esb9", Fault::Refused);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "no lb1 here that Start is called on")]
    async fn a_lasting_fault_on_what_the_operation_is_never_called_on_is_told_too() {
        World::active_passive().set_lasting_fault(Operation::Start, "lb1", Fault::Refused);
    }
}
