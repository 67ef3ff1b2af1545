//! The database of the demonstration: a SQLite file a site, of which one takes writes and the other follows it, a few milliseconds
//! behind. It shows what a backend of one's own for the copies of a database has to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use examples::Fallible;
use ha_backends::migrate::{Limits, Session, SessionRole, connect_url};
use ha_core::backend::{
    Applied, DemoteReplica, ErrorKind, Fence, FenceLevel, FenceSite, Fenced, FollowReplica, ObserveFence,
    ObserveReplica, PromoteReplica, Replica, ReplicaRole, ReplicaSeen, StepError,
};
use ha_core::state::{LeaseEpoch, SiteEpoch};
use ha_lab::fake_carbon::CarbonHome;
use tokio::time::{Instant, sleep};

use crate::sites::SITES;

/// How often what one copy has taken is brought to the other.
const SHIPPED_EVERY: Duration = Duration::from_millis(25);
const CREATE: [&str; 2] = [
    "CREATE TABLE orders (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, taken_ms INTEGER NOT NULL)",
    "CREATE TABLE site (role TEXT NOT NULL, epoch INTEGER NOT NULL)",
];

/// One site's copy.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    site: String,
    folder: PathBuf,
}

/// Both copies: each can follow the other.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    pub(crate) north: Copy,
    pub(crate) south: Copy,
}

/// What a copy says of itself.
struct Row {
    role: String,
    epoch: u64,
    position: u64,
    newest_ms: u64,
}

impl Copy {
    pub(crate) fn in_folder(site: &str, folder: &Path) -> Self {
        Self { site: site.into(), folder: folder.into() }
    }

    pub(crate) fn url(&self) -> String {
        format!("jdbc:sqlite:{}", self.folder.join("orders.db").display())
    }

    /// Makes it, as a copy that does this.
    pub(crate) async fn create(&self, role: &str) -> Fallible<()> {
        std::fs::File::create(self.folder.join("orders.db"))?;
        let mut session = open(&self.url()).await?;
        session.query("PRAGMA journal_mode = WAL").await?;
        for statement in CREATE {
            session.execute(statement).await?;
        }
        session.execute(&format!("INSERT INTO site VALUES ('{role}', 1)")).await?;
        Ok(())
    }

    /// Loses the machine that it is on, or brings it back.
    pub(crate) fn set_lost(&self, lost: bool) -> Fallible<()> {
        let mark = self.folder.join("lost");
        if lost {
            std::fs::write(mark, "")?
        } else {
            std::fs::remove_file(mark)?
        }
        Ok(())
    }

    fn is_lost(&self) -> bool {
        self.folder.join("lost").exists()
    }

    /// Opens it as somebody who has to reach its machine.
    async fn reach(&self, operation: &'static str) -> Result<Box<dyn Session>, StepError> {
        if self.is_lost() {
            let error = StepError::new(ErrorKind::Unreachable, operation, self.site.as_str());
            return Err(error.with_context("the machine does not answer").without_effect());
        }
        open(&self.url()).await.map_err(|error| self.failed(operation, error.to_string()))
    }

    /// What an error of a call says that was made after something had been written: nobody can tell what came of it.
    fn after(&self, error: &StepError, operation: &'static str) -> StepError {
        StepError::new(error.kind(), operation, self.site.as_str()).with_context(error.to_string())
    }

    fn failed(&self, operation: &'static str, what: String) -> StepError {
        StepError::new(ErrorKind::Protocol, operation, self.site.as_str()).with_context(what)
    }

    async fn row(&self, operation: &'static str) -> Result<Row, StepError> {
        let mut session = self.reach(operation).await?;
        self.row_of(&mut *session, operation).await
    }

