use std::time::Duration;

use ha_core::machine::monitor::{Loss, MonitorEvent, MonitorPolicy, NodeVerdict, OnLoss, Saw};

use super::desk::{Desk, SECOND, cluster, ms};

fn desk() -> Desk {
    let mut desk = Desk::new(cluster(3, 1), MonitorPolicy::default());
    desk.pass(5 * SECOND);
    assert_eq!(desk.told(), [""; 0], "all is well");
    assert_eq!(desk.verdict("n1"), NodeVerdict::Alive);
    desk
}

/// Who has to say what for a verdict: balancer, probe and host of a node whose neighbours are well, and what comes of it.
#[test]
fn a_node_is_lost_when_two_kinds_agree_and_none_sees_it_serve() {
    use Saw::{Alive, Dead, NoAnswer, Running, Unsure};
    let rows = [
        // Everybody agrees.
        ((Dead, Dead, Dead), Some(Loss::Server)),
        ((Dead, NoAnswer, NoAnswer), Some(Loss::Unreachable)),
        ((Dead, Dead, NoAnswer), Some(Loss::Unreachable)),
        ((Dead, NoAnswer, Dead), Some(Loss::Server)),
        // A kind that says nothing makes fewer that have to agree.
        ((NoAnswer, Dead, Dead), Some(Loss::Server)),
        ((Unsure, Dead, Dead), Some(Loss::Server)),
        ((NoAnswer, NoAnswer, Dead), Some(Loss::Server)),
        ((Dead, Unsure, Dead), Some(Loss::Server)),
        // One alone is a suspicion.
        ((Dead, Unsure, Unsure), None),
        ((Unsure, Dead, Unsure), None),
        ((Unsure, Unsure, Dead), None),
        ((Unsure, Dead, Running), None),
        // Silence alone is no evidence.
        ((NoAnswer, NoAnswer, NoAnswer), None),
        ((Unsure, NoAnswer, NoAnswer), None),
        // Whoever sees it serve holds the verdict.
        ((Alive, Dead, Dead), None),
        ((Dead, Alive, Dead), None),
        ((Dead, Alive, Running), None),
        ((Alive, NoAnswer, NoAnswer), None),
        // It runs: more time.
        ((Dead, Dead, Running), Some(Loss::Hung)),
        ((Dead, NoAnswer, Running), Some(Loss::Hung)),
        ((Dead, Running, Running), Some(Loss::Hung)),
        ((Dead, Running, NoAnswer), Some(Loss::Hung)),
        ((Unsure, Running, Running), None),
        // Somebody else answers on its port.
        ((Dead, Running, Dead), None),
    ];
    for ((balancer, probe, host), expected) in rows {
        let mut desk = desk();
        desk.balancers("n1", balancer).probe("n1", probe).host("n1", host);
        let lost = desk.until("node-lost", 30 * SECOND);
        let loss = lost.as_ref().map(|(event, _)| match event {
            MonitorEvent::NodeLost { loss, .. } => *loss,
            other => panic!("{other:?}"),
        });
        assert_eq!(loss, expected, "{balancer}, {probe}, {host}: {:?}", desk.events);
        if let Some((event, took)) = lost {
            let least = if loss == Some(Loss::Hung) { 10 * SECOND } else { 2 * SECOND };
            assert!(took >= least && took <= least + SECOND, "{event} after {took:?}");
        }
        assert!(desk.verdict("n2") == NodeVerdict::Alive && desk.verdict("n3") == NodeVerdict::Alive);
    }
}

#[test]
fn with_three_needed_all_kinds_have_to_agree() {
    let rows = [(Saw::Dead, Saw::Dead, true), (Saw::Unsure, Saw::Dead, false), (Saw::Dead, Saw::Unsure, false)];
    for (balancer, probe, expected) in rows {
        let mut desk = Desk::new(cluster(3, 1), MonitorPolicy::default().with_needed(3));
        desk.pass(SECOND).balancers("n1", balancer).probe("n1", probe).host("n1", Saw::Dead);
        assert_eq!(desk.until("node-lost", 30 * SECOND).is_some(), expected, "{balancer}, {probe}");
    }
}

