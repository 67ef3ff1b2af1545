use ha_core::machine::monitor::{MonitorEvent, MonitorPolicy, NodeVerdict, OnLoss, Saw};

use super::desk::{Desk, SECOND, answered, cluster, ms};

fn desk(nodes: usize, balancers: usize) -> Desk {
    let mut desk = Desk::new(cluster(nodes, balancers), MonitorPolicy::default().with_on_loss(OnLoss::Run));
    desk.pass(5 * SECOND);
    assert_eq!(desk.told(), [""; 0], "all is well");
    desk
}

#[test]
fn a_node_that_this_process_cannot_see_and_the_balancer_can_is_disputed() {
    let mut desk = desk(3, 1);
    let (event, _) = desk.cut_off("n1").until("disputed", 10 * SECOND).unwrap();
    let MonitorEvent::Disputed { evidence, .. } = event else { panic!("{event:?}") };
    let seen: Vec<String> = evidence.iter().map(ToString::to_string).collect();
    assert_eq!(seen, ["balancer lb1: up", "probe: no answer", "host: no answer"]);
    desk.pass(600 * SECOND);
    assert_eq!(desk.told(), ["disputed n1"]);
    desk.revive("n1").pass(3 * SECOND);
    assert_eq!(desk.told(), ["cleared n1"]);
}

#[test]
fn balancers_that_contradict_each_other_hold_the_verdict() {
    let mut desk = desk(3, 2);
    desk.balancer(1, "n1", Saw::Dead).probe("n1", Saw::Dead).host("n1", Saw::Dead).pass(600 * SECOND);
    assert_eq!(desk.told(), ["disputed n1"]);
    desk.balancer(2, "n1", Saw::Dead).pass(SECOND);
    assert!(desk.verdict("n1").is_lost(), "the others have agreed for long: {:?}", desk.verdict("n1"));
}

#[test]
fn a_balancer_that_is_gone_makes_no_node_lost() {
    let mut desk = desk(3, 1);
    desk.deaf(1).pass(600 * SECOND);
    assert_eq!(desk.told(), [""; 0]);
    desk.kill("n1").pass(5 * SECOND);
    assert_eq!(desk.told(), ["suspected n1", "node-lost n1", "proposed n1 act=true"]);
}

#[test]
fn silence_of_all_hosts_and_balancers_says_nothing_of_a_node() {
    let mut desk = desk(3, 1);
    for node in ["n1", "n2", "n3"] {
        desk.host(node, Saw::NoAnswer);
    }
    desk.deaf(1).pass(60 * SECOND);
    assert_eq!(desk.told(), [""; 0]);
    // The probe alone sees it down: the silence of its host is that of all hosts.
    desk.probe("n1", Saw::Dead).pass(60 * SECOND);
    assert_eq!(desk.told(), ["suspected n1"]);
}

#[test]
fn more_than_half_without_an_answer_at_once_means_look_at_yourself() {
    for (nodes, dark, suspects) in
        [(2, 1, false), (2, 2, true), (3, 1, false), (3, 2, true), (4, 2, false), (4, 3, true)]
    {
        let mut desk = desk(nodes, 1);
        for number in 1..=dark {
            desk.power_off(&format!("n{number}"));
        }
        desk.pass(600 * SECOND);
        let told = desk.told();
        assert_eq!(told == ["self-suspect"], suspects, "{dark} of {nodes}: {told:?}");
        let lost = told.iter().filter(|told| told.starts_with("node-lost")).count();
        assert_eq!(lost, if suspects { 0 } else { dark }, "{dark} of {nodes}: {told:?}");
    }
}

#[test]
fn silence_from_while_it_suspected_itself_counts_for_nothing_afterwards() {
    let mut desk = desk(3, 1);
    for node in ["n1", "n2", "n3"] {
        desk.power_off(node);
    }
    desk.pass(60 * SECOND);
    assert_eq!(desk.told(), ["self-suspect"]);
    desk.revive("n2").revive("n3").pass(ms(1_900));
    assert!(!desk.verdict("n1").is_lost(), "it was silent with all others");
    desk.pass(SECOND);
    assert_eq!(desk.told(), ["suspected n1", "self-cleared", "node-lost n1", "proposed n1 act=true"]);
}

#[test]
fn silence_counts_for_nothing_while_more_than_half_were_silent_though_one_went_on_answering() {
    let mut desk = desk(3, 1);
    desk.power_off("n1").power_off("n2").pass(60 * SECOND);
    assert_eq!(desk.told(), ["self-suspect"]);
    desk.revive("n2").pass(ms(1_900));
    assert!(!desk.verdict("n1").is_lost(), "{:?}", desk.events);
    desk.pass(SECOND);
    assert!(desk.verdict("n1").is_lost());
}

#[test]
fn a_balancer_s_word_alone_needs_the_silence_of_both_others_for_as_long() {
    for late in [Saw::NoAnswer, Saw::Dead] {
        let mut desk = desk(3, 1);
        // The host saw the process until a moment ago.
        desk.balancers("n1", Saw::Dead).probe("n1", Saw::NoAnswer).pass(5 * SECOND).host("n1", late).pass(ms(1_900));
        assert!(!desk.verdict("n1").is_lost(), "{late}");
        desk.pass(ms(600));
        assert!(desk.verdict("n1").is_lost(), "{late}");
    }
    // What the probe saw down itself needs no third.
    let mut desk = desk(3, 1);
    desk.balancers("n1", Saw::Dead).probe("n1", Saw::Dead).pass(5 * SECOND).host("n1", Saw::NoAnswer).pass(ms(600));
    assert!(desk.verdict("n1").is_lost());
}

