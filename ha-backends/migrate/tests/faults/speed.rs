//! How long 500 small scripts take, and how long it takes to see that none is pending. Figures, no verdict.

use std::time::Instant;

use ha_migrate::Run;
use ha_migrate::script::Phase;

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, migrator};

#[test]
fn five_hundred_scripts_run_once_and_are_seen_to_be_done() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let files: Vec<(String, String)> = (0..500)
            .map(|number| {
                let table = number / 5;
                let text = match number % 5 {
                    0 => format!("CREATE TABLE t{table} (id int PRIMARY KEY, n int);"),
                    1 => format!("INSERT INTO t{table} VALUES (1, 1);"),
                    2 => format!("ALTER TABLE t{table} ADD COLUMN m int;"),
                    3 => format!("CREATE INDEX i{table} ON t{table} (n);"),
                    _ => format!("UPDATE t{table} SET n = n + 1;"),
                };
                (format!("V{}__s.sql", number + 1), text)
            })
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let one = migrator(&target, &files);
        block_on(async {
            let began = Instant::now();
            assert_eq!(one.run(&Run::to(Phase::Expand)).await.unwrap().applied.len(), 500);
            let took = began.elapsed();
            let began = Instant::now();
            assert!(one.run(&Run::to(Phase::Expand)).await.unwrap().applied.is_empty());
            println!("{}: 500 scripts in {took:?}, nothing to do in {:?}", kind.name(), began.elapsed());
        });
        assert_eq!(engine.sql(&target, "SELECT sum(n) FROM t7"), "2", "{kind:?}");
    }
}
