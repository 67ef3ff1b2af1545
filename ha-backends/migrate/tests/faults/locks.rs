//! More than one migrator, and everybody else who holds locks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_migrate::script::Phase;
use ha_migrate::{Event, Limits, MigrateError, Migrator, Observer, Policy, Run, SessionRole};

use crate::chaos;
use crate::engine::{Engine, Kind};
use crate::kit::{block_on, expand, migrator, observed, policy, scripts};
use crate::process::Process;

#[test]
fn two_and_eight_migrators_at_once_run_each_script_once() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let alone = engine.fresh();
        assert!(Process::start(&alone, "work").run_for(Duration::from_secs(60)).is_some_and(|status| status.success()));
        for many in [2, 8] {
            let target = engine.fresh();
            let mut all: Vec<Process> = (0..many).map(|_| Process::start(&target, "work")).collect();
            for process in &mut all {
                let status = process.run_for(Duration::from_secs(120));
                assert!(status.is_some_and(|status| status.success()), "{kind:?}, {many}: {}", process.printed());
            }
            assert_eq!(engine.dump(&target), engine.dump(&alone), "{kind:?}, {many} at once");
            let rows = engine.sql(&target, "SELECT count(*) FROM ha_migration_history");
            let scripts = chaos::set("work", kind).len();
            assert_eq!(rows, scripts.to_string(), "{kind:?}: one row a script");
        }
    }
}

#[test]
fn a_controller_with_a_lower_lease_is_fenced_and_writes_nothing() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let a = ("V1__a.sql", "CREATE TABLE a (id int);");
        let b = ("V2__b.sql", "CREATE TABLE b (id int);");
        block_on(migrator(&target, &[a]).run(&expand().with_lease(9))).unwrap();
        let fenced = block_on(migrator(&target, &[a, b]).run(&expand().with_lease(8))).unwrap_err();
        assert_eq!(fenced, MigrateError::Fenced { seen: 9 }, "{kind:?}");
        assert!(engine.try_sql(&target, "SELECT * FROM b").is_err());
        block_on(migrator(&target, &[a, b]).run(&expand().with_lease(9))).unwrap();
    }
}

/// Does something before the statement or script of a name begins.
struct Before<F>(&'static str, F);

impl<F> std::fmt::Debug for Before<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Before({})", self.0)
    }
}

impl<F: Fn() + Send + Sync + 'static> Observer for Before<F> {
    fn on(&self, event: &Event) {
        if matches!(event, Event::Began { script, .. } if script == self.0) {
            self.1();
        }
    }
}

#[test]
fn a_run_that_is_overtaken_before_a_script_writes_nothing_of_it() {
    let engine = Arc::new(Engine::start(Kind::Postgres));
    let files = [("V1__a.sql", "CREATE TABLE a (id int);"), ("V2__b.sql", "CREATE TABLE b (id int);")];
    let raise = "UPDATE ha_migration_lock SET epoch = epoch + 1";
    // Done when the script begins, or under way: then the script waits for its end.
    let waited_for = format!(
        "DO $$ BEGIN {raise}; WHILE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))) \
         LOOP PERFORM pg_sleep(0.005); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
    );
    for (sql, under_way) in [(raise.to_owned(), false), (waited_for, true)] {
        let target = engine.fresh();
        let (at, of) = (engine.clone(), target.clone());
        let overtake = move || {
            let (engine, target, sql) = (at.clone(), of.clone(), sql.clone());
            let raised = std::thread::spawn(move || engine.sql(&target, &sql));
            let locked = "SELECT count(*) FROM (SELECT 1 FROM ha_migration_lock FOR UPDATE SKIP LOCKED) l";
            while under_way && at.sql(&of, locked) != "0" {}
            if !under_way {
                raised.join().unwrap();
            }
        };
        let connect = target.connect_with(Limits::default().with_lock(Duration::from_secs(20)));
        let builder =
            Migrator::builder(connect, scripts(&files)).with_observer(Arc::new(Before("V2__b.sql", overtake)));
        let fenced = block_on(builder.build().unwrap().run(&expand())).unwrap_err();
        assert_eq!(fenced, MigrateError::Fenced { seen: 2 }, "under way: {under_way}");
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM pg_class WHERE relname = 'b'"), "0");
        assert_eq!(engine.sql(&target, "SELECT string_agg(version, ' ') FROM ha_migration_history"), "1");
        block_on(migrator(&target, &files).run(&expand())).unwrap();
        assert_eq!(engine.sql(&target, "SELECT string_agg(version, ' ') FROM ha_migration_history"), "1 2");
    }
}

