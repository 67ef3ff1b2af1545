//! The database of the demonstration.

use std::any::Any;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use ha_backends::migrate::script::{LoadOptions, Phase, Scripts};
use ha_backends::migrate::{Limits, Migrator, Run, Session, SessionRole, connect_url};
use ha_lab::{DatabaseSpec, Lab};

use crate::Fallible;

/// The release at the beginning, which reads and writes `amount`.
pub const OLD: &str = "4.2.0";
/// The release afterwards, which reads and writes `total`.
pub const NEW: &str = "5.0.0";
/// So many rows are there at first.
pub const ROWS: i64 = 20_000;

/// Which database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A private server.
    Postgres,
    /// A private server.
    MariaDb,
}

/// The server of the database, while the demonstration lasts.
pub struct Database {
    /// Which it is.
    pub kind: Kind,
    /// Its JDBC URL.
    pub url: String,
    /// An empty one, for a clone.
    pub clone_url: String,
    /// Ends it when it is dropped.
    _server: Option<Box<dyn Any>>,
}

impl Database {
    /// Starts it, empty.
    ///
    /// # Errors
    /// What could not be started.
    pub fn start(lab: &Lab, kind: Kind) -> Fallible<Self> {
        let spec = DatabaseSpec::default();
        let (url, clone_url, server): (String, String, Option<Box<dyn Any>>) = match kind {
            Kind::Sqlite => {
                // An empty file is an empty database; one that is not there would be taken for a mistake in the path.
                std::fs::File::create(lab.path().join("orders.db"))?;
                let file = |name: &str| format!("jdbc:sqlite:{}", lab.path().join(name).display());
                (file("orders.db"), file("clone.db"), None)
            }
            Kind::Postgres => {
                let server = lab.postgres("db", &spec)?;
                let url = |database| format!("jdbc:postgresql://127.0.0.1:{}/{database}?user=postgres", server.port());
                (url(server.database()?), url(server.database()?), Some(Box::new(server)))
            }
            Kind::MariaDb => {
                let server = lab.mariadb("db", &spec)?;
                let url = |database| format!("jdbc:mariadb://127.0.0.1:{}/{database}?user=root", server.port());
                (url(server.database()?), url(server.database()?), Some(Box::new(server)))
            }
        };
        Ok(Self { kind, url, clone_url, _server: server })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// What the database says.
    pub async fn session(&self, role: SessionRole) -> Fallible<Box<dyn Session>> {
        Ok(connect_url(&self.url, patient())?.open(role).await?)
    }

    /// Brings the database to the schema of the old release.
    ///
    /// # Errors
    /// What the database says.
    pub async fn migrate_base(&self, scripts: &Path) -> Fallible<()> {
        let scripts = Scripts::from_dir(scripts, &LoadOptions::new())?;
        let migrator = Migrator::builder(connect_url(&self.url, patient())?, scripts).build()?;
        migrator.run(&Run::to(Phase::Expand)).await?;
        Ok(())
    }

    /// Fills the table of the old release.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fill(&self) -> Fallible<()> {
        let mut session = self.session(SessionRole::Migrator).await?;
        if self.kind == Kind::Sqlite {
            // Readers and the writer do not wait for each other; a commit does not wait for the disk.
            session.query("PRAGMA journal_mode = WAL").await?;
        }
        for from in (1..=ROWS).step_by(1_000) {
            let rows: Vec<String> = (from..from + 1_000).map(|id| format!("({id}, {})", amount(id))).collect();
            session.execute(&format!("INSERT INTO orders (id, amount) VALUES {}", rows.join(", "))).await?;
        }
        Ok(())
    }

    /// Lists the numbers of all orders, of the database or its clone.
    ///
    /// # Errors
    /// What the database says.
    pub async fn orders(&self, of_clone: bool) -> Fallible<BTreeSet<i64>> {
        let rows = self.reader(of_clone).await?.query("SELECT id FROM orders").await?;
        let id = |row: &Vec<Option<String>>| row.first().and_then(|id| id.as_ref()?.parse().ok());
        Ok(rows.iter().filter_map(id).collect())
    }

    async fn reader(&self, of_clone: bool) -> Fallible<Box<dyn Session>> {
        let url = if of_clone { &self.clone_url } else { &self.url };
        Ok(connect_url(url, patient())?.open(SessionRole::Reader).await?)
    }

    /// Counts the rows, and those whose total is wrong, of the database or its clone.
    ///
    /// # Errors
    /// What the database says.
    pub async fn count(&self, column: &str, of_clone: bool) -> Fallible<(u64, u64)> {
        let mut session = self.reader(of_clone).await?;
        let sql =
            format!("SELECT count(*), coalesce(sum(CASE WHEN {column} = id % 1000 THEN 0 ELSE 1 END), 0) FROM orders");
        let rows = session.query(&sql).await?;
        let number = |at: usize| rows.first().and_then(|row| row.get(at)?.as_ref()?.parse().ok()).unwrap_or(u64::MAX);
        Ok((number(0), number(1)))
    }
}

/// What an order of this number costs: either release knows what it should read.
pub(super) fn amount(id: i64) -> i64 {
    id % 1_000
}

/// A server waits for the locks of others, as long as its clients wait for it.
pub(super) fn patient() -> Limits {
    Limits::default().with_lock(Duration::from_secs(5)).with_row_lock(Duration::from_secs(5))
}
