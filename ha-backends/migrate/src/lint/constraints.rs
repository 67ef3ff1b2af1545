//! Constraints and indexes: HA006, HA007, HA009.

use super::context::{Context, Lock, online, step};
use super::cost::Operation;
use super::{Blocked, Rule, Severity, Verdict, Work, is_mysql, sql};
use crate::script::Phase;
use crate::{Change, ConstraintKind, Dialect, ObjectName};

impl Context<'_> {
    pub(super) fn add_constraint(&mut self, change: &Change) {
        let Change::AddConstraint { table, name, kind, not_valid, using_index, references, definition } = change else {
            return;
        };
        if self.is_new(table) || *not_valid || *using_index || self.sqlite_refuses(table, "ADD CONSTRAINT") {
            return;
        }
        let postgres = self.dialect() == Dialect::Postgres;
        let at = self.sql(table);
        let short = match kind {
            ConstraintKind::Check => "check",
            ConstraintKind::Exclude => "exclude",
            ConstraintKind::ForeignKey => "fkey",
            ConstraintKind::PrimaryKey => "pkey",
            ConstraintKind::Unique => "key",
        };
        let named = self.quoted(&name.clone().unwrap_or_else(|| format!("{}_{short}", table.name)));
        let both = references.as_ref().map(|to| format!(" and {}", self.sql(to))).unwrap_or_default();
        let (lock, operation, work, blocked) = match kind {
            ConstraintKind::ForeignKey => (Lock::ForeignKey, Operation::ForeignKey, Work::Scan, Blocked::Writers),
            ConstraintKind::Check => (Lock::Exclusive, Operation::Scan, Work::Scan, Blocked::ReadersAndWriters),
            ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::Exclude => {
                (Lock::Exclusive, Operation::Unique, Work::Scan, Blocked::ReadersAndWriters)
            }
        };
        let who = if blocked == Blocked::Writers { "writers" } else { "readers and writers" };
        let what = format!(
            "{at} is checked row by row while {who} of {at}{both} wait; from then on rows of the old version that break it are refused"
        );
        let mut finding = self.finding(Rule::Constraint, Severity::Error, what);
        finding.lock = Some(self.lock(lock));
        finding.work = Some(if is_mysql(self.dialect()) { Work::Rewrite } else { work });
        finding.stall = Some(self.stall(table, blocked, operation));
        let mut verdict = Verdict::Window;
        if postgres {
            match kind {
                ConstraintKind::ForeignKey | ConstraintKind::Check => {
                    (finding.rewrite, verdict) = online([
                        format!("ALTER TABLE {at} ADD CONSTRAINT {named} {definition} NOT VALID"),
                        format!("ALTER TABLE {at} VALIDATE CONSTRAINT {named}"),
                    ]);
                }
                ConstraintKind::Unique | ConstraintKind::PrimaryKey => {
                    let word = if *kind == ConstraintKind::Unique { "UNIQUE" } else { "PRIMARY KEY" };
                    // ( columns ) of the index, what stands behind them of the constraint
                    let nulls = if definition.to_ascii_uppercase().contains("NULLS NOT DISTINCT") {
                        " NULLS NOT DISTINCT"
                    } else {
                        ""
                    };
                    let ends = definition.find('(').zip(definition.rfind(')'));
                    let columns = ends.and_then(|(open, close)| definition.get(open..=close)).unwrap_or_default();
                    let behind = ends.and_then(|(_, close)| definition.get(close + 1..)).unwrap_or_default();
                    (finding.rewrite, verdict) = online([
                        format!("CREATE UNIQUE INDEX CONCURRENTLY {named} ON {at} {columns}{nulls}"),
                        format!("ALTER TABLE {at} ADD CONSTRAINT {named} {word} USING INDEX {named}{behind}"),
                    ]);
                }
                ConstraintKind::Exclude => {}
            }
        } else if is_mysql(self.dialect()) && matches!(kind, ConstraintKind::Unique | ConstraintKind::PrimaryKey) {
            let online_clause = &self.class.online;
            if online_clause.lock.as_deref() == Some("NONE") {
                return;
            }
            (finding.rewrite, verdict) =
                online([format!("{}, ALGORITHM=INPLACE, LOCK=NONE", sql::bare(self.statement.text))]);
        }
        self.push_stall(finding, table, verdict);
    }

    pub(super) fn create_index(
        &mut self,
        table: &ObjectName,
        name: Option<&str>,
        unique: bool,
        concurrently: bool,
        if_not_exists: bool,
    ) {
        if concurrently {
            self.concurrent_index(name, if_not_exists);
            return;
        }
        if self.is_new(table) {
            return;
        }
        let at = self.sql(table);
        let said = &self.class.online;
        let offline = match self.dialect() {
            Dialect::MariaDb | Dialect::MySql => {
                let copies = said.algorithm.as_deref() == Some("COPY");
                copies || said.lock.as_deref().is_some_and(|lock| lock == "SHARED" || lock == "EXCLUSIVE")
            }
            Dialect::Oracle | Dialect::SqlServer => !said.online,
            Dialect::Db2 | Dialect::H2 | Dialect::Postgres | Dialect::Sqlite => true,
        };
        if !offline {
            return;
        }
        let mut finding =
            self.finding(Rule::OfflineIndex, Severity::Error, format!("writers of {at} wait until the index is built"));
        finding.lock = Some(self.lock(Lock::Writers));
        finding.work = Some(Work::Scan);
        let operation = if unique { Operation::Unique } else { Operation::Index };
        let operation = if self.dialect() == Dialect::Postgres { Operation::Index } else { operation };
        finding.stall = Some(self.stall(table, Blocked::Writers, operation));
        let text = sql::bare(self.statement.text);
        let creates = text.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("create"));
        let rewritten = match self.dialect() {
            Dialect::Postgres => sql::with_word(text, "INDEX", "CONCURRENTLY"),
            Dialect::MariaDb | Dialect::MySql if creates => name.map(|name| {
                let unique = if unique { "UNIQUE " } else { "" };
                let columns = text.find('(').and_then(|open| Some((open, text.rfind(')')?)));
                let columns = columns.and_then(|(open, close)| text.get(open..=close)).unwrap_or_default();
                format!("CREATE {unique}INDEX {} ON {at} {columns} ALGORITHM=INPLACE LOCK=NONE", self.quoted(name))
            }),
            Dialect::SqlServer => Some(format!("{text} WITH (ONLINE = ON)")),
            Dialect::Oracle => Some(format!("{text} ONLINE")),
            Dialect::Db2 | Dialect::H2 | Dialect::MariaDb | Dialect::MySql | Dialect::Sqlite => None,
        };
        // SQLite has one writer at any time: it waits for busy_timeout, as behind any other write
        let mut verdict = if self.dialect() == Dialect::Sqlite { Verdict::Expand } else { Verdict::Window };
        if self.dialect() == Dialect::Sqlite {
            finding.severity = Severity::Warning;
        }
        if let Some(rewritten) = rewritten {
            (finding.rewrite, verdict) = online([rewritten]);
        }
        self.push_stall(finding, table, verdict);
    }

    /// HA007.
    fn concurrent_index(&mut self, name: Option<&str>, if_not_exists: bool) {
        if self.in_transaction {
            let what = "CONCURRENTLY is refused inside a transaction: run the script outside of one, or put it into a script of its own";
            let mut finding = self.finding(Rule::ConcurrentIndex, Severity::Error, what);
            finding.verdict = Verdict::Expand;
            self.push(finding);
        }
        if if_not_exists {
            let what = "IF NOT EXISTS passes over an INVALID index of a broken build, and reports success: look at \
                        pg_index.indisvalid, drop an invalid one, and create it anew";
            let mut finding = self.finding(Rule::ConcurrentIndex, Severity::Warning, what);
            if let Some(name) = name {
                let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {}", self.quoted(name));
                finding.rewrite.push(step(Phase::Expand, drop));
                let plain = sql::bare(self.statement.text).replacen("IF NOT EXISTS ", "", 1);
                finding.rewrite.push(step(Phase::Expand, plain));
            }
            self.push(finding);
        }
        if name.is_none() {
            let what = "the index has no name: after a crash an invalid one cannot be told from others; give it a name";
            let finding = self.finding(Rule::ConcurrentIndex, Severity::Warning, what);
            self.push(finding);
        }
    }

    pub(super) fn drop_constraint(&mut self, table: &ObjectName, name: &str) {
        if self.is_new(table) || self.sqlite_refuses(table, "DROP CONSTRAINT") {
            return;
        }
        let at = self.sql(table);
        let what = format!(
            "the old version may rely on {name} of {at}: an upsert needs its unique key, a delete its foreign key"
        );
        let mut finding = self.finding(Rule::Drop, Severity::Warning, what);
        finding.lock = Some(self.lock(Lock::Exclusive));
        self.push_contract(finding);
    }
}
