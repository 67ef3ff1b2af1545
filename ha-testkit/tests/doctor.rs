//! What the doctor finds in the simulated world: every check finds its fault, and nothing in a healthy cluster.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Admin, ConfigFinding, Database, Ended, FileSync, HoldFiles, LeaseEpoch, LoadBalancer, MemberCheck, MemberRef,
    Migrate, Ran, SetAdmin, SetWeight, Weight, Workload,
};
use ha_core::engine::{Check, Diagnosis, Place, Severity};
use ha_core::journal::{Journal, JournalError, Lease, MemoryStore, Requests};
use ha_core::procedure::{DrillRequest, ReleaseFacts};
use ha_core::record::{End, Entry, Record, Request, RunId};
use ha_core::state::{Schema, SchemaRange};
use ha_core::topology::{Expect, Name, SiteRole, Topology};
use ha_testkit::world::{
    Controller, FakeBalancer, FakeDatabase, FakeFiles, FakeWorkload, Fault, Operation, Shape, World,
};
use tokio::time::sleep;

const SECRET: &str = "conf/wso2carbon.jks";

fn expect() -> Expect {
    Expect::new()
        .with_java("11-21".parse().unwrap())
        .with_secrets([SECRET])
        .with_locks([".ha-step.held"])
        .with_check_path("/services/Version")
        .with_check_port(8280)
}

/// One active and one passive member and a spare, with everything that a cluster can share.
fn everything() -> World {
    let shape = Shape::active_passive().with_files().with_clone().with_work().with_exposure().with_artifacts();
    shape.with_expect(expect()).world().unwrap()
}

