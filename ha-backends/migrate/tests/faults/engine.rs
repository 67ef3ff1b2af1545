//! The three databases behind one face: how to open them, and what is in them by another route than a driver's.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ha_lab::fake_carbon::Relaunch;
use ha_lab::{DatabaseSpec, Lab, MariaDbServer, PostgresServer};
use ha_migrate::{Connect, Limits, MySql, Postgres, Sqlite};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    MariaDb,
    Postgres,
    Sqlite,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::MariaDb];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

/// A server of its own, or a folder.
pub(crate) struct Engine {
    pub(crate) kind: Kind,
    lab: Lab,
    postgres: Option<PostgresServer>,
    mariadb: Option<MariaDbServer>,
    files: std::sync::atomic::AtomicU32,
}

/// One database of an engine.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// The socket's folder and port, the socket, or the file.
    pub(crate) place: String,
    pub(crate) database: String,
}

impl Engine {
    pub(crate) fn start(kind: Kind) -> Self {
        Self::start_with(kind, &DatabaseSpec::default())
    }

    pub(crate) fn start_with(kind: Kind, spec: &DatabaseSpec) -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let postgres = (kind == Kind::Postgres).then(|| lab.postgres("pg", spec).unwrap());
        let mariadb = (kind == Kind::MariaDb).then(|| lab.mariadb("maria", spec).unwrap());
        Self { kind, lab, postgres, mariadb, files: std::sync::atomic::AtomicU32::new(0) }
    }

    /// An empty database.
    pub(crate) fn fresh(&self) -> Target {
        let (place, database) = match self.kind {
            Kind::Postgres => {
                let server = self.postgres.as_ref().unwrap();
                (format!("{}:{}", server.socket_folder().display(), server.port()), server.database().unwrap())
            }
            Kind::MariaDb => {
                let server = self.mariadb.as_ref().unwrap();
                (server.socket().display().to_string(), server.database().unwrap())
            }
            Kind::Sqlite => {
                let number = self.files.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                (self.lab.path().join(format!("db{number}.sqlite")).display().to_string(), String::new())
            }
        };
        Target { kind: self.kind, place, database }
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        match self.kind {
            Kind::Postgres => self.postgres.as_ref().unwrap().port(),
            Kind::MariaDb => self.mariadb.as_ref().unwrap().port(),
            Kind::Sqlite => 0,
        }
    }

    /// The folder of a PostgreSQL, with its data and its socket.
    pub(crate) fn folder(&self) -> PathBuf {
        self.postgres.as_ref().unwrap().socket_folder().into()
    }

    /// Runs SQL through the product's own client.
    pub(crate) fn sql(&self, target: &Target, sql: &str) -> String {
        self.try_sql(target, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub(crate) fn try_sql(&self, target: &Target, sql: &str) -> std::io::Result<String> {
        match self.kind {
            Kind::Postgres => self.postgres.as_ref().unwrap().sql(&target.database, sql),
            Kind::MariaDb => self.mariadb.as_ref().unwrap().sql(&target.database, sql),
            Kind::Sqlite => {
                let done = Command::new("sqlite3").args(["-batch", &target.place, sql]).output();
                match done {
                    Ok(done) if done.status.success() => Ok(String::from_utf8_lossy(&done.stdout).trim_end().into()),
                    Ok(done) => Err(std::io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned())),
                    // Without the client: a session of its own.
                    Err(_) => session_sql(target, sql),
                }
            }
        }
    }

    pub(crate) fn kill(&self) {
        match self.kind {
            Kind::Postgres => self.postgres.as_ref().unwrap().kill(),
            Kind::MariaDb => self.mariadb.as_ref().unwrap().kill(),
            Kind::Sqlite => {}
        }
    }

    pub(crate) fn restart(&self) {
        match self.kind {
            Kind::Postgres => self.postgres.as_ref().unwrap().restart().unwrap(),
            Kind::MariaDb => self.mariadb.as_ref().unwrap().restart().unwrap(),
            Kind::Sqlite => {}
        }
    }

    /// Everything that migrations made: definitions, validity of indexes, and all rows.
    pub(crate) fn dump(&self, target: &Target) -> String {
        match self.kind {
            Kind::Postgres => {
                let mut dump = self.sql(
                    target,
                    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns \
                     WHERE table_schema = 'public' AND table_name NOT LIKE 'ha\\_%' ORDER BY 1, ordinal_position",
                );
                dump += &self.sql(
                    target,
                    "SELECT indexrelid::regclass, pg_get_indexdef(indexrelid), indisvalid FROM pg_index i JOIN pg_class c \
                     ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' \
                     AND c.relname NOT LIKE 'ha\\_%' ORDER BY 1",
                );
                let tables = self.sql(
                    target,
                    "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' \
                     AND relkind = 'r' AND relname NOT LIKE 'ha\\_%' ORDER BY 1",
                );
                for table in tables.lines() {
                    dump += &format!("\n{table}\n");
                    dump += &self.sql(
                        target,
                        &format!("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t"),
                    );
                }
                dump
            }
            Kind::MariaDb => {
                let mut dump = String::new();
                for table in self.sql(target, "SHOW TABLES").lines().filter(|table| !table.starts_with("ha_")) {
                    dump += &self.sql(target, &format!("SHOW CREATE TABLE {table}"));
                    dump +=
                        &self.sql(target, &format!("CHECKSUM TABLE {table} EXTENDED")).replace(&target.database, "");
                    dump += &self.sql(target, &format!("SELECT count(*) FROM {table}"));
                    dump.push('\n');
                }
                dump
            }
            Kind::Sqlite => {
                let mut dump = self.sql(
                    target,
                    "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'ha\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite_%' \
                     AND tbl_name NOT LIKE 'ha\\_%' ESCAPE '\\' ORDER BY 1",
                );
                let tables = self.sql(
                    target,
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'ha\\_%' ESCAPE '\\' \
                     AND name NOT LIKE 'sqlite_%' ORDER BY 1",
                );
                for table in tables.lines() {
                    dump += &format!("\n{table}\n");
                    dump += &self.sql(
                        target,
                        &format!("SELECT count(*), coalesce(sum(id), 0), coalesce(sum(n), 0) FROM {table}"),
                    );
                }
                dump
            }
        }
    }
}

