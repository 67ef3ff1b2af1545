//! A report that was kept, held against a journal on the disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_backends::sqlite::SqliteStore;
use ha_core::journal::Journal;
use ha_core::record::RunId;
use ha_core::report::{ChainError, RunReport};
use ha_testkit::world::{Shape, World};

#[tokio::test(start_paused = true)]
async fn what_a_file_gives_back_has_the_hashes_of_what_was_written() {
    let (world, run): (World, RunId) = (Shape::active_passive().with_work().world().unwrap(), "patch".into());
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let told = engine.run(run.clone(), planned).await.unwrap().wait().await.unwrap();
    let written = world.store().read(&run).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.db");
    SqliteStore::open(&file).unwrap().append(&run, written.clone()).await.unwrap();
    let mut read = SqliteStore::open_to_read(&file).unwrap().read(&run).await.unwrap();
    assert_eq!(read, written);
    assert_eq!(told.verify(&read), Ok(()));
    let again = RunReport::from_entries(world.topology(), &run, &read).unwrap();
    assert_eq!((again.records, again.library), (told.records.clone(), told.library.clone()));
    read[1].unix_ms += 1;
    assert_eq!(told.verify(&read), Err(ChainError::Differs { sequence: 1 }));
}