/// Two sites, of which the second stands by hot, and a drill of it.
async fn two_sites() -> World {
    let world = undrilled();
    let engine = world.engine();
    let planned = engine.plan(&DrillRequest::of("south")).await.unwrap();
    let report = engine.run("drill".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    world
}

fn undrilled() -> World {
    let shape = Shape::active_passive().with_sites(SiteRole::Hot).with_expect(expect());
    shape.world().unwrap()
}

fn three_that_serve() -> World {
    Shape::active_active(3, 500).with_spares(&[500]).with_expect(expect()).world().unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn epoch() -> LeaseEpoch {
    LeaseEpoch::new(1)
}

async fn set(world: &World, member: &str, admin: Admin) {
    let balancer = FakeBalancer::new(world.clone(), Controller::new(), "lb1".into());
    let member = MemberRef::new(name("esb"), name(member));
    balancer.set_admin(epoch(), SetAdmin::new(member, admin)).await.unwrap();
}

async fn migrated(world: &World, to: Schema, fault: Option<Fault>) {
    if let Some(fault) = fault {
        world.plan_fault(Operation::Migrate, "database", fault);
    }
    let database = FakeDatabase::new(world.clone(), Controller::new());
    let _ = database.migrate(epoch(), Migrate::new(to)).await;
    sleep(Duration::from_secs(5)).await;
}

async fn opened(world: &World) {
    let facts = |release: &str| ReleaseFacts::new(release).with_schema(SchemaRange::OLD);
    let patch = world.patch_to("2.0").with_facts(facts("1.0")).with_facts(facts("2.0"));
    let planned = world.engine().plan(&patch).await.unwrap();
    let record = Record::Opened { plan: Box::new(planned.plan().clone()) };
    world.store().append(&"patch-1".into(), vec![Entry::new(0, epoch(), 0, record)]).await.unwrap();
}

const HALF_THE_PEAK: &str = r#"
[cluster]
name = "orders"
[policy]
peak_load = 1000
survive_one = 0.5
[expect]
check_port = 8280
check_path = "/services/Version"
[pool]
name = "esb"
serve = 2
[[balancer]]
name = "lb1"
backend = "fake"
[[node]]
name = "esb1"
capacity = 500
host = { backend = "fake" }
probe = { backend = "fake" }
[[node]]
name = "esb2"
capacity = 500
host = { backend = "fake" }
probe = { backend = "fake" }
"#;

fn disk(available: u64) -> Ran {
    let header = "Filesystem 1024-blocks Used Available Capacity Mounted on";
    Ran::new(Ended::Exited(0), format!("{header}\n/dev/sda1 1000000 0 {available} 96% /srv\n"), "")
}

/// Makes a world in which exactly one thing is wrong.
async fn world_with(check: Check) -> World {
    let world = match check {
        Check::CapacityDeclared => World::new(Topology::from_toml_str(HALF_THE_PEAK).unwrap()),
        Check::CapacityNow | Check::CapacityAfterLoss | Check::ServerDown => three_that_serve(),
        Check::ReplicaBehind | Check::SiteRole => two_sites().await,
        Check::DrillOld => undrilled(),
        _ => everything(),
    };
    match check {
        Check::CapacityNow => {
            world.crash("esb1");
            world.crash("esb2");
        }
        Check::CapacityAfterLoss | Check::ServerDown => world.crash("esb1"),
        Check::CapacityDeclared | Check::DrillOld => {}
        Check::StandbyCold => world.crash("esb2"),
        Check::ReplicaBehind => sleep(Duration::from_secs(90)).await,
        Check::SiteRole => world.fence_site("south"),
        Check::ReleaseDrift => {
            world.install("esb2", "2.0");
            world.crash("esb2");
            world.return_by_itself("esb2");
            sleep(Duration::from_secs(3)).await;
        }
        Check::RestartPending => world.install("esb2", "2.0"),
        Check::SchemaBetween => migrated(&world, Schema::Expanded, Some(Fault::Half)).await,
        Check::CloneLeft => world.occupy_clone(),
        Check::FilesApart => world.put_files("esb1", 7),
        Check::OneWriter => world.make_writer("esb1"),
        Check::SyncHeld => {
            let files = FakeFiles::new(world.clone(), Controller::new());
            files.hold(epoch(), HoldFiles::new(name("esb1"))).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        Check::Drained => set(&world, "esb2", Admin::Drain).await,
        Check::WeightChanged => {
            let balancer = FakeBalancer::new(world.clone(), Controller::new(), "lb1".into());
            let member = MemberRef::new(name("esb"), name("esb2"));
            balancer.set_weight(epoch(), SetWeight::new(member, Weight::new(5))).await.unwrap();
        }
        Check::BalancerDown => world.flap("esb2", Duration::from_secs(600)),
        Check::SpareInTraffic => set(&world, "spare1", Admin::Drain).await,
        Check::WorkPaused => {
            let work = FakeWorkload::new(world.clone(), Controller::new(), "esb1".into());
            work.quiesce(epoch()).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        Check::LeaseHeld => {
            world.store().acquire("orders", "deploy-1", Duration::from_secs(30)).await.unwrap();
            sleep(Duration::from_secs(20)).await;
        }
        Check::RunOpen => opened(&world).await,
        Check::LockLeft => world.set_answer("esb2", "ls", Ran::new(Ended::Exited(0), ".ha-step.held\n", "")),
        Check::ClockSkew => world.set_clock("esb2", Some(-2_500)),
        Check::DiskFull => world.set_answer("esb2", "df", disk(40_000)),
        Check::JavaRange => {
            world.set_answer("esb2", "java", Ran::new(Ended::Exited(0), "", "java version \"1.8.0_402\""));
        }
        Check::SecretsDiffer => {
            let other = format!("{}  {SECRET}\n", "b".repeat(64));
            world.set_answer("esb2", "sha256sum", Ran::new(Ended::Exited(0), other, ""));
        }
        Check::StopBudget => world.limit_stops_of("esb2", Duration::from_secs(20)),
        Check::OneMachine => world.set_machine("esb2", "esb1"),
        Check::Missing => world.miss("esb2", "setting start: there is no program bin/strat.sh"),
        Check::CheckTarget => world.set_check("lb1", "esb2", Some(MemberCheck::Connects { port: Some(8280) })),
        Check::LeftOut => {
            let message = "backend mgmt: server esb1 has the name of member esb1";
            world.set_config_finding("lb1", ConfigFinding::danger(message).with_rule(ConfigFinding::LEFT_OUT));
        }
        Check::BalancerConfig => {
            world.set_config_finding(
                "lb1",
                ConfigFinding::danger("retries 3 sends a request twice").with_rule("retries"),
            );
        }
        Check::Unread => world.set_lasting_fault(Operation::Shared, "esb1", Fault::Unreachable),
        Check::Observation => world.set_lasting_fault(Operation::Review, "database", Fault::Unreachable),
        _ => unreachable!("a new check needs its fault here"),
    }
    world
}

/// Where the fault of each check is, how bad it is, and what else follows from it.
fn expected(check: Check) -> (Severity, Place, &'static [Check]) {
    use Severity as S;
    let node = |name: &str| Place::Node { node: name.into() };
    let member = |name: &str| Place::Member { balancer: "lb1".into(), pool: "esb".into(), node: name.into() };
    let (pool, site) = (Place::Pool { pool: "esb".into() }, Place::Site { site: "south".into() });
    let lb1 = Place::Balancer { balancer: "lb1".into() };
    let down: &[Check] = &[Check::ServerDown, Check::CapacityAfterLoss];
    match check {
        Check::CapacityNow => (S::Danger, pool, down),
        Check::CapacityAfterLoss => (S::Danger, pool, &[Check::ServerDown]),
        Check::CapacityDeclared => (S::Warning, pool, &[]),
        Check::ServerDown => (S::Danger, node("esb1"), &[Check::CapacityAfterLoss]),
        Check::StandbyCold => (S::Danger, node("esb2"), &[Check::CapacityAfterLoss]),
        Check::ReplicaBehind => (S::Warning, site, &[]),
        Check::SiteRole => (S::Warning, site, &[Check::StandbyCold]),
        Check::ReleaseDrift => (S::Warning, Place::Cluster, &[Check::CapacityAfterLoss, Check::StandbyCold]),
        Check::RestartPending => (S::Warning, node("esb2"), &[]),
        Check::SchemaBetween => (S::Danger, Place::Cluster, &[]),
        Check::CloneLeft => (S::Warning, Place::Cluster, &[]),
        Check::FilesApart => (S::Warning, node("esb1"), &[]),
        Check::OneWriter => (S::Danger, Place::Cluster, &[]),
        Check::SyncHeld => (S::Warning, node("esb1"), &[]),
        Check::Drained => (S::Warning, member("esb2"), &[Check::CapacityAfterLoss]),
        Check::WeightChanged => (S::Warning, member("esb2"), &[]),
        Check::BalancerDown => (S::Danger, member("esb2"), &[Check::CapacityAfterLoss]),
        Check::SpareInTraffic => (S::Warning, member("spare1"), &[]),
        Check::WorkPaused => (S::Warning, node("esb1"), &[]),
        Check::LeaseHeld => (S::Warning, Place::Cluster, &[]),
        Check::RunOpen => (S::Warning, Place::Run { run: "patch-1".into() }, &[]),
        Check::DrillOld => (S::Warning, Place::Cluster, &[]),
        Check::LockLeft => (S::Warning, Place::File { node: "esb2".into(), path: ".ha-step.held".into() }, &[]),
        Check::ClockSkew => (S::Warning, Place::Cluster, &[]),
        Check::DiskFull => (S::Warning, node("esb2"), &[]),
        Check::JavaRange => (S::Danger, node("esb2"), &[]),
        Check::SecretsDiffer => (S::Danger, Place::Cluster, &[]),
        Check::StopBudget => (S::Danger, node("esb2"), &[]),
        Check::OneMachine => (S::Danger, Place::Cluster, &[]),
        Check::Missing => (S::Danger, node("esb2"), &[]),
        Check::CheckTarget => (S::Warning, member("esb2"), &[]),
        Check::LeftOut => (S::Danger, lb1, &[]),
        Check::BalancerConfig => (S::Danger, lb1, &[]),
        Check::Unread => (S::NotChecked, node("esb1"), &[]),
        Check::Observation => (S::Warning, Place::Cluster, &[]),
        _ => unreachable!("a new check needs its place here"),
    }
}

fn found(diagnosis: &Diagnosis) -> BTreeSet<Check> {
    diagnosis.findings.iter().map(|found| found.check).collect()
}

/// Each check is told in exactly one way.
fn assert_whole(diagnosis: &Diagnosis) {
    let others = diagnosis.well.iter().chain(&diagnosis.in_part).copied();
    let others: Vec<Check> = others.chain(diagnosis.not_needed.iter().map(|one| one.check)).collect();
    let mut all: Vec<Check> = others.into_iter().chain(found(diagnosis)).collect();
    all.sort_unstable();
    assert_eq!(all, Check::ALL, "{diagnosis}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_found_in_a_healthy_cluster() {
    let mut made = BTreeSet::new();
    let asked = Expect::new().with_check_port(8280).with_check_path("/services/Version");
    let small = Shape::active_passive().with_expect(asked).world().unwrap();
    for world in [everything(), three_that_serve(), small, two_sites().await] {
        let diagnosis = world.engine().doctor().await;
        assert!(diagnosis.is_healthy() && diagnosis.findings.is_empty(), "{diagnosis}");
        assert!(diagnosis.in_part.is_empty(), "{diagnosis}");
        assert_whole(&diagnosis);
        made.extend(diagnosis.well);
    }
    assert_eq!(made.into_iter().collect::<Vec<_>>(), Check::ALL, "each check was made in one of them");
}

#[tokio::test(start_paused = true)]
async fn each_check_finds_its_fault_at_its_place_and_no_other_does_that_has_nothing_to_do_with_it() {
    for check in Check::ALL {
        let (severity, place, follows) = expected(check);
        let diagnosis = world_with(check).await.engine().doctor().await;
        let of_check: Vec<_> = diagnosis.of(check).collect();
        assert!(!of_check.is_empty(), "{check} is not found:\n{diagnosis}");
        let first = of_check[0];
        assert_eq!((first.severity, &first.place), (severity, &place), "{first}");
        assert!(!first.message.is_empty() && !first.fix.is_empty() && !first.message.ends_with('.'), "{first}");
        let allowed: BTreeSet<Check> = follows.iter().copied().chain([check]).collect();
        assert!(found(&diagnosis).is_subset(&allowed), "{check}:\n{diagnosis}");
        assert_whole(&diagnosis);
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_not_checked_and_never_well() {
    let world = everything();
    world.lose("esb1");
    let diagnosis = world.engine().doctor().await;
    let of_machines = [
        Check::ClockSkew,
        Check::DiskFull,
        Check::JavaRange,
        Check::SecretsDiffer,
        Check::StopBudget,
        Check::OneMachine,
        Check::LockLeft,
        Check::Unread,
    ];
    for check in of_machines {
        let node = Place::Node { node: "esb1".into() };
        let told = diagnosis.of(check).any(|found| found.severity == Severity::NotChecked && found.place == node);
        assert!(told, "{check}:\n{diagnosis}");
    }
    let in_part = [Check::RestartPending, Check::Missing, Check::BalancerDown];
    for check in [Check::ReleaseDrift, Check::OneWriter, Check::SyncHeld, Check::WorkPaused].into_iter().chain(in_part)
    {
        assert!(!diagnosis.well.contains(&check), "{check}:\n{diagnosis}");
    }
    assert!(!diagnosis.is_healthy());
    assert_whole(&diagnosis);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_does_not_answer_or_cannot_tell_leaves_nothing_about_it_well() {
    let world = everything();
    world.set_lasting_fault(Operation::Member, "lb1", Fault::Unreachable);
    let diagnosis = world.engine().doctor().await;
    for check in [Check::Drained, Check::WeightChanged, Check::BalancerDown, Check::SpareInTraffic] {
        assert!(diagnosis.in_part.contains(&check), "{check}:\n{diagnosis}");
    }
    assert_eq!(diagnosis.of(Check::CapacityNow).next().map(|found| found.severity), Some(Severity::NotChecked));

    let world = everything();
    for node in ["esb1", "esb2", "spare1"] {
        world.set_check("lb1", node, None);
    }
    let diagnosis = world.engine().doctor().await;
    for check in [Check::CheckTarget, Check::BalancerConfig] {
        let told: Vec<_> = diagnosis.of(check).map(|found| found.severity).collect();
        assert_eq!(told, [Severity::NotChecked], "one line a balancer: {diagnosis}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_site_that_could_not_be_read_whole_is_not_taken_for_what_it_is_at_rest() {
    let (cluster, south) = (Place::Cluster, Place::Site { site: "south".into() });
    for (operation, name, place) in [
        (Operation::Copy, "south", &south),
        (Operation::Fenced, "south", &south),
        (Operation::Consumers, "switch", &cluster),
    ] {
        let world = undrilled();
        world.set_lasting_fault(operation, name, Fault::Unreachable);
        let diagnosis = world.engine().doctor().await;
        let told: Vec<_> = diagnosis.of(Check::SiteRole).collect();
        assert!(!told.is_empty(), "{operation:?}: {diagnosis}");
        assert_eq!((told[0].severity, &told[0].place), (Severity::NotChecked, place), "{operation:?}: {diagnosis}");
        assert!(told[0].evidence.iter().any(|line| line.contains("cannot be read: ")), "{diagnosis}");
        assert_eq!(diagnosis.of(Check::Observation).count(), 0, "it is told once: {diagnosis}");
        assert_whole(&diagnosis);
    }
}

#[tokio::test(start_paused = true)]
async fn files_that_could_not_be_looked_for_are_not_taken_for_absent() {
    let world = everything();
    let cannot = "ls: cannot access '.ha-step.held': Permission denied";
    world.set_answer("esb2", "ls", Ran::new(Ended::Exited(2), "", cannot));
    let diagnosis = world.engine().doctor().await;
    let told: Vec<_> = diagnosis.of(Check::LockLeft).map(|found| (found.severity, found.place.to_string())).collect();
    assert_eq!(told, [(Severity::NotChecked, "node esb2".to_string())], "{diagnosis}");
    assert!(diagnosis.to_string().contains("Permission denied"), "{diagnosis}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_cannot_be_held_against_anything_is_not_well() {
    let asks = |port, path: Option<&str>| Some(MemberCheck::Asks { port, path: path.map(String::from) });
    let said = Expect::new().with_check_port(8280).with_check_path("/services/Version");
    for (expect, check, severity, says) in [
        (Expect::new().with_check_path("/x"), asks(Some(8280), Some("/x")), Severity::NotChecked, "say check_port"),
        (Expect::new().with_check_port(8280), asks(Some(8280), Some("/x")), Severity::NotChecked, "say check_path"),
        (said.clone(), asks(None, Some("/services/Version")), Severity::NotChecked, "look at it yourself"),
        (said.clone(), asks(Some(8280), None), Severity::NotChecked, "look at it yourself"),
        (said.clone(), asks(Some(9443), None), Severity::Danger, "check that port"),
        (said, asks(None, Some("/wrong")), Severity::Danger, "ask for the page"),
    ] {
        let world = Shape::active_passive().with_expect(expect).world().unwrap();
        for node in ["esb1", "esb2", "spare1"] {
            world.set_check("lb1", node, check.clone());
        }
        let diagnosis = world.engine().doctor().await;
        let told: Vec<_> = diagnosis.of(Check::CheckTarget).collect();
        assert_eq!(told.len(), 3, "{check:?}: {diagnosis}");
        assert!(
            told.iter().all(|found| found.severity == severity && found.fix.contains(says)),
            "{check:?}: {diagnosis}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_one_node_alone_names_is_compared_with_nothing() {
    let text = format!("{HALF_THE_PEAK}expect = {{ secrets = [\"{SECRET}\"] }}\n");
    let world = World::new(Topology::from_toml_str(&text).unwrap());
    let diagnosis = world.engine().doctor().await;
    let told: Vec<_> =
        diagnosis.of(Check::SecretsDiffer).map(|found| (found.severity, found.place.to_string())).collect();
    assert_eq!(told, [(Severity::NotChecked, format!("node esb2, file {SECRET}"))], "{diagnosis}");
}

/// A journal that cannot be read.
#[derive(Debug)]
struct Unread(Arc<MemoryStore>);

impl Unread {
    fn broken<T>() -> Result<T, JournalError> {
        Err(JournalError::Broken { what: "the disk is gone".into() })
    }
}

#[async_trait]
impl Requests for Unread {
    async fn put(&self, run: &RunId, request: Request) -> Result<u64, JournalError> {
        self.0.put(run, request).await
    }

    async fn requests(&self, _: &RunId, _: u64) -> Result<Vec<(u64, Request)>, JournalError> {
        Self::broken()
    }
}

#[async_trait]
impl Journal for Unread {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        self.0.append(run, entries).await
    }

    async fn read(&self, _: &RunId) -> Result<Vec<Entry>, JournalError> {
        Self::broken()
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        Self::broken()
    }

    async fn open_runs(&self, _: &str) -> Result<Vec<RunId>, JournalError> {
        Self::broken()
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_read_says_neither_that_a_run_is_open_nor_that_none_was_a_drill() {
    let world = two_sites().await;
    let store = world.store();
    let builder = world.builder(&Controller::new()).with_store(Arc::new(Unread(store.clone())), store);
    let diagnosis = builder.build().unwrap().doctor().await;
    for check in [Check::RunOpen, Check::DrillOld] {
        let told: Vec<_> = diagnosis.of(check).map(|found| found.severity).collect();
        assert_eq!(told, [Severity::NotChecked], "{check}: {diagnosis}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_told_apart_and_never_told() {
    let diagnosis = world_with(Check::SecretsDiffer).await.engine().doctor().await;
    let told = format!("{diagnosis}{}", serde_json::to_string(&diagnosis).unwrap());
    assert!(told.contains("alike: esb1, spare1") && told.contains("alike: esb2"), "{told}");
    assert!(!told.contains("bbbb") && !told.contains("e3b0c442"), "{told}");

    let world = everything();
    world.set_answer("esb2", "sha256sum", Ran::new(Ended::Exited(1), "", "sha256sum: no such file"));
    let diagnosis = world.engine().doctor().await;
    let places: Vec<_> = diagnosis.of(Check::SecretsDiffer).map(|found| found.place.to_string()).collect();
    assert_eq!(places, [format!("node esb2, file {SECRET}")]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_under_way_is_no_residue() {
    let world = everything();
    opened(&world).await;
    world.store().acquire("orders", "deploy-1", Duration::from_secs(30)).await.unwrap();
    let diagnosis = world.engine().doctor().await;
    assert_eq!(found(&diagnosis), BTreeSet::from([Check::LeaseHeld, Check::RunOpen]), "{diagnosis}");
    assert!(diagnosis.is_healthy(), "{diagnosis}");
    sleep(Duration::from_secs(20)).await;
    let diagnosis = world.engine().doctor().await;
    assert_eq!(diagnosis.count(Severity::Warning), 2, "its controller has not renewed the lease: {diagnosis}");
}

#[tokio::test(start_paused = true)]
async fn it_changes_nothing_and_says_the_same_twice() {
    let world = world_with(Check::DiskFull).await;
    let engine = world.engine();
    let (first, second) = (engine.doctor().await, engine.doctor().await);
    assert_eq!((first.findings, first.well), (second.findings, second.well));
    assert!(world.store().runs().await.unwrap().is_empty());
    // A higher epoch than any that was seen is only refused when somebody has acted.
    set(&world, "esb2", Admin::Drain).await;
}

#[tokio::test(start_paused = true)]
async fn the_worst_is_told_first() {
    let world = everything();
    world.set_machine("esb2", "esb1");
    world.set_clock("esb2", Some(5_000));
    world.set_clock("spare1", None);
    let diagnosis = world.engine().doctor().await;
    let severities: Vec<Severity> = diagnosis.findings.iter().map(|found| found.severity).collect();
    assert_eq!(severities, [Severity::Danger, Severity::Warning, Severity::NotChecked]);
    assert_eq!(diagnosis.worst(), Some(Severity::Danger));
    assert!(diagnosis.to_string().starts_with("cluster orders: 1 danger, 1 warning, 1 not checked, 0 advice, "));
}

#[test]
fn the_manual_lists_each_check_once() {
    let page = include_str!("../../ha-core/src/manual/doctor.md");
    let listed: Vec<Check> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()?.parse().ok()).collect();
    assert_eq!(listed, Check::ALL);
}
