use std::sync::Arc;

use ha_backends::sqlite::SqliteStore;
use ha_core::procedure::PatchRequest;
use ha_core::topology::Topology;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topology = Topology::from_toml_str(&std::fs::read_to_string("cluster.toml")?)?;
    let store = Arc::new(SqliteStore::open("journal.db")?);
    let engine = ha_backends::connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?;

    let script = |what: &str| vec!["bin/patch.sh".to_string(), what.to_string()];
    let patch = PatchRequest::new("4.2.1", script("apply"), script("restore")).with_beside("4.2.0");
    let planned = engine.plan(&patch).await?; // the dry run: changes nothing
    println!("{}{}", planned.plan().to_text(engine.topology()), planned.proof());

    let mut run = engine.run("patch-2026-07".into(), planned).await?;
    while let Some(event) = run.next_event().await {
        println!("{event:?}");
    }
    let report = run.wait().await?; // all new, all old, or needs an operator: with every open loan
    println!("{report}");
    Ok(())
}