#[test]
fn a_script_that_removes_all_prepared_statements_runs_once_and_so_do_those_after_it() {
    let engine = Engine::start(Kind::Postgres);
    let target = engine.fresh();
    let files = [
        ("V1__a.sql", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);"),
        ("V2__b.sql", "UPDATE a SET n = n + 1;\nDEALLOCATE ALL;\nUPDATE a SET n = n * 10;"),
        ("V3__c.sql", "UPDATE a SET n = n + 1;"),
        ("V4__d.sql", "UPDATE a SET n = 'x'::text::int;"),
    ];
    let failed = block_on(migrator(&target, &files).run(&expand())).unwrap_err();
    let MigrateError::Statement(of) = &failed else { panic!("a script's own mistake is no fence: {failed}") };
    assert_eq!(of.error.code, "22P02", "{failed}");
    assert_eq!(engine.sql(&target, "SELECT n FROM a"), "21");
    assert_eq!(engine.sql(&target, "SELECT string_agg(version, ' ') FROM ha_migration_history"), "1 2 3");
}

#[test]
fn an_old_transaction_is_waited_for_outside_of_the_queue_and_named_at_the_deadline() {
    let engine = Engine::start(Kind::Postgres);
    let target = engine.fresh();
    let a = ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1);");
    let b = ("V2__b.sql", "ALTER TABLE a ADD COLUMN m int;");
    block_on(migrator(&target, &[a]).run(&expand())).unwrap();
    block_on(async {
        let connect = target.connect_with(Limits::default().with_lock(Duration::from_secs(20)));
        let mut idle = connect.open(SessionRole::Migrator).await.unwrap();
        idle.execute("BEGIN").await.unwrap();
        idle.query("SELECT * FROM a").await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (gives_up, _) = observed(&target, &[a, b], policy().with_retry_deadline(Duration::from_millis(700)));
        let failed = gives_up.run(&expand()).await.unwrap_err();
        let MigrateError::Statement(of) = &failed else { panic!("{failed}") };
        let blockers = &of.blockers;
        assert_eq!(blockers[0].session.number, idle.id().number, "{failed}");
        assert!(failed.to_string().contains("session ") && blockers[0].age >= Duration::from_millis(150), "{failed}");

        // A client goes on reading while the migrator waits: nobody queues behind a strong lock.
        let (waits, kept) = observed(&target, &[a, b], policy());
        let run = tokio::spawn(async move { waits.run(&expand()).await });
        let mut client = connect.open(SessionRole::Reader).await.unwrap();
        let (mut worst, until) = (Duration::ZERO, Instant::now() + Duration::from_millis(1_500));
        while Instant::now() < until {
            let began = Instant::now();
            client.query("SELECT n FROM a").await.unwrap();
            worst = worst.max(began.elapsed());
        }
        assert!(!run.is_finished());
        idle.execute("COMMIT").await.unwrap();
        run.await.unwrap().unwrap();
        println!("worst stall of a reader beside an idle transaction: {worst:?}");
        let blocked = |event: &Event| matches!(event, Event::Blocked { .. });
        assert!(kept.0.lock().unwrap().iter().any(blocked), "the wait was told");
    });
}

#[test]
fn an_old_reader_does_not_keep_a_script_waiting_that_lets_it_read() {
    let engine = Engine::start(Kind::Postgres);
    let target = engine.fresh();
    let a = ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);");
    let b = ("V2__b.sql", "CREATE INDEX i ON a (n);");
    block_on(async {
        migrator(&target, &[a]).run(&expand()).await.unwrap();
        let mut idle = target.connect().open(SessionRole::Migrator).await.unwrap();
        idle.execute("BEGIN").await.unwrap();
        idle.query("SELECT * FROM a").await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (runs, kept) = observed(&target, &[a, b], policy().with_retry_deadline(Duration::from_secs(2)));
        assert_eq!(runs.run(&expand()).await.unwrap().applied, ["V2__b.sql"]);
        assert!(!kept.0.lock().unwrap().iter().any(|event| matches!(event, Event::Blocked { .. })));
    });
}