    async fn row_of(&self, session: &mut dyn Session, operation: &'static str) -> Result<Row, StepError> {
        let sql = "SELECT role, epoch, (SELECT coalesce(max(seq), 0) FROM orders), \
                   (SELECT coalesce(max(taken_ms), 0) FROM orders) FROM site";
        let rows = session.query(sql).await.map_err(|error| self.failed(operation, error.to_string()))?;
        let row = rows.first().ok_or_else(|| self.failed(operation, "it says nothing of itself".into()))?;
        let text = |at: usize| row.get(at).and_then(Clone::clone).unwrap_or_default();
        let number = |at: usize| text(at).parse().unwrap_or(0);
        Ok(Row { role: text(0), epoch: number(1), position: number(2), newest_ms: number(3) })
    }

    /// Says what it does from now on; done where it was not so.
    async fn become_role(&self, operation: &'static str, role: &str, epoch: Option<u64>) -> Result<Applied, StepError> {
        let mut session = self.reach(operation).await?;
        let row = self.row_of(&mut *session, operation).await?;
        let epoch = epoch.unwrap_or(row.epoch);
        if row.role == role && row.epoch == epoch {
            return Ok(Applied::AlreadySo);
        }
        let sql = format!("UPDATE site SET role = '{role}', epoch = {epoch}");
        session.execute(&sql).await.map_err(|error| self.failed(operation, error.to_string()))?;
        Ok(Applied::Applied)
    }

    /// Reads the numbers of all orders that it has.
    pub(crate) async fn orders(&self) -> Fallible<Vec<String>> {
        let rows = open(&self.url()).await?.query("SELECT id FROM orders").await?;
        Ok(rows.into_iter().filter_map(|mut row| row.pop().flatten()).collect())
    }
}

impl Copies {
    pub(crate) fn of(&self, site: &str) -> (&Copy, &Copy) {
        if site == "north" { (&self.north, &self.south) } else { (&self.south, &self.north) }
    }

    /// Brings what the primary has taken to the standby, for as long as this runs: both machines have to answer.
    pub(crate) async fn ship(self) {
        loop {
            for (from, to) in [(&self.north, &self.south), (&self.south, &self.north)] {
                // The next round brings what this one could not.
                let _ = ship_once(from, to).await;
            }
            sleep(SHIPPED_EVERY).await;
        }
    }
}

async fn ship_once(from: &Copy, to: &Copy) -> Result<(), StepError> {
    let (has, lacks) = (from.row("ship").await?, to.row("ship").await?);
    if lacks.role != "standby" || has.role == "standby" || has.epoch < lacks.epoch {
        return Ok(());
    }
    bring(from, to, lacks.position).await?;
    if has.epoch != lacks.epoch {
        to.become_role("ship", "standby", Some(has.epoch)).await?;
    }
    Ok(())
}

/// Copies all orders behind a position.
async fn bring(from: &Copy, to: &Copy, behind: u64) -> Result<(), StepError> {
    let mut source = from.reach("ship").await?;
    let sql = format!("SELECT seq, id, epoch, taken_ms FROM orders WHERE seq > {behind} ORDER BY seq LIMIT 5000");
    let rows = source.query(&sql).await.map_err(|error| from.failed("ship", error.to_string()))?;
    if rows.is_empty() {
        return Ok(());
    }
    let cell = |row: &[Option<String>], at: usize| row.get(at).and_then(Clone::clone).unwrap_or_default();
    let values: Vec<String> = rows
        .iter()
        .map(|row| format!("({}, '{}', {}, {})", cell(row, 0), cell(row, 1), cell(row, 2), cell(row, 3)))
        .collect();
    let mut target = to.reach("ship").await?;
    let sql = format!("INSERT OR IGNORE INTO orders VALUES {}", values.join(", "));
    target.execute(&sql).await.map(|_| ()).map_err(|error| to.failed("ship", error.to_string()))
}

/// Drives one copy for the engine.
#[derive(Debug)]
pub(crate) struct SiteDatabase {
    pub(crate) site: String,
    pub(crate) copies: Copies,
}

