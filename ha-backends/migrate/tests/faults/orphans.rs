//! A dead client does not stop the server: whoever comes next waits for what is still at work.

use std::time::{Duration, Instant};

use ha_migrate::script::Phase;
use ha_migrate::{DbErrorKind, Event, Limits, MigrateError, Migrator, Run};

use crate::chaos;
use crate::engine::{Engine, Kind};
use crate::kit::{block_on, migrator, observed, policy, scripts};
use crate::process::Process;

#[test]
fn a_migrator_killed_inside_a_long_statement_is_followed_at_once_and_nothing_happens_twice() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let mut killed = Process::start(&target, "slow");
        let busy = match kind {
            Kind::Postgres => {
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(1.2)%' AND pid <> pg_backend_pid()"
            }
            Kind::MariaDb | Kind::Sqlite => {
                "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%long_one%' AND ID <> CONNECTION_ID()"
            }
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !engine.try_sql(&target, busy).is_ok_and(|count| count.trim() != "0") {
            assert!(Instant::now() < deadline, "{kind:?}: it does not begin");
        }
        assert!(killed.run_for(Duration::ZERO).is_none());
        let began = Instant::now();
        let files = chaos::set("slow", kind);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (next, kept) = observed(&target, &files, policy());
        let report = block_on(next.run(&Run::to(Phase::Expand))).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let waited = kept.0.lock().unwrap().iter().any(|event| matches!(event, Event::Waiting { .. }));
        println!(
            "{}: the next one was done after {:?} (waited for a lock: {waited}): {report:?}",
            kind.name(),
            began.elapsed()
        );
        assert_eq!(engine.sql(&target, "SELECT n FROM counter"), "3", "{kind:?}: {report:?}");
    }
}

#[test]
fn indexes_are_built_while_others_wait_for_the_lock_and_none_is_left_invalid() {
    let engine = Engine::start(Kind::Postgres);
    let target = engine.fresh();
    let mut all: Vec<Process> = (0..8).map(|_| Process::start(&target, "concurrent")).collect();
    for process in &mut all {
        let status = process.run_for(Duration::from_secs(120));
        assert!(status.is_some_and(|status| status.success()), "{}", process.printed());
    }
    let indexes = "SELECT count(*) FILTER (WHERE indisvalid), count(*) FROM pg_index WHERE indrelid = 'big'::regclass";
    assert_eq!(engine.sql(&target, indexes), "7|7");
}

#[test]
fn a_statement_that_runs_too_long_did_not_happen_and_is_named() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let files = chaos::set("slow", kind);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let connect = target.connect_with(Limits::default().with_statement(Duration::from_millis(150)));
        let hasty = Migrator::builder(connect, scripts(&files)).with_policy(policy()).build().unwrap();
        let failed = block_on(hasty.run(&Run::to(Phase::Expand))).unwrap_err();
        let MigrateError::Statement(of) = &failed else { panic!("{kind:?}: {failed}") };
        assert_eq!((of.error.kind, of.script.as_str()), (DbErrorKind::Cancelled, "V2__long.sql"), "{failed}");
        block_on(migrator(&target, &files).run(&Run::to(Phase::Expand))).unwrap();
        assert_eq!(engine.sql(&target, "SELECT n FROM counter"), "3", "{kind:?}");
    }
}

#[test]
fn a_run_past_its_deadline_says_what_was_under_way_and_the_next_one_completes_it() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let files = chaos::set("slow", kind);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let one = migrator(&target, &files);
        let late = block_on(one.run(&Run::to(Phase::Expand).with_deadline(Duration::from_millis(400)))).unwrap_err();
        let MigrateError::Deadline { during, .. } = &late else { panic!("{kind:?}: {late}") };
        assert!(!during.is_empty(), "{late}");
        block_on(one.run(&Run::to(Phase::Expand))).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(engine.sql(&target, "SELECT n FROM counter"), "3", "{kind:?}");
    }
}

#[test]
fn a_dropped_run_leaves_what_the_next_one_completes() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let alone = engine.fresh();
        assert!(Process::start(&alone, "work").run_for(Duration::from_secs(60)).is_some_and(|status| status.success()));
        let files = chaos::set("work", kind);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let target = engine.fresh();
        let one = migrator(&target, &files);
        let run = Run::to(Phase::Backfill);
        block_on(async {
            for millis in [5, 20, 40, 60, 90] {
                // Dropped at some await: the statement under way may go on.
                let _ = tokio::time::timeout(Duration::from_millis(millis), one.run(&run)).await;
            }
            one.run(&run).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        });
        assert_eq!(engine.dump(&target), engine.dump(&alone), "{kind:?}");
    }
}
