//! Whole runs of the real engine on virtual time over the simulated world.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Admin;
use ha_core::engine::{RunError, RunHandle};
use ha_core::journal::{Journal, JournalError, MemoryStore, Requests};
use ha_core::procedure::PlanError;
use ha_core::record::{End, Entry, Operator, Request, RunId, Why};
use ha_core::report::{Event, RunReport};
use ha_testkit::world::{Controller, Fault, Operation, Served, Shape, World};
use tokio::time::{Instant, sleep};

async fn patch(world: &World) -> (RunReport, Served) {
    let clients = world.clients();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let report = engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    (report, clients.stop().await)
}

fn assert_at_rest(world: &World, release: &str) {
    for node in ["esb1", "esb2"] {
        assert_eq!(world.installed(node).as_deref(), Some(release), "{node}");
        assert_eq!(world.admin("lb1", node), Some(Admin::Ready), "{node}");
        assert!(world.runs(node), "{node}");
    }
    assert_eq!(world.admin("lb1", "spare1"), Some(Admin::Maint));
    assert!(!world.runs("spare1"));
}

#[tokio::test(start_paused = true)]
async fn a_patch_ends_all_new_without_losing_a_request() {
    let world = World::active_passive();
    let (report, served) = patch(&world).await;
    assert_eq!(report.end, End::AllNew, "{report}");
    assert_eq!(served.lost, 0, "{:?}", served.reasons);
    assert!(served.by_release.contains_key("1.0") && served.by_release.contains_key("2.0"), "{served:?}");
    assert_eq!(report.open, Vec::<String>::new());
    assert!(report.lowest_margin.is_some_and(|margin| margin >= 0), "{report}");
    assert_at_rest(&world, "2.0");
}

