//! The rows and a checksum of each table of both copies. Where the rows come in another order the sum is the same.

use ha_core::backend::{Cloned, ErrorKind, StepError};

use super::freeze::Freeze;
use super::{Cloning, number};
use crate::connect::UrlConnect;
use crate::history::{ident, text};
use crate::{Connect, DbError, DbErrorKind, Dialect, Session};

/// One table: its name, its rows, and its checksum.
type Summed = (String, u64, String);

impl Cloning {
    pub(super) async fn compare(&self) -> Result<Cloned, StepError> {
        let (source, clone) = tokio::join!(self.sums(&self.source), self.sums(&self.clone));
        let (source, clone) = (source?, clone?);
        let differs = |what: String| Err(self.error(ErrorKind::Conflict, what));
        for (name, rows, sum) in &source {
            match clone.iter().find(|(known, ..)| known == name) {
                None => return differs(format!("the clone has no table {name}")),
                Some((_, other, _)) if other != rows => {
                    return differs(format!(
                        "the clone differs in table {name}: it has {other} rows, the source {rows}"
                    ));
                }
                Some((_, _, other)) if other != sum => {
                    return differs(format!(
                        "the clone differs in table {name}: of {rows} rows the checksums are not equal"
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some((name, ..)) = clone.iter().find(|(name, ..)| !source.iter().any(|(known, ..)| known == name)) {
            return differs(format!("the clone has a table {name} that the source has not"));
        }
        Ok(Cloned::new(source.len() as u64, source.iter().map(|(_, rows, _)| rows).sum()))
    }

    async fn sums(&self, of: &UrlConnect) -> Result<Vec<Summed>, StepError> {
        let mut session = self.open(of).await?;
        let summed = sums(&mut *session, self.dialect(), &self.own()).await;
        summed.map_err(|error| self.failed(&format!("the checksums of {}", of.target()), &error).without_effect())
    }
}

async fn sums(session: &mut dyn Session, dialect: Dialect, own: &[String]) -> Result<Vec<Summed>, DbError> {
    if dialect == Dialect::Postgres {
        // Text of a value depends on settings, which databases and users may have of their own.
        let settings = "SET extra_float_digits = 3; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'UTC'; \
                        SET bytea_output = 'hex'";
        session.execute(settings).await?;
    }
    let tables = Freeze::read(session, dialect, own).await?;
    let names: Vec<_> = tables.tables().map(|(schema, name)| (schema.to_owned(), name.to_owned())).collect();
    let mut summed = Vec::new();
    for ((schema, name), quoted) in names.into_iter().zip(tables.names()) {
        let sql = match dialect {
            Dialect::Postgres => format!(
                "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM ONLY {quoted} AS t"
            ),
            Dialect::Sqlite => {
                let info = format!("SELECT name FROM pragma_table_info({})", text(dialect, &name));
                let row = joined(session, &info, |column| format!("quote({})", ident(dialect, column)), " || ',' || ")
                    .await?;
                format!(
                    "SELECT count(*), coalesce(sum(ha_hash({row}, 0)), 0) || '-' || coalesce(sum(ha_hash({row}, 1)), 0) FROM {quoted}"
                )
            }
            Dialect::Db2 | Dialect::H2 | Dialect::MariaDb | Dialect::MySql | Dialect::Oracle | Dialect::SqlServer => {
                let info = format!(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = {} \
                     ORDER BY ordinal_position",
                    text(dialect, &name)
                );
                // Of a value beyond max_allowed_packet its text would be NULL; its digest is short.
                let value = |column: &str| {
                    let column = ident(dialect, column);
                    format!("IF({column} IS NULL, '-', MD5(CAST({column} AS BINARY)))")
                };
                let row = joined(session, &info, value, ", ").await?;
                // 60 bits of each row: the sum of 2^32 rows is exact. A row without a digest is counted in the third column alone.
                format!(
                    "SELECT count(*), coalesce(sum(CAST(CONV(LEFT(digest, 15), 16, 10) AS DECIMAL(30))), 0), count(*) - count(digest) \
                     FROM (SELECT MD5(CONCAT({row})) AS digest FROM {quoted}) AS digests"
                )
            }
        };
        let rows = session.query(&sql).await?;
        if number(&rows, 2) > 0 {
            let what = format!("table {name} has {} rows whose checksum cannot be told", number(&rows, 2));
            return Err(DbError::new(DbErrorKind::Refused, what));
        }
        let sum = rows.first().and_then(|row| row.get(1)?.clone()).unwrap_or_default();
        let name = if schema.is_empty() { name } else { format!("{schema}.{name}") };
        summed.push((name, number(&rows, 0), sum));
    }
    Ok(summed)
}

/// Joins an expression of each column.
async fn joined(
    session: &mut dyn Session,
    columns: &str,
    of: impl Fn(&str) -> String,
    by: &str,
) -> Result<String, DbError> {
    let rows = session.query(columns).await?;
    let each: Vec<String> = rows.iter().filter_map(|row| row.first()?.as_deref()).map(of).collect();
    Ok(if each.is_empty() { "''".into() } else { each.join(by) })
}
