//! What the catalogue says of named objects, as short hashes: cheap, because nothing else is read. "Absent" is a value.

use crate::history::{ident, text};
use crate::machine::{Print, Step, needs_identity, sha256};
use crate::{DbError, DbErrorKind, Dialect, ObjectKind, ObjectName, Rows, Session};

/// Takes the prints of what a statement names, in its order.
pub(crate) async fn take(session: &mut dyn Session, dialect: Dialect, step: &Step) -> Result<Vec<Print>, DbError> {
    let mut prints = Vec::new();
    for object in step.observable() {
        let mut print = of(session, dialect, object).await?;
        if let (Print::Seen { identity, .. }, true, Some(sql)) =
            (&mut print, needs_identity(step), identity_of(dialect, object))
        {
            // Without the privilege to see it there is none.
            *identity = session.query(&sql).await.ok().and_then(|rows| rows.into_iter().flatten().flatten().next());
        }
        prints.push(print);
    }
    Ok(prints)
}

/// Takes the print of one object's definition.
pub(crate) async fn of(session: &mut dyn Session, dialect: Dialect, object: &ObjectName) -> Result<Print, DbError> {
    let Some(sql) = definition(dialect, object) else { return Ok(Print::Hidden) };
    match session.query(&sql).await {
        Ok(rows) => Ok(print(dialect, object, &rows)),
        Err(error) if error.kind == DbErrorKind::Missing => Ok(Print::Absent),
        Err(error) => Err(error),
    }
}

/// What two names of one definition have in common: an index of MariaDB is part of its table's.
pub(crate) fn place(dialect: Dialect, object: &ObjectName) -> Option<String> {
    definition(dialect, object)
}

fn print(dialect: Dialect, object: &ObjectName, rows: &Rows) -> Print {
    if rows.iter().all(|row| row.iter().all(Option::is_none)) {
        return Print::Absent;
    }
    let mysql = matches!(dialect, Dialect::MariaDb | Dialect::MySql);
    let mut written = String::new();
    for row in rows {
        for value in row {
            let value = value.as_deref().unwrap_or("\u{0}");
            match object.kind {
                ObjectKind::Table | ObjectKind::Index if mysql => written.push_str(&without_counter(value)),
                ObjectKind::Table
                | ObjectKind::Index
                | ObjectKind::View
                | ObjectKind::Sequence
                | ObjectKind::Trigger
                | ObjectKind::Routine
                | ObjectKind::Type
                | ObjectKind::Schema
                | ObjectKind::Other => written.push_str(value),
            }
            written.push('\u{1}');
        }
        written.push('\n');
    }
    let mut definition = sha256(written.as_bytes());
    definition.truncate(16);
    Print::Seen { definition, identity: None }
}

/// Removes `AUTO_INCREMENT=n` from the options of a `SHOW CREATE TABLE`: it counts rows.
fn without_counter(definition: &str) -> String {
    let Some(end) = definition.rfind("\n)") else { return definition.into() };
    let (columns, options) = definition.split_at(end);
    let kept = options.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect::<Vec<_>>().join(" ");
    format!("{columns}{kept}")
}

fn definition(dialect: Dialect, object: &ObjectName) -> Option<String> {
    match dialect {
        Dialect::Sqlite => Some(sqlite(object)),
        Dialect::MariaDb | Dialect::MySql => mysql(dialect, object),
        Dialect::Postgres => postgres(object),
        Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => None,
    }
}

fn sqlite(object: &ObjectName) -> String {
    let name = text(Dialect::Sqlite, &object.name);
    // A table with its indexes and triggers; the rest by name.
    let of = if object.kind == ObjectKind::Table { "tbl_name" } else { "name" };
    format!("SELECT type, name, sql FROM sqlite_master WHERE {of} = {name} COLLATE NOCASE ORDER BY type, name")
}

fn mysql(dialect: Dialect, object: &ObjectName) -> Option<String> {
    let quoted = |name: &str| match &object.schema {
        Some(schema) => format!("{}.{}", ident(dialect, schema), ident(dialect, name)),
        None => ident(dialect, name),
    };
    let name = text(dialect, &object.name);
    let schema = object.schema.as_ref().map_or_else(|| "DATABASE()".into(), |schema| text(dialect, schema));
    Some(match object.kind {
        ObjectKind::Table => format!("SHOW CREATE TABLE {}", quoted(&object.name)),
        ObjectKind::Index => format!("SHOW CREATE TABLE {}", quoted(object.table.as_deref()?)),
        ObjectKind::View => format!(
            "SELECT VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE FROM information_schema.VIEWS \
             WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}"
        ),
        ObjectKind::Trigger => format!(
            "SELECT EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_TIMING, ACTION_ORDER, ACTION_STATEMENT, DEFINER, CREATED \
             FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {schema} AND TRIGGER_NAME = {name}"
        ),
        ObjectKind::Routine => format!(
            "SELECT ROUTINE_TYPE, DTD_IDENTIFIER, ROUTINE_DEFINITION, SECURITY_TYPE, DEFINER, CREATED, LAST_ALTERED \
             FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {schema} AND ROUTINE_NAME = {name} ORDER BY ROUTINE_TYPE"
        ),
        ObjectKind::Sequence if dialect == Dialect::MariaDb => format!("SHOW CREATE TABLE {}", quoted(&object.name)),
        ObjectKind::Schema => format!(
            "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA \
             WHERE SCHEMA_NAME = {name}"
        ),
        ObjectKind::Sequence | ObjectKind::Type | ObjectKind::Other => return None,
    })
}

