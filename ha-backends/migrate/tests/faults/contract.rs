//! What removes something waits for a permit, and for the last session of the old release.

use std::sync::Arc;

use ha_core::backend::{Applied, ContractPermit, Database, Effect, ErrorKind, LeaseEpoch, Migrate, ObserveDatabase};
use ha_core::state::Schema;
use ha_migrate::script::Phase;
use ha_migrate::{Connect, MigrateBackend, MigrateError, Migrator, MySql, OldRelease, Run, SessionRole, Undo};

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, migrator, policy, scripts};

const FILES: [(&str, &str); 4] = [
    ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 5);"),
    ("V2__add.sql", "ALTER TABLE a ADD COLUMN m int;"),
    (
        "V3__fill.sql",
        "-- ha:phase backfill\n-- ha:backfill table=a key=id\nUPDATE a SET m = n WHERE id BETWEEN :from AND :to;\n\
         -- ha:verify\nSELECT count(*) FROM a WHERE m IS NULL;",
    ),
    ("V4__drop.sql", "-- ha:phase contract\nALTER TABLE a DROP COLUMN n;"),
];

fn permit() -> ContractPermit {
    ContractPermit::by_person("m.keller", "the last old node is gone", vec!["4.2.0".into()])
}

#[test]
fn nothing_is_removed_without_a_permit() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let all = migrator(&target, &FILES);
        let refused = block_on(all.run(&Run::to(Phase::Contract))).unwrap_err();
        assert_eq!(refused, MigrateError::NoPermit { script: "V4__drop.sql".into() }, "{kind:?}");
        assert_eq!(engine.sql(&target, "SELECT n + m FROM a"), "10", "{kind:?}: the rest is done, and nothing removed");
        let report = block_on(all.run(&Run::to(Phase::Contract).with_permit(permit()))).unwrap();
        assert_eq!(report.applied, ["V4__drop.sql"]);
        assert!(engine.try_sql(&target, "SELECT n FROM a").is_err());
        let gone = block_on(all.undo(&Undo::down_to("1"))).unwrap_err();
        assert_eq!(gone, MigrateError::PointOfNoReturn { script: "V4__drop.sql".into() });
        let note = engine.sql(&target, "SELECT note FROM ha_migration_history WHERE version = '4'");
        assert!(note.contains("m.keller"), "{note}");
    }
}

#[test]
fn nothing_is_removed_while_a_session_of_the_old_release_is_connected() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let (old, connect): (_, Arc<dyn Connect>) = match kind {
            Kind::MariaDb => {
                engine.sql(
                    &target,
                    &format!("CREATE USER old@localhost; GRANT ALL ON {}.* TO old@localhost", target.database),
                );
                let connect = MySql::on_socket(&target.place, &target.database, "old").as_mariadb();
                (OldRelease::new("4.2.0").with_user("old"), Arc::new(connect))
            }
            Kind::Postgres | Kind::Sqlite => (OldRelease::new("4.2.0").with_application("esb-4.2.0"), target.connect()),
        };
        let all = Migrator::builder(target.connect(), scripts(&FILES)).with_policy(policy()).with_old_release(old);
        let all = all.build().unwrap();
        block_on(async {
            let mut session = connect.open(SessionRole::Reader).await.unwrap();
            if kind == Kind::Postgres {
                session.execute("SET application_name = 'esb-4.2.0'").await.unwrap();
            }
            let run = Run::to(Phase::Contract).with_permit(permit());
            let refused = all.run(&run).await.unwrap_err();
            let MigrateError::OldSessions(sessions) = &refused else { panic!("{kind:?}: {refused}") };
            assert_eq!(sessions[0].session.number, session.id().number, "{refused}");
            assert_eq!(engine.sql(&target, "SELECT n FROM a"), "5");
            drop(session);
            // The server needs a moment to see that it is gone.
            for _ in 0..200 {
                match all.run(&run).await {
                    Ok(report) => {
                        assert_eq!(report.applied, ["V4__drop.sql"]);
                        return;
                    }
                    Err(MigrateError::OldSessions(_)) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                    Err(error) => panic!("{error}"),
                }
            }
            panic!("{kind:?}: the session does not go");
        });
    }
}

#[test]
fn the_backend_brings_the_schema_from_state_to_state() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        block_on(migrator(&target, &FILES[..1]).run(&Run::to(Phase::Expand))).unwrap();
        let database = MigrateBackend::new(migrator(&target, &FILES)).with_base_version("1");
        let (low, high) = (LeaseEpoch::new(4), LeaseEpoch::new(7));
        block_on(async {
            assert_eq!(database.schema().await.unwrap(), Schema::Base);
            for to in [Schema::Expanded, Schema::Backfilled] {
                assert_eq!(database.migrate(high, Migrate::new(to)).await.unwrap(), Applied::Applied, "{kind:?}: {to}");
                assert_eq!(database.schema().await.unwrap(), to);
                assert_eq!(database.migrate(high, Migrate::new(to)).await.unwrap(), Applied::AlreadySo);
            }
            let denied = database.migrate(high, Migrate::new(Schema::Contracted)).await.unwrap_err();
            assert_eq!((denied.kind(), denied.effect()), (ErrorKind::Denied, Effect::None), "{denied}");
            let fenced =
                database.migrate(low, Migrate::new(Schema::Contracted).with_permit(permit())).await.unwrap_err();
            assert_eq!((fenced.kind(), fenced.effect()), (ErrorKind::Fenced, Effect::None), "{fenced}");
            assert_eq!(database.schema().await.unwrap(), Schema::Backfilled);
            database.migrate(high, Migrate::new(Schema::Contracted).with_permit(permit())).await.unwrap();
            assert_eq!(database.schema().await.unwrap(), Schema::Contracted);
        });
    }
}

#[test]
fn a_phase_without_scripts_is_reached_when_it_was_asked_for() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let database = MigrateBackend::new(migrator(&target, &FILES[..2]));
        block_on(async {
            let epoch = LeaseEpoch::new(1);
            for to in [Schema::Expanded, Schema::Backfilled, Schema::Contracted] {
                database.migrate(epoch, Migrate::new(to).with_permit(permit())).await.unwrap();
                assert_eq!(database.schema().await.unwrap(), to, "{kind:?}");
            }
        });
    }
}
