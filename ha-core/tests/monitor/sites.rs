use ha_core::machine::monitor::{MonitorEvent, MonitorPolicy, OnLoss, Saw};

use super::desk::{Desk, SECOND, cluster, ms, two_sites};

fn desk(north: usize, south: usize) -> Desk {
    let mut desk = Desk::new(two_sites(north, south), MonitorPolicy::default());
    desk.pass(5 * SECOND);
    assert_eq!(desk.told(), [""; 0], "all is well");
    desk
}

#[test]
fn a_site_without_a_sign_of_life_is_lost_after_the_hold_down_while_another_site_answers() {
    let mut desk = desk(3, 1);
    for node in ["n1", "n2", "n3"] {
        desk.cut_off(node);
    }
    desk.deaf(1).pass(60 * SECOND);
    assert_eq!(desk.told(), ["unobserved n1", "unobserved n2", "unobserved n3"], "not for the hold-down yet");
    let (event, _) = desk.until("site-lost", 5 * SECOND).unwrap();
    let MonitorEvent::SiteLost { site, domains, .. } = &event else { panic!("{event:?}") };
    assert_eq!((site.as_str(), domains.join(" ")), ("north", "n1 n2 n3".into()));
    desk.told();
    desk.pass(600 * SECOND);
    assert_eq!(desk.told(), [""; 0], "it is told once");
}

#[test]
fn a_link_between_sites_that_is_down_for_43_seconds_loses_no_site() {
    let mut desk = desk(3, 3);
    for node in ["n1", "n2", "n3"] {
        desk.power_off(node);
    }
    desk.pass(43 * SECOND);
    for node in ["n1", "n2", "n3"] {
        desk.revive(node);
    }
    desk.pass(600 * SECOND);
    assert!(desk.told().iter().all(|told| !told.starts_with("site-lost")));
}

#[test]
fn a_site_with_a_node_that_lives_is_not_lost() {
    let mut desk = desk(3, 3);
    desk.kill("n1").kill("n2").pass(600 * SECOND);
    assert!(desk.told().iter().all(|told| !told.starts_with("site-lost")));
}

#[test]
fn a_site_whose_hosts_all_say_that_nothing_runs_is_lost_after_the_hold_down() {
    let mut desk = desk(2, 1);
    desk.kill("n1").kill("n2").pass(60 * SECOND).told();
    desk.pass(5 * SECOND);
    assert_eq!(desk.told(), ["site-lost north"]);
}

#[test]
fn without_an_answer_from_any_site_the_monitor_suspects_itself() {
    let mut desk = desk(3, 1);
    for node in ["n1", "n2", "n3", "d1"] {
        desk.cut_off(node);
    }
    desk.deaf(1).pass(600 * SECOND);
    assert_eq!(desk.told(), ["self-suspect"]);
}

#[test]
fn the_hold_down_begins_when_the_monitor_trusts_itself() {
    let mut desk = desk(3, 1);
    for node in ["n1", "n2", "n3", "d1"] {
        desk.cut_off(node);
    }
    desk.deaf(1).pass(120 * SECOND);
    assert_eq!(desk.told(), ["self-suspect"]);
    desk.probe("d1", Saw::Dead).host("d1", Saw::Dead).pass(59 * SECOND);
    assert!(desk.told().iter().all(|told| !told.starts_with("site-lost")));
    desk.pass(2 * SECOND);
    assert_eq!(desk.told(), ["site-lost north"]);
}

#[test]
fn a_site_that_is_held_out_on_purpose_is_not_lost() {
    let mut desk = desk(2, 1);
    desk.balancers("n1", Saw::HeldOut).balancers("n2", Saw::HeldOut).pass(SECOND);
    desk.probe("n1", Saw::Dead).host("n1", Saw::Dead).probe("n2", Saw::Dead).host("n2", Saw::Dead);
    desk.pass(600 * SECOND);
    assert_eq!(desk.told(), [""; 0]);
}

#[test]
fn a_cluster_without_sites_has_no_site_to_lose() {
    let mut desk = Desk::new(cluster(2, 1), MonitorPolicy::default().with_hold_down(ms(0)).with_on_loss(OnLoss::Run));
    desk.pass(SECOND).kill("n1").kill("n2").pass(600 * SECOND);
    assert!(desk.told().iter().all(|told| !told.starts_with("site-lost")));
}
