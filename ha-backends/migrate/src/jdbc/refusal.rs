use super::{Driver, JdbcUrl, Mode};

/// Why no migration is run through a URL that can be read, and the fix.
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its hosts are balanced: the one that takes writes is not known.
    #[error(
        "the URL balances its load over several hosts, and a migration must know the one that writes: name that host alone"
    )]
    WriterUnknown,
    /// Its hosts are looked up in the DNS: the one that takes writes is not known.
    #[error(
        "the URL finds its hosts in the DNS (mysql+srv), and a migration must know the one that writes: name that host, jdbc:mysql://host/database"
    )]
    HostsUnknown,
    /// It names several PostgreSQL servers and not that it wants the primary.
    #[error("the URL names several servers and may reach a replica: add targetServerType=primary to its parameters")]
    PrimaryNotAsked,
    /// It asks for a server that takes no writes.
    #[error("targetServerType asks for a server that may be a replica: write targetServerType=primary")]
    ReplicaAsked,
    /// All of its hosts are replicas.
    #[error("the URL names only replicas: name the primary")]
    OnlyReplicas,
    /// H2 lets one process open the file: the server that is to go on.
    #[error(
        "an H2 file is open in the server that uses it, and no other process may open it: stop the node for its migration, or move it to a database server"
    )]
    OneProcess,
    /// There is no driver for it in this build.
    #[error("no driver for {driver} is built in: {fix}")]
    NoDriver {
        /// The driver.
        driver: Driver,
        /// What to do.
        fix: &'static str,
    },
}

pub(super) fn of(url: &JdbcUrl) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    match url.driver {
        Driver::MySql | Driver::MariaDb => {
            let several = url.hosts.len() > 1;
            refusals.extend((url.mode == Mode::LoadBalance && several).then_some(Refusal::WriterUnknown));
            refusals.extend((url.mode == Mode::Discovered).then_some(Refusal::HostsUnknown));
            refusals.extend((!url.hosts.is_empty() && url.writer().is_none()).then_some(Refusal::OnlyReplicas));
        }
        Driver::Postgres => {
            let wanted = url.parameter("targetServerType").map(str::to_ascii_lowercase);
            match wanted.as_deref() {
                Some("primary" | "master") => {}
                None | Some("any") if url.hosts.len() > 1 => refusals.push(Refusal::PrimaryNotAsked),
                None | Some("any") => {}
                Some(_) => refusals.push(Refusal::ReplicaAsked),
            }
        }
        Driver::H2 => refusals.extend((url.mode == Mode::Embedded).then_some(Refusal::OneProcess)),
        Driver::Db2
        | Driver::Derby
        | Driver::Informix
        | Driver::Jtds
        | Driver::Oracle
        | Driver::Sqlite
        | Driver::SqlServer => {}
    }
    refusals.extend(fix(url.driver).map(|fix| Refusal::NoDriver { driver: url.driver, fix }));
    refusals
}

/// Tells what to do where there is no driver.
fn fix(driver: Driver) -> Option<&'static str> {
    let by_hand = "run the linted scripts with the database's own client, or implement ha_migrate::Connect for it";
    match driver {
        Driver::Postgres => (!cfg!(feature = "postgres")).then_some("build ha-migrate with the feature `postgres`"),
        Driver::MariaDb | Driver::MySql => {
            (!cfg!(feature = "mysql")).then_some("build ha-migrate with the feature `mysql`")
        }
        Driver::Sqlite => (!cfg!(feature = "sqlite")).then_some("build ha-migrate with the feature `sqlite`"),
        Driver::Db2
        | Driver::Derby
        | Driver::H2
        | Driver::Informix
        | Driver::Jtds
        | Driver::Oracle
        | Driver::SqlServer => Some(by_hand),
    }
}
