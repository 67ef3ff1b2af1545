//! What is left of a node's work, counted by a query: the suite on SQLite, and what a count may not do on each database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Effect, ErrorKind, ObserveWorkload, StepError, Workload};
use ha_core::state::{LeaseEpoch, Work};
use ha_core::topology::{Component, Name, Setting};
use ha_migrate::{CountedWorkload, LeftQueryConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::workload::{Pulling, WorkloadAbility, WorkloadFixture, WorkloadSubject};

use crate::world::{OnMariaDb, OnPostgres, OnSqlite, World, on_all};

/// Says itself whether the node pulls; what is left it does not know.
#[derive(Debug, Default)]
struct Switch(AtomicBool);

impl Switch {
    fn turn(&self, on: bool) -> Applied {
        if self.0.swap(on, Ordering::SeqCst) == on { Applied::AlreadySo } else { Applied::Applied }
    }
}

#[async_trait]
impl ObserveWorkload for Switch {
    async fn work(&self) -> Result<Work, StepError> {
        Ok(if self.0.load(Ordering::SeqCst) { Work::On } else { Work::Off })
    }
}

#[async_trait]
impl Workload for Switch {
    async fn quiesce(&self, _: LeaseEpoch) -> Result<Applied, StepError> {
        Ok(self.turn(false))
    }

    async fn resume(&self, _: LeaseEpoch) -> Result<Applied, StepError> {
        Ok(self.turn(true))
    }
}

/// The URL of a database, as servers have it.
trait Url: World {
    fn url(&self) -> String;
}

impl Url for OnPostgres {
    fn url(&self) -> String {
        format!("jdbc:postgresql://127.0.0.1:{}/{}?user=postgres", self.server.port(), self.database)
    }
}

impl Url for OnMariaDb {
    fn url(&self) -> String {
        let socket = self.server.socket().display().to_string();
        format!("jdbc:mariadb://localhost/{}?user=root&localSocket={socket}", self.database)
    }
}

impl Url for OnSqlite {
    fn url(&self) -> String {
        format!("jdbc:sqlite:{}", self.file().display())
    }
}

const TABLE: &str = "CREATE TABLE work (id integer, node varchar(20), ended integer)";
const QUERY: &str = "SELECT count(*) FROM work WHERE node = 'esb1' AND ended = 0";

fn counted(url: &str, query: &str, switch: &Arc<Switch>) -> CountedWorkload {
    let mut config = LeftQueryConfig::new(url, query);
    config.query_deadline = Duration::from_secs(2);
    CountedWorkload::new("esb1", switch.clone(), config).unwrap()
}

on_all!(
    what_is_left_is_counted_and_off_is_only_told_of_zero,
    a_count_that_does_not_end_is_ended_and_said,
    what_is_no_count_is_an_error_and_never_zero,
    a_count_changes_nothing,
    a_database_that_does_not_answer_is_said_and_not_guessed,
);

async fn what_is_left_is_counted_and_off_is_only_told_of_zero(world: &impl Url) {
    world.sql(TABLE);
    world.sql("INSERT INTO work VALUES (1, 'esb1', 0), (2, 'esb2', 0), (3, 'esb1', 0)");
    let switch = Arc::new(Switch(AtomicBool::new(true)));
    let workload = counted(&world.url(), QUERY, &switch);
    assert_eq!(workload.work().await.unwrap(), Work::On);
    assert_eq!(workload.quiesce(LeaseEpoch::new(1)).await.unwrap(), Applied::Applied);
    assert_eq!(workload.work().await.unwrap(), Work::On);
    world.sql("UPDATE work SET ended = 1 WHERE id = 1");
    assert_eq!(workload.work().await.unwrap(), Work::On);
    world.sql("UPDATE work SET ended = 1 WHERE id = 3");
    assert_eq!(workload.work().await.unwrap(), Work::Off);
    assert_eq!(workload.resume(LeaseEpoch::new(1)).await.unwrap(), Applied::Applied);
    assert_eq!(workload.work().await.unwrap(), Work::On);
}

async fn a_count_that_does_not_end_is_ended_and_said<W: Url>(world: &W) {
    world.sql(TABLE);
    let error = counted(&world.url(), W::ENDLESS, &Arc::default()).work().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::None), "{error}");
}

async fn what_is_no_count_is_an_error_and_never_zero(world: &impl Url) {
    world.sql(TABLE);
    world.sql("INSERT INTO work VALUES (1, 'esb1', 0), (2, 'esb1', 0)");
    for query in [
        "SELECT ended FROM work",
        "SELECT ended FROM work WHERE id = 9",
        "SELECT id, ended FROM work WHERE id = 1",
        "SELECT NULL",
        "SELECT -1",
        "SELECT node FROM work WHERE id = 1",
        "SELECT count(*) FROM nowhere",
    ] {
        let error = counted(&world.url(), query, &Arc::default()).work().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{query}: {error}");
        assert!(!error.to_string().contains("esb1 0"), "{error}");
    }
}

