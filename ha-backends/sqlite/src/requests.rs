//! What people ask of runs, in a table beside the runs' records.

use async_trait::async_trait;
use ha_core::journal::{JournalError, Requests};
use ha_core::record::{REQUEST_FORMAT, Request, RunId};
use ha_core::telemetry::call_span;
use rusqlite::{Connection, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::store::{NAME, SqliteStore, broken, signed, unsigned};

#[async_trait]
impl Requests for SqliteStore {
    async fn put(&self, run: &RunId, request: Request) -> Result<u64, JournalError> {
        let span = call_span(NAME, "put", run);
        let run = run.clone();
        let put = self.with(move |inner| put(&mut inner.connection, &run, &request)).instrument(span);
        put.await.unwrap_or_else(|error| Err(broken(error)))
    }

    async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
        let span = call_span(NAME, "requests", run);
        let run = run.clone();
        let read = self.with(move |inner| requests(&inner.connection, &run, after)).instrument(span);
        read.await.unwrap_or_else(|error| Err(broken(error)))
    }
}

fn put(connection: &mut Connection, run: &RunId, request: &Request) -> Result<u64, JournalError> {
    let request = serde_json::to_string(request).map_err(broken)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
    let last = "SELECT coalesce(max(number), 0) FROM requests WHERE run = ?1";
    let last: i64 = transaction.query_row(last, [run.as_str()], |row| row.get(0)).map_err(broken)?;
    let number = last + 1;
    let format = i64::from(REQUEST_FORMAT);
    let insert = "INSERT INTO requests (run, number, format, request, sha256) VALUES (?1, ?2, ?3, ?4, ?5)";
    let digest = digest(run, number, format, &request);
    transaction.execute(insert, params![run.as_str(), number, format, request, digest]).map_err(broken)?;
    transaction.commit().map_err(broken)?;
    Ok(unsigned(number))
}

fn requests(connection: &Connection, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
    let select = "SELECT number, format, request, sha256 FROM requests WHERE run = ?1 AND number > ?2 ORDER BY number";
    let mut query = connection.prepare_cached(select).map_err(broken)?;
    let rows = query.query_map(params![run.as_str(), signed(after)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, Vec<u8>>(3)?))
    });
    let mut found = Vec::new();
    for row in rows.map_err(broken)? {
        let (number, format, request, sha256) = row.map_err(broken)?;
        let corrupt = |what: String| JournalError::Corrupt { place: format!("run {run}, request {number}"), what };
        let expected = after.saturating_add(found.len() as u64).saturating_add(1);
        if unsigned(number) != expected {
            return Err(corrupt(format!("request {expected} is missing")));
        }
        if digest(run, number, format, &request) != sha256 {
            return Err(corrupt("its checksum does not match".into()));
        }
        if format > i64::from(REQUEST_FORMAT) {
            let format = u32::try_from(format).unwrap_or(u32::MAX);
            return Err(JournalError::Newer {
                run: run.clone(),
                sequence: unsigned(number),
                format,
                known: REQUEST_FORMAT,
            });
        }
        found.push((unsigned(number), serde_json::from_str(&request).map_err(|error| corrupt(error.to_string()))?));
    }
    Ok(found)
}

fn digest(run: &RunId, number: i64, format: i64, request: &str) -> Vec<u8> {
    Sha256::digest(format!("{run}\n{number}\n{format}\n{request}")).to_vec()
}
