use ha_core::backend::{Effect, Quiescence};
use ha_core::topology::Name;
use ha_haproxy::{LintExpectations, fuzz, lint, lint_bytes, pool_facts};

use crate::cut;

fn idle(figures: &Quiescence) -> bool {
    figures.in_flight() == 0
}

/// `show stat`: an answer that is cut anywhere never shows an idle server that the whole one does not show.
pub fn haproxy_stat(data: &[u8]) {
    let Some((whole, beginning)) = cut(data) else { return };
    let Ok(pool) = Name::new("esb") else { return };
    let Some((servers, _)) = fuzz::stat(whole, &pool) else { return };
    let Some((seen, _)) = fuzz::stat(beginning, &pool) else { return };
    for figures in &seen {
        assert!(servers.contains(figures), "the beginning shows {figures:?}, the whole {servers:?}");
    }
    // A server that the whole answer shows at work is not left out of its own table: a missing row would count as idle.
    let busy = |servers: &[fuzz::Figures]| servers.iter().filter(|figures| !idle(&figures.1)).count();
    let tables = |text: &str| text.lines().filter(|line| line.starts_with("# pxname,")).count();
    if tables(whole) == tables(beginning) {
        assert_eq!(busy(&seen), busy(&servers), "the beginning leaves a busy server out");
    }
}

/// `show servers state`: the beginning of an answer tells the same as the whole, or nothing.
pub fn haproxy_state(data: &[u8]) {
    let Some((whole, beginning)) = cut(data) else { return };
    let Ok(pool) = Name::new("esb") else { return };
    same(fuzz::states(whole, &pool), fuzz::states(beginning, &pool));
}

/// `show info`: the beginning of an answer tells the same as the whole, or nothing.
pub fn haproxy_info(data: &[u8]) {
    let Some((whole, beginning)) = cut(data) else { return };
    same(fuzz::info(whole), fuzz::info(beginning));
}

/// `show map`: the beginning of an answer tells the same as the whole, or nothing. The same bytes as a map file: a key that is
/// set is there once, and every other entry stays as it is, in its place.
pub fn haproxy_map(data: &[u8]) {
    let Some((whole, beginning)) = cut(data) else { return };
    same(fuzz::map(whole), fuzz::map(beginning));
    let [before, with, without] = fuzz::map_file(whole, "/orders");
    let others: Vec<_> = before.into_iter().filter(|(key, _)| key != "/orders").collect();
    assert_eq!(without, others);
    assert_eq!(with.split_last(), Some((&("/orders".to_string(), "esb".to_string()), &others[..])));
}

/// `show proc`: the beginning of an answer tells the same as the whole, or nothing; no old worker is left out.
pub fn haproxy_proc(data: &[u8]) {
    let Some((whole, beginning)) = cut(data) else { return };
    let workers = fuzz::proc(whole);
    if let Some(workers) = &workers {
        assert!(workers.iter().any(|(_, old)| !old), "a list without a current worker");
        for (pid, _) in workers {
            assert!(
                whole.contains(&pid.to_string()) || whole.contains('+') || whole.contains("00"),
                "{pid} is made up"
            );
        }
    }
    same(workers, fuzz::proc(beginning));
}

fn same<T: std::fmt::Debug + PartialEq>(whole: Option<T>, beginning: Option<T>) {
    if let (Some(whole), Some(beginning)) = (whole, beginning) {
        assert_eq!(whole, beginning, "the beginning of an answer tells something else");
    }
}

/// Answers to changing commands: success is one of three texts; a refusal carries HAProxy's own message and has no effect.
pub fn haproxy_answer(data: &[u8]) {
    let Ok(answer) = std::str::from_utf8(data) else { return };
    let changed = fuzz::changed(answer);
    if changed.is_none() {
        let message = answer.trim().trim_start_matches(|c: char| "[]: ".contains(c) || c.is_ascii_digit());
        assert!(["", "New server registered.", "Server deleted."].contains(&message), "{answer:?} is no success");
    }
    let before_table = fuzz::changed_before_states(answer);
    assert!(before_table.is_none() || !answer.starts_with("\n\n"), "{answer:?} says that it went well");
    for (message, error) in [changed, before_table, fuzz::refused(answer)].into_iter().flatten() {
        assert!(answer.contains(&message), "{message:?} is not in the answer");
        assert_eq!(error.effect(), Effect::None);
        assert!(error.to_string().len() < 4096, "an error as long as the answer");
    }
    if fuzz::is_gone(answer) {
        let Ok(pool) = Name::new("esb") else { return };
        assert!(fuzz::stat(answer, &pool).is_none() || answer.contains("# pxname,"));
    }
}

/// `haproxy.cfg`: warnings and facts speak of lines that are there, one line each, whatever the bytes.
pub fn haproxy_cfg(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let last = text.lines().count().max(1);
    let expect =
        LintExpectations::new().with_pool("esb").with_spare("esb2").with_canary_percent(1).with_master_socket(true);
    let warnings = lint_bytes(data, &expect);
    assert_eq!(warnings, lint(&text, &expect));
    assert!(warnings.is_sorted_by_key(|warning| warning.line), "in the order of the lines");
    for warning in &warnings {
        assert!(warning.line <= last, "{warning} of {last} lines");
        assert!(!warning.to_string().contains(['\n', '\r']), "{warning:?} takes more than a line");
    }
    let Some(facts) = pool_facts(&text, "esb") else { return };
    assert!((1..=last).contains(&facts.line));
    for server in &facts.servers {
        assert!((1..=last).contains(&server.line));
        assert!(server.weight.is_none_or(|weight| weight <= 256), "{server:?}");
    }
}