#[test]
fn a_loss_says_who_saw_what_and_how_long_it_took() {
    let mut desk = desk();
    let (event, took) = desk.power_off("n2").until("node-lost", 30 * SECOND).unwrap();
    let MonitorEvent::NodeLost { node, domain, evidence, detected_after_ms, .. } = &event else { panic!("{event:?}") };
    assert_eq!((node.as_str(), domain.as_str()), ("n2", "n2"));
    let seen: Vec<String> = evidence.iter().map(ToString::to_string).collect();
    assert_eq!(seen, ["balancer lb1: down", "probe: no answer", "host: no answer"]);
    assert_eq!(*detected_after_ms, 2_000);
    assert!(took <= 2_500 * ms(1), "{took:?}");
    assert_eq!(desk.told(), ["suspected n2", "node-lost n2"]);
}

#[test]
fn less_than_dead_after_is_no_loss_and_is_cleared() {
    let mut desk = desk();
    desk.kill("n1").pass(ms(1_900)).revive("n1").pass(10 * SECOND);
    assert_eq!(desk.told(), ["suspected n1", "cleared n1"]);
    // A moment is not even told.
    desk.kill("n1").pass(ms(500)).revive("n1").pass(10 * SECOND);
    assert_eq!(desk.told(), [""; 0]);
}

#[test]
fn one_word_to_the_contrary_begins_the_time_anew() {
    let mut desk = desk();
    desk.kill("n1").pass(ms(1_500)).probe("n1", Saw::Alive).host("n1", Saw::Running).pass(ms(500));
    desk.kill("n1").pass(ms(1_900));
    assert!(!desk.verdict("n1").is_lost(), "probe and host have agreed for less than 2 s");
    desk.pass(ms(600));
    assert!(desk.verdict("n1").is_lost());
}

#[test]
fn who_saw_it_down_may_miss_one_answer_and_not_two() {
    for (missed, expected) in [(1, true), (2, false)] {
        let mut desk = desk();
        desk.balancers("n1", Saw::Unsure).host("n1", Saw::NoAnswer).probe("n1", Saw::Dead).pass(ms(500));
        desk.probe("n1", Saw::NoAnswer)
            .pass(missed * ms(500))
            .probe("n1", Saw::Dead)
            .pass(ms(2_500) - missed * ms(500));
        assert_eq!(desk.verdict("n1").is_lost(), expected, "{missed} missed: {:?}", desk.events);
    }
}

#[test]
fn a_server_that_hangs_is_lost_though_one_answer_in_between_was_another() {
    for (rounds, expected) in [(1, true), (2, false)] {
        let mut desk = desk();
        desk.balancers("n1", Saw::Dead).probe("n1", Saw::NoAnswer).pass(5 * SECOND);
        desk.probe("n1", Saw::Alive).pass(rounds * ms(500)).probe("n1", Saw::NoAnswer).pass(6 * SECOND);
        assert_eq!(desk.verdict("n1").is_lost(), expected, "{rounds}: {:?}", desk.events);
    }
}

#[test]
fn a_lost_node_that_serves_again_is_returned_and_not_alive_until_it_is_taken_back() {
    let mut desk = desk();
    desk.kill("n1").pass(5 * SECOND).told();
    desk.revive("n1").pass(ms(9_400));
    assert!(desk.verdict("n1").is_lost(), "not for recover_after yet");
    desk.pass(ms(1_100));
    assert_eq!(desk.told(), ["returned n1"]);
    desk.pass(600 * SECOND);
    assert!(matches!(desk.verdict("n1"), NodeVerdict::Returned { .. }), "it does not come back by itself");
    desk.take_back("n1");
    desk.pass(SECOND);
    assert_eq!(desk.verdict("n1"), NodeVerdict::Alive);
    assert_eq!(desk.told(), [""; 0]);
}

#[test]
fn a_node_that_is_taken_back_too_early_is_lost_again() {
    let mut desk = desk();
    desk.kill("n1").pass(5 * SECOND).told();
    desk.take_back("n1");
    desk.pass(5 * SECOND);
    assert_eq!(desk.told(), ["suspected n1", "node-lost n1"]);
}

#[test]
fn a_node_that_is_lost_too_often_is_flapping_and_left_to_a_person() {
    let mut desk = desk();
    for _ in 0..3 {
        desk.kill("n1").pass(5 * SECOND).revive("n1").pass(15 * SECOND);
    }
    let lost = desk.told().into_iter().filter(|told| told == "node-lost n1").count();
    assert_eq!(lost, 3);
    desk.kill("n1").pass(5 * SECOND);
    assert_eq!(desk.told(), ["flapping n1"]);
    desk.revive("n1").pass(30 * SECOND).kill("n1").pass(30 * SECOND);
    assert_eq!(desk.told(), [""; 0], "nothing more is told of it");
    desk.revive("n1").pass(SECOND).take_back("n1").pass(SECOND);
    assert_eq!(desk.verdict("n1"), NodeVerdict::Alive);
}

