use std::collections::VecDeque;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::{Cancel, Done, Rows, SessionId};

#[test]
fn a_version_is_read_from_what_servers_say() {
    for (banner, dialect, version) in [
        ("5.5.5-10.11.6-MariaDB-0+deb12u1", Dialect::MariaDb, (10, 11, 6)),
        ("10.11.19-MariaDB-0+deb12u1", Dialect::MariaDb, (10, 11, 19)),
        ("11.4.2-MariaDB", Dialect::MariaDb, (11, 4, 2)),
        ("5.5.5-5.5.68-MariaDB", Dialect::MariaDb, (5, 5, 68)),
        ("8.0.36", Dialect::MySql, (8, 0, 36)),
        ("8.4.0-0ubuntu1", Dialect::MySql, (8, 4, 0)),
        ("5.7.44-log", Dialect::MySql, (5, 7, 44)),
        ("5.5.5-log", Dialect::MySql, (5, 5, 5)),
    ] {
        let (major, minor, patch) = version;
        assert_eq!(mysql_version(banner), Ok((dialect, ServerVersion::new(major, minor, patch))), "{banner}");
    }
    for (text, version) in [
        ("15.18 (Debian 15.18-0+deb12u1)", Some((15, 18, 0))),
        ("17beta1", Some((17, 0, 0))),
        ("9.6.24", Some((9, 6, 24))),
        ("3.40.1", Some((3, 40, 1))),
        ("", None),
        ("MariaDB", None),
        (".1", None),
        ("99999999999", None),
    ] {
        assert_eq!(ServerVersion::parse(text), version.map(|(a, b, c)| ServerVersion::new(a, b, c)), "{text}");
    }
}

proptest! {
    #[test]
    fn no_banner_breaks_the_reader(banner in ".*") {
        let _ = (ServerVersion::parse(&banner), mysql_version(&banner));
    }
}

/// Answers its queries from a list.
#[derive(Debug)]
struct Scripted {
    id: SessionId,
    answers: VecDeque<Rows>,
}

#[async_trait]
impl Session for Scripted {
    fn id(&self) -> &SessionId {
        &self.id
    }
    fn canceller(&self) -> Box<dyn Cancel> {
        unimplemented!("nothing here is cancelled")
    }
    async fn execute(&mut self, _: &str) -> Result<Done, DbError> {
        Ok(Done::default())
    }
    async fn query(&mut self, _: &str) -> Result<Rows, DbError> {
        Ok(self.answers.pop_front().unwrap_or_default())
    }
    async fn copy_in(&mut self, _: &str, _: &str) -> Result<Done, DbError> {
        unimplemented!("nothing here is copied")
    }
}

async fn asked(dialect: Dialect, answers: &[&[&[&str]]]) -> Result<Server, DbError> {
    let text = |value: &&str| Some((*value).to_string());
    let rows = |rows: &&[&[&str]]| rows.iter().map(|row| row.iter().map(text).collect()).collect();
    let id = SessionId { number: 7, began: String::new() };
    identify(&mut Scripted { id, answers: answers.iter().map(rows).collect() }, dialect).await
}

const POSTGRES: &str = "PostgreSQL 15.18 on x86_64-pc-linux-gnu";

