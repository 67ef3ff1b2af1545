//! Baseline scripts (`B`): a schema that is empty is made at once, and one that is not is migrated step by step.

use ha_core::backend::{Applied, Database, LeaseEpoch, Migrate, ObserveDatabase};
use ha_core::state::Schema;
use ha_migrate::script::Phase;
use ha_migrate::{MigrateBackend, MigrateError, Migrator, ScriptState, Status, Undo};

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, expand, migrator, policy, scripts};

const B3: (&str, &str) = ("B3__old.sql", "CREATE TABLE never (id int);");
const B5: (&str, &str) =
    ("B5__all.sql", "CREATE TABLE a (id int PRIMARY KEY, n int, m int);\nINSERT INTO a VALUES (1, 5, 5);");
const V1: (&str, &str) = ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1);");
const V5: (&str, &str) = ("V5__m.sql", "ALTER TABLE a ADD COLUMN m int;");
const V5_1: (&str, &str) = ("V5_1__k.sql", "ALTER TABLE a ADD COLUMN k int;");
const V9: (&str, &str) = ("contract/V9__n.sql", "ALTER TABLE a DROP COLUMN m;");
const R: (&str, &str) = ("R__v.sql", "DROP VIEW IF EXISTS v;\nCREATE VIEW v AS SELECT n FROM a;");
const ALL: [(&str, &str); 7] = [B3, B5, V1, V5, V5_1, V9, R];

fn states(status: &Status) -> Vec<(&str, ScriptState)> {
    status.scripts.iter().map(|script| (script.script.as_str(), script.state)).collect()
}

#[test]
fn an_empty_schema_gets_the_newest_baseline_and_what_comes_after_it() {
    use ScriptState::{Applied, Pending, Skipped};
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let all = migrator(&target, &ALL);
        block_on(async {
            let of = |b5, later, r| {
                [
                    (V1.0, Skipped),
                    (B3.0, Skipped),
                    (B5.0, b5),
                    (V5.0, Skipped),
                    (V5_1.0, later),
                    (V9.0, Pending),
                    (R.0, r),
                ]
            };
            assert_eq!(states(&all.status().await.unwrap()), of(Pending, Pending, Pending), "{kind:?}");
            assert_eq!(all.run(&expand()).await.unwrap().applied, [B5.0, V5_1.0, R.0], "{kind:?}");
            assert_eq!(all.run(&expand()).await.unwrap().applied, Vec::<String>::new(), "{kind:?}");
            let status = all.status().await.unwrap();
            assert_eq!(states(&status), of(Applied, Applied, Applied), "{kind:?}");
            assert!(status.is_complete(Phase::Expand) && status.findings.is_empty(), "{kind:?}: {status:?}");
        });
        assert_eq!(engine.sql(&target, "SELECT n FROM v"), "5", "{kind:?}");
        assert!(engine.try_sql(&target, "SELECT * FROM never").is_err(), "{kind:?}");
        let row = engine.sql(&target, "SELECT version, kind, state FROM ha_migration_history WHERE installed_rank = 1");
        assert_eq!(row.replace(['|', '\t'], " "), "B:5 B success", "{kind:?}");
        // A script that comes late, and below the baseline, is not run and no mistake.
        let late = ("V2__late.sql", "CREATE TABLE late (id int);");
        let more = migrator(&target, &[B5, V1, late, V5, V5_1, R]);
        assert_eq!(block_on(more.run(&expand())).unwrap().applied, Vec::<String>::new(), "{kind:?}");
        // A newer baseline is for others.
        let newer = migrator(&target, &[("B6__all.sql", "CREATE TABLE six (id int);"), B5, V5_1, R]);
        assert_eq!(block_on(newer.run(&expand())).unwrap().applied, Vec::<String>::new(), "{kind:?}");
        let back = block_on(all.undo(&Undo::down_to("1"))).unwrap_err();
        assert!(matches!(&back, MigrateError::Script { script, .. } if script == B5.0), "{kind:?}: {back}");
    }
}

