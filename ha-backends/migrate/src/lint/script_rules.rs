//! What shows only in the whole script: HA007, HA013, HA015, HA017, HA018, HA023, HA025, HA026, HA027, HA030.

use std::collections::HashSet;

use super::context::step;
use super::{Finding, LintInput, Policy, Rule, Severity, Verdict, has_transactional_ddl, sql};
use crate::script::Phase;
use crate::{Catalog, Change, Class, Dialect, DropKind, Kind, MaintenanceKind, ObjectName};

/// Whether the script runs in one transaction.
pub(super) fn in_transaction(input: &LintInput<'_>, classes: &[Class]) -> bool {
    input.in_transaction.unwrap_or_else(|| {
        has_transactional_ddl(input.dialect) && !classes.iter().any(|class| class.outside_transaction)
    })
}

/// Findings of the file.
pub(super) fn whole(input: &LintInput<'_>, policy: &Policy, classes: &[Class]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut push = |rule, severity, what: String, verdict| {
        let mut finding = Finding::new(rule, severity, input.file, 0, what);
        finding.verdict = verdict;
        found.push(finding);
    };
    if let Some(product) = policy.product.filter(|product| !speaks(*product, input.dialect)) {
        let what =
            format!("the script is for {}, the database is {product}: take the script of {product}", input.dialect);
        push(Rule::WrongProduct, Severity::Error, what, Verdict::Opaque);
    }
    if matches!(input.dialect, Dialect::Db2 | Dialect::H2) {
        let what = format!(
            "{} has no lock that a session holds: a second migrator is kept out by a lease row only",
            input.dialect
        );
        push(Rule::NoSessionLock, Severity::Warning, what, Verdict::Expand);
    }
    if input.dialect == Dialect::H2 {
        let what = "H2 is opened by one process: stop the node before its database is migrated".to_owned();
        push(Rule::Embedded, Severity::Error, what, Verdict::Window);
    }
    let changes = |class: &Class| matches!(class.kind, Kind::Ddl | Kind::Dml);
    let outside = classes.iter().position(|class| class.outside_transaction);
    let inside = classes.iter().position(|class| changes(class) && !class.outside_transaction);
    if let (Some(outside), Some(_)) = (outside, inside)
        && has_transactional_ddl(input.dialect)
    {
        let line = input.statements.get(outside).map_or(0, |statement| statement.line);
        let what = "this statement refuses a transaction and the others need one: put it into a script of its own, or a crash \
                    leaves the script half done";
        found.push(Finding::new(Rule::Mixed, Severity::Warning, input.file, line, what));
    }
    found
}

/// Whether scripts of a dialect run on a product.
fn speaks(product: Dialect, dialect: Dialect) -> bool {
    product == dialect
        || matches!((product, dialect), (Dialect::MariaDb, Dialect::MySql) | (Dialect::MySql, Dialect::MariaDb))
}

/// Findings of statements that need the others to be seen, one list a statement.
pub(super) fn across(
    input: &LintInput<'_>,
    catalog: &Catalog,
    classes: &[Class],
    created: &HashSet<String>,
) -> Vec<Vec<Finding>> {
    let transaction = in_transaction(input, classes);
    let mut new = created.clone();
    let mut locked: Vec<String> = Vec::new();
    let mut enum_value = false;
    let mut lists = Vec::new();
    for (at, (statement, class)) in input.statements.iter().zip(classes).enumerate() {
        let mut found = Vec::new();
        let mut push = |rule, severity, what: String, rewrite: Vec<String>| {
            let mut finding = Finding::new(rule, severity, input.file, statement.line, what);
            finding.rewrite = rewrite.into_iter().map(|sql| step(input.phase, sql)).collect();
            found.push(finding);
        };
        let lock_table = class
            .changes
            .iter()
            .any(|change| matches!(change, Change::Maintenance { kind: MaintenanceKind::LockTable, .. }));
        let unlocks =
            class.changes.is_empty() && statement.text.trim_start().to_ascii_lowercase().starts_with("unlock");
        if class.kind == Kind::Transaction && !lock_table && !unlocks {
            let what = "the migrator holds the transaction: a BEGIN, COMMIT or ROLLBACK of the script ends it, and a crash leaves the \
                        script half done; remove it";
            push(Rule::TransactionControl, Severity::Error, what.to_owned(), Vec::new());
        }
        let drops: Vec<_> = class.changes.iter().filter_map(|change| dropped(change, class)).collect();
        if drops.len() > 1 && !has_transactional_ddl(input.dialect) {
            let what = format!(
                "{} drops one after the other: an error or a crash in the middle leaves some, and nobody knows which; drop one a \
                 statement",
                input.dialect
            );
            let one = |(kind, object, if_exists): &(DropKind, &ObjectName, bool)| {
                let if_exists = if *if_exists { "IF EXISTS " } else { "" };
                Some(format!("DROP {} {if_exists}{}", keyword(*kind)?, sql::table(input.dialect, object)))
            };
            push(Rule::MultiDrop, Severity::Error, what, drops.iter().filter_map(one).collect());
        }
        if transaction && input.dialect == Dialect::Postgres {
            for table in strongly_locked(class) {
                if new.contains(&table) || locked.contains(&table) {
                    continue;
                }
                if let Some(first) = locked.first() {
                    let what = format!(
                        "ACCESS EXCLUSIVE on {table} after {first} in one transaction: a session of the old version that uses them \
                         the other way round deadlocks, and both stay locked until the commit; one table a script"
                    );
                    push(Rule::ManyLocks, Severity::Warning, what, Vec::new());
                }
                locked.push(table);
            }
        }
        if enum_value && class.kind == Kind::Dml && transaction {
            let what =
                "a value of an enum cannot be used in the transaction that adds it (55P04): use it in the next script";
            push(Rule::UseBeforeCommit, Severity::Error, what.to_owned(), Vec::new());
        }
        enum_value |= class.changes.iter().any(|change| matches!(change, Change::AddEnumValue { .. }));
        if let Some(finding) = rebuild(input, catalog, classes, at, transaction) {
            found.push(finding);
        }
        for change in &class.changes {
            if let Change::CreateTable { table, .. } = change {
                new.insert(table.name.to_ascii_lowercase());
            }
        }
        lists.push(found);
    }
    lists
}

