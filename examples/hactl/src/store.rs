//! The journal: one SQLite file, opened to write by who acts, and to read by who looks.

use std::path::Path;
use std::sync::Arc;

use ha_backends::sqlite::SqliteStore;
use ha_core::engine::RunError;
use ha_core::journal::{Journal, JournalError, LeaseError, LeaseHolder, ObserveLease, cluster_of};
use ha_core::record::{Entry, RunId};

use crate::exit::Exit;
use crate::failure::Failure;

/// Opens the journal to record a run; makes it where there is none.
pub(crate) fn to_write(path: &Path) -> Result<Arc<SqliteStore>, Failure> {
    SqliteStore::open(path).map(Arc::new).map_err(|error| Failure::of_journal(&error))
}

/// Opens a journal that is there, to read it.
pub(crate) fn to_read(path: &Path) -> Result<Arc<SqliteStore>, Failure> {
    if !path.exists() {
        let what = format!("there is no journal {}: no run was recorded there", path.display());
        return Err(Failure::new(Exit::NotFound, what, "name the journal of the runs with --journal FILE"));
    }
    SqliteStore::open_to_read(path).map(Arc::new).map_err(|error| Failure::of_journal(&error))
}

/// Tells who holds the lease of a cluster; nobody where the process that took it has ended for certain.
pub(crate) async fn holder(store: &SqliteStore, cluster: &str) -> Result<Option<LeaseHolder>, Failure> {
    let holder = ObserveLease::holder(store, cluster).await.map_err(|error| Failure::of_lease(&error))?;
    Ok(holder.filter(|holder| !holder.has_ended))
}

/// Makes sure that a change may begin, before anybody looks at the cluster: nobody acts on it, and no run of it is open. The engine
/// makes sure of it again when it begins.
pub(crate) async fn check_free(store: &SqliteStore, cluster: &str) -> Result<(), Failure> {
    if let Some(holder) = holder(store, cluster).await? {
        let LeaseHolder { owner, epoch, left, .. } = holder;
        return Err(Failure::of_lease(&LeaseError::Held { cluster: cluster.into(), owner, epoch, left }));
    }
    for run in store.open_runs(cluster).await.map_err(|error| Failure::of_journal(&error))? {
        let entries = store.read(&run).await.map_err(|error| Failure::of_journal(&error))?;
        if entries.first().and_then(cluster_of) == Some(cluster) {
            return Err(Failure::of_run(RunError::Unfinished { run }));
        }
    }
    Ok(())
}

/// Reads the run of this name, or the newest one of the cluster. A run that is not there is told with those that are.
pub(crate) async fn entries(
    store: &SqliteStore,
    cluster: &str,
    run: Option<&str>,
) -> Result<(RunId, Vec<Entry>), Failure> {
    let failed = |error: JournalError| Failure::of_journal(&error);
    let runs = store.runs().await.map_err(failed)?;
    for found in runs.iter().rev().filter(|known| run.is_none_or(|name| known.as_str() == name)) {
        let entries = store.read(found).await.map_err(failed)?;
        if run.is_some() || is_of(cluster, &entries) {
            return Ok((found.clone(), entries));
        }
    }
    let newest: Vec<&str> = runs.iter().rev().take(5).map(RunId::as_str).collect();
    let next = match newest[..] {
        [_, ..] if run.is_some() => format!("name one of the runs, the newest are: {}", newest.join(", ")),
        _ => "begin one with `hactl run`, or name another journal with --journal FILE".into(),
    };
    let none = || format!("the journal has no run of cluster {cluster}");
    let what = run.map_or_else(none, |name| format!("the journal has no run {name}"));
    Err(Failure::new(Exit::NotFound, what, next))
}

/// Tells whether these are the entries of a run of this cluster. One that names none may be of any.
pub(crate) fn is_of(cluster: &str, entries: &[Entry]) -> bool {
    entries.first().and_then(cluster_of).is_none_or(|of| of == cluster)
}