#[test]
fn a_schema_that_is_not_empty_ignores_baselines() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        // Somebody else's table, and no history.
        let target = engine.fresh();
        engine.sql(&target, "CREATE TABLE theirs (id int)");
        let applied = block_on(migrator(&target, &ALL).run(&expand())).unwrap().applied;
        assert_eq!(applied, [V1.0, V5.0, V5_1.0, R.0], "{kind:?}");
        assert_eq!(engine.sql(&target, "SELECT n FROM v"), "1", "{kind:?}");
        // A history that began with the first version.
        let target = engine.fresh();
        block_on(migrator(&target, &[V1]).run(&expand())).unwrap();
        let status = block_on(migrator(&target, &ALL).status()).unwrap();
        assert_eq!(status.scripts[1].state, ScriptState::Skipped, "{kind:?}: {status:?}");
        let applied = block_on(migrator(&target, &ALL).run(&expand())).unwrap().applied;
        assert_eq!(applied, [V5.0, V5_1.0, R.0], "{kind:?}");
    }
}

#[test]
fn a_half_applied_baseline_is_gone_on_with_and_not_taken_for_somebody_elses_schema() {
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    let broken = ("B5__all.sql", "CREATE TABLE a (id int PRIMARY KEY, n int, m int);\nINSERT INTO nowhere VALUES (1);");
    let failed = block_on(migrator(&target, &[broken, V1, V5, V5_1]).run(&expand())).unwrap_err();
    assert!(matches!(&failed, MigrateError::Statement(of) if (of.statement, of.done) == (2, 1)), "{failed}");
    let mended = migrator(&target, &[B5, ("B6__x.sql", "CREATE TABLE never (id int);"), V1, V5, V5_1]);
    assert_eq!(block_on(mended.status()).unwrap().scripts[1].state, ScriptState::HalfDone);
    assert_eq!(block_on(mended.run(&expand())).unwrap().applied, [B5.0, V5_1.0]);
    assert_eq!(engine.sql(&target, "SELECT n FROM a"), "5");
}

#[test]
fn flyway_sees_a_baseline_as_its_own() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let builder = Migrator::builder(target.connect(), scripts(&[B5, V1, V5, V5_1]));
        block_on(builder.with_policy(policy()).with_mirror_flyway(true).build().unwrap().run(&expand())).unwrap();
        let rows =
            engine.sql(&target, "SELECT version, type, script FROM flyway_schema_history ORDER BY installed_rank");
        let expected = "5 SQL_BASELINE B5__all.sql\n5.1 SQL V5_1__k.sql";
        assert_eq!(rows.replace(['|', '\t'], " "), expected, "{kind:?}");
        // What Flyway has made so is taken over: without our own history nothing is run again.
        engine.sql(
            &target,
            "DROP TABLE ha_migration_history; DROP TABLE ha_migration_step; DROP TABLE ha_migration_lock",
        );
        let applied = block_on(migrator(&target, &[B5, V1, V5, V5_1]).run(&expand())).unwrap().applied;
        assert_eq!(applied, Vec::<String>::new(), "{kind:?}");
    }
}

#[test]
fn the_backend_reaches_its_states_by_a_baseline() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let database = MigrateBackend::new(migrator(&target, &ALL));
        block_on(async {
            assert_eq!(database.schema().await.unwrap(), Schema::Base, "{kind:?}");
            let epoch = LeaseEpoch::new(3);
            let to = Migrate::new(Schema::Expanded);
            assert_eq!(database.migrate(epoch, to.clone()).await.unwrap(), Applied::Applied, "{kind:?}");
            assert_eq!(database.schema().await.unwrap(), Schema::Expanded, "{kind:?}");
            assert_eq!(database.migrate(epoch, to).await.unwrap(), Applied::AlreadySo, "{kind:?}");
        });
    }
}
