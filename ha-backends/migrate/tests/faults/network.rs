//! Faults of the network, on the wire: the link ends at any byte, or is half open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ha_lab::{FaultProxy, Leg, LinkFault};
use ha_migrate::script::Phase;
use ha_migrate::{Connect, Event, MigrateError, Migrator, MySql, Observer, Policy, Postgres, Run};

use crate::cut::files;
use crate::engine::{Engine, Kind, Target};
use crate::kit::{Dice, block_on, count, policy, scripts};

fn proxy(engine: &Engine) -> FaultProxy {
    FaultProxy::on_tcp(std::net::SocketAddr::from(([127, 0, 0, 1], engine.port()))).unwrap()
}

fn through(target: &Target, port: u16) -> Arc<dyn Connect> {
    match target.kind {
        Kind::MariaDb => Arc::new(MySql::new("127.0.0.1", port, &target.database, "root").as_mariadb()),
        Kind::Postgres | Kind::Sqlite => Arc::new(Postgres::new("127.0.0.1", port, &target.database, "postgres")),
    }
}

fn run() -> Run {
    Run::to(Phase::Backfill)
}

#[test]
fn a_link_that_ends_at_any_byte_leads_to_the_same_end() {
    let mut dice = Dice::new();
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let migrate = |target: &Target, port: u16| {
            let builder = Migrator::builder(through(target, port), scripts(&files(kind))).with_policy(policy());
            block_on(builder.build().unwrap().run(&run()))
        };
        let alone = engine.fresh();
        let undisturbed = proxy(&engine);
        migrate(&alone, undisturbed.port()).unwrap();
        let (expected, sent) = (engine.dump(&alone), undisturbed.last_request().len() as u64);
        let (mut cut, mut found) = (0, 0);
        let turns = count("HA_DB_NET_CUTS", 16);
        for turn in 0..turns {
            let (leg, most) = if turn % 2 == 0 { (Leg::ToTarget, sent) } else { (Leg::ToClient, sent / 3) };
            let byte = dice.below(most);
            let fault = if turn / 2 % 2 == 0 { LinkFault::CloseAfter(byte) } else { LinkFault::ResetAfter(byte) };
            let target = engine.fresh();
            let link = Arc::new(proxy(&engine));
            link.set(leg, fault);
            // The first connection alone is spoiled.
            let over = Arc::new(AtomicBool::new(false));
            let watcher = std::thread::spawn({
                let (link, over) = (link.clone(), over.clone());
                move || {
                    while link.connections() < 2 && !over.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    link.set_both(LinkFault::None);
                }
            });
            let report = migrate(&target, link.port());
            over.store(true, Ordering::SeqCst);
            watcher.join().unwrap();
            let report = report.unwrap_or_else(|error| panic!("{kind:?}, {leg:?}, {fault:?}: {error}"));
            assert_eq!(engine.dump(&target), expected, "{kind:?}, {leg:?}, {fault:?}: {report:?}");
            cut += u32::from(link.connections() > 1);
            found += report.found_applied;
        }
        println!("{}: {cut} of {turns} links cut in {sent} bytes, {found} statements found done", kind.name());
        assert!(cut > turns / 3, "{kind:?}: {cut}");
    }
}

/// Spoils a link when a script begins.
#[derive(Debug)]
struct Spoil {
    link: Arc<FaultProxy>,
    both: bool,
}

impl Observer for Spoil {
    fn on(&self, event: &Event) {
        if matches!(event, Event::Began { script, .. } if script == "V2__b.sql") {
            self.link.set(Leg::ToClient, LinkFault::Hold);
            if self.both {
                self.link.set(Leg::ToTarget, LinkFault::Hold);
            }
        }
    }
}

#[test]
fn a_half_open_link_ends_at_the_deadline_with_what_is_not_known_and_the_next_run_finds_out() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let alone = engine.fresh();
        let direct = |target: &Target, policy: Policy| {
            let builder = Migrator::builder(target.connect(), scripts(&files(kind))).with_policy(policy);
            block_on(builder.build().unwrap().run(&run()))
        };
        direct(&alone, policy()).unwrap();
        // The statement never arrives; or it does, and its answer does not.
        for both in [true, false] {
            let target = engine.fresh();
            let link = Arc::new(proxy(&engine));
            let spoil = Arc::new(Spoil { link: link.clone(), both });
            let builder = Migrator::builder(through(&target, link.port()), scripts(&files(kind)));
            let held = builder.with_policy(policy()).with_observer(spoil).build().unwrap();
            let late = std::thread::spawn(move || block_on(held.run(&run().with_deadline(Duration::from_secs(4)))));
            if !both {
                let until = Instant::now() + Duration::from_secs(20);
                while engine.try_sql(&target, "SELECT m FROM a").is_err() {
                    assert!(Instant::now() < until, "{kind:?}: the statement does not arrive");
                    std::thread::sleep(Duration::from_millis(5));
                }
                // Nor does the server hear that its client has gone.
                link.set(Leg::ToTarget, LinkFault::Hold);
            }
            let late = late.join().unwrap().unwrap_err();
            let MigrateError::Deadline { unknown: true, during, .. } = &late else { panic!("{kind:?}: {late}") };
            assert!(during.contains("V2__b.sql"), "{late}");
            assert!(late.to_string().contains("what it did is not known, the next run finds out: run again"), "{late}");
            // The server's end of the link still has the lock: named, and ended only by policy.
            let locked = direct(&target, policy().with_lock_deadline(Duration::from_millis(500))).unwrap_err();
            let MigrateError::Locked { holder: Some(holder), .. } = &locked else { panic!("{kind:?}: {locked}") };
            assert!(locked.to_string().contains(&format!("session {}", holder.session.number)), "{locked}");
            let report = direct(&target, policy().with_terminate_after(Some(Duration::from_millis(200)))).unwrap();
            assert_eq!(engine.dump(&target), engine.dump(&alone), "{kind:?}, both held: {both}: {report:?}");
        }
    }
}
