use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ha_backends::connect;
use ha_backends::sqlite::SqliteStore;
use ha_core::engine::{Engine, RunError, RunHandle};
use ha_core::journal::{Journal, LeaseError};
use ha_core::procedure::Procedure;
use ha_core::record::{Operator, RunId};
use ha_core::report::RunReport;
use ha_core::topology::Topology;
use tokio::time::sleep;

use crate::Fallible;

/// What a controller is to do with a run that is recorded already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resume {
    /// Go on with it.
    Forward,
    /// Roll it back.
    RollBack,
}

/// Changes the cluster that is described in a folder, or resumes the run of that name that is recorded there. Prints one line of
/// JSON an event.
///
/// # Errors
/// What kept it from an end that is known. A plan that is refused is printed, and no error.
pub async fn control(folder: &Path, run: &str, procedure: &dyn Procedure, how: Resume) -> Fallible<()> {
    let topology = Topology::from_toml_str(&std::fs::read_to_string(folder.join("cluster.toml"))?)?;
    let store = Arc::new(SqliteStore::open(folder.join("journal.db"))?);
    let run = RunId::new(run);
    let is_recorded = store.runs().await?.contains(&run);
    let engine = connect(&topology)?
        .engine(topology)
        .with_store(store.clone(), store.clone())
        .with_owner(format!("controller {}", std::process::id()))
        .build()?;
    let mut handle = if is_recorded {
        match resume(&engine, &run).await {
            Ok(handle) => {
                if how == Resume::RollBack {
                    handle.roll_back(Operator::new("controller", "it was told to")).await?;
                }
                handle
            }
            // Another controller has brought it to its end, and only its last words are missing.
            Err(RunError::Ended { .. }) => {
                let report = RunReport::from_entries(engine.topology(), &run, &store.read(&run).await?)?;
                println!("{}", serde_json::json!({ "event": "report", "report": report }));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        let planned = match engine.plan(procedure).await {
            Ok(planned) => planned,
            Err(error) => {
                println!("{}", serde_json::json!({ "event": "refused", "message": error.to_string() }));
                return Ok(());
            }
        };
        print!("{}", planned.plan().to_text(engine.topology()));
        println!("{}", planned.proof());
        engine.run(run, planned).await?
    };
    while let Some(event) = handle.next_event().await {
        println!("{}", serde_json::to_string(&event)?);
    }
    let report = handle.wait().await?;
    println!("{}", serde_json::json!({ "event": "report", "report": report }));
    Ok(())
}

/// Waits for the lease of a controller that died: it ends by itself.
async fn resume(engine: &Engine, run: &RunId) -> Result<RunHandle, RunError> {
    let mut tries = 0;
    loop {
        match engine.resume(run.clone()).await {
            Err(RunError::Lease(LeaseError::Held { left, owner, .. })) if tries < 10 => {
                println!("waiting for the lease of {owner}, at most {left:?}");
                tries += 1;
                sleep(left + Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}