fn session_sql(target: &Target, sql: &str) -> std::io::Result<String> {
    let target = target.clone();
    let sql = sql.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let connect = target.connect();
            let mut session = connect.open(ha_migrate::SessionRole::Migrator).await.map_err(std::io::Error::other)?;
            let rows = session.query(&sql).await.map_err(std::io::Error::other)?;
            let line =
                |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|");
            Ok(rows.into_iter().map(line).collect::<Vec<_>>().join("\n"))
        })
    })
    .join()
    .unwrap()
}

impl Target {
    pub(crate) fn connect(&self) -> Arc<dyn Connect> {
        self.connect_with(Limits::default())
    }

    pub(crate) fn connect_with(&self, limits: Limits) -> Arc<dyn Connect> {
        match self.kind {
            Kind::Postgres => {
                let (folder, port) = self.place.rsplit_once(':').unwrap();
                let port = port.parse().unwrap();
                Arc::new(Postgres::on_socket(folder, port, &self.database, "postgres").with_limits(limits))
            }
            Kind::MariaDb => Arc::new(
                MySql::on_socket(PathBuf::from(&self.place), &self.database, "root").as_mariadb().with_limits(limits),
            ),
            Kind::Sqlite => {
                Arc::new(Sqlite::new(&self.place).with_limits(limits.with_row_lock(Duration::from_millis(200))))
            }
        }
    }

    pub(crate) fn to_env(&self) -> String {
        format!("{}\n{}\n{}", self.kind.name(), self.place, self.database)
    }

    pub(crate) fn from_env(text: &str) -> Self {
        let mut parts = text.split('\n');
        let kind = parts.next().unwrap();
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).unwrap();
        Self { kind, place: parts.next().unwrap().into(), database: parts.next().unwrap().into() }
    }
}