#[test]
fn a_lock_that_is_not_granted_is_tried_again_until_it_is() {
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    let a = ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1);");
    let b = ("V2__b.sql", "ALTER TABLE a ADD COLUMN m int;\nUPDATE a SET n = n + 1;");
    block_on(migrator(&target, &[a]).run(&expand())).unwrap();
    block_on(async {
        let mut idle = target.connect().open(SessionRole::Migrator).await.unwrap();
        idle.execute("START TRANSACTION").await.unwrap();
        idle.query("SELECT * FROM a").await.unwrap();
        let short = policy().with_retry_deadline(Duration::from_millis(500));
        let failed = observed(&target, &[a, b], short).0.run(&expand()).await.unwrap_err();
        assert!(matches!(&failed, MigrateError::Statement(of) if of.attempts > 1 && of.done == 0), "{failed}");
        let waits = migrator(&target, &[a, b]);
        let run = tokio::spawn(async move { waits.run(&expand()).await });
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(!run.is_finished());
        idle.execute("COMMIT").await.unwrap();
        let report = run.await.unwrap().unwrap();
        assert!(report.retries > 0, "{report:?}");
    });
    assert_eq!(engine.sql(&target, "SELECT n, m IS NULL FROM a").replace('\t', " "), "2 1");
}

#[test]
fn a_session_that_an_administrator_ends_is_replaced_and_the_work_is_done_once() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let (kept, run) = {
            let files = chaos::set("work", kind);
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            let (one, kept) = observed(&target, &files, policy());
            (kept, std::thread::spawn(move || block_on(one.run(&Run::to(Phase::Backfill)))))
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let begun = |event: &Event| matches!(event, Event::Began { script, .. } if script == "V4__s.sql");
        while !kept.0.lock().unwrap().iter().any(begun) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        match kind {
            Kind::Postgres => {
                engine.sql(
                    &target,
                    "SELECT pg_terminate_backend(session_number::int) FROM ha_migration_lock WHERE id = 1",
                );
            }
            Kind::MariaDb | Kind::Sqlite => {
                let number = engine.sql(&target, "SELECT session_number FROM ha_migration_lock");
                engine.sql(&target, &format!("KILL CONNECTION {number}"));
            }
        }
        let report = run.join().unwrap().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert!(report.reconnects >= 1, "{kind:?}: {report:?}");
        let alone = engine.fresh();
        assert!(Process::start(&alone, "work").run_for(Duration::from_secs(60)).is_some_and(|status| status.success()));
        assert_eq!(engine.dump(&target), engine.dump(&alone), "{kind:?}");
    }
}

#[test]
fn a_stopped_holder_is_waited_for_in_bounds_named_and_ended_only_by_policy() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let mut stopped = Process::start(&target, "work");
        let pid = stopped.0.id().to_string();
        let signal = |name: &str| {
            assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !engine.try_sql(&target, "SELECT count(*) FROM ha_migration_history").is_ok_and(|rows| rows.trim() != "0")
        {
            assert!(Instant::now() < deadline, "{kind:?}: it does not begin");
        }
        signal("-STOP");
        let files = chaos::set("work", kind);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let with =
            |policy: Policy| Migrator::builder(target.connect(), scripts(&files)).with_policy(policy).build().unwrap();
        let waits = with(policy().with_lock_deadline(Duration::from_millis(600)));
        let locked = block_on(waits.run(&Run::to(Phase::Backfill))).unwrap_err();
        let MigrateError::Locked { holder: Some(holder), .. } = &locked else { panic!("{kind:?}: {locked}") };
        assert!(holder.session.number > 0, "{locked}");
        let ends = with(policy().with_terminate_after(Some(Duration::from_millis(300))));
        block_on(ends.run(&Run::to(Phase::Backfill))).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let done = engine.dump(&target);
        signal("-CONT");
        // It connects again, and finds nothing to do.
        let status = stopped.run_for(Duration::from_secs(60));
        assert!(status.is_some_and(|status| status.success()), "{kind:?}: {}", stopped.printed());
        assert_eq!(engine.dump(&target), done, "{kind:?}: it changed nothing");
    }
}
