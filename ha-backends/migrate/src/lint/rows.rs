//! Rows and settings: HA011, HA012, HA016, HA021.

use super::context::{Context, Lock, step};
use super::cost::Operation;
use super::tables::is_transactional;
use super::{Blocked, Rule, Severity, Verdict, is_mysql, sql};
use crate::script::Phase;
use crate::{Dialect, Kind, ObjectName};

impl Context<'_> {
    pub(super) fn truncate(&mut self, table: &ObjectName) {
        if self.is_new(table) {
            return;
        }
        let what =
            format!("all rows of {} are gone, the old version's too: have a backup and a permit", self.sql(table));
        let mut finding = self.finding(Rule::DataLoss, Severity::Error, what);
        finding.lock = Some(self.lock(Lock::Exclusive));
        self.push_contract(finding);
    }

    pub(super) fn unbounded(&mut self, table: &ObjectName, filtered: bool, delete: bool) {
        if self.is_new(table) {
            return;
        }
        let at = self.sql(table);
        let verb = if delete { "deletes" } else { "changes" };
        let which = if filtered { "rows without a bound" } else { "every row" };
        let what = format!(
            "{verb} {which} of {at} in one transaction: writers of the same rows wait until it ends; do it in batches"
        );
        // a condition may pick few rows: nobody knows from the text
        let severity = if filtered { Severity::Warning } else { Severity::Error };
        let mut finding = self.finding(Rule::UnboundedRows, severity, what);
        finding.lock = Some(if self.dialect() == Dialect::Sqlite { self.lock(Lock::Writers) } else { "row locks" });
        // of a condition it is the most
        finding.stall = Some(self.stall(table, Blocked::Writers, Operation::Update));
        let text = sql::bare(self.statement.text);
        if !text.to_ascii_lowercase().contains("returning") {
            let batch = "id BETWEEN :from AND :to";
            let sql = if filtered {
                sql::with_word(text, "WHERE", &format!("{batch} AND (")).map(|sql| format!("{sql})"))
            } else {
                Some(format!("{text} WHERE {batch}"))
            };
            finding.rewrite.extend(sql.map(|sql| step(Phase::Backfill, sql)));
        }
        self.push_stall(finding, table, Verdict::Backfill);
        if delete && !filtered {
            self.data_loss(format!("all rows of {at} are gone, the old version's too: have a backup and a permit"));
        }
    }

    /// HA016: rows of a table whose engine has no transactions.
    pub(super) fn writes_to_engines(&mut self) {
        if !is_mysql(self.dialect()) || self.class.kind != Kind::Dml {
            return;
        }
        for table in &self.class.writes {
            let engine = self.stats(table).and_then(|stats| stats.engine.clone());
            if let Some(engine) = engine.filter(|engine| !is_transactional(engine)) {
                let what = format!(
                    "{} is a table of {engine}, which has no transactions: after a crash part of the rows stay; convert it to \
                     InnoDB first",
                    self.sql(table)
                );
                let finding = self.finding(Rule::Engine, Severity::Warning, what);
                self.push(finding);
            }
        }
    }

    /// HA021: settings that outlive their script.
    pub(super) fn setting(&mut self, name: &str, local: bool, global: bool, value: &str) {
        if local {
            return;
        }
        let value = value.trim();
        if global {
            let what =
                format!("{name} is set for the whole server, the old version's sessions too: set it for this session");
            let finding = self.finding(Rule::Setting, Severity::Error, what);
            self.push(finding);
            return;
        }
        if value.eq_ignore_ascii_case("DEFAULT") {
            return;
        }
        let off = value.starts_with('0') || ["OFF", "FALSE", "'0'"].iter().any(|off| value.eq_ignore_ascii_case(off));
        let harm = match name {
            "lock_timeout"
            | "statement_timeout"
            | "lock_wait_timeout"
            | "innodb_lock_wait_timeout"
            | "busy_timeout"
                if off =>
            {
                "a statement may wait without end, and all that come after it wait with it"
            }
            "foreign_key_checks" | "foreign_keys" | "unique_checks" if off => {
                "rows that break a key are taken, in all that runs after it in this session"
            }
            "sql_mode"
            | "session_replication_role"
            | "sql_safe_updates"
            | "sql_log_bin"
            | "check_constraint_checks" => "it changes what the statements after it do in this session",
            "search_path" | "role" | "session" | "autocommit" | "schema" | "current_schema" => {
                "the migrator's own statements after it run elsewhere or otherwise"
            }
            _ => return,
        };
        let mut finding = self.finding(
            Rule::Setting,
            Severity::Warning,
            format!("{name} outlives the script: {harm}; set it back at the end, or for the transaction only"),
        );
        if self.dialect() == Dialect::Postgres {
            finding.rewrite.push(step(self.input.phase, format!("SET LOCAL {name} = {value}")));
        }
        self.push(finding);
    }
}