/// What a statement of DROP drops; a clause of ALTER TABLE drops with its table.
fn dropped<'a>(change: &'a Change, class: &Class) -> Option<(DropKind, &'a ObjectName, bool)> {
    if let Change::Drop { kind, object, if_exists, .. } = change
        && class.objects.contains(object)
    {
        return Some((*kind, object, *if_exists));
    }
    None
}

fn keyword(kind: DropKind) -> Option<&'static str> {
    match kind {
        DropKind::Table => Some("TABLE"),
        DropKind::View => Some("VIEW"),
        DropKind::Index => Some("INDEX"),
        DropKind::Sequence => Some("SEQUENCE"),
        DropKind::Trigger => Some("TRIGGER"),
        DropKind::Schema => Some("SCHEMA"),
        // a function or a procedure, a type or a domain
        DropKind::Routine | DropKind::Type | DropKind::Other => None,
    }
}

/// Tables that a statement of PostgreSQL locks with ACCESS EXCLUSIVE.
fn strongly_locked(class: &Class) -> Vec<String> {
    let mut tables = Vec::new();
    for change in &class.changes {
        let table = match change {
            Change::AddColumn { table, .. }
            | Change::DropColumn { table, .. }
            | Change::RenameColumn { table, .. }
            | Change::AlterType { table, .. }
            | Change::SetNotNull { table, .. }
            | Change::ColumnSetting { table, .. }
            | Change::DropConstraint { table, .. }
            | Change::Truncate { table }
            | Change::Rewrite { table, .. }
            | Change::RenameTable { from: table, .. }
            | Change::Drop { kind: DropKind::Table, object: table, .. } => table,
            Change::AddConstraint { table, references: None, .. } => table,
            Change::AddConstraint { references: Some(_), .. }
            | Change::AddEnumValue { .. }
            | Change::CreateIndex { .. }
            | Change::CreateTable { .. }
            | Change::CreateTrigger { .. }
            | Change::Delete { .. }
            | Change::Drop { .. }
            | Change::Maintenance { .. }
            | Change::Partition { .. }
            | Change::Setting { .. }
            | Change::UnboundedDelete { .. }
            | Change::UnboundedUpdate { .. }
            | Change::Unread { .. }
            | Change::ValidateConstraint { .. } => continue,
        };
        let name = table.name.to_ascii_lowercase();
        if !tables.contains(&name) {
            tables.push(name);
        }
    }
    tables
}

/// HA023: SQLite's table rebuild drops the old table; with foreign keys on, ON DELETE CASCADE deletes the rows of its children.
fn rebuild(
    input: &LintInput<'_>,
    catalog: &Catalog,
    classes: &[Class],
    at: usize,
    in_transaction: bool,
) -> Option<Finding> {
    if input.dialect != Dialect::Sqlite {
        return None;
    }
    let class = classes.get(at)?;
    let (_, dropped, _) = class
        .changes
        .iter()
        .filter_map(|change| dropped(change, class))
        .find(|(kind, _, _)| *kind == DropKind::Table)?;
    let renamed =
        classes.iter().skip(at + 1).flat_map(|class| &class.changes).any(
            |change| matches!(change, Change::RenameTable { to, .. } if to.name.eq_ignore_ascii_case(&dropped.name)),
        );
    let off = classes.iter().take(at).flat_map(|class| &class.changes).any(|change| {
        matches!(change, Change::Setting { name, value, .. } if name == "foreign_keys"
            && (value.eq_ignore_ascii_case("off") || value.starts_with('0') || value.eq_ignore_ascii_case("false")))
    });
    if !renamed || (off && !in_transaction) || catalog.table(&dropped.name).is_some_and(|table| table.rows == Some(0)) {
        return None;
    }
    let name = sql::table(input.dialect, dropped);
    let why = if off { "PRAGMA foreign_keys is ignored inside a transaction" } else { "foreign keys are on" };
    let line = input.statements.get(at)?.line;
    let what = format!(
        "{why}: DROP TABLE {name} deletes the rows of its children by ON DELETE CASCADE; turn foreign keys off before the \
         transaction begins, and check them after it"
    );
    let mut finding = Finding::new(Rule::Rebuild, Severity::Error, input.file, line, what);
    finding.rewrite = ["PRAGMA foreign_keys = OFF", "PRAGMA foreign_key_check", "PRAGMA foreign_keys = ON"]
        .map(|sql| step(Phase::Contract, sql))
        .into();
    finding.verdict = Verdict::Contract;
    Some(finding)
}
