use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{CloneDatabase, Cloned, ErrorKind, StepError, TakeCloneStep};
use ha_core::state::{CloneStage, CloneStep, Copies, LeaseEpoch, Source};
use tokio::time::{Instant, sleep};

use super::database::FakeDatabase;
use super::fault::{after, answer_late, before};
use super::{Fault, Operation};

/// The two copies of the simulated database: their tables, and what the clone's own mark says of it.
#[derive(Clone, Debug)]
pub(crate) struct FakeCopies {
    pub(crate) source: Vec<FakeTable>,
    pub(crate) clone: Vec<FakeTable>,
    /// How far a run has brought the clone; `None` where no run has.
    pub(crate) mark: Option<CloneStage>,
    /// How often the scripts were run on the clone.
    pub(crate) migrated: u32,
    /// A transaction that has written to the source is open: the row that it writes.
    pub(crate) uncommitted: Option<u64>,
    /// The next copy lacks a row.
    pub(crate) loses_a_row: bool,
}

/// A table of one copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FakeTable {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<u64>,
    pub(crate) frozen: bool,
}

/// How long one table takes.
const TABLE: Duration = Duration::from_millis(120);
/// How often a table that a transaction holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

impl Default for FakeCopies {
    fn default() -> Self {
        let table = |name, rows: &[u64]| FakeTable { name, rows: rows.to_vec(), frozen: false };
        Self {
            source: vec![table("orders", &[1, 2, 3]), table("tenants", &[1])],
            clone: Vec::new(),
            mark: None,
            migrated: 0,
            uncommitted: None,
            loses_a_row: false,
        }
    }
}

impl FakeCopies {
    /// Says how both are, as their tables and the mark tell.
    pub(crate) fn copies(&self) -> Copies {
        let frozen = |tables: &[FakeTable]| tables.iter().filter(|table| table.frozen).count();
        let source = match frozen(&self.source) {
            0 => Source::Open,
            all if all == self.source.len() => Source::Frozen,
            _ => Source::Freezing,
        };
        let clone = match self.mark {
            None if self.clone.is_empty() => CloneStage::Absent,
            None => CloneStage::Occupied,
            Some(CloneStage::Open) if frozen(&self.clone) > 0 => CloneStage::Opening,
            Some(stage) => stage,
        };
        Copies::new(source, clone)
    }

    /// Writes a row into `orders` of one copy; tells whether it was accepted.
    pub(crate) fn write(&mut self, clone: bool, row: u64) -> bool {
        let tables = if clone { &mut self.clone } else { &mut self.source };
        match tables.iter_mut().find(|table| table.name == "orders" && !table.frozen) {
            Some(table) => {
                table.rows.push(row);
                true
            }
            None => false,
        }
    }

    /// Does a part of a step: the first table, or all that is left.
    pub(crate) fn part(&mut self, step: CloneStep, first: bool) {
        let set = |tables: &mut [FakeTable], frozen| {
            let some = if first { tables.len().min(1) } else { tables.len() };
            tables[..some].iter_mut().for_each(|table| table.frozen = frozen);
        };
        match step {
            CloneStep::Freeze => set(&mut self.source, true),
            CloneStep::Thaw => set(&mut self.source, false),
            CloneStep::Copy => {
                self.mark = Some(if first { CloneStage::Copying } else { CloneStage::Copied });
                let copied = if first { 1 } else { self.source.len() };
                self.clone =
                    self.source[..copied].iter().cloned().map(|table| FakeTable { frozen: false, ..table }).collect();
                if self.loses_a_row && !first {
                    self.loses_a_row = false;
                    self.clone[0].rows.pop();
                }
            }
            CloneStep::Compare if first => {}
            CloneStep::Compare => self.mark = Some(CloneStage::Compared),
            CloneStep::Migrate if first => self.mark = Some(CloneStage::Migrating),
            CloneStep::Migrate => {
                self.migrated += 1;
                set(&mut self.clone, true);
                self.mark = Some(CloneStage::Migrated);
            }
            CloneStep::Open => {
                self.mark = Some(CloneStage::Open);
                set(&mut self.clone, false);
            }
            CloneStep::Drop if first => {
                self.mark = Some(CloneStage::Copying);
                self.clone.truncate(1);
            }
            CloneStep::Drop => (self.mark, self.clone) = (None, Vec::new()),
        }
    }
}

fn failed(kind: ErrorKind, what: impl Into<String>) -> StepError {
    StepError::new(kind, "clone_step", "database").with_context(what.into())
}

#[async_trait]
impl CloneDatabase for FakeDatabase {
    fn clone_url(&self) -> String {
        "jdbc:fake:clone".into()
    }

    async fn copies(&self) -> Result<Copies, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Copies, "copies", "database").await?;
        Ok(self.world.lock().copies.copies())
    }

    async fn clone_step(&self, epoch: LeaseEpoch, request: TakeCloneStep) -> Result<Cloned, StepError> {
        let (step, began) = (request.step, Instant::now());
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), "clone_step", "database")?;
        if step == CloneStep::Migrate && request.permit.is_none() {
            return Err(failed(ErrorKind::Denied, "nothing is migrated without a permit").without_effect());
        }
        let fault = self.world.take_fault(Operation::CloneStep, "database");
        self.world.if_late(fault, move |world| {
            let mut inner = world.lock();
            if inner.copies.copies().on(step).is_ok() && !inner.copies.copies().has(step) {
                inner.copies.part(step, false);
            }
        });
        if !before(fault, "clone_step", "database")? {
            return Ok(Cloned::default());
        }
        {
            let inner = self.world.lock();
            let copies = inner.copies.copies();
            copies.on(step).map_err(|rejected| failed(ErrorKind::Conflict, rejected.to_string()).without_effect())?;
            if copies.has(step) {
                return Ok(Cloned::default());
            }
        }
        while step == CloneStep::Freeze && self.world.lock().copies.uncommitted.is_some() {
            if began.elapsed() >= request.deadline {
                return Err(failed(ErrorKind::Timeout, "a transaction that has written holds orders"));
            }
            sleep(TRY_AGAIN).await;
        }
        self.world.lock().copies.part(step, true);
        sleep(TABLE).await;
        if fault == Some(Fault::Half) {
            return Err(failed(ErrorKind::Unreachable, "the connection broke"));
        }
        {
            let mut inner = self.world.lock();
            let copies = &mut inner.copies;
            if step == CloneStep::Compare
                && let Some(table) =
                    copies.source.iter().zip(&copies.clone).find(|(source, clone)| source.rows != clone.rows)
            {
                return Err(failed(ErrorKind::Conflict, format!("the clone differs in table {}", table.0.name)));
            }
            copies.part(step, false);
        }
        answer_late(fault).await;
        let (tables, rows) = {
            let inner = self.world.lock();
            let tables = &inner.copies.source;
            (tables.len() as u64, tables.iter().map(|table| table.rows.len() as u64).sum())
        };
        let counts = matches!(step, CloneStep::Copy | CloneStep::Compare);
        after(fault, "clone_step", "database").map(|()| Cloned::new(tables, if counts { rows } else { 0 }))
    }
}
