//! Connections that end: what was not sent did not happen, and what was sent is in doubt.

use std::time::Duration;

use ha_lab::{FaultProxy, Leg, LinkFault};
use ha_migrate::{Connect, DbErrorKind, Dialect, Limits, SessionRole};

use crate::world::{OnMariaDb, OnPostgres, World, on_servers, open, open_with, wait_for};

/// A driver that probes before every statement.
fn probing() -> Limits {
    Limits::default().with_probe_after(Duration::ZERO)
}

/// What the tests need of a server.
trait Served: World {
    fn kill(&self);
    fn restart(&self);
    fn port(&self) -> u16;
    fn through(&self, port: u16, limits: Limits) -> Box<dyn Connect>;
}

impl Served for OnPostgres {
    fn kill(&self) {
        self.server.kill();
    }
    fn restart(&self) {
        self.server.restart().unwrap();
    }
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn through(&self, port: u16, limits: Limits) -> Box<dyn Connect> {
        Box::new(self.over_tcp(port).with_limits(limits))
    }
}

impl Served for OnMariaDb {
    fn kill(&self) {
        self.server.kill();
    }
    fn restart(&self) {
        self.server.restart().unwrap();
    }
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn through(&self, port: u16, limits: Limits) -> Box<dyn Connect> {
        Box::new(self.over_tcp(port).with_limits(limits))
    }
}

fn end_session<W: World>(number: i64) -> String {
    match W::DIALECT {
        Dialect::Postgres => format!("SELECT pg_terminate_backend({number})"),
        _ => format!("KILL CONNECTION {number}"),
    }
}

fn is_gone<W: World>(number: i64) -> String {
    match W::DIALECT {
        Dialect::Postgres => format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {number}"),
        _ => format!("SELECT count(*) FROM information_schema.processlist WHERE id = {number}"),
    }
}

async fn a_server_killed_while_a_session_is_idle_is_unreachable<W: Served>(world: &W) {
    let mut session = world.through(world.port(), probing()).open(SessionRole::Migrator).await.unwrap();
    world.kill();
    // The end of the connection is on its way to the driver.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let error = session.execute("CREATE TABLE t (id int)").await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
    let error = world.connector(Limits::default()).open(SessionRole::Migrator).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
    world.restart();
    assert!(!world.exists("t"));
    open(world).await.execute("CREATE TABLE t (id int)").await.unwrap();
}

async fn a_server_killed_in_a_statement_leaves_it_in_doubt<W: Served>(world: &W) {
    let mut session = open_with(world, probing()).await;
    let number = session.id().number;
    let running = async { session.query(W::ENDLESS).await.unwrap_err() };
    let killing = async {
        wait_for("the statement", || is_running(world, number)).await;
        world.kill();
    };
    let (error, ()) = tokio::join!(running, killing);
    assert_eq!(error.kind, DbErrorKind::ConnectionLost, "{error}");
    let error = session.query("SELECT 1").await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
}

fn is_running<W: World>(world: &W, number: i64) -> bool {
    let sql = match W::DIALECT {
        Dialect::Postgres => format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {number} AND state = 'active'"),
        _ => format!("SELECT count(*) FROM information_schema.processlist WHERE id = {number} AND command = 'Query'"),
    };
    world.sql(&sql) == "1"
}

async fn a_session_ended_by_an_administrator_while_idle_is_unreachable<W: Served>(world: &W) {
    let mut session = world.through(world.port(), probing()).open(SessionRole::Migrator).await.unwrap();
    let number = session.id().number;
    world.sql(&end_session::<W>(number));
    wait_for("the end of the session", || world.sql(&is_gone::<W>(number)) == "0").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = session.execute("CREATE TABLE t (id int)").await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
    assert!(!world.exists("t"));
    if W::DIALECT == Dialect::Postgres {
        assert_eq!(error.code, "57P01", "the administrator's command is told: {error}");
    }
}

async fn a_session_ended_by_an_administrator_in_a_statement_is_in_doubt<W: Served>(world: &W) {
    let mut session = open_with(world, probing()).await;
    let number = session.id().number;
    let running = async { session.query(W::ENDLESS).await.unwrap_err() };
    let ending = async {
        wait_for("the statement", || is_running(world, number)).await;
        world.sql(&end_session::<W>(number));
    };
    let (error, ()) = tokio::join!(running, ending);
    assert_eq!(error.kind, DbErrorKind::ConnectionLost, "{error}");
}

