//! Whole tables and what stops them: HA004, HA005, HA010, HA012, HA014, HA015, HA016, HA019.

use super::context::{Context, Lock, online, step};
use super::cost::Operation;
use super::{Blocked, Rule, Severity, Verdict, Work, is_mysql, sql};
use crate::classify::Rewriting;
use crate::script::Phase;
use crate::{Dialect, DropKind, MaintenanceKind, ObjectKind, ObjectName};

impl Context<'_> {
    pub(super) fn create_table(
        &mut self,
        table: &ObjectName,
        engine: Option<&str>,
        references: &[ObjectName],
        from_query: bool,
    ) {
        if let Some(engine) = engine.filter(|engine| is_mysql(self.dialect()) && !is_transactional(engine)) {
            let what =
                format!("{engine} has no transactions: after a crash part of a statement's rows stay; use InnoDB");
            let finding = self.finding(Rule::Engine, Severity::Warning, what);
            self.push(finding);
        }
        let old: Vec<_> = references.iter().filter(|to| !self.is_new(to)).map(|to| self.sql(to)).collect();
        if !old.is_empty()
            && matches!(self.dialect(), Dialect::Postgres | Dialect::MariaDb | Dialect::MySql)
            && !from_query
        {
            let what = format!(
                "the foreign key of {} locks {}: its writers queue behind it while it waits for a transaction; run it with a lock \
                 timeout",
                self.sql(table),
                old.join(", ")
            );
            let mut finding = self.finding(Rule::ForeignKeyOfNewTable, Severity::Warning, what);
            finding.lock = Some(self.lock(Lock::ForeignKey));
            self.push(finding);
        }
    }

    pub(super) fn rename_table(&mut self, from: &ObjectName, to: &ObjectName) {
        if self.is_new(from) {
            return;
        }
        let (old, new) = (self.sql(from), self.sql(to));
        let what = format!("every statement of the old version that names {old} fails: leave a view of the old name");
        let mut finding = self.finding(Rule::Rename, Severity::Error, what);
        finding.lock = Some(self.lock(Lock::Exclusive));
        match self.dialect() {
            Dialect::Postgres | Dialect::Sqlite => {
                let begin = if self.dialect() == Dialect::Postgres { "BEGIN" } else { "BEGIN IMMEDIATE" };
                let bare = self.quoted(&to.name);
                // SQLite writes through a view by INSTEAD OF triggers only
                if self.dialect() == Dialect::Postgres {
                    for sql in [
                        begin.to_owned(),
                        format!("ALTER TABLE {old} RENAME TO {bare}"),
                        format!("CREATE VIEW {old} AS SELECT * FROM {new}"),
                        "COMMIT".to_owned(),
                    ] {
                        finding.rewrite.push(step(Phase::Expand, sql));
                    }
                    finding.rewrite.push(step(Phase::Contract, format!("DROP VIEW {old}")));
                }
            }
            Dialect::MariaDb | Dialect::MySql => {
                finding.rewrite.push(step(Phase::Expand, format!("CREATE VIEW {new} AS SELECT * FROM {old}")));
                let swap = format!("DROP VIEW {new}");
                finding.rewrite.push(step(Phase::Contract, swap));
                finding.rewrite.push(step(Phase::Contract, format!("RENAME TABLE {old} TO {new}")));
            }
            Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => {}
        }
        self.push_contract(finding);
    }

    /// Whether the catalogue was read and does not have a table.
    pub(super) fn is_absent(&self, kind: DropKind, object: &ObjectName) -> bool {
        kind == DropKind::Table && !self.catalog.tables.is_empty() && self.stats(object).is_none()
    }

    pub(super) fn drop_object(&mut self, kind: DropKind, object: &ObjectName, concurrently: bool) {
        let new = self.is_new(object)
            || object.table.as_ref().is_some_and(|table| self.created.contains(&table.to_ascii_lowercase()));
        if new {
            return;
        }
        let name = self.sql(object);
        let (severity, what) = match kind {
            DropKind::Table => (Severity::Error, format!("every statement of the old version that names {name} fails")),
            DropKind::View => (Severity::Error, format!("every statement of the old version that reads {name} fails")),
            DropKind::Schema => (Severity::Error, format!("every statement of the old version in {name} fails")),
            DropKind::Index => (Severity::Warning, format!("queries of the old version that use {name} become slow")),
            DropKind::Sequence => {
                (Severity::Error, format!("every INSERT of the old version that draws from {name} fails"))
            }
            DropKind::Trigger => {
                (Severity::Warning, format!("what {name} does for writes of the old version is left out"))
            }
            DropKind::Routine => (Severity::Warning, format!("calls of {name} by the old version fail")),
            DropKind::Type => (Severity::Warning, format!("statements of the old version that name {name} fail")),
            DropKind::Other => (Severity::Warning, format!("the old version may use {name}")),
        };
        let mut finding = self.finding(Rule::Drop, severity, what);
        if !concurrently {
            finding.lock = Some(self.lock(Lock::Exclusive));
        }
        if kind == DropKind::Index && !concurrently && self.dialect() == Dialect::Postgres {
            finding.rewrite.push(step(Phase::Contract, format!("DROP INDEX CONCURRENTLY {name}")));
        }
        self.push_contract(finding);
        if matches!(kind, DropKind::Table | DropKind::Schema) {
            self.data_loss(format!("the rows of {name} are gone: have a backup and a permit"));
        }
    }

    pub(super) fn data_loss(&mut self, what: String) {
        let finding = self.finding(Rule::DataLoss, Severity::Error, what);
        self.push_contract(finding);
    }

    pub(super) fn rewrite(&mut self, table: &ObjectName, by: &Rewriting) {
        if let Rewriting::Engine(engine) = by
            && !is_transactional(engine)
        {
            let what = format!(
                "{engine} has no transactions: after a crash part of a statement's rows stay; stay with InnoDB"
            );
            let finding = self.finding(Rule::Engine, Severity::Error, what);
            self.push(finding);
        }
        if self.is_new(table) {
            return;
        }
        let inplace = self.class.online.lock.as_deref() == Some("NONE");
        if inplace && matches!(by, Rewriting::Engine(_) | Rewriting::Rebuild) {
            return;
        }
        let clause = match by {
            Rewriting::Tablespace => "SET TABLESPACE",
            Rewriting::Engine(_) => "ENGINE",
            Rewriting::Charset => "CONVERT TO CHARACTER SET",
            Rewriting::Rebuild => "this clause",
        };
        let what = format!("{clause} writes {} anew, and its users wait", self.sql(table));
        let mut finding = self.finding(Rule::Maintenance, Severity::Error, what);
        let mysql = is_mysql(self.dialect());
        let blocked = if mysql { Blocked::Writers } else { Blocked::ReadersAndWriters };
        finding.lock = Some(self.lock(if mysql { Lock::Writers } else { Lock::Exclusive }));
        finding.work = Some(Work::Rewrite);
        finding.stall = Some(self.stall(table, blocked, Operation::Rewrite));
        let mut verdict = Verdict::Window;
        if mysql && matches!(by, Rewriting::Engine(_) | Rewriting::Rebuild) {
            let sql = format!("{}, ALGORITHM=INPLACE, LOCK=NONE", sql::bare(self.statement.text));
            (finding.rewrite, verdict) = online([sql]);
        }
        self.push_stall(finding, table, verdict);
    }

    pub(super) fn maintenance(&mut self, kind: MaintenanceKind, objects: &[ObjectName]) {
        let text = sql::bare(self.statement.text);
        let (what, lock, rewritten) = match kind {
            MaintenanceKind::Online => return,
            MaintenanceKind::LockTable => ("the old version waits until the lock is given back", Lock::Exclusive, None),
            MaintenanceKind::VacuumFull => {
                ("the table is written anew, and its readers and writers wait", Lock::Exclusive, None)
            }
            MaintenanceKind::Cluster => {
                ("the table is written anew, and its readers and writers wait", Lock::Exclusive, None)
            }
            MaintenanceKind::Reindex => {
                let online = objects.first().and_then(|object| {
                    let level = if object.kind == ObjectKind::Index { "INDEX" } else { "TABLE" };
                    (object.kind != ObjectKind::Schema && self.dialect() == Dialect::Postgres)
                        .then(|| format!("REINDEX {level} CONCURRENTLY {}", self.sql(object)))
                });
                ("writers of the table wait until its indexes are built", Lock::Writers, online)
            }
            MaintenanceKind::Refresh => {
                let online = sql::with_word(text, "VIEW", "CONCURRENTLY");
                (
                    "readers of the view wait until it is filled; CONCURRENTLY needs a unique index on it",
                    Lock::Exclusive,
                    online,
                )
            }
            MaintenanceKind::Optimize => ("the table is rebuilt, and its writers may wait", Lock::Writers, None),
            MaintenanceKind::Reorg => ("the table is written anew, and its writers wait", Lock::Exclusive, None),
        };
        if !objects.is_empty() && objects.iter().all(|object| self.is_new(object)) {
            return;
        }
        let mut finding = self.finding(Rule::Maintenance, Severity::Error, what);
        finding.lock = Some(self.lock(lock));
        let blocked = if matches!(lock, Lock::Exclusive) { Blocked::ReadersAndWriters } else { Blocked::Writers };
        let mut verdict = Verdict::Window;
        if let Some(rewritten) = rewritten {
            (finding.rewrite, verdict) = online([rewritten]);
        }
        if kind == MaintenanceKind::LockTable {
            finding.verdict = verdict;
            self.push(finding);
            return;
        }
        finding.work = Some(Work::Rewrite);
        match objects.first() {
            Some(table) => {
                finding.stall = Some(self.stall(table, blocked, Operation::Rewrite));
                self.push_stall(finding, table, verdict);
            }
            None => {
                finding.verdict = verdict;
                self.push(finding);
            }
        }
    }

    pub(super) fn partition(&mut self, table: &ObjectName, concurrently: bool, destroys: bool) {
        if self.is_new(table) {
            return;
        }
        let at = self.sql(table);
        if destroys {
            self.data_loss(format!("the rows of a partition of {at} are gone: have a backup and a permit"));
        } else if !concurrently {
            let what =
                format!("{at} is locked while a partition is added, attached or taken off; run it with a lock timeout");
            let mut finding = self.finding(Rule::Maintenance, Severity::Warning, what);
            finding.lock = Some(self.lock(Lock::Exclusive));
            self.push(finding);
        }
    }

    pub(super) fn unread(&mut self, table: &ObjectName, clause: &str) {
        let what = format!(
            "what `{clause}` costs on {} is not known: review it, and allow it with `-- ha:allow HA014 reason`",
            self.sql(table)
        );
        let mut finding = self.finding(Rule::Opaque, Severity::Error, what);
        finding.verdict = Verdict::Opaque;
        self.push(finding);
    }

    /// HA030: what a new trigger does to the old version's writes.
    pub(super) fn create_trigger(&mut self, table: Option<&ObjectName>) {
        if table.is_some_and(|table| self.is_new(table)) {
            return;
        }
        let at = table.map_or_else(|| "the table".to_owned(), |table| self.sql(table));
        let what = format!(
            "from the commit on the trigger runs in the old version's writes of {at}: test it with both versions"
        );
        let mut finding = self.finding(Rule::UseBeforeCommit, Severity::Warning, what);
        finding.lock = Some(self.lock(Lock::ForeignKey));
        self.push(finding);
    }
}

pub(super) fn is_transactional(engine: &str) -> bool {
    !["MyISAM", "Aria", "MEMORY", "HEAP", "CSV", "ARCHIVE", "MERGE", "MRG_MyISAM", "BLACKHOLE"]
        .iter()
        .any(|other| other.eq_ignore_ascii_case(engine))
}
