//! Kills at random moments: the end is what an undisturbed run makes, each statement's effect exactly once.

use std::time::{Duration, Instant};

use ha_lab::DatabaseSpec;

use crate::engine::{Engine, Kind, Target};
use crate::kit::{Dice, count};
use crate::process::Process;

/// The scripts of a set, for an engine.
pub(crate) fn set(name: &str, kind: Kind) -> Vec<(String, String)> {
    match name {
        "work" => work(kind),
        "quick" => vec![(
            "V1__a.sql".into(),
            "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1);".into(),
        )],
        "slow" => slow(kind),
        "concurrent" => concurrent(),
        other => panic!("no set {other}"),
    }
}

/// One statement that takes about a second, and what comes before and after it.
fn slow(kind: Kind) -> Vec<(String, String)> {
    let one = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let base = "CREATE TABLE counter (id int PRIMARY KEY, n int);\nINSERT INTO counter VALUES (1, 0);";
    let raise = "UPDATE counter SET n = n + 1 WHERE id = 1;";
    let long = match kind {
        Kind::Postgres => {
            format!("{raise}\nSELECT pg_sleep(1.2);\nCREATE TABLE long_one (id int PRIMARY KEY);\n{raise}")
        }
        Kind::MariaDb => format!(
            "{raise}\nCREATE TABLE long_one (id int PRIMARY KEY, n int) AS SELECT s.seq AS id, 1 AS n FROM seq_1_to_600000 s;\n\
             ALTER TABLE long_one MODIFY n bigint, ALGORITHM=COPY;\n{raise}"
        ),
        Kind::Sqlite => format!("{raise}\n{raise}"),
    };
    vec![one("V1__base.sql", base), one("V2__long.sql", &long), one("V3__last.sql", raise)]
}

/// Indexes that PostgreSQL builds while others write.
fn concurrent() -> Vec<(String, String)> {
    let mut scripts = vec![(
        "V1__base.sql".to_owned(),
        "CREATE TABLE big (id int PRIMARY KEY, n int);\nINSERT INTO big SELECT g, g % 7 FROM generate_series(1, 60000) g;".to_owned(),
    )];
    for number in 2..8 {
        scripts.push((format!("V{number}__i.sql"), format!("CREATE INDEX CONCURRENTLY i{number} ON big (n, id);")));
    }
    scripts
}

/// 21 scripts: tables, rows, columns, indexes, a counter that each script raises by one, a backfill.
fn work(kind: Kind) -> Vec<(String, String)> {
    let rows = |table: &str, from: u32, to: u32| match kind {
        Kind::Postgres => format!("INSERT INTO {table} (id, n) SELECT g, g % 7 FROM generate_series({from}, {to}) g;"),
        Kind::MariaDb => format!("INSERT INTO {table} (id, n) SELECT seq, seq % 7 FROM seq_{from}_to_{to};"),
        Kind::Sqlite => format!(
            "INSERT INTO {table} (id, n) WITH RECURSIVE g(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM g WHERE i < {to}) \
             SELECT i, i % 7 FROM g;"
        ),
    };
    let raise = "UPDATE counter SET n = n + 1 WHERE id = 1;";
    let mut scripts = vec![(
        "V1__base.sql".to_owned(),
        format!(
            "CREATE TABLE counter (id int PRIMARY KEY, n int);\nINSERT INTO counter (id, n) VALUES (1, 0);\n\
             CREATE TABLE big (id int PRIMARY KEY, n int);\n{}\n{raise}",
            rows("big", 1, 8_000)
        ),
    )];
    for number in 2..20 {
        let text = match number % 6 {
            0 => format!(
                "CREATE TABLE t{number} (id int PRIMARY KEY, n int);\n{}\n{raise}",
                rows(&format!("t{number}"), 1, 300)
            ),
            1 => format!("{raise}\n{}\n{raise}", rows("big", number * 10_000, number * 10_000 + 900)),
            2 => format!(
                "ALTER TABLE big ADD COLUMN c{number} int;\n{raise}\nUPDATE big SET c{number} = n + 1 WHERE id % 3 = 0;"
            ),
            3 if kind == Kind::Postgres => format!("CREATE INDEX CONCURRENTLY i{number} ON big (n, id);"),
            3 => format!("CREATE INDEX i{number} ON big (n, id);\n{raise}"),
            4 if kind == Kind::MariaDb => {
                format!(
                    "SET @before = {number};\nCREATE TABLE m{number} (id int PRIMARY KEY, n int);\nALTER TABLE big MODIFY n bigint;\n{raise}\n\
                         ALTER TABLE big MODIFY n int;\nRENAME TABLE m{number} TO r{number};\n{raise}"
                )
            }
            4 => format!(
                "CREATE TABLE m{number} (id int PRIMARY KEY, n int);\n{raise}\nALTER TABLE m{number} RENAME TO r{number};\n{raise}"
            ),
            _ => {
                format!("CREATE TABLE d{number} (id int PRIMARY KEY, n int);\n{raise}\nDROP TABLE d{number};\n{raise}")
            }
        };
        scripts.push((format!("V{number}__s.sql"), text));
    }
    scripts.push(("V20__column.sql".into(), "ALTER TABLE big ADD COLUMN filled int;".into()));
    scripts.push((
        "V21__fill.sql".into(),
        "-- ha:phase backfill\n-- ha:backfill table=big key=id batch=1500\n\
         UPDATE big SET filled = coalesce(filled, 0) + 1 WHERE id BETWEEN :from AND :to;\n\
         -- ha:verify\nSELECT count(*) FROM big WHERE filled IS NULL;"
            .into(),
    ));
    scripts
}