async fn a_session_that_does_nothing_for_too_long_is_ended_by_the_server<W: Served>(world: &W) {
    let second = Duration::from_secs(1);
    for (limits, begin, code) in [
        (probing().with_idle(second), "SELECT 1", "57P05"),
        (probing().with_idle_in_transaction(second), "BEGIN", "25P03"),
    ] {
        let mut session = open_with(world, limits).await;
        let number = session.id().number;
        session.execute(begin).await.unwrap();
        wait_for("the end of the session", || world.sql(&is_gone::<W>(number)) == "0").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let error = session.execute("SELECT 1").await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
        if W::DIALECT == Dialect::Postgres {
            assert_eq!(error.code, code, "{error}");
        }
    }
}

async fn a_connection_cut_within_a_message_never_lies<W: Served>(world: &W) {
    let sql = |turn: u64| format!("CREATE TABLE cut_{turn:03} (id int)");
    let length = u64::try_from(sql(0).len()).unwrap();
    let (mut unsent, mut doubted) = (0, 0);
    // Each byte of the statement with its head and its end, then the answer.
    for (turn, leg) in
        (0..length + 10).map(|turn| (turn, Leg::ToTarget)).chain((900..904).map(|turn| (turn, Leg::ToClient)))
    {
        let proxy = FaultProxy::on_tcp(std::net::SocketAddr::from(([127, 0, 0, 1], world.port()))).unwrap();
        // A probe would not pass where the answers are held back.
        let limits = if leg == Leg::ToTarget { probing() } else { Limits::default().with_probe_after(Duration::MAX) };
        let mut session = world.through(proxy.port(), limits).open(SessionRole::Migrator).await.unwrap();
        let sent = u64::try_from(proxy.last_request().len()).unwrap();
        match leg {
            // A probe of MariaDB passes, as five bytes of its own.
            Leg::ToTarget => {
                let probe = if W::DIALECT == Dialect::Postgres { 0 } else { 5 };
                proxy.set(leg, LinkFault::CloseAfter(sent + probe + turn));
            }
            Leg::ToClient => proxy.set(leg, LinkFault::Hold),
        }
        let running = async { session.execute(&sql(turn)).await };
        let cutting = async {
            if leg == Leg::ToClient {
                wait_for("the statement's effect", || world.exists(&format!("cut_{turn:03}"))).await;
                proxy.cut_all();
                proxy.set(leg, LinkFault::None);
            }
        };
        let (answer, ()) = tokio::join!(running, cutting);
        drop(proxy);
        wait_for("the end of the session", || world.sql(&is_gone::<W>(session.id().number)) == "0").await;
        let happened = world.exists(&format!("cut_{turn:03}"));
        match answer.map_err(|error| error.kind) {
            Ok(_) => assert!(happened, "{turn}: answered"),
            Err(DbErrorKind::Unreachable) => {
                unsent += 1;
                assert!(!happened, "{turn}: told as not sent, and it happened");
            }
            Err(kind) => {
                doubted += 1;
                assert_eq!(kind, DbErrorKind::ConnectionLost, "{turn}");
            }
        }
        if leg == Leg::ToTarget && turn < length {
            assert!(!happened, "{turn}: no server runs a part of a message");
        }
    }
    eprintln!("{}: {unsent} told as not sent, {doubted} in doubt", W::DIALECT);
    assert!(doubted >= 4, "where the answer alone was lost it is in doubt");
}

on_servers! {
    a_server_killed_while_a_session_is_idle_is_unreachable,
    a_server_killed_in_a_statement_leaves_it_in_doubt,
    a_session_ended_by_an_administrator_while_idle_is_unreachable,
    a_session_ended_by_an_administrator_in_a_statement_is_in_doubt,
    a_connection_cut_within_a_message_never_lies,
    a_session_that_does_nothing_for_too_long_is_ended_by_the_server,
    a_server_that_does_not_answer_is_given_up,
    nobody_listening_is_unreachable,
}

async fn a_server_that_does_not_answer_is_given_up<W: Served>(world: &W) {
    let proxy = FaultProxy::on_tcp(std::net::SocketAddr::from(([127, 0, 0, 1], world.port()))).unwrap();
    proxy.set_both(LinkFault::Hold);
    let short = Limits::default().with_connect(Duration::from_millis(200));
    let connect: Box<dyn Connect> = match W::DIALECT {
        Dialect::Postgres => {
            Box::new(ha_migrate::Postgres::new("127.0.0.1", proxy.port(), "d", "postgres").with_limits(short))
        }
        _ => Box::new(ha_migrate::MySql::new("127.0.0.1", proxy.port(), "d", "root").with_limits(short)),
    };
    let error = connect.open(SessionRole::Migrator).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("200ms"), "{error}");
}

async fn nobody_listening_is_unreachable<W: Served>(world: &W) {
    let port = ha_lab::ReservedPort::any().unwrap();
    let error = world.through(port.number(), probing()).open(SessionRole::Migrator).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
}
