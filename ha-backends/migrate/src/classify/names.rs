//! Names as the catalogue has them.

use super::ObjectName;
use crate::Dialect;

/// Folds an unquoted name as the server does.
pub(super) fn fold(dialect: Dialect, name: &str, quoted: bool) -> String {
    if quoted {
        return name.to_owned();
    }
    match dialect {
        Dialect::Postgres => name.to_ascii_lowercase(),
        Dialect::Db2 | Dialect::H2 | Dialect::Oracle => name.to_ascii_uppercase(),
        Dialect::MariaDb | Dialect::MySql | Dialect::Sqlite | Dialect::SqlServer => name.to_owned(),
    }
}

impl ObjectName {
    /// The same name as the index or trigger of a table, in its schema.
    pub(super) fn of_table(mut self, table: &Self) -> Self {
        self.table = Some(table.name.clone());
        if self.schema.is_none() {
            self.schema.clone_from(&table.schema);
        }
        self
    }
}