async fn a_count_changes_nothing(world: &impl Url) {
    world.sql(TABLE);
    let error = counted(&world.url(), "DELETE FROM work", &Arc::default()).work().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{error}");
    let insert = counted(&world.url(), "INSERT INTO work VALUES (7, 'x', 0)", &Arc::default());
    let error = insert.work().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{error}");
    assert_eq!(world.sql("SELECT count(*) FROM work").trim(), "0");
}

async fn a_database_that_does_not_answer_is_said_and_not_guessed<W: Url>(world: &W) {
    let nowhere = match W::DIALECT {
        ha_migrate::Dialect::Postgres => "jdbc:postgresql://127.0.0.1:1/x?user=x".to_string(),
        ha_migrate::Dialect::MariaDb => "jdbc:mariadb://127.0.0.1:1/x?user=x".to_string(),
        _ => format!("{}.not-there", world.url()),
    };
    let error = counted(&nowhere, QUERY, &Arc::default()).work().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::None), "{error}");
}

#[test]
fn what_is_wrong_in_the_settings_of_a_query_is_told_at_once() {
    let mut component = Component::new(Name::new("query").unwrap());
    let refused = |component: &Component| {
        let wrong = LeftQueryConfig::from_component(component).unwrap_err();
        wrong.errors().iter().map(|error| error.key().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(refused(&component), ["url", "query"]);
    let mut set = |key: &str, value: &str| component.settings.insert(key.into(), Setting::Text(value.into()));
    set("url", "jdbc:postgresql://db/orders");
    set("query", "SELECT 1; DELETE FROM work");
    set("query_deadline", "2s");
    assert_eq!(refused(&component), ["query"]);
    component.settings.insert("query".into(), Setting::Text(QUERY.into()));
    let config = LeftQueryConfig::from_component(&component).unwrap();
    assert_eq!((config.query.as_str(), config.query_deadline), (QUERY, Duration::from_secs(2)));
    let default = LeftQueryConfig::new("jdbc:postgresql://db/orders", QUERY).query_deadline;
    assert!(default < Duration::from_secs(5), "a run waits no longer for it and the status together");
    component.settings.insert("url".into(), Setting::Text("jdbc:h2:./x".into()));
    assert_eq!(refused(&component), ["url"]);
}

/// Builds a node whose work is rows of a SQLite file.
struct Rows;

struct Node {
    world: OnSqlite,
    switch: Arc<Switch>,
    workload: Arc<CountedWorkload>,
}

#[async_trait]
impl WorkloadFixture for Rows {
    fn name(&self) -> String {
        "rows of SQLite, counted".into()
    }

    fn can(&self, ability: WorkloadAbility) -> bool {
        ability == WorkloadAbility::LosesCounts
    }

    async fn fresh(&self) -> Result<Box<dyn WorkloadSubject>, Breach> {
        let (world, switch) = (OnSqlite::start(), Arc::new(Switch(AtomicBool::new(true))));
        world.try_sql(TABLE).map_err(Breach::new)?;
        let workload = Arc::new(counted(&world.url(), QUERY, &switch));
        Ok(Box::new(Node { world, switch, workload }))
    }
}

#[async_trait]
impl WorkloadSubject for Node {
    fn workload(&self) -> Arc<dyn Workload> {
        self.workload.clone()
    }

    fn another(&self) -> Arc<dyn Workload> {
        Arc::new(counted(&self.world.url(), QUERY, &self.switch))
    }

    async fn truth(&self) -> Result<Pulling, Breach> {
        let left = self.world.try_sql(QUERY).map_err(Breach::new)?;
        let left = left.trim().parse::<u64>().map_err(|error| Breach::new(error.to_string()))?;
        Ok(Pulling::new(self.switch.0.load(Ordering::SeqCst), left))
    }

    async fn begin(&self) -> Result<(), Breach> {
        self.world.try_sql("INSERT INTO work VALUES (1, 'esb1', 0)").map(|_| ()).map_err(Breach::new)
    }

    async fn finish(&self) -> Result<(), Breach> {
        self.world.try_sql("UPDATE work SET ended = 1").map(|_| ()).map_err(Breach::new)
    }

    async fn restart(&self) -> Result<(), Breach> {
        Err(Breach::new("a switch in memory is of no server"))
    }

    async fn lose(&self) -> Result<(), Breach> {
        Err(Breach::new("a switch in memory cannot be lost"))
    }

    async fn lose_count(&self) -> Result<(), Breach> {
        self.world.try_sql("DROP TABLE work").map(|_| ()).map_err(Breach::new)
    }
}

mod rows_of_sqlite {
    use super::Rows;

    ha_testkit::conformance!(workload, Rows, skips = ["fixture: fences", "fixture: loses nodes", "fixture: restarts"]);
}
