//! Identifiers and strings in SQL text, one way a dialect.

use crate::Dialect;

/// Quotes an identifier. A NUL, which no database takes, becomes U+FFFD.
pub(crate) fn ident(dialect: Dialect, name: &str) -> String {
    let name = name.replace('\0', "\u{fffd}");
    match dialect {
        Dialect::MariaDb | Dialect::MySql => format!("`{}`", name.replace('`', "``")),
        Dialect::SqlServer => format!("[{}]", name.replace(']', "]]")),
        Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::Postgres | Dialect::Sqlite => {
            format!("\"{}\"", name.replace('"', "\"\""))
        }
    }
}

/// Writes a string as a literal that means the same under every setting of the session. A NUL becomes U+FFFD.
pub(crate) fn text(dialect: Dialect, value: &str) -> String {
    let value = value.replace('\0', "\u{fffd}");
    match dialect {
        // Right with and without standard_conforming_strings.
        Dialect::Postgres if value.contains('\\') => {
            format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
        }
        // Right with and without NO_BACKSLASH_ESCAPES.
        Dialect::MariaDb | Dialect::MySql if value.contains('\\') => {
            let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("CONVERT(X'{hex}' USING utf8mb4)")
        }
        Dialect::Db2
        | Dialect::H2
        | Dialect::MariaDb
        | Dialect::MySql
        | Dialect::Oracle
        | Dialect::Postgres
        | Dialect::Sqlite
        | Dialect::SqlServer => format!("'{}'", value.replace('\'', "''")),
    }
}

/// Writes a string or NULL.
pub(crate) fn nullable(dialect: Dialect, value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".into(), |value| text(dialect, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_cannot_end_its_own_quotes() {
        for (dialect, name, quoted) in [
            (Dialect::Postgres, "a\"b", "\"a\"\"b\""),
            (Dialect::Sqlite, "a\"; DROP TABLE t; --", "\"a\"\"; DROP TABLE t; --\""),
            (Dialect::MariaDb, "a`b", "`a``b`"),
            (Dialect::MySql, "a\0b", "`a\u{fffd}b`"),
            (Dialect::SqlServer, "a]b", "[a]]b]"),
        ] {
            assert_eq!(ident(dialect, name), quoted);
        }
    }

    #[test]
    fn a_string_cannot_end_its_own_quotes() {
        for (dialect, value, quoted) in [
            (Dialect::Postgres, "it's", "'it''s'"),
            (Dialect::Postgres, "\\'; --", "E'\\\\''; --'"),
            (Dialect::MariaDb, "it's", "'it''s'"),
            (Dialect::MariaDb, "\\'", "CONVERT(X'5c27' USING utf8mb4)"),
            (Dialect::Sqlite, "\\'", "'\\'''"),
            (Dialect::Sqlite, "a\0b", "'a\u{fffd}b'"),
        ] {
            assert_eq!(text(dialect, value), quoted);
        }
        assert_eq!(nullable(Dialect::Sqlite, None), "NULL");
    }
}