#[tokio::test]
async fn what_must_not_be_migrated_is_refused() {
    let (ro, no) = (DbErrorKind::ReadOnly, DbErrorKind::Refused);
    let standby: &[&[&str]] = &[&[POSTGRES, "15.18", "d", "public", "t", "off"]];
    let read_only: &[&[&str]] = &[&[POSTGRES, "15.18", "d", "public", "f", "on"]];
    let cockroach: &[&[&str]] = &[&["CockroachDB CCL v23.1", "13.0.0", "d", "public", "f", "off"]];
    let yugabyte: &[&[&str]] = &[&["PostgreSQL 11.2-YB-2.20 on x86_64", "11.2-YB-2.20", "d", "public", "f", "off"]];
    for (dialect, answers, kind, part) in [
        (Dialect::Postgres, vec![standby], ro, "standby"),
        (Dialect::Postgres, vec![read_only], ro, "default_transaction_read_only"),
        (Dialect::Postgres, vec![cockroach], no, "no PostgreSQL"),
        (Dialect::Postgres, vec![yugabyte], no, "no PostgreSQL"),
        (Dialect::Postgres, vec![&[]], no, "does not tell"),
        (Dialect::MySql, vec![&[&["8.0.11-TiDB-v7.1.0", "d"]]], no, "TiDB"),
        (Dialect::MySql, vec![&[&["8.0.36", "d"]], &[&["read_only", "ON"]]], ro, "read_only is ON"),
        (Dialect::MariaDb, vec![&[&["10.11.6-MariaDB", "d"]], &[&["read_only", "1"]]], ro, "read_only"),
        (Dialect::MariaDb, vec![&[&["12.1.1-MariaDB", "d"]], &[&["read_only", "NO_LOCK"]]], ro, "NO_LOCK"),
        (Dialect::MySql, vec![&[&["8.4.0", "d"]], &[&["super_read_only", "ON"]]], ro, "super_read_only"),
        (Dialect::Oracle, vec![], no, "Oracle has no driver"),
    ] {
        let error = asked(dialect, &answers).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn a_pooler_that_switches_sessions_is_refused() {
    let server: &[&[&str]] = &[&[POSTGRES, "15.18", "d", "public", "f", "off"]];
    for probes in [
        // Another session at once, another one the second time, the same number with another's value.
        vec![["8", "7-1"]],
        vec![["7", "7-1"], ["8", "7-2"]],
        vec![["7", ""]],
        vec![["7", "7-1"], ["7", "7-1"]],
    ] {
        let rows: Vec<Vec<&[&str]>> = probes.iter().map(|probe| vec![probe.as_slice()]).collect();
        let answers: Vec<&[&[&str]]> = std::iter::once(server).chain(rows.iter().map(Vec::as_slice)).collect();
        let error = asked(Dialect::Postgres, &answers).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Refused, "{probes:?}");
        assert!(error.message.contains("pooler"), "{error}");
    }
}

#[tokio::test]
async fn capabilities_follow_product_and_version() {
    let probes: [&[&[&str]]; 2] = [&[&["7", "7-1"]], &[&["7", "7-2"]]];
    for (dialect, banner, settings, told, atomic, nowait, lock, instant) in [
        (Dialect::MySql, "8.0.36", &[][..], Dialect::MySql, true, false, true, true),
        (Dialect::MySql, "8.0.11", &[], Dialect::MySql, true, false, true, false),
        (Dialect::MySql, "5.7.44", &[], Dialect::MySql, false, false, true, false),
        (Dialect::MySql, "5.5.5-10.11.6-MariaDB", &[], Dialect::MariaDb, true, true, true, true),
        (Dialect::MariaDb, "10.5.9-MariaDB", &[], Dialect::MariaDb, false, true, true, true),
        (Dialect::MariaDb, "10.2.9-MariaDB", &[], Dialect::MariaDb, false, false, true, false),
        (Dialect::MariaDb, "10.11.6-MariaDB", &[["wsrep_on", "ON"]], Dialect::MariaDb, true, true, false, true),
        (Dialect::MySql, "8.4.1", &[["group_replication_group_name", "a-b"]], Dialect::MySql, true, false, false, true),
    ] {
        let (first, rows): ([&str; 2], Vec<&[&str]>) =
            ([banner, "d"], settings.iter().map(|row| row.as_slice()).collect());
        let first: [&[&str]; 1] = [&first];
        let mut answers: Vec<&[&[&str]]> = vec![&first, &rows];
        answers.extend(probes);
        let server = asked(dialect, &answers).await.unwrap();
        let can = server.capabilities;
        assert_eq!(server.dialect, told, "{banner}");
        assert_eq!((can.atomic_ddl, can.nowait_ddl), (atomic, nowait), "{banner}");
        assert_eq!((can.session_lock, can.instant_add), (lock, instant), "{banner}");
        assert!(!can.transactional_ddl, "{banner}");
    }
}
