//! The suite for copies of a database, on two PostgreSQL of which one follows the other by streaming replication. The truth is what
//! the product's own client says.
#![cfg(feature = "postgres")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{DemoteReplica, ObserveReplica, Replica};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Setting, SiteRole, Topology};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{DatabaseSpec, Lab, PostgresServer};
use ha_migrate::{PostgresCopy, PostgresReplica, PostgresReplicaConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::replica::{At, ReplicaAbility, ReplicaFixture, ReplicaSubject};

ha_lab::roles!();

struct TwoPostgres;

struct Copies {
    // Before the lab: fields are dropped in order.
    servers: [PostgresServer; 2],
    replicas: [Arc<PostgresReplica>; 2],
    _lab: Lab,
}

const ROWS: &str = "CREATE TABLE rows (id bigserial PRIMARY KEY)";

fn place(at: At) -> usize {
    usize::from(at == At::South)
}

impl Copies {
    fn start() -> Result<Self, Breach> {
        let lab = Lab::open(Relaunch::test()?)?;
        let spec = DatabaseSpec::default().durable().supervised().with_setting("wal_level=replica");
        let spec = spec.with_setting("max_wal_senders=4").with_setting("wal_keep_size=64MB");
        // A standby looks for what it lacks every so often: not every 5 s.
        let spec = spec.with_setting("wal_retrieve_retry_interval=100ms");
        let north = lab.postgres("north", &spec)?;
        north.sql("postgres", ROWS)?;
        let south = lab.postgres_standby("south", &north, &spec)?;
        let servers = [north, south];
        let replicas = [At::North, At::South].map(|at| Arc::new(Self::value(&servers, at)));
        Ok(Self { servers, replicas, _lab: lab })
    }

    fn value(servers: &[PostgresServer; 2], at: At) -> PostgresReplica {
        PostgresReplica::new(Self::config(servers, at)).unwrap()
    }

    fn config(servers: &[PostgresServer; 2], at: At) -> PostgresReplicaConfig {
        let copy = |at: At| {
            let server = &servers[place(at)];
            let url = format!("jdbc:postgresql://127.0.0.1:{}/postgres?user=postgres", server.port());
            PostgresCopy::new(at.site(), url, server.conninfo())
        };
        let (own, other) = (&servers[place(at)], if at == At::North { At::South } else { At::North });
        let config = PostgresReplicaConfig::new(copy(at), vec![copy(other)], own.restart_command());
        config.with_rebuild(own.rebuild_command())
    }

    fn server(&self, at: At) -> &PostgresServer {
        &self.servers[place(at)]
    }
}

#[async_trait]
impl ReplicaFixture for TwoPostgres {
    fn name(&self) -> String {
        "two PostgreSQL".into()
    }

    fn can(&self, ability: ReplicaAbility) -> bool {
        ability != ReplicaAbility::Fences
    }

    async fn fresh(&self) -> Result<Box<dyn ReplicaSubject>, Breach> {
        Ok(Box::new(Copies::start()?))
    }
}

#[async_trait]
impl ReplicaSubject for Copies {
    fn replica(&self, at: At) -> Arc<dyn Replica> {
        self.replicas[place(at)].clone()
    }

    fn another(&self, at: At) -> Arc<dyn Replica> {
        Arc::new(Self::value(&self.servers, at))
    }

    async fn write(&self, at: At) -> Result<bool, Breach> {
        // A writer that insists: what takes no writes must refuse it too.
        let insists = "SET default_transaction_read_only = off; INSERT INTO rows DEFAULT VALUES";
        match self.server(at).sql("postgres", insists) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("read-only transaction") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn has(&self, at: At) -> Result<u64, Breach> {
        let rows = self.server(at).sql("postgres", "SELECT count(*) FROM rows")?;
        rows.parse().map_err(|_| Breach::new(format!("it has {rows} rows")))
    }

    async fn part(&self, parted: bool) -> Result<(), Breach> {
        let to = if parted { "host=127.0.0.1 port=1 user=postgres".to_string() } else { self.servers[0].conninfo() };
        // One that was promoted meanwhile follows nobody any more.
        let south = &self.servers[1];
        if south.sql("postgres", "SELECT pg_is_in_recovery()")? == "t" {
            south.sql("postgres", &format!("ALTER SYSTEM SET primary_conninfo = '{to}'"))?;
            south.sql("postgres", "SELECT pg_reload_conf()")?;
        }
        let gone = "SELECT count(*) FROM pg_stat_replication";
        for _ in 0..1000 {
            if !parted || self.servers[0].sql("postgres", gone)? == "0" {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(Breach::new("the standby is still connected"))
    }

    async fn restart(&self, at: At) -> Result<(), Breach> {
        Ok(self.server(at).restart()?)
    }

    async fn lose(&self, at: At) -> Result<(), Breach> {
        self.server(at).kill();
        Ok(())
    }
}

mod two_copies {
    use super::TwoPostgres;

    ha_testkit::conformance!(replica, TwoPostgres, skips = ["fixture: fences"]);
}

/// What was begun when the copy was demoted is not committed afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_the_middle_of_a_write_is_ended_by_a_demotion() {
    let copies = Copies::start().unwrap();
    let copies = Arc::new(copies);
    let writer = copies.clone();
    let slow = tokio::task::spawn_blocking(move || {
        writer.servers[0].sql("postgres", "BEGIN; INSERT INTO rows DEFAULT VALUES; SELECT pg_sleep(60); COMMIT")
    });
    while copies.servers[0]
        .sql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()",
        )
        .unwrap()
        == "0"
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    copies.replicas[0].demote(LeaseEpoch::new(1), DemoteReplica::new()).await.unwrap();
    assert!(slow.await.unwrap().is_err());
    for server in &copies.servers {
        assert_eq!(server.sql("postgres", "SELECT count(*) FROM rows").unwrap(), "0");
    }
    assert!(copies.replicas[1].replica().await.unwrap().position.is_some());
}

#[test]
fn every_wrong_setting_of_a_copy_is_named_with_what_to_give() {
    let text = |value: &str| Setting::Text(value.into());
    let component = |settings: &[(&str, Setting)]| {
        let mut component = Component::new(Name::new("postgres").unwrap());
        component.settings = settings.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect();
        component
    };
    let url = |host: &str| ("url", text(&format!("jdbc:postgresql://{host}/orders?user=ha")));
    let conninfo = |host: &str| ("conninfo", text(&format!("host={host} user=replicator")));
    let restart = || ("restart", Setting::List(vec!["restart-postgres".into()]));
    let read = |settings: &[(&str, Setting)]| {
        let own = component(settings);
        let node = |name: &str| {
            let other = || Component::new(Name::new("x").unwrap());
            NodeSpec::new(name, 1000, other(), other()).with_site("north")
        };
        let topology = Topology::builder("orders")
            .site("north", SiteRole::Serving)
            .site_replica(own.clone())
            .site("south", SiteRole::Warm)
            .site_replica(component(&[url("south"), conninfo("south"), restart()]))
            .balancer("lb1", Component::new(Name::new("x").unwrap()))
            .pool(PoolSpec::new("esb", 1, 1000))
            .node(node("esb1"))
            .node(node("esb2"))
            .build()
            .unwrap();
        PostgresReplicaConfig::from_component(&own, &topology, "north").map_err(|error| error.to_string())
    };
    let config = read(&[url("north"), conninfo("north"), restart()]).unwrap();
    assert_eq!((config.own.site.as_str(), config.others.len()), ("north", 1));
    assert_eq!(config.others[0].conninfo, "host=south user=replicator");
    for (settings, words) in [
        (vec![conninfo("north"), restart()], "url: is missing"),
        (vec![url("north"), restart()], "conninfo: is missing"),
        (vec![url("north"), conninfo("north")], "restart: is missing"),
        (
            vec![("url", text("jdbc:mariadb://north/orders")), conninfo("north"), restart()],
            "url: give a JDBC URL of PostgreSQL",
        ),
        (
            vec![url("north"), ("conninfo", text("host=north password=x")), restart()],
            "conninfo: give it without a password",
        ),
        (
            vec![url("north"), ("conninfo", text("host='a b'")), restart()],
            "conninfo: give it without a password, quotes",
        ),
    ] {
        let error = read(&settings).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