#[async_trait]
impl ObserveReplica for SiteDatabase {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        let row = self.copies.of(&self.site).0.row("replica").await?;
        let role = match row.role.as_str() {
            "primary" => ReplicaRole::Primary,
            "standby" => ReplicaRole::Standby,
            _ => ReplicaRole::ReadOnly,
        };
        let behind = (row.newest_ms > 0).then(|| Duration::from_millis(now_ms().saturating_sub(row.newest_ms)));
        Ok(ReplicaSeen::new(role, SiteEpoch::new(row.epoch)).with_position(Some(row.position)).with_behind(behind))
    }
}

#[async_trait]
impl Replica for SiteDatabase {
    async fn promote(&self, _: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError> {
        let own = self.copies.of(&self.site).0;
        let row = own.row("promote").await?;
        if row.epoch > request.epoch.number() {
            let what = format!("it has epoch {}", row.epoch);
            let error = StepError::new(ErrorKind::Conflict, "promote", self.site.as_str());
            return Err(error.with_context(what).without_effect());
        }
        own.become_role("promote", "primary", Some(request.epoch.number())).await
    }

    async fn demote(&self, _: LeaseEpoch, request: DemoteReplica) -> Result<Applied, StepError> {
        let (own, other) = self.copies.of(&self.site);
        let until = Instant::now() + request.deadline;
        if own.row("demote").await?.role != "primary" {
            return Ok(Applied::AlreadySo);
        }
        own.become_role("demote", "read-only", None).await?;
        loop {
            let rows = async { Ok::<_, StepError>((own.row("demote").await?, other.row("demote").await?)) };
            let (has, reaches) = rows.await.map_err(|error| own.after(&error, "demote"))?;
            if reaches.position >= has.position {
                return Ok(Applied::Applied);
            }
            if Instant::now() >= until {
                let what = format!("the other copy reaches {}, it has {}", reaches.position, has.position);
                return Err(StepError::new(ErrorKind::Conflict, "demote", self.site.as_str()).with_context(what));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn follow(&self, _: LeaseEpoch, request: FollowReplica) -> Result<Applied, StepError> {
        let (own, other) = self.copies.of(&self.site);
        let (row, source) = (own.row("follow").await?, other.row("follow").await?);
        let was = if row.role == "standby" { Applied::AlreadySo } else { Applied::Applied };
        if was == Applied::Applied {
            let failed = |error: Box<dyn std::error::Error + Send + Sync>| own.failed("follow", error.to_string());
            let theirs: std::collections::BTreeSet<String> =
                other.orders().await.map_err(failed)?.into_iter().collect();
            let extra: Vec<String> = own.orders().await.map_err(failed)?;
            let extra: Vec<String> = extra.into_iter().filter(|order| !theirs.contains(order)).collect();
            if !extra.is_empty() && !request.discard {
                let what = format!("it has {} orders that the other has not, the first {}", extra.len(), extra[0]);
                let error = StepError::new(ErrorKind::Conflict, "follow", self.site.as_str());
                return Err(error.with_context(what).without_effect());
            }
            let mut session = own.reach("follow").await?;
            // What only this copy has is kept beside it.
            let kept = extra.join("\n");
            std::fs::write(own.folder.join("discarded.txt"), kept)
                .map_err(|error| own.failed("follow", error.to_string()))?;
            // Whole or not at all: what is half of a copy must not be taken for one.
            let become_standby = format!("UPDATE site SET role = 'standby', epoch = {}", source.epoch);
            for statement in ["BEGIN IMMEDIATE", "DELETE FROM orders", &become_standby, "COMMIT"] {
                session.execute(statement).await.map_err(|error| own.failed("follow", error.to_string()))?;
            }
        }
        let until = Instant::now() + request.deadline;
        while own.row("follow").await.map_err(|error| own.after(&error, "follow"))?.position < source.position {
            if Instant::now() >= until {
                return Err(StepError::new(ErrorKind::Timeout, "follow", self.site.as_str()));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(was)
    }
}

/// Fences a site from outside, as a power switch does: its servers are ended, and its database takes no writes, whether it answers
/// or not.
#[derive(Debug)]
pub(crate) struct SiteFence {
    pub(crate) copy: Copy,
    pub(crate) servers: Vec<CarbonHome>,
}

impl SiteFence {
    fn mark(&self) -> PathBuf {
        self.copy.folder.join("fenced")
    }
}

#[async_trait]
impl ObserveFence for SiteFence {
    fn level(&self) -> FenceLevel {
        FenceLevel::Database
    }

    async fn fenced(&self) -> Result<Fenced, StepError> {
        // The mark is written first: it alone is half a fence, which is gone on with.
        if !self.mark().exists() {
            return Ok(Fenced::No);
        }
        let failed = |what: String| self.copy.failed("fenced", what).without_effect();
        let mut session = open(&self.copy.url()).await.map_err(|error| failed(error.to_string()))?;
        let row = self.copy.row_of(&mut *session, "fenced").await.map_err(StepError::without_effect)?;
        Ok(if row.role == "primary" { Fenced::No } else { Fenced::Yes })
    }
}

#[async_trait]
impl Fence for SiteFence {
    async fn fence(&self, _: LeaseEpoch, _: FenceSite) -> Result<Applied, StepError> {
        let failed =
            |what: String| StepError::new(ErrorKind::Protocol, "fence", self.copy.site.as_str()).with_context(what);
        std::fs::write(self.mark(), "").map_err(|error| failed(error.to_string()))?;
        for server in &self.servers {
            server.kill().map_err(|error| failed(error.to_string()))?;
        }
        let mut session = open(&self.copy.url()).await.map_err(|error| failed(error.to_string()))?;
        let closed = session.execute("UPDATE site SET role = 'read-only'").await;
        closed.map_err(|error| failed(error.to_string()))?;
        Ok(Applied::Applied)
    }

    async fn lift(&self, _: LeaseEpoch) -> Result<Applied, StepError> {
        match std::fs::remove_file(self.mark()) {
            Ok(()) => Ok(Applied::Applied),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Applied::AlreadySo),
            Err(error) => Err(self.copy.failed("lift", error.to_string())),
        }
    }
}

pub(crate) async fn open(url: &str) -> Fallible<Box<dyn Session>> {
    let patient = Limits::default().with_lock(Duration::from_secs(5)).with_row_lock(Duration::from_secs(5));
    Ok(connect_url(url, patient)?.open(SessionRole::Migrator).await?)
}

/// Writes an order where its site may: returns the site's epoch.
pub(crate) async fn write_order(session: &mut dyn Session, id: &str) -> Fallible<u64> {
    let now = now_ms();
    let sql = format!(
        "INSERT INTO orders (id, epoch, taken_ms) SELECT '{id}', epoch, {now} FROM site WHERE role = 'primary' RETURNING epoch"
    );
    let rows = session.query(&sql).await?;
    let epoch = rows.first().and_then(|row| row.first().cloned().flatten());
    Ok(epoch.ok_or("this copy takes no writes")?.parse()?)
}

#[allow(clippy::disallowed_methods, reason = "what two sites have answered is compared by the time of day")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Registers both for a topology that names them `demo`; the servers are two a site, north first.
pub(crate) fn registry(copies: &Copies, servers: &[CarbonHome]) -> ha_backends::Registry {
    let (of, servers) = (copies.clone(), servers.to_vec());
    let fenced = copies.clone();
    ha_backends::Registry::builtin()
        .with_replica("demo", move |part| {
            let database = SiteDatabase { site: part.name.into(), copies: of.clone() };
            Ok(Arc::new(database) as Arc<dyn Replica>)
        })
        .with_fence("demo", move |part| {
            let of_site = SITES.iter().zip(servers.chunks(2)).find(|(site, _)| **site == part.name);
            let servers = of_site.map_or_else(Vec::new, |(_, servers)| servers.to_vec());
            Ok(Arc::new(SiteFence { copy: fenced.of(part.name).0.clone(), servers }) as Arc<dyn Fence>)
        })
}
