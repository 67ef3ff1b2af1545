//! The suite for databases is proven itself: it runs on databases with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken_database;
mod proof;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use broken_database::{Broken, DEFECTS, Defect, Harm};
use ha_core::backend::Database;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::database::{
    CASES, DatabaseAbility, DatabaseFixture, DatabaseSubject, FakeDatabaseFixture, ScriptPhase, Waiting,
};
use proof::every_defect_is_caught;

struct BrokenFixture(Defect);

struct BrokenSubject {
    defect: Defect,
    inner: Arc<dyn DatabaseSubject>,
    harm: Arc<Mutex<Harm>>,
    database: Arc<dyn Database>,
}

#[async_trait]
impl DatabaseFixture for BrokenFixture {
    fn name(&self) -> String {
        "a database in memory".into()
    }

    fn can(&self, ability: DatabaseAbility) -> bool {
        FakeDatabaseFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn DatabaseSubject>, Breach> {
        let inner = FakeDatabaseFixture::new().fresh().await?;
        let (inner, harm): (Arc<dyn DatabaseSubject>, _) = (inner.into(), Arc::<Mutex<Harm>>::default());
        let database = Arc::new(Broken::new(self.0, inner.database(), inner.clone(), harm.clone()));
        Ok(Box::new(BrokenSubject { defect: self.0, inner, harm, database }))
    }
}

impl BrokenSubject {
    fn harm(&self) -> std::sync::MutexGuard<'_, Harm> {
        self.harm.lock().unwrap()
    }
}

#[async_trait]
impl DatabaseSubject for BrokenSubject {
    fn database(&self) -> Arc<dyn Database> {
        self.database.clone()
    }

    fn another(&self) -> Arc<dyn Database> {
        Arc::new(Broken::new(self.defect, self.inner.another(), self.inner.clone(), self.harm.clone()))
    }

    async fn columns(&self) -> Result<Vec<String>, Breach> {
        let mut columns = self.inner.columns().await?;
        let harm = self.harm();
        columns.retain(|column| column != "amount" || !harm.amount_is_gone);
        if harm.amount_is_left && !columns.contains(&"amount".to_owned()) {
            columns.push("amount".into());
        }
        Ok(columns)
    }

    async fn rows(&self) -> Result<u64, Breach> {
        Ok(self.inner.rows().await? - self.harm().rows_gone)
    }

    async fn unfilled(&self) -> Result<u64, Breach> {
        let (rows, unfilled) = (self.rows().await?, self.inner.unfilled().await?);
        let harm = self.harm();
        Ok(if harm.filled { 0 } else { unfilled.min(rows).max(harm.unfilled) })
    }

    async fn applied(&self, phase: ScriptPhase) -> Result<u32, Breach> {
        let times = self.inner.applied(phase).await?;
        let place = ScriptPhase::ALL.iter().position(|known| *known == phase).unwrap();
        Ok(times + self.harm().again[place])
    }

    async fn scripts(&self, waiting: Waiting) -> Result<(), Breach> {
        self.harm().waiting = Some(waiting);
        self.inner.scripts(waiting).await
    }

    async fn fail(&self, phase: ScriptPhase) -> Result<(), Breach> {
        self.inner.fail(phase).await
    }

    async fn mend(&self) -> Result<(), Breach> {
        self.inner.mend().await
    }

    async fn use_old_release(&self, connected: bool) -> Result<(), Breach> {
        self.harm().old_session = connected;
        self.inner.use_old_release(connected).await
    }

    async fn lock(&self, held: bool) -> Result<(), Breach> {
        self.harm().held = held;
        self.inner.lock(held).await
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.inner.lose().await
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.harm().restarts += 1;
        self.inner.restart().await
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_database_is_caught() {
    let broken = |defect| Box::new(BrokenFixture(defect)) as Box<dyn DatabaseFixture>;
    every_defect_is_caught("databases", CASES, &BrokenFixture(Defect::Whole), DEFECTS, broken).await;
}