/// One after the other, unattended: the spare is found as the members are, by a change that needs it and by one that does not.
#[tokio::test(start_paused = true)]
async fn ten_patches_in_a_row_are_each_proven_and_end_all_new() {
    let shapes = [
        Shape::active_passive(),
        Shape::active_active(2, 1000).with_spares(&[1000]),
        Shape::active_active(2, 1000).with_spares(&[1000, 1000]),
    ];
    for shape in shapes {
        let world = shape.world().unwrap();
        let clients = world.clients();
        let engine = world.engine();
        let mut before = "1.0".to_string();
        for round in 2..12 {
            let release = format!("{round}.0");
            let request = world.patch_to(&release).with_beside(&before);
            let planned = engine.plan(&request).await.unwrap_or_else(|error| panic!("{release}: {error}"));
            let run = engine.run(RunId::new(format!("patch-{round}")), planned).await.unwrap();
            let report = run.wait().await.unwrap();
            assert_eq!(report.end, End::AllNew, "{release}: {report}");
            before = release;
        }
        let topology = world.topology();
        let spares: Vec<String> = topology.spares().map(|(_, node)| node.name.to_string()).collect();
        assert!(spares.iter().any(|spare| world.installed(spare).as_ref() == Some(&before)), "{before}");
        assert!(spares.iter().all(|spare| !world.runs(spare)));
        assert_eq!(clients.stop().await.lost, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_would_cut_a_stop_short_is_noted_before_the_plan() {
    let world = World::active_passive();
    let allowed = world.topology().policy().stop_deadline;
    world.limit_stops_of("esb1", allowed - Duration::from_secs(1));
    world.limit_stops_of("esb2", allowed);
    let notes = world.engine().observe().await.unwrap().notes;
    let cut: Vec<&String> = notes.iter().filter(|note| note.contains("a stop may be cut short")).collect();
    assert!(
        matches!(cut[..], [note] if note.starts_with("esb1: ") && note.contains("lower stop_deadline")),
        "{notes:?}"
    );
}

/// Follows a run to its end, all new; returns of each verb whether a look at the cluster came right before it, each time.
async fn begun_after_a_look(mut run: RunHandle) -> BTreeMap<String, Vec<bool>> {
    let (mut looked, mut begun) = (false, BTreeMap::<String, Vec<bool>>::new());
    let (mut looks, mut started, mut beside) = (vec![Instant::now()], Instant::now(), false);
    while let Some(event) = run.next_event().await {
        match event {
            Event::Observed { .. } => {
                looks.push(Instant::now());
                looked |= begun.is_empty();
            }
            Event::StepStarted { action: verb, .. } => {
                started = Instant::now();
                beside = ["apply", "gate", "admit"].contains(&verb.split(' ').next().unwrap()) && !looked;
                begun.entry(verb).or_default().push(looked);
            }
            Event::StepEnded { took_ms, .. } => {
                // It is told when it is recorded, which may be after the look that follows it.
                let ended = started + Duration::from_millis(took_ms);
                let meanwhile = looks.windows(2).find(|pair| pair[1] > started && pair[1] < ended);
                // Such work brings no look of its own: the guard's interval goes on.
                let pause = meanwhile.map(|pair| pair[1] - pair[0]);
                assert!(!beside || pause.is_none_or(|pause| pause >= Duration::from_millis(250)), "{pause:?}");
                looked = looks.iter().any(|look| *look > ended);
            }
            _ => {}
        }
    }
    assert_eq!(run.wait().await.unwrap().end, End::AllNew);
    begun
}

#[tokio::test(start_paused = true)]
async fn what_takes_capacity_waits_for_a_look_and_work_on_a_node_out_of_traffic_and_its_return_do_not() {
    let world = World::active_passive();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let begun = begun_after_a_look(engine.run("patch-1".into(), planned).await.unwrap()).await;
    for verb in ["take out", "stop"] {
        assert!(begun[verb].iter().all(|looked| *looked), "{verb}: {begun:?}");
    }
    for verb in ["apply", "gate", "admit"] {
        assert!(begun[verb].iter().any(|looked| !looked), "{verb}: {begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_returns_after_a_look_where_a_database_is_shared() {
    let world = Shape::active_passive().with_database().world().unwrap();
    let engine = world.engine();
    let planned = engine.plan(&world.upgrade_to("2.0")).await.unwrap();
    let begun = begun_after_a_look(engine.run("upgrade-1".into(), planned).await.unwrap()).await;
    assert!(begun["admit"].iter().all(|looked| *looked), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_somebody_else_installs_before_the_start_does_not_pass_the_gate() {
    let world = World::active_passive();
    let clients = world.clients();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let mut run = engine.run("patch-1".into(), planned).await.unwrap();
    let (mut installed, mut notes) = (None, Vec::new());
    while let Some(event) = run.next_event().await {
        match event {
            Event::StepStarted { action: verb, target: node, .. }
                if verb == "start" && world.installed(&node).unwrap() == "2.0" =>
            {
                world.install(&node, "1.9");
                installed = installed.or(Some(node));
            }
            Event::StepEnded { action: verb, message: note, .. } if verb == "gate" => notes.push(note),
            _ => {}
        }
    }
    assert!(installed.is_some());
    assert_eq!(run.wait().await.unwrap().end, End::AllOld);
    assert!(notes.iter().any(|note| note.contains("1.9") && note.contains("this run left 2.0 there")), "{notes:?}");
    let served = clients.stop().await;
    assert!(served.lost == 0 && !served.by_release.contains_key("1.9"), "{served:?}");
    assert_at_rest(&world, "1.0");
}

/// Takes ten seconds for a first entry.
#[derive(Debug)]
struct Slow(MemoryStore);

#[async_trait]
impl Requests for Slow {
    async fn put(&self, run: &RunId, request: Request) -> Result<u64, JournalError> {
        self.0.put(run, request).await
    }

    async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
        self.0.requests(run, after).await
    }
}

#[async_trait]
impl Journal for Slow {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        if entries[0].sequence == 0 {
            sleep(Duration::from_secs(10)).await;
        }
        self.0.append(run, entries).await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        self.0.read(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        self.0.runs().await
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        self.0.open_runs(cluster).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_from_before_a_slow_record_of_the_plan_is_too_old_for_the_first_step() {
    let world = World::active_passive();
    let journal = Arc::new(Slow(MemoryStore::new()));
    let builder = world.builder(&Controller::new()).with_store(journal, Arc::new(MemoryStore::new()));
    let engine = builder.build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let mut run = engine.run("patch-1".into(), planned).await.unwrap();
    let mut looks = 0;
    loop {
        match run.next_event().await.unwrap() {
            Event::Observed { .. } => looks += 1,
            Event::StepStarted { .. } => break,
            _ => {}
        }
    }
    assert_eq!(looks, 2);
    assert_eq!(run.wait().await.unwrap().end, End::AllNew);
}

/// Members that serve and stand by, that warm up, with spares: a cluster of the next test.
#[derive(Clone, Debug)]
struct Asked {
    members: Vec<u64>,
    serve: usize,
    warm_up: f64,
    spares: Vec<u64>,
}

impl Asked {
    fn world(&self) -> Option<World> {
        let mut text = format!(
            "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 1000\n[pool]\nname = \"esb\"\nserve = {}\n[[balancer]]\n\
             name = \"lb1\"\nbackend = \"fake\"\n",
            self.serve
        );
        let members = self.members.iter().map(|capacity| (capacity, false, self.warm_up));
        // A spare is brought and tested before anything changes, and so it is warm then.
        let spares = self.spares.iter().map(|capacity| (capacity, true, 1.0));
        for (number, (capacity, spare, warm_up)) in (1..).zip(members.chain(spares)) {
            text.push_str(&format!(
                "[[node]]\nname = \"n{number}\"\ncapacity = {capacity}\nspare = {spare}\nwarm_up = {warm_up:.1}\nhost = {{ \
                 backend = \"fake\" }}\nprobe = {{ backend = \"fake\" }}\n"
            ));
        }
        World::from_toml_str(&text).ok()
    }
}

/// Follows each remedy to the letter; also where the smallest spare that comes to mind is not enough, and where none is.
#[tokio::test(start_paused = true)]
async fn a_remedy_that_is_given_makes_the_plan_provable() {
    let members =
        [&[1000, 1000][..], &[750, 750], &[400, 400, 400], &[500, 500, 500], &[1000, 200, 200], &[600, 600, 100]];
    let (mut given, mut larger, mut none) = (0, 0, 0);
    for members in members {
        for (standing_by, warm_up, spares) in [0, 1].into_iter().flat_map(|standing_by| {
            let of = move |warm_up| [&[][..], &[50], &[100, 100]].map(|spares| (standing_by, warm_up, spares));
            [1.0, 0.5, 0.1].into_iter().flat_map(of)
        }) {
            let (members, serve) = (members.to_vec(), members.len() - standing_by);
            let mut asked = Asked { members, serve, warm_up, spares: spares.to_vec() };
            let Some(world) = asked.world() else { continue };
            let refused = world.engine().plan(&world.patch_to("2.0")).await;
            let Err(RunError::Plan { source: PlanError::Unprovable { remedy, .. }, .. }) = &refused else { continue };
            let remedy = remedy.to_string();
            let Some((count, rest)) = remedy.split_once(" of capacity ") else {
                assert!(remedy.starts_with("none is known"), "{remedy}");
                none += 1;
                continue;
            };
            given += 1;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let capacity: u64 = digits.parse().unwrap();
            larger += u32::from(capacity > 750 || count.starts_with("add two"));
            if count == "add a member" {
                asked.members.push(capacity);
                asked.serve += usize::from(standing_by == 0);
            } else {
                asked.spares.extend(vec![capacity; if count.starts_with("add two") { 2 } else { 1 }]);
            }
            let world = asked.world().unwrap();
            let planned = world.engine().plan(&world.patch_to("2.0")).await;
            assert!(planned.is_ok(), "{asked:?}: {remedy}\n{}", planned.unwrap_err());
        }
    }
    ha_testkit::figures!(
        "remedies: {given} given and followed, {larger} of them larger than the least, {none} refusals without"
    );
    assert!(given >= 10, "{given}");
}

#[tokio::test(start_paused = true)]
async fn the_spare_is_derived_from_the_law_and_its_lack_is_refused_with_a_remedy() {
    let text = World::active_passive();
    let planned = text.engine().plan(&text.patch_to("2.0")).await.unwrap();
    assert!(planned.plan().stages()[0].name.contains("spare"), "{}", planned.plan().to_text(text.topology()));
    let spare = "[[node]]\nname = \"spare1\"";
    let without = TWO_NODES.split(spare).next().unwrap();
    let world = World::from_toml_str(without).unwrap();
    let error = world.engine().plan(&world.patch_to("2.0")).await.unwrap_err();
    let RunError::Plan { source: PlanError::Unprovable { remedy, counterexample, .. }, .. } = &error else {
        panic!("{error}")
    };
    assert!(remedy.to_string().contains("add one spare of capacity 1000"), "{remedy}");
    assert!(counterexample.violation.to_string().contains("I2"), "{error}");
}

/// Seen: "server stopped" was listed while the server served.
#[tokio::test(start_paused = true)]
async fn a_stop_that_was_refused_leaves_no_loan_of_a_stopped_server() {
    let world = World::active_passive();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    // The active node is drained, does not stop, and does not come back into traffic.
    world.plan_fault(Operation::Stop, "esb1", Fault::Refused);
    let mut run = world.engine().run("patch-1".into(), planned).await.unwrap();
    while let Some(event) = run.next_event().await {
        if matches!(&event, Event::StepEnded { target, action, .. } if target == "esb1" && action == "stop") {
            world.set_lasting_fault(Operation::SetAdmin, "lb1", Fault::Refused);
        }
    }
    let report = run.wait().await.unwrap();
    assert!(matches!(report.end, End::NeedsOperator(_)), "{report}");
    let of_esb1: Vec<&String> = report.open.iter().filter(|loan| loan.starts_with("esb1")).collect();
    assert_eq!(of_esb1, ["esb1: held out of traffic"], "{report}");
    assert!(world.runs("esb1"));
}

/// What is only to be declared comes before what needs a host; seen with the request of the README.
#[tokio::test(start_paused = true)]
async fn a_remedy_names_the_declaration_that_is_missing() {
    let undeclared = |world: &World| {
        let mut request = world.patch_to("2.0");
        request.facts.clear();
        request
    };
    let remedy_of = |refused: Result<_, RunError>| match refused {
        Err(RunError::Plan { source: PlanError::Unprovable { remedy, .. }, .. }) => remedy.to_string(),
        other => panic!("{other:?}"),
    };
    let world = World::active_passive();
    let remedy = remedy_of(world.engine().plan(&undeclared(&world)).await);
    let asked = "if 2.0 may serve beside 1.0 (they share sessions, messages and caches), declare it: beside = [\"1.0\"] among \
                 the facts of 2.0 (with_beside on the request)";
    assert_eq!(remedy, asked);
    assert!(world.engine().plan(&undeclared(&world).with_beside("1.0")).await.is_ok());
    let without_spare = World::from_toml_str(TWO_NODES.split("[[node]]\nname = \"spare1\"").next().unwrap()).unwrap();
    let remedy = remedy_of(without_spare.engine().plan(&undeclared(&without_spare)).await);
    assert!(remedy.starts_with(asked) && remedy.contains("; and add one spare of capacity 1000"), "{remedy}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stop_is_killed_and_the_report_says_so() {
    let world = World::active_passive();
    world.plan_fault(Operation::Stop, "esb1", Fault::Lies);
    let (report, served) = patch(&world).await;
    assert_eq!(report.end, End::AllNew, "{report}");
    assert_eq!(served.lost, 0, "{:?}", served.reasons);
    assert_eq!(report.to_string().matches("forced").count(), 1, "{report}");
    assert_at_rest(&world, "2.0");
}

#[tokio::test(start_paused = true)]
async fn a_patch_that_fails_its_test_on_the_passive_node_ends_all_old() {
    let world = World::active_passive();
    world.fail_test_of("esb2", "2.0");
    let (report, served) = patch(&world).await;
    assert_eq!(report.end, End::AllOld, "{report}");
    assert_eq!(served.lost, 0, "{:?}", served.reasons);
    assert_eq!(served.by_release.len(), 1, "no request met the patch: {served:?}");
    assert_at_rest(&world, "1.0");
}

#[tokio::test(start_paused = true)]
async fn every_single_planned_fault_ends_in_a_named_state_without_losing_a_request() {
    let calls = [
        (Operation::SetAdmin, "lb1"),
        (Operation::Member, "lb1"),
        (Operation::Start, "esb1"),
        (Operation::Start, "esb2"),
        (Operation::Start, "spare1"),
        (Operation::Stop, "esb1"),
        (Operation::Stop, "esb2"),
        (Operation::Stop, "spare1"),
        (Operation::Run, "esb1"),
        (Operation::Run, "esb2"),
    ];
    let faults = [Fault::Refused, Fault::LostBefore, Fault::LostAfter, Fault::Lies, Fault::Half];
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for (operation, name) in calls {
        for fault in faults {
            let world = World::active_passive();
            let engine = world.engine();
            let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
            let clients = world.clients();
            world.plan_fault(operation, name, fault);
            let run = engine.run("patch-1".into(), planned).await;
            let run = run.unwrap_or_else(|error| panic!("{operation:?} {name} {fault:?}: {error}"));
            let report = run.wait().await.unwrap();
            let served = clients.stop().await;
            let context = format!("{operation:?} on {name} {fault:?}:\n{report}\n{:?}", served.reasons);
            assert_eq!(served.lost, 0, "{context}");
            match report.end {
                End::AllNew => assert_at_rest(&world, "2.0"),
                End::AllOld => assert_at_rest(&world, "1.0"),
                // Past the point of no return a failure waits for a person, with its loans listed.
                End::NeedsOperator(why) => {
                    assert!(why == Why::PastReturn && !report.open.is_empty(), "{context}");
                }
            }
            *ends.entry(report.end_message).or_default() += 1;
        }
    }
    ha_testkit::figures!("ends: {ends:?}");
    assert!(ends.contains_key("all new") && ends.contains_key("all old"), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_lost_at_any_moment_leaves_the_cluster_serving() {
    for node in ["esb1", "esb2", "spare1"] {
        for after in (0..24).map(|step| Duration::from_millis(500 * step)) {
            let world = World::active_passive();
            let engine = world.engine();
            let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
            let run = engine.run("patch-1".into(), planned).await.unwrap();
            tokio::time::sleep(after).await;
            world.lose(node);
            let report = run.wait().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let clients = world.clients();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let served = clients.stop().await;
            assert_eq!(served.lost, 0, "{node} lost after {after:?}:\n{report}\n{:?}", served.reasons);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_controller_is_refused_with_the_name_of_the_first() {
    let world = World::active_passive();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let run = engine.run("patch-1".into(), planned.clone()).await.unwrap();
    let refused = world.engine().run("patch-2".into(), planned).await.unwrap_err();
    assert!(matches!(refused, RunError::Lease(_)), "{refused}");
    assert!(refused.to_string().contains("controller"), "{refused}");
    assert_eq!(run.wait().await.unwrap().end, End::AllNew);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_is_asked_for_leads_back_to_all_old() {
    let world = World::active_passive();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let clients = world.clients();
    let run = engine.run("patch-1".into(), planned).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    run.roll_back(Operator::new("anna", "a test")).await.unwrap();
    assert_eq!(run.wait().await.unwrap().end, End::AllOld);
    assert_eq!(clients.stop().await.lost, 0);
    assert_at_rest(&world, "1.0");
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_stale_when_somebody_changed_the_cluster_meanwhile() {
    let world = World::active_passive();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    world.lose("esb2");
    let error = engine.run("patch-1".into(), planned).await.unwrap_err();
    assert!(matches!(&error, RunError::StalePlan(facts) if facts.contains("esb2")), "{error}");
}

const TWO_NODES: &str = r#"
[cluster]
name = "orders"
[policy]
peak_load = 1000
[pool]
name = "esb"
serve = 1
[[balancer]]
name = "lb1"
backend = "fake"
[[node]]
name = "esb1"
capacity = 1000
host = { backend = "fake" }
probe = { backend = "fake" }
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "fake" }
probe = { backend = "fake" }
[[node]]
name = "spare1"
"#;