fn postgres(object: &ObjectName) -> Option<String> {
    let dialect = Dialect::Postgres;
    let name = text(dialect, &object.name);
    let qualified = match &object.schema {
        Some(schema) => format!("{}.{}", ident(dialect, schema), ident(dialect, &object.name)),
        None => ident(dialect, &object.name),
    };
    let class = format!("to_regclass({})", text(dialect, &qualified));
    let schema = object.schema.as_ref().map_or_else(|| "current_schema()".into(), |schema| text(dialect, schema));
    Some(match object.kind {
        ObjectKind::Table | ObjectKind::View => format!(
            "SELECT 'r', c.relkind::text, c.relpersistence::text, array_to_string(c.reloptions, ','), \
             CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, c.relname::text FROM pg_class c WHERE c.oid = {class} \
             UNION ALL SELECT 'a', a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, \
             pg_get_expr(d.adbin, d.adrelid), a.attidentity::text || a.attgenerated::text || a.attnum::text FROM pg_attribute a \
             LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE a.attrelid = {class} AND a.attnum > 0 AND NOT a.attisdropped \
             UNION ALL SELECT 'c', conname::text, pg_get_constraintdef(oid), convalidated::text, '', '' FROM pg_constraint \
             WHERE conrelid = {class} \
             UNION ALL SELECT 'i', pg_get_indexdef(indexrelid), indisvalid::text, '', '', '' FROM pg_index WHERE indrelid = {class} \
             UNION ALL SELECT 't', pg_get_triggerdef(oid), tgenabled::text, '', '', '' FROM pg_trigger \
             WHERE tgrelid = {class} AND NOT tgisinternal ORDER BY 1, 2, 3"
        ),
        ObjectKind::Index => {
            format!("SELECT pg_get_indexdef(indexrelid), indisvalid::text FROM pg_index WHERE indexrelid = {class}")
        }
        ObjectKind::Sequence => format!(
            "SELECT seqtypid::text, seqstart::text, seqincrement::text, seqmax::text, seqmin::text, seqcycle::text \
             FROM pg_sequence WHERE seqrelid = {class}"
        ),
        ObjectKind::Trigger => format!(
            "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger \
             WHERE tgname = {name} AND NOT tgisinternal ORDER BY 1"
        ),
        ObjectKind::Routine => format!(
            "SELECT p.oid::regprocedure::text, CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) END \
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = {schema} AND p.proname = {name} ORDER BY 1"
        ),
        ObjectKind::Type => format!(
            "SELECT t.typtype::text, t.typnotnull::text, t.typdefault, (SELECT string_agg(e.enumlabel::text, ',' ORDER BY e.enumsortorder) \
             FROM pg_enum e WHERE e.enumtypid = t.oid) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
             WHERE n.nspname = {schema} AND t.typname = {name}"
        ),
        ObjectKind::Schema => format!(
            "SELECT nspname::text FROM pg_namespace WHERE nspname = {name} UNION ALL \
             SELECT datname::text FROM pg_database WHERE datname = {name}"
        ),
        ObjectKind::Other => return None,
    })
}

/// Asks for the number that a table gets anew when it is made, emptied or rebuilt.
fn identity_of(dialect: Dialect, object: &ObjectName) -> Option<String> {
    if object.kind != ObjectKind::Table || !matches!(dialect, Dialect::MariaDb | Dialect::MySql) {
        return None;
    }
    let view = if dialect == Dialect::MariaDb { "INNODB_SYS_TABLES" } else { "INNODB_TABLES" };
    let schema = object.schema.as_ref().map_or_else(|| "DATABASE()".into(), |schema| text(dialect, schema));
    Some(format!(
        "SELECT TABLE_ID FROM information_schema.{view} WHERE NAME = CONCAT({schema}, '/', {})",
        text(dialect, &object.name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> ObjectName {
        ObjectName { kind: ObjectKind::Table, name: name.into(), schema: None, table: None }
    }

    fn shown(definition: &str) -> Rows {
        vec![vec![Some("t".into()), Some(definition.into())]]
    }

    #[test]
    fn a_counter_of_rows_is_no_change() {
        let print = |definition: &str| print(Dialect::MariaDb, &table("t"), &shown(definition));
        let with = print(
            "CREATE TABLE `t` (\n  `id` int(11) NOT NULL\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4",
        );
        let without = print("CREATE TABLE `t` (\n  `id` int(11) NOT NULL\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
        assert_eq!(with, without);
        let comment = print("CREATE TABLE `t` (\n  `id` int(11) COMMENT ' AUTO_INCREMENT=17'\n) ENGINE=InnoDB");
        assert_ne!(comment, print("CREATE TABLE `t` (\n  `id` int(11) COMMENT ''\n) ENGINE=InnoDB"));
    }

    #[test]
    fn what_is_not_there_is_absent() {
        assert_eq!(print(Dialect::Sqlite, &table("t"), &Vec::new()), Print::Absent);
        assert_eq!(print(Dialect::Postgres, &table("t"), &vec![vec![None, None]]), Print::Absent);
    }

    #[test]
    fn a_name_with_quotes_stays_a_name() {
        let sql = definition(Dialect::Postgres, &table("a\"b'c")).unwrap();
        assert!(sql.contains("to_regclass('\"a\"\"b''c\"')"), "{sql}");
        assert_eq!(definition(Dialect::MariaDb, &table("a`b")).unwrap(), "SHOW CREATE TABLE `a``b`");
    }
}
