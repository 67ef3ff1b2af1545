//! A column is renamed by expand, backfill and contract while clients of both versions read and write every few milliseconds: no error, no
//! row that differs. The worst stall is printed; `HA_DB_ROWS=1000000` makes it the figure of the long job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ha_core::backend::ContractPermit;
use ha_migrate::script::Phase;
use ha_migrate::{Connect, Limits, Run, SessionRole};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, count, migrator};

const POSTGRES: [&str; 2] = [
    "ALTER TABLE orders ADD COLUMN total integer;
CREATE FUNCTION in_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' THEN NEW.total := coalesce(NEW.total, NEW.amount); NEW.amount := coalesce(NEW.amount, NEW.total);
    ELSIF NEW.amount IS DISTINCT FROM OLD.amount THEN NEW.total := NEW.amount;
    ELSIF NEW.total IS DISTINCT FROM OLD.total THEN NEW.amount := NEW.total; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER in_step BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION in_step();",
    "DROP TRIGGER in_step ON orders;\nDROP FUNCTION in_step();\nALTER TABLE orders DROP COLUMN amount;",
];

/// Each statement takes effect by itself here: updates are kept in step before the first row is filled.
const MARIADB: [&str; 2] = [
    "ALTER TABLE orders ADD COLUMN total integer, ALGORITHM=INSTANT;
CREATE TRIGGER in_step BEFORE UPDATE ON orders FOR EACH ROW
    SET NEW.total = IF(NEW.amount <=> OLD.amount, NEW.total, NEW.amount), NEW.amount = IF(NEW.total <=> OLD.total, NEW.amount, NEW.total);
CREATE TRIGGER in_step_too BEFORE INSERT ON orders FOR EACH ROW
    SET NEW.total = COALESCE(NEW.total, NEW.amount), NEW.amount = COALESCE(NEW.amount, NEW.total);",
    "DROP TRIGGER in_step;\nDROP TRIGGER in_step_too;\nALTER TABLE orders DROP COLUMN amount, ALGORITHM=INSTANT;",
];

const BACKFILL: &str = "-- ha:backfill table=orders key=id batch=2000
UPDATE orders SET total = amount WHERE id BETWEEN :from AND :to AND total IS NULL;
-- ha:verify
SELECT count(*) FROM orders WHERE total IS NULL OR total <> amount;";

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    errors: AtomicU32,
    operations: AtomicU32,
    worst_ms: AtomicU32,
}

/// Writes a row, changes it and reads it back, and an old one, under the name of the column that its version knows.
fn client(connect: Arc<dyn Connect>, column: &'static str, rows: u32, place: u32, seen: Arc<Seen>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut session = connect.open(SessionRole::Migrator).await.unwrap();
        let mut id = rows + place * 1_000_000;
        while !seen.stop.load(Ordering::SeqCst) {
            id += 1;
            let old = id % rows + 1;
            for sql in [
                format!("INSERT INTO orders (id, {column}) VALUES ({id}, 7)"),
                format!("UPDATE orders SET {column} = 8 WHERE id = {id}"),
                format!("SELECT {column} FROM orders WHERE id IN ({id}, {old}) ORDER BY id DESC"),
            ] {
                let began = Instant::now();
                let is_well = match sql.starts_with("SELECT") {
                    true => match session.query(&sql).await {
                        Ok(found) => found.len() == 2 && found[0][0].as_deref() == Some("8") && found[1][0].is_some(),
                        Err(_) => false,
                    },
                    false => session.execute(&sql).await.is_ok(),
                };
                let took = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
                seen.worst_ms.fetch_max(took, Ordering::SeqCst);
                seen.operations.fetch_add(1, Ordering::SeqCst);
                seen.errors.fetch_add(u32::from(!is_well), Ordering::SeqCst);
            }
            sleep(Duration::from_millis(2)).await;
        }
    })
}

/// Renames the column under load; returns the worst stall in milliseconds.
fn renamed(kind: Kind, rows: u32) -> u32 {
    let engine = Engine::start(kind);
    let target = engine.fresh();
    engine.sql(&target, "CREATE TABLE orders (id bigint PRIMARY KEY, amount integer)");
    let fill = match kind {
        Kind::MariaDb => format!("INSERT INTO orders SELECT seq, seq % 1000 FROM seq_1_to_{rows}"),
        Kind::Postgres | Kind::Sqlite => {
            format!("INSERT INTO orders SELECT g, g % 1000 FROM generate_series(1, {rows}) g")
        }
    };
    engine.sql(&target, &fill);
    let [expand, contract] = if kind == Kind::MariaDb { MARIADB } else { POSTGRES };
    let files =
        [("expand/V1__add.sql", expand), ("backfill/V2__fill.sql", BACKFILL), ("contract/V3__drop.sql", contract)];
    let migrator = migrator(&target, &files);
    let connect = target.connect_with(Limits::default().with_lock(Duration::from_secs(10)));
    block_on(async {
        let (old, new) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
        let mut clients: Vec<_> =
            (1..=2).map(|place| client(connect.clone(), "amount", rows, place, old.clone())).collect();
        migrator.run(&Run::to(Phase::Expand)).await.unwrap();
        migrator.run(&Run::to(Phase::Backfill)).await.unwrap();
        let both = (3..=4).map(|place| client(connect.clone(), "total", rows, place, new.clone()));
        let both: Vec<_> = both.collect();
        sleep(Duration::from_millis(300)).await;
        // The last old node is gone.
        old.stop.store(true, Ordering::SeqCst);
        for client in clients.drain(..) {
            client.await.unwrap();
        }
        let permit = ContractPermit::by_person("the test", "its clients have ended", vec!["4.2.0".into()]);
        migrator.run(&Run::to(Phase::Contract).with_permit(permit)).await.unwrap();
        sleep(Duration::from_millis(300)).await;
        new.stop.store(true, Ordering::SeqCst);
        for client in both {
            client.await.unwrap();
        }
        for (version, seen) in [("old", &old), ("new", &new)] {
            let operations = seen.operations.load(Ordering::SeqCst);
            assert_eq!(
                seen.errors.load(Ordering::SeqCst),
                0,
                "{kind:?}: errors of the {version} version in {operations}"
            );
            assert!(operations > 50, "{kind:?}: {operations} of the {version} version");
        }
        let wrong = format!("SELECT count(*) FROM orders WHERE id <= {rows} AND total <> id % 1000 OR total IS NULL");
        assert_eq!(engine.sql(&target, &wrong), "0", "{kind:?}");
        old.worst_ms.load(Ordering::SeqCst).max(new.worst_ms.load(Ordering::SeqCst))
    })
}

#[test]
fn a_column_is_renamed_under_load_without_an_error_of_either_version() {
    let rows = count("HA_DB_ROWS", 20_000);
    let turns = if rows > 100_000 { 5 } else { 1 };
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let mut worst: Vec<u32> = (0..turns).map(|_| renamed(kind, rows)).collect();
        worst.sort_unstable();
        println!(
            "{}: {rows} rows renamed under load, worst stall {} ms (median of {worst:?})",
            kind.name(),
            worst[turns / 2]
        );
    }
}
