//! The catalogue of HAProxy configurations: each as it is found in the field, behind a load, once with the rotation alone
//! (each server out, killed, started, back) and once with the engine's whole patch. A configuration in which nothing can
//! be lost loses nothing; any other is refused before anything is changed, with the rule and the line that say why.
//!
//! The main ones run by default, all with `HA_CATALOGUE=all`; `HA_CATALOGUE=<words of a name>` runs those. On another
//! HAProxy: `HA_HAPROXY=/path`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod row;
mod rows;
mod site;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use ha_testkit::figures;

use row::{Result, Row};

type Came = std::result::Result<Result, String>;

ha_lab::roles!();

/// So many sites at once: most of their time is waiting.
const AT_ONCE: usize = 6;

fn chosen() -> Vec<Row> {
    let wanted = std::env::var("HA_CATALOGUE").unwrap_or_default();
    let version = ha_lab::haproxy_version().unwrap();
    let is_wanted = |row: &Row| match wanted.as_str() {
        // HAProxy itself refuses it.
        _ if version >= row.before => {
            figures!("catalogue: {}: skipped on HAProxy {}.{}", row.name, version.0, version.1);
            false
        }
        "all" => true,
        "" => row.main,
        words => row.name.contains(words),
    };
    rows::all().into_iter().filter(is_wanted).collect()
}

#[test]
fn the_catalogue_has_sixty_configurations_each_with_a_name_of_its_own() {
    let names: std::collections::BTreeSet<&str> = rows::all().iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows::all().len());
    assert!(names.len() >= 60, "{}", names.len());
}

/// Runs rows one after the other, until none is left.
fn work(rows: &Mutex<Vec<Row>>, ended: &Sender<(Row, Came)>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    while let Some(row) = { rows.lock().unwrap().pop() } {
        let came = runtime.block_on(async { tokio::time::timeout(site::PATIENCE, site::run(&row)).await });
        let late = || Err(format!("it did not end in {:?}", site::PATIENCE));
        ended.send((row, came.unwrap_or_else(|_| late()))).unwrap();
    }
}

#[test]
fn no_configuration_of_the_catalogue_loses_a_request() {
    let rows = Mutex::new(chosen());
    assert!(!rows.lock().unwrap().is_empty(), "HA_CATALOGUE names no configuration");
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (rows, sender) = (&rows, sender.clone());
            scope.spawn(move || work(rows, &sender));
        }
        drop(sender);
        report(&receiver);
    });
}

fn report(ended: &Receiver<(Row, Came)>) {
    let (mut requests, mut held, mut refused, mut broken) = (0, 0, 0, Vec::new());
    for (row, result) in ended {
        match &result {
            Ok(Result::Held { sent }) => (requests, held) = (requests + sent, held + 1),
            Ok(Result::Refused { sent, .. }) => (requests, refused) = (requests + sent, refused + 1),
            Err(why) => broken.push(format!("{}: {why}", row.name)),
        }
        let shown = result.map_or_else(|why| format!("BROKEN: {why}"), |result| result.to_string());
        figures!("catalogue: {}: {shown}", row.name);
    }
    figures!(
        "catalogue: {} configurations: {held} patched and {refused} refused, {requests} requests, 0 failed; {} broken",
        held + refused + broken.len(),
        broken.len()
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
