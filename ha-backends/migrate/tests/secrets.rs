//! Passwords are nowhere in what is printed or traced: not in ours, and not in what the drivers say at their most talkative.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the tests of faults use the rest of it")]
#[path = "faults/engine.rs"]
mod engine;
#[allow(dead_code, reason = "the tests of faults use the rest of it")]
#[path = "faults/kit.rs"]
mod kit;

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use engine::{Engine, Kind};
use ha_lab::{FaultProxy, LinkFault};
use ha_migrate::{
    ConfiguredDatabase, Connect, LeftQueryConfig, Limits, MigrateBackend, MigrateConfig, MigrateError, Migrator,
    PostgresCopy, PostgresReplica, PostgresReplicaConfig, connect_url,
};
use kit::{Kept, block_on, expand, policy, scripts};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

ha_lab::roles!();

/// Everything that was said, by anybody, at any level.
static SAID: Mutex<String> = Mutex::new(String::new());

fn say(text: &dyn Debug) {
    let _ = writeln!(SAID.lock().unwrap(), "{text:?}");
}

struct Everything(AtomicU64);

struct Values;

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        say(&format!("{}={value:?}", field.name()));
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        say(&span.metadata().name());
        span.record(&mut Values);
        Id::from_u64(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Values);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Values);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        say(&format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

const RIGHT: &str = "Zwolf-horses_9";
const WRONG: &str = "elf-donkeys_8";

const FILES: [(&str, &str); 2] = [
    ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1);"),
    ("V2__b.sql", "UPDATE a SET nothing = 1;"),
];

fn url(kind: Kind, port: u16, database: &str, password: &str) -> String {
    let product = if kind == Kind::MariaDb { "mariadb" } else { "postgresql" };
    format!("jdbc:{product}://127.0.0.1:{port}/{database}?user=guest&password={password}")
}

fn migrator(connect: Arc<dyn Connect>, files: &[(&str, &str)], kept: &Arc<Kept>) -> Migrator {
    let builder = Migrator::builder(connect, scripts(files)).with_policy(policy()).with_observer(kept.clone());
    builder.build().unwrap()
}

/// Connects, is refused, runs, fails in a statement, loses its link, and is looked at in every way.
fn use_all(kind: Kind) {
    let engine = Engine::start(kind);
    let target = engine.fresh();
    let database = &target.database;
    engine.sql(
        &target,
        &match kind {
            Kind::MariaDb => {
                format!(
                    "CREATE USER guest@127.0.0.1 IDENTIFIED BY '{RIGHT}'; GRANT ALL ON {database}.* TO guest@127.0.0.1"
                )
            }
            Kind::Postgres | Kind::Sqlite => {
                format!("CREATE ROLE guest LOGIN PASSWORD '{RIGHT}'; GRANT ALL ON SCHEMA public TO guest")
            }
        },
    );
    let link = FaultProxy::on_tcp(std::net::SocketAddr::from(([127, 0, 0, 1], engine.port()))).unwrap();
    let kept = Arc::new(Kept::default());
    let open = |password: &str| {
        let connect = connect_url(&url(kind, link.port(), database, password), Limits::default()).unwrap();
        say(&connect);
        say(&connect.target());
        connect
    };
    let wrong = migrator(open(WRONG), &FILES, &kept);
    let right = migrator(open(RIGHT), &FILES[..1], &kept);
    let fails = migrator(open(RIGHT), &FILES, &kept);
    for one in [&wrong, &right, &fails] {
        say(one);
    }
    block_on(async {
        for error in [wrong.run(&expand()).await.unwrap_err(), wrong.status().await.unwrap_err()] {
            assert!(matches!(error, MigrateError::Database { .. }), "{kind:?}: {error}");
            say(&error);
            say(&error.to_string());
        }
        say(&right.run(&expand()).await.unwrap());
        let failed = fails.run(&expand()).await.unwrap_err();
        assert!(matches!(failed, MigrateError::Statement(_)), "{kind:?}: {failed}");
        say(&failed);
        say(&failed.to_string());
        link.set_both(LinkFault::CloseAfter(700));
        say(&fails.run(&expand().with_deadline(std::time::Duration::from_secs(2))).await);
        link.set_both(LinkFault::None);
        say(&right.status().await.unwrap());
        say(&right.lint().await.unwrap());
        say(&right.drift().await.unwrap());
        say(&MigrateBackend::new(right));
    });
    say(&kept);
}

#[test]
fn no_password_is_in_errors_debug_or_traces_of_ours_or_the_drivers() {
    tracing::subscriber::set_global_default(Everything(AtomicU64::new(0))).unwrap();
    log::set_boxed_logger(Box::new(Everything(AtomicU64::new(0)))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    use_all(Kind::Postgres);
    use_all(Kind::MariaDb);
    for url in [url(Kind::Postgres, 1, "x", RIGHT), url(Kind::MariaDb, 1, "x", RIGHT).replace("127.0.0.1:1", "h h:1")] {
        say(&ha_migrate::jdbc::JdbcUrl::parse(&url));
        say(&connect_url(&url.replace("guest", "g%zz"), Limits::default()).map_err(|error| error.to_string()));
    }
    say(&LeftQueryConfig::new(url(Kind::Postgres, 1, "x", RIGHT), "SELECT 1"));
    // Every mark that ends a value elsewhere may be part of this one.
    let conninfo = format!("host=h password = 'a&b;c,d) {RIGHT}'");
    let copy = |site: &str| PostgresCopy::new(site, url(Kind::Postgres, 1, "x", RIGHT), conninfo.clone());
    let config = PostgresReplicaConfig::new(copy("north"), vec![copy("south")], vec!["restart".into()]);
    say(&config);
    say(&PostgresReplica::new(config).unwrap());
    let mut config = MigrateConfig::new(url(Kind::Postgres, 1, "x", RIGHT), "/scripts");
    config.clone_url = Some(url(Kind::Postgres, 1, "y", RIGHT));
    config.placeholders = vec![("key".into(), RIGHT.into())];
    say(&config);
    say(&ConfiguredDatabase::new(config).unwrap());
    let said = SAID.lock().unwrap();
    // The ear hears.
    for heard in ["script applied", "statement ran", "tokio_postgres", "nothing", "guest", "***"] {
        assert!(said.contains(heard), "{heard} was not heard");
    }
    for secret in [RIGHT, WRONG, "horses", "donkeys"] {
        let at = said.find(secret);
        assert_eq!(at, None, "{:?}", at.map(|at| said.get(at.saturating_sub(200)..at + 60)));
    }
    println!("{} bytes of traces, errors and Debug searched", said.len());
}