#[derive(Debug, Default)]
struct Figures {
    databases: u32,
    kills: u32,
    exact: u32,
    found_applied: u32,
    redone: u32,
    indexes_dropped: u32,
}

/// What an undisturbed run makes, and how long it takes.
fn undisturbed(engine: &Engine) -> (String, Duration) {
    let target = engine.fresh();
    let began = Instant::now();
    let mut process = Process::start(&target, "work");
    let status = process.run_for(Duration::from_secs(60));
    assert!(status.is_some_and(|status| status.success()), "{}", process.printed());
    (engine.dump(&target), began.elapsed())
}

fn add_printed(figures: &mut Figures, printed: &str) {
    let number = |name: &str| -> u32 {
        let after = printed.split(&format!("{name}: ")).nth(1).unwrap_or("0");
        after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    };
    figures.redone += number("redone");
    figures.indexes_dropped += number("indexes_dropped");
}

fn check(engine: &Engine, target: &Target, expected: &str, figures: &mut Figures) {
    let dump = engine.dump(target);
    assert_eq!(dump, expected, "after {figures:?}");
    figures.exact += 1;
    let found = engine.sql(target, "SELECT count(*) FROM ha_migration_step WHERE note LIKE 'found%'");
    figures.found_applied += found.trim().parse::<u32>().unwrap();
    let begun = engine.sql(target, "SELECT count(*) FROM ha_migration_step WHERE state IN ('begun', 'done')");
    assert_eq!(begun.trim(), "0", "nothing stays half-done");
}

fn migrator_is_killed(kind: Kind) {
    let engine = Engine::start(kind);
    let (expected, took) = undisturbed(&engine);
    let (kills, mut dice, mut figures) = (count("HA_DB_KILLS", 20), Dice::new(), Figures::default());
    while figures.kills < kills {
        let target = engine.fresh();
        figures.databases += 1;
        loop {
            // A few runs in a row are cut short; each goes on where the one before was.
            let time = Duration::from_micros(dice.below(u64::try_from(took.as_micros()).unwrap()));
            let mut process = Process::start(&target, "work");
            let status = process.run_for(if figures.kills < kills { time } else { Duration::from_secs(60) });
            match status {
                None => figures.kills += 1,
                Some(status) => {
                    let printed = process.printed();
                    assert!(status.success(), "{figures:?}: {printed}");
                    add_printed(&mut figures, &printed);
                    break;
                }
            }
        }
        check(&engine, &target, &expected, &mut figures);
    }
    println!("{}: migrator killed: {figures:?}, undisturbed {took:?}", kind.name());
}

#[test]
fn a_killed_migrator_leaves_what_the_next_one_completes_exactly_on_sqlite() {
    migrator_is_killed(Kind::Sqlite);
}

#[test]
fn a_killed_migrator_leaves_what_the_next_one_completes_exactly_on_postgres() {
    migrator_is_killed(Kind::Postgres);
}

#[test]
fn a_killed_migrator_leaves_what_the_next_one_completes_exactly_on_mariadb() {
    migrator_is_killed(Kind::MariaDb);
}

fn server_is_killed(kind: Kind) {
    let engine = Engine::start_with(kind, &DatabaseSpec::default().durable());
    let (expected, took) = undisturbed(&engine);
    let (kills, mut dice, mut figures) = (count("HA_DB_SERVER_KILLS", 5), Dice::new(), Figures::default());
    while figures.kills < kills {
        let target = engine.fresh();
        figures.databases += 1;
        loop {
            let mut process = Process::start(&target, "work");
            if figures.kills < kills {
                let time = Duration::from_micros(dice.below(u64::try_from(took.as_micros()).unwrap()));
                std::thread::sleep(time);
                if process.0.try_wait().unwrap().is_none() {
                    engine.kill();
                    figures.kills += 1;
                    engine.restart();
                }
            }
            // The migrator itself connects again and goes on.
            let status = process.run_for(Duration::from_secs(60));
            let printed = process.printed();
            let Some(status) = status else { panic!("{figures:?}: does not end: {printed}") };
            if status.success() {
                add_printed(&mut figures, &printed);
                break;
            }
            assert!(printed.contains("connect") || printed.contains("lost"), "{figures:?}: {printed}");
        }
        check(&engine, &target, &expected, &mut figures);
    }
    println!("{}: server killed: {figures:?}", kind.name());
}

#[test]
fn a_killed_server_loses_nothing_that_was_journaled_on_postgres() {
    server_is_killed(Kind::Postgres);
}

#[test]
fn a_killed_server_loses_nothing_that_was_journaled_on_mariadb() {
    server_is_killed(Kind::MariaDb);
}
