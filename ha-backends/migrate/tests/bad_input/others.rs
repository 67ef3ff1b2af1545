//! Locks that a backup has brought back, and transactions of others: in the way for long, or in a deadlock.

use std::time::{Duration, Instant};

use ha_migrate::{Limits, MigrateError, Migrator, SessionRole};

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, expand, migrator, observed, policy, scripts};
use crate::says;

const A: (&str, &str) =
    ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1), (2, 2);");
const B: (&str, &str) = ("V2__b.sql", "CREATE TABLE b (id int);");

#[test]
fn a_lock_row_from_a_backup_is_taken_over_and_nobody_named_in_it_is_touched() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        block_on(migrator(&target, &[A]).run(&expand())).unwrap();
        block_on(async {
            // Its number is that of somebody else's session today.
            let mut other = target.connect().open(SessionRole::Reader).await.unwrap();
            let number = other.id().number;
            engine.sql(
                &target,
                &format!(
                    "UPDATE ha_migration_lock SET epoch = 70, owner = 'a machine that is gone', session_number = {number}, \
                     session_began = '2020-01-01 00:00:00.000000', beat = 9"
                ),
            );
            let (takes, kept) = observed(&target, &[A, B], policy().with_terminate_after(Some(Duration::ZERO)));
            let began = Instant::now();
            assert_eq!(takes.run(&expand()).await.unwrap().applied, ["V2__b.sql"], "{kind:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{kind:?}: a row is no lock");
            assert!(!format!("{:?}", kept.0.lock().unwrap()).contains("Waiting"), "{kind:?}");
            other.query("SELECT 1").await.unwrap_or_else(|error| panic!("{kind:?}: its session was ended: {error}"));
        });
        assert_eq!(engine.sql(&target, "SELECT epoch FROM ha_migration_lock"), "71", "{kind:?}");
    }
}

#[test]
fn a_lease_from_a_backup_that_is_higher_than_the_controllers_is_told_and_not_overridden() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        block_on(migrator(&target, &[A]).run(&expand())).unwrap();
        engine.sql(&target, "UPDATE ha_migration_lock SET lease = 900");
        let told = block_on(migrator(&target, &[A, B]).run(&expand().with_lease(5))).unwrap_err();
        assert_eq!(told, MigrateError::Fenced { seen: 900 }, "{kind:?}");
        says(&told.to_string(), &["900", "wrote nothing", "backup", "higher lease"]);
        assert!(engine.try_sql(&target, "SELECT * FROM b").is_err(), "{kind:?}");
        block_on(migrator(&target, &[A, B]).run(&expand().with_lease(901))).unwrap();
    }
}

#[test]
fn a_begun_statement_from_a_backup_is_judged_by_what_the_schema_shows() {
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    block_on(migrator(&target, &[A, B]).run(&expand())).unwrap();
    // As a backup taken in the middle of V2 holds it: begun by a session that is nobody's, its table not there.
    engine.sql(
        &target,
        "DROP TABLE b; DELETE FROM ha_migration_history WHERE version = '2'; \
         UPDATE ha_migration_step SET state = 'begun', done_at = NULL, post_fp = NULL, session_began = '1' WHERE version = '2'",
    );
    let report = block_on(migrator(&target, &[A, B]).run(&expand())).unwrap();
    assert_eq!((report.applied, report.redone), (vec!["V2__b.sql".to_owned()], 1));
    engine.sql(&target, "SELECT * FROM b");
}

