//! A reader that is a machine of its own loses its power, or its cable. Needs root.

use std::fs;
use std::time::{Duration, Instant};

use ha_core::backend::{FileSync, ObserveFileSync};
use ha_core::state::Sync;
use tokio::time::sleep;

use crate::nodes::{EPOCH, Nodes, hold, names, release, sync};

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_outlives_the_controller_and_the_power_of_the_node() {
    let names = [names(&["esb1"]).remove(0), names(&["esb2"]).remove(0)];
    let (nodes, machine) = Nodes::with_a_machine(&names, |_| {}).await;
    let reader = &names[1];
    nodes.settle().unwrap();
    nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
    nodes.put(&names[0], 2);
    machine.power_cycle().unwrap();

    let next = nodes.another();
    assert_eq!(next.shared(reader).await.unwrap().sync, Sync::Held);
    let (code, said) = sync(&nodes.home(&names[0]));
    assert_eq!((code, nodes.truth(reader)), (Some(0), Some(1)), "held, and no fault of the timer: {said}");
    next.release(EPOCH, release(reader)).await.unwrap();
    assert_eq!(nodes.truth(reader), Some(2));
}

/// The cable is pulled while a set is copied: no half of it counts, and what is left of the copy keeps nobody away for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_cable_pulled_in_mid_copy_leaves_no_set_and_the_next_release_brings_it() {
    let names = [names(&["esb1"]).remove(0), names(&["esb2"]).remove(0)];
    let (nodes, machine) = Nodes::with_a_machine(&names, |config| {
        (config.bwlimit, config.timeout) = (1_000, Duration::from_secs(2));
        config.rsh.extend(["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2"].map(String::from));
    })
    .await;
    let (writer, reader) = (&names[0], &names[1]);
    nodes.settle().unwrap();
    nodes.put(writer, 2);
    fs::write(nodes.tree(writer).join("large.car"), vec![b'x'; 8_000_000]).unwrap();
    let home = nodes.home(writer);
    let copies = std::thread::spawn(move || sync(&home));
    let until = Instant::now() + Duration::from_secs(20);
    while nodes.files.shared(reader).await.unwrap().sync != Sync::Running {
        assert!(Instant::now() < until, "no copy has begun");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(500)).await;
    machine.cut_link().unwrap();
    let (code, said) = copies.join().unwrap();
    assert_eq!(code, Some(70), "{said}");
    machine.restore_link().unwrap();
    assert_ne!(nodes.truth(reader), Some(2), "half of it is there");
    // What the cut has left on the reader ends by its own timeout; a hold waits for it.
    nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
    let half = nodes.files.shared(reader).await.unwrap();
    assert_eq!((half.sync, half.generation), (Sync::Held, None));
    nodes.files.release(EPOCH, release(reader)).await.unwrap();
    let (there, here) = (nodes.files.shared(reader).await.unwrap(), nodes.files.shared(writer).await.unwrap());
    assert_eq!((nodes.truth(reader), there.generation), (Some(2), here.generation));
}