#[test]
fn losses_that_are_longer_ago_than_the_window_do_not_count() {
    let policy = MonitorPolicy::default().with_flap_limit(1, 60 * SECOND);
    let mut desk = Desk::new(cluster(3, 1), policy);
    for pause in [70, 20] {
        desk.kill("n1").pass(5 * SECOND).revive("n1").pass(pause * SECOND);
    }
    desk.kill("n1").pass(5 * SECOND);
    let told: Vec<String> = desk.told().into_iter().filter(|told| !told.starts_with("suspected")).collect();
    assert_eq!(told, ["node-lost n1", "returned n1", "node-lost n1", "returned n1", "flapping n1"]);
}

#[test]
fn an_outage_is_proposed_as_the_policy_says() {
    let rows = [
        (OnLoss::Report, None),
        (OnLoss::Propose, Some("proposed n1 act=false")),
        (OnLoss::Run, Some("proposed n1 act=true")),
    ];
    for (on_loss, expected) in rows {
        let mut desk = Desk::new(cluster(5, 1), MonitorPolicy::default().with_on_loss(on_loss));
        desk.pass(SECOND).kill("n1").pass(60 * SECOND);
        let told = desk.told();
        let proposed: Vec<&str> = told.iter().map(String::as_str).filter(|told| told.starts_with("proposed")).collect();
        assert_eq!(proposed, Vec::from_iter(expected), "{on_loss:?}");
    }
}

#[test]
fn what_fails_together_is_proposed_together_and_two_failure_domains_need_a_person() {
    let mut desk = Desk::new(cluster(5, 1), MonitorPolicy::default().with_on_loss(OnLoss::Run));
    desk.pass(SECOND).kill("n1").pass(ms(1_000)).kill("n2").pass(10 * SECOND);
    let told = desk.told();
    let proposed: Vec<&String> = told.iter().filter(|told| told.starts_with("proposed")).collect();
    assert_eq!(proposed, ["proposed n1,n2 act=false"]);
}

#[test]
fn a_proposal_is_for_a_person_while_another_node_is_disputed() {
    let mut desk = Desk::new(cluster(5, 1), MonitorPolicy::default().with_on_loss(OnLoss::Run));
    desk.pass(SECOND).cut_off("n2").pass(10 * SECOND).kill("n1").pass(10 * SECOND);
    assert_eq!(desk.told(), ["disputed n2", "suspected n1", "node-lost n1", "proposed n1 act=false"]);
}

#[test]
fn a_flapping_node_is_never_proposed() {
    let policy = MonitorPolicy::default().with_on_loss(OnLoss::Run).with_flap_limit(0, Duration::ZERO);
    let mut desk = Desk::new(cluster(5, 1), policy);
    desk.pass(SECOND).kill("n1").pass(10 * SECOND);
    assert_eq!(desk.told(), ["suspected n1", "flapping n1"]);
}

#[test]
fn dead_after_is_the_topology_s_lost_after_unless_set() {
    let text = "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 1\nlost_after = \"7s\"\n[pool]\nname = \"esb\"\nserve = 1\n\
                [[balancer]]\nname = \"lb1\"\nbackend = \"fake\"\n";
    let node = |name: &str| {
        format!(
            "[[node]]\nname = \"{name}\"\ncapacity = 1\n[node.host]\nbackend = \"fake\"\n[node.probe]\nbackend = \"fake\"\n"
        )
    };
    let topology =
        || ha_core::topology::Topology::from_toml_str(&format!("{text}{}{}", node("n1"), node("n2"))).unwrap();
    for (policy, least) in [
        (MonitorPolicy::default(), 7 * SECOND),
        (MonitorPolicy::default().with_dead_after(ms(1_000)), SECOND),
        (MonitorPolicy::default().with_dead_after(Duration::ZERO), Duration::ZERO),
    ] {
        let mut desk = Desk::new(topology(), policy);
        let (_, took) = desk.pass(SECOND).kill("n1").until("node-lost", 30 * SECOND).unwrap();
        assert!(took >= least && took <= least + SECOND, "{least:?}: {took:?}");
    }
}