#[test]
fn a_long_transaction_on_mariadb_is_named_and_no_queue_builds_up_behind_the_migrator() {
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    let add = ("V2__m.sql", "ALTER TABLE a ADD COLUMN m int;");
    block_on(migrator(&target, &[A]).run(&expand())).unwrap();
    block_on(async {
        let mut idle = target.connect().open(SessionRole::Migrator).await.unwrap();
        idle.execute("START TRANSACTION").await.unwrap();
        idle.query("SELECT * FROM a").await.unwrap();
        let (gives_up, _) = observed(&target, &[A, add], policy().with_retry_deadline(Duration::from_millis(1_500)));
        let run = tokio::spawn(async move { gives_up.run(&expand()).await });
        // Others write meanwhile.
        let mut client = target.connect().open(SessionRole::Migrator).await.unwrap();
        let mut worst = Duration::ZERO;
        while !run.is_finished() {
            let began = Instant::now();
            client.execute("UPDATE a SET n = n + 1 WHERE id = 2").await.unwrap();
            worst = worst.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let failed = run.await.unwrap().unwrap_err();
        let MigrateError::Statement(of) = &failed else { panic!("{failed}") };
        assert_eq!(of.blockers.first().map(|one| one.session.number), Some(idle.id().number), "{failed}");
        let session = format!("session {} of root", idle.id().number);
        says(&failed.to_string(), &["V2__m.sql, statement 1 (line 1)", &session, "busy for", "0 of its 1 statements"]);
        says(&failed.to_string(), &["end the transactions that are in the way or wait for them, then run again"]);
        println!("worst stall of a writer beside an idle transaction: {worst:?}");
        assert!(worst < Duration::from_millis(1_000), "a queue: {worst:?}");
        idle.execute("COMMIT").await.unwrap();
    });
    block_on(migrator(&target, &[A, add]).run(&expand())).unwrap();
    assert_eq!(engine.sql(&target, "SELECT count(*) FROM a WHERE m IS NULL"), "2");
}

#[test]
fn the_victim_of_a_deadlock_is_rolled_back_and_run_again_once() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let rows = match kind {
            Kind::MariaDb => "INSERT INTO heavy SELECT seq FROM seq_1_to_5000",
            Kind::Postgres | Kind::Sqlite => "INSERT INTO heavy SELECT g FROM generate_series(1, 5000) g",
        };
        let work = ("V2__w.sql", "UPDATE a SET n = n + 10 WHERE id >= 1;");
        let heavy = ("V1_1__h.sql", "CREATE TABLE heavy (id int PRIMARY KEY);");
        block_on(migrator(&target, &[A, heavy]).run(&expand())).unwrap();
        // Long enough that the deadlock is found first.
        let patient = Limits::default().with_lock(Duration::from_secs(20)).with_row_lock(Duration::from_secs(20));
        let report = block_on(async {
            let mut other = target.connect_with(patient).open(SessionRole::Migrator).await.unwrap();
            if kind == Kind::Postgres {
                // Whoever looks first is the victim: not this one.
                other.execute("SET deadlock_timeout = '60s'").await.unwrap();
            }
            other.execute("BEGIN").await.unwrap();
            // MariaDB rolls back whoever has changed less.
            other.execute(rows).await.unwrap();
            other.execute("UPDATE a SET n = n + 100 WHERE id = 2").await.unwrap();
            let builder = Migrator::builder(target.connect_with(patient), scripts(&[A, heavy, work]));
            let victim = builder.with_policy(policy()).build().unwrap();
            let run = tokio::spawn(async move { victim.run(&expand()).await });
            wait_until_blocked(&engine, &target).await;
            other.execute("UPDATE a SET n = n + 100 WHERE id = 1").await.unwrap();
            other.execute("COMMIT").await.unwrap();
            run.await.unwrap().unwrap_or_else(|error| panic!("{kind:?}: {error}"))
        });
        assert!(report.retries >= 1, "{kind:?}: {report:?}");
        assert_eq!(engine.sql(&target, "SELECT sum(n) FROM a"), "223", "{kind:?}: both are there, each once");
    }
}

/// Waits until the migrator has its first row and waits for the second one.
async fn wait_until_blocked(engine: &Engine, target: &crate::engine::Target) {
    let blocked = match engine.kind {
        Kind::MariaDb => "SELECT count(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'",
        Kind::Postgres | Kind::Sqlite => "SELECT count(*) FROM pg_locks WHERE NOT granted",
    };
    // InnoDB tells anew only who has not asked for a tenth of a second: whoever asks more often sees the first answer for ever.
    let pause = Duration::from_millis(150);
    let until = Instant::now() + Duration::from_secs(20);
    while engine.sql(target, blocked) == "0" {
        assert!(Instant::now() < until, "{:?}: nobody waits", engine.kind);
        tokio::time::sleep(pause).await;
    }
}