#[test]
fn a_node_has_not_returned_because_time_has_passed_in_a_stall() {
    let mut desk = desk(3, 1);
    desk.kill("n1").pass(5 * SECOND).revive("n1").pass(5 * SECOND).told();
    desk.stall(20 * SECOND).pass(9 * SECOND);
    assert!(desk.verdict("n1").is_lost());
    assert_eq!(desk.told(), ["stalled"]);
    desk.pass(2 * SECOND);
    assert_eq!(desk.told(), ["returned n1"]);
}

#[test]
fn all_dead_with_hosts_that_say_so_is_believed() {
    let mut desk = desk(3, 1);
    for node in ["n1", "n2", "n3"] {
        desk.kill(node);
    }
    desk.pass(10 * SECOND);
    let mut told = desk.told();
    told.sort();
    let expected = [
        "node-lost n1",
        "node-lost n2",
        "node-lost n3",
        "proposed n1,n2,n3 act=false",
        "suspected n1",
        "suspected n2",
        "suspected n3",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_stalled_monitor_gives_no_verdict_from_what_it_saw_before() {
    let mut desk = desk(3, 1);
    // It sees n1 down for 1.5 s, is stalled, and finds one more such answer.
    desk.kill("n1").pass(ms(1_500)).stall(10 * SECOND);
    assert!(!desk.verdict("n1").is_lost());
    desk.pass(ms(600));
    assert!(!desk.verdict("n1").is_lost(), "two fresh answers are not 2 s: {:?}", desk.events);
    assert_eq!(desk.told(), ["suspected n1", "stalled"]);
    desk.pass(2 * SECOND);
    assert!(desk.verdict("n1").is_lost());
}

#[test]
fn a_monitor_that_is_stalled_between_two_questions_notices_it_too() {
    let mut desk = desk(3, 1);
    desk.kill("n1").pass(ms(1_700));
    // Nothing is open: only the next question is late.
    desk.now += 10 * SECOND;
    desk.pass(ms(1));
    assert!(!desk.verdict("n1").is_lost(), "{:?}", desk.events);
    assert_eq!(desk.told(), ["suspected n1", "stalled"]);
}

#[test]
fn a_late_answer_counts_for_nothing_and_an_answer_to_no_question_neither() {
    let mut desk = desk(3, 1);
    let asks = desk.ask();
    assert_eq!(asks.len(), 7, "a balancer, three probes, three hosts");
    let again = desk.now + ms(751);
    desk.monitor.handle(again, answered(asks[0], Vec::new()));
    desk.drain();
    assert_eq!(desk.told(), ["stalled"]);
    desk.monitor.handle(again, answered(asks[0], Vec::new()));
    desk.drain();
    assert_eq!(desk.told(), [""; 0], "it was answered already");
}

#[test]
fn an_observer_that_is_slow_delays_no_other() {
    let mut desk = desk(3, 1);
    let asks = desk.ask();
    for ask in &asks[1..] {
        desk.monitor.handle(desk.now, answered(*ask, Vec::new()));
    }
    assert_eq!(desk.monitor.poll_timeout(), Some(desk.now + ms(500)));
    assert_eq!(std::iter::from_fn(|| desk.monitor.poll_command(desk.now + ms(500))).count(), 6);
}

#[test]
fn a_node_that_every_balancer_holds_out_may_be_stopped() {
    let mut desk = desk(3, 2);
    desk.balancers("n1", Saw::HeldOut).pass(SECOND);
    assert_eq!(desk.verdict("n1"), NodeVerdict::HeldOut);
    desk.probe("n1", Saw::Dead).host("n1", Saw::Dead).pass(600 * SECOND);
    assert_eq!(desk.told(), [""; 0]);
    // It stays so while no balancer answers.
    desk.deaf(1).deaf(2).pass(60 * SECOND);
    assert_eq!(desk.told(), [""; 0]);
}

#[test]
fn a_node_that_is_admitted_again_has_all_its_time() {
    let mut desk = desk(3, 1);
    desk.balancers("n1", Saw::HeldOut).probe("n1", Saw::Dead).host("n1", Saw::Dead).pass(60 * SECOND);
    desk.balancers("n1", Saw::Dead).pass(ms(1_900));
    assert!(!desk.verdict("n1").is_lost(), "what was seen while it was out does not count");
    desk.pass(ms(1_100));
    assert!(desk.verdict("n1").is_lost());
}

#[test]
fn a_node_that_one_of_two_balancers_holds_out_should_serve() {
    let mut desk = desk(3, 2);
    desk.balancer(1, "n1", Saw::HeldOut).pass(SECOND);
    assert_eq!(desk.verdict("n1"), NodeVerdict::Alive);
    desk.balancer(2, "n1", Saw::Dead).probe("n1", Saw::Dead).host("n1", Saw::Dead).pass(5 * SECOND);
    assert!(desk.verdict("n1").is_lost());
}

#[test]
fn a_lost_node_that_is_held_out_then_stays_lost() {
    let mut desk = desk(3, 1);
    desk.kill("n1").pass(5 * SECOND).balancers("n1", Saw::HeldOut).pass(60 * SECOND);
    assert!(desk.verdict("n1").is_lost());
    desk.probe("n1", Saw::Alive).host("n1", Saw::Running).pass(12 * SECOND);
    assert!(matches!(desk.verdict("n1"), NodeVerdict::Returned { .. }), "it serves, though it is out of traffic");
}

#[test]
fn nobody_answers_for_one_node_and_nothing_is_known_of_it() {
    let mut desk = desk(3, 1);
    desk.balancers("n1", Saw::NoAnswer).cut_off("n1").pass(600 * SECOND);
    assert_eq!(desk.told(), ["unobserved n1"]);
    desk.revive("n1").pass(5 * SECOND);
    assert_eq!(desk.told(), ["cleared n1"]);
}
