//! Columns: HA001 to HA005, HA008, HA020, HA022.

use super::context::{Context, Lock, online, step};
use super::cost::Operation;
use super::{Blocked, Rule, Severity, Verdict, Work, is_mysql, sql};
use crate::script::Phase;
use crate::{Change, ColumnDefault, Dialect, ObjectName};

impl Context<'_> {
    pub(super) fn add_column(&mut self, change: &Change) {
        let Change::AddColumn { table, column, data_type, nullable, default, default_text, generated, numbered } =
            change
        else {
            return;
        };
        if self.is_new(table) {
            return;
        }
        let (at, name) = (self.sql(table), self.quoted(column));
        if !nullable && *default == ColumnDefault::None && !generated {
            let what = if is_mysql(self.dialect()) {
                format!("the server takes it, and then every INSERT of the old version into {at} fails with error 1364")
            } else {
                format!("refused where {at} has rows; where it has none, every INSERT of the old version fails")
            };
            let mut finding = self.finding(
                Rule::RequiredColumn,
                Severity::Error,
                format!("{what}: add {name} without NOT NULL, backfill it, and demand it in the contract phase"),
            );
            let add = format!("ALTER TABLE {at} ADD COLUMN {name} {data_type}");
            finding.lock = Some(self.lock(Lock::Exclusive));
            finding.rewrite.push(step(Phase::Expand, add.clone()));
            let demand = if is_mysql(self.dialect()) {
                format!("ALTER TABLE {at} MODIFY COLUMN {name} {data_type} NOT NULL, ALGORITHM=INPLACE, LOCK=NONE")
            } else {
                format!("ALTER TABLE {at} ALTER COLUMN {name} SET NOT NULL")
            };
            finding.rewrite.push(step(Phase::Contract, demand));
            finding.belongs = (self.input.phase != Phase::Contract).then_some(Phase::Contract);
            finding.verdict = Verdict::Contract;
            self.push(finding);
        } else if *default == ColumnDefault::Volatile {
            let value = default_text.as_deref().unwrap_or(if *numbered { "a number" } else { "an expression" });
            let mut what =
                format!("{value} is computed for each row: {at} is written anew, and readers and writers wait");
            if self.dialect() == Dialect::Sqlite {
                what = format!("SQLite refuses {value} as the default of a column where {at} has rows");
            }
            let mut finding = self.finding(Rule::VolatileDefault, Severity::Error, what);
            finding.lock = Some(self.lock(Lock::Exclusive));
            finding.work = Some(Work::Rewrite);
            finding.stall = Some(self.stall(table, Blocked::ReadersAndWriters, Operation::VolatileDefault));
            let mut verdict = Verdict::Window;
            if let (Some(value), false, false) = (default_text, numbered, generated) {
                let key = "WHERE id BETWEEN :from AND :to";
                finding.rewrite.push(step(Phase::Expand, format!("ALTER TABLE {at} ADD COLUMN {name} {data_type}")));
                if self.dialect() != Dialect::Sqlite {
                    let set = format!("ALTER TABLE {at} ALTER COLUMN {name} SET DEFAULT {value}");
                    finding.rewrite.push(step(Phase::Expand, set));
                }
                let fill = format!("UPDATE {at} SET {name} = {value} {key}");
                finding.rewrite.push(step(Phase::Backfill, fill));
                verdict = Verdict::Backfill;
            }
            self.push_stall(finding, table, verdict);
        }
        if self.catalog.select_star && self.dialect() == Dialect::Postgres {
            let what = format!(
                "the old version prepares SELECT *: inside its transactions every such read of {at} fails with 0A000 until \
                 its connections are renewed"
            );
            let finding = self.finding(Rule::SelectStar, Severity::Warning, what);
            self.push(finding);
        }
    }

    pub(super) fn drop_column(&mut self, table: &ObjectName, column: &str) {
        if self.is_new(table) {
            return;
        }
        let (at, name) = (self.sql(table), self.quoted(column));
        let what =
            format!("statements of the old version that name {at}.{name} fail, and so does SELECT * that is prepared");
        let mut finding = self.finding(Rule::Drop, Severity::Error, what);
        finding.lock = Some(self.lock(Lock::Exclusive));
        if is_mysql(self.dialect()) {
            finding.work = Some(Work::Rewrite);
        }
        self.push_contract(finding);
        self.data_loss(format!("the values of {at}.{name} are gone: have a backup and a permit"));
    }

    pub(super) fn rename_column(&mut self, table: &ObjectName, from: &str, to: &str, data_type: Option<&str>) {
        if self.is_new(table) {
            return;
        }
        let (at, old, new) = (self.sql(table), self.quoted(from), self.quoted(to));
        let what = format!(
            "every statement of the old version that names {at}.{old} fails: add {new}, keep both alike, drop {old}"
        );
        let mut finding = self.finding(Rule::Rename, Severity::Error, what);
        finding.lock = Some(self.lock(Lock::Exclusive));
        let known = self.stats(table).and_then(|stats| stats.column(from)).map(|column| column.data_type.clone());
        let data_type = data_type.map(str::to_owned).or(known).unwrap_or_else(|| format!("<type of {old}>"));
        self.column_steps(&mut finding, table, from, to, &data_type);
        self.push_contract(finding);
    }

    /// Add a column beside another, keep both alike, fill it, drop the old one.
    fn column_steps(&self, finding: &mut super::Finding, table: &ObjectName, from: &str, to: &str, data_type: &str) {
        let (at, old, new) = (self.sql(table), self.quoted(from), self.quoted(to));
        let plain: String =
            format!("{}_{to}", table.name).chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let sync = self.quoted(&format!("ha_sync_{}", plain.to_ascii_lowercase()));
        finding.rewrite.push(step(Phase::Expand, format!("ALTER TABLE {at} ADD COLUMN {new} {data_type}")));
        match self.dialect() {
            Dialect::Postgres => {
                finding.rewrite.push(step(
                    Phase::Expand,
                    format!(
                        "CREATE FUNCTION {sync}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'INSERT' THEN \
                         NEW.{new} := coalesce(NEW.{new}, NEW.{old}); NEW.{old} := coalesce(NEW.{old}, NEW.{new}); \
                         ELSIF NEW.{new} IS DISTINCT FROM OLD.{new} THEN NEW.{old} := NEW.{new}; \
                         ELSE NEW.{new} := NEW.{old}; END IF; RETURN NEW; END $$"
                    ),
                ));
                finding.rewrite.push(step(
                    Phase::Expand,
                    format!(
                        "CREATE TRIGGER {sync} BEFORE INSERT OR UPDATE ON {at} FOR EACH ROW EXECUTE FUNCTION {sync}()"
                    ),
                ));
            }
            Dialect::MariaDb | Dialect::MySql => {
                let (insert, update) =
                    (self.quoted(&format!("ha_ins_{plain}")), self.quoted(&format!("ha_upd_{plain}")));
                finding.rewrite.push(step(
                    Phase::Expand,
                    format!(
                        "CREATE TRIGGER {insert} BEFORE INSERT ON {at} FOR EACH ROW SET NEW.{new} = COALESCE(NEW.{new}, NEW.{old}), \
                         NEW.{old} = COALESCE(NEW.{old}, NEW.{new})"
                    ),
                ));
                finding.rewrite.push(step(
                    Phase::Expand,
                    format!(
                        "CREATE TRIGGER {update} BEFORE UPDATE ON {at} FOR EACH ROW SET \
                         NEW.{old} = IF(NEW.{new} <=> OLD.{new}, NEW.{old}, NEW.{new}), NEW.{new} = NEW.{old}"
                    ),
                ));
            }
            Dialect::Sqlite => {
                let (insert, update) =
                    (self.quoted(&format!("ha_ins_{plain}")), self.quoted(&format!("ha_upd_{plain}")));
                finding.rewrite.push(step(
                    Phase::Expand,
                    format!(
                        "CREATE TRIGGER {insert} AFTER INSERT ON {at} BEGIN UPDATE {at} SET {new} = coalesce(NEW.{new}, NEW.{old}), \
                         {old} = coalesce(NEW.{old}, NEW.{new}) WHERE rowid = NEW.rowid; END"
                    ),
                ));
                finding.rewrite.push(step(
                    Phase::Expand,
                    format!(
                        "CREATE TRIGGER {update} AFTER UPDATE OF {old} ON {at} WHEN NEW.{old} IS NOT OLD.{old} BEGIN UPDATE {at} \
                         SET {new} = NEW.{old} WHERE rowid = NEW.rowid; END"
                    ),
                ));
                let back = self.quoted(&format!("ha_back_{plain}"));
                finding.rewrite.push(step(
                    Phase::Expand,
                    format!(
                        "CREATE TRIGGER {back} AFTER UPDATE OF {new} ON {at} WHEN NEW.{new} IS NOT OLD.{new} BEGIN UPDATE {at} \
                         SET {old} = NEW.{new} WHERE rowid = NEW.rowid; END"
                    ),
                ));
            }
            Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => {}
        }
        let fill = format!("UPDATE {at} SET {new} = {old} WHERE id BETWEEN :from AND :to");
        finding.rewrite.push(step(Phase::Backfill, fill));
        finding.rewrite.push(step(Phase::Contract, format!("ALTER TABLE {at} DROP COLUMN {old}")));
    }

    pub(super) fn alter_type(&mut self, table: &ObjectName, column: &str, data_type: &str, not_null: bool) {
        if self.is_new(table) || self.sqlite_refuses(table, "a change of a column's type") {
            return;
        }
        let (at, name) = (self.sql(table), self.quoted(column));
        let known = self.stats(table).and_then(|stats| stats.column(column)).cloned();
        let mysql = is_mysql(self.dialect());
        if let Some(known) = &known
            && mysql
            && keeps_layout(&known.data_type, data_type)
        {
            // instant; what NULL is forbidden by the same clause is another rule
            if not_null && known.nullable {
                self.set_not_null(table, column);
            }
            return;
        }
        let what = if mysql {
            format!("{at} is copied with {name} as {data_type}, and writers wait")
        } else {
            format!(
                "{at} may be written anew with {name} as {data_type}, readers and writers wait, and what the old version has \
                 prepared fails with 0A000 inside its transactions, even where a varchar only gets longer"
            )
        };
        let mut finding = self.finding(Rule::TypeChange, Severity::Error, what);
        let blocked = if mysql { Blocked::Writers } else { Blocked::ReadersAndWriters };
        finding.lock = Some(self.lock(if mysql { Lock::Writers } else { Lock::Exclusive }));
        finding.work = Some(Work::Rewrite);
        finding.stall = Some(self.stall(table, blocked, Operation::Rewrite));
        self.column_steps(&mut finding, table, column, &format!("{column}_new"), data_type);
        if mysql {
            finding.belongs = (self.input.phase == Phase::Expand).then_some(Phase::Contract);
            self.push_stall(finding, table, Verdict::Contract);
        } else {
            self.push_contract(finding);
        }
        if not_null && known.is_some_and(|known| known.nullable) {
            self.set_not_null(table, column);
        }
    }

    pub(super) fn set_not_null(&mut self, table: &ObjectName, column: &str) {
        if self.is_new(table) || self.sqlite_refuses(table, "SET NOT NULL") {
            return;
        }
        let (at, name) = (self.sql(table), self.quoted(column));
        let what =
            format!("an INSERT of the old version that leaves {name} out fails, and {at} is read while all wait");
        let mut finding = self.finding(Rule::SetNotNull, Severity::Error, what);
        finding.lock = Some(self.lock(Lock::Exclusive));
        let mysql = is_mysql(self.dialect());
        finding.work = Some(if mysql { Work::Rewrite } else { Work::Scan });
        finding.stall = Some(self.stall(table, Blocked::ReadersAndWriters, Operation::Scan));
        if self.dialect() == Dialect::Postgres {
            let check = self.quoted(&format!("{}_{column}_not_null", table.name));
            for sql in [
                format!("ALTER TABLE {at} ADD CONSTRAINT {check} CHECK ({name} IS NOT NULL) NOT VALID"),
                format!("ALTER TABLE {at} VALIDATE CONSTRAINT {check}"),
                format!("ALTER TABLE {at} ALTER COLUMN {name} SET NOT NULL"),
                format!("ALTER TABLE {at} DROP CONSTRAINT {check}"),
            ] {
                finding.rewrite.push(step(Phase::Contract, sql));
            }
        } else if mysql {
            let sql = format!("{}, ALGORITHM=INPLACE, LOCK=NONE", sql::bare(self.statement.text));
            finding.rewrite.push(step(Phase::Contract, sql));
        }
        self.push_contract(finding);
    }

    /// HA025: SQLite has no such clause. Answers whether it was found.
    pub(super) fn sqlite_refuses(&mut self, table: &ObjectName, clause: &str) -> bool {
        if self.dialect() != Dialect::Sqlite {
            return false;
        }
        let at = self.sql(table);
        let what = format!("SQLite has no {clause}; it takes a new table, a copy of the rows of {at}, and a rename");
        let mut finding = self.finding(Rule::WrongProduct, Severity::Error, what);
        finding.verdict = Verdict::Window;
        self.push(finding);
        true
    }

    /// HA020: MariaDB and MySQL copy a table in silence where they are not told not to.
    pub(super) fn online_clause(&mut self) {
        if !is_mysql(self.dialect()) || self.class.online.algorithm.is_some() {
            return;
        }
        let mut fresh = self.class.objects.iter().map(|object| match &object.table {
            Some(table) => self.created.contains(&table.to_ascii_lowercase()),
            None => self.is_new(object),
        });
        if fresh.any(|new| new) {
            return;
        }
        let mut instant = false;
        let mut index = false;
        for change in &self.class.changes {
            if let Change::AddColumn { nullable, default, generated, .. } = change {
                instant |= !generated
                    && *default != ColumnDefault::Volatile
                    && (*nullable || *default == ColumnDefault::Constant);
            }
            instant |= matches!(change, Change::ColumnSetting { .. } | Change::DropColumn { .. });
            index |= matches!(change, Change::CreateIndex { concurrently: false, .. });
        }
        let text = sql::bare(self.statement.text);
        let (sql, clause) = match (index, instant) {
            (true, _) if text.trim_start().get(..5).is_some_and(|head| head.eq_ignore_ascii_case("alter")) => {
                (format!("{text}, ALGORITHM=INPLACE, LOCK=NONE"), "ALGORITHM=INPLACE, LOCK=NONE")
            }
            (true, _) => (format!("{text} ALGORITHM=INPLACE LOCK=NONE"), "ALGORITHM=INPLACE LOCK=NONE"),
            (false, true) => (format!("{text}, ALGORITHM=INSTANT"), "ALGORITHM=INSTANT"),
            (false, false) => return,
        };
        let what = format!("the server may copy the table in silence: with {clause} it refuses instead");
        let mut finding = self.finding(Rule::NoOnlineClause, Severity::Note, what);
        (finding.rewrite, _) = online([sql]);
        self.push(finding);
    }
}

/// Whether MariaDB changes a type without touching rows: the same type, or a varchar that gets longer and keeps its length byte.
fn keeps_layout(from: &str, to: &str) -> bool {
    let clean = |text: &str| text.to_ascii_lowercase().replace(' ', "");
    let (from, to) = (clean(from), clean(to));
    if from == to {
        return true;
    }
    let size = |text: &str| text.strip_prefix("varchar(")?.split(')').next()?.parse::<u32>().ok();
    match (size(&from), size(&to)) {
        (Some(from), Some(to)) => to >= from && (from <= 63) == (to <= 63) && (from < 256) == (to < 256),
        _ => false,
    }
}
