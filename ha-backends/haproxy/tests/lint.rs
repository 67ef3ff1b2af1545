//! The lint on snippets, on strings of any kind, and beside HAProxy's own reading of the same files.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use ha_haproxy::Severity::{Advice, Danger};
use ha_haproxy::{Checks, LintExpectations, Severity, lint, lint_bytes, pool_facts};
use proptest::prelude::*;

const CLEAN: &str = r#"# two servers and a spare
global
    master-worker
    stats socket /tmp/ha-lint-test.sock mode 600 level admin
    stats timeout 30s
    hard-stop-after 5m
defaults web
    mode http
    timeout connect 2s
    timeout client 90s
    timeout server 90s
    timeout check 1s
    option redispatch 1
    option idle-close-on-response
    default-server check inter 500ms fall 2 rise 2 weight 100
frontend web from web
    bind "127.0.0.1:8" # quoted # and commented
    default_backend esb
backend esb from web
    balance roundrobin
    option httpchk GET /health
    http-check expect status 200
    server esb1 10.0.0.1:8280
    server esb2 10.0.0.2:8280
    server esb3 10.0.0.3:8280 backup
"#;

fn clean() -> LintExpectations {
    LintExpectations::new().with_pool("esb")
}

fn run(text: &str, expect: &LintExpectations) -> Vec<(usize, &'static str, Severity)> {
    lint(text, expect).into_iter().map(|warning| (warning.line, warning.rule, warning.severity)).collect()
}

/// Changes the clean file, and expects warnings at the line that contains a text ("" for the whole file).
fn expect(change: (&str, &str), expect: &LintExpectations, expected: &[(&str, &'static str, Severity)]) {
    assert_eq!(CLEAN.matches(change.0).count(), 1, "{change:?}");
    let text = CLEAN.replace(change.0, change.1);
    let line = |at: &str| {
        if at.is_empty() { 0 } else { text.lines().position(|line| line.contains(at)).unwrap() + 1 }
    };
    let expected: Vec<_> = expected.iter().map(|(at, rule, severity)| (line(at), *rule, *severity)).collect();
    assert_eq!(run(&text, expect), expected, "{text}\n{:#?}", lint(&text, expect));
}

#[test]
fn a_clean_file_gives_no_warning() {
    assert_eq!(lint(CLEAN, &clean()), []);
    assert_eq!(lint(CLEAN, &LintExpectations::new()), []);
    assert_eq!(lint(&CLEAN.replace('\n', "\r\n"), &clean()), []);
    assert_eq!(lint_bytes(CLEAN.as_bytes(), &clean().with_canary_percent(10)), []);
}

#[test]
fn global_settings() {
    const SOCKET: &str = "stats socket /tmp/ha-lint-test.sock mode 600 level admin";
    let plain = clean();
    let cases = [
        ((SOCKET, ""), ("global", "admin-socket", Danger)),
        ((SOCKET, "stats socket /run/a"), ("socket", "admin-socket", Danger)),
        ((SOCKET, "stats socket /run/a level user"), ("socket", "admin-socket", Danger)),
        ((SOCKET, "stats socket 10.0.0.1:99 level admin"), ("socket", "open-admin-socket", Danger)),
        ((SOCKET, "stats socket ipv4@*:99 level admin"), ("socket", "open-admin-socket", Danger)),
        ((SOCKET, "stats socket :::99 level admin"), ("socket", "open-admin-socket", Danger)),
        (("timeout 30s", "timeout 500"), ("stats timeout", "stats-timeout", Advice)),
        (("hard-stop-after 5m", "hard-stop-after 30s"), ("hard-stop", "hard-stop-after", Danger)),
    ];
    for (change, expected) in cases {
        expect(change, &plain, &[expected]);
    }
    for socket in ["stats socket 127.0.0.1:99", "stats socket [::1]:99", "stats socket unix@a", "stats socket \"$A:9\""]
    {
        expect((SOCKET, &format!("{socket} level admin")), &plain, &[]);
    }
    expect((SOCKET, "stats socket /a\nstats socket /b level admin"), &plain, &[]);
    expect(("hard-stop-after 5m", "hard-stop-after 0"), &plain, &[]);
    let no_master = [("global", "master-socket", Advice), ("level admin", "expose-fd", Advice)];
    expect(("master-worker", "daemon"), &plain, &no_master);
    expect(("master-worker", "daemon"), &clean().with_master_socket(true), &[]);
    expect(("level admin", "level admin expose-fd listeners"), &plain, &[]);
    let two = clean().with_controllers(2);
    expect(("timeout 30s", "timeout 31s"), &two, &[("level admin", "stats-maxconn", Advice)]);
    expect(("timeout 30s", "maxconn 10"), &two, &[("stats maxconn", "stats-maxconn", Advice)]);
    expect(("timeout 30s", "maxconn 20"), &two, &[]);
    assert_eq!(run("", &LintExpectations::new().with_master_socket(true)), [(0, "admin-socket", Danger)]);
}

#[test]
fn retries() {
    let plain = clean();
    expect(("option redispatch 1", ""), &plain, &[("esb from", "redispatch", Danger)]);
    expect(("balance roundrobin", "no option redispatch"), &plain, &[("esb from", "redispatch", Danger)]);
    expect(("option redispatch 1", "option redispatch"), &plain, &[]);
    expect(("balance roundrobin", "retries 0"), &plain, &[("retries 0", "retries", Danger)]);
    expect(("balance roundrobin", "retry-on conn-failure"), &plain, &[]);
    let again = ("balance roundrobin", "retry-on conn-failure empty-response");
    expect(again, &plain, &[("retry-on", "retry-on", Danger)]);
    let spared = "retry-on all-retryable-errors\n    http-request disable-l7-retry if METH_POST";
    expect((again.0, spared), &plain, &[]);
    let front = "default_backend esb\n    http-request disable-l7-retry if METH_POST\n";
    let text = CLEAN.replace("default_backend esb", front).replace(again.0, again.1);
    assert_eq!(run(&text, &plain), []);
}

#[test]
fn pools() {
    let plain = clean();
    let at = "balance roundrobin";
    let whole = LintExpectations::new().with_pool("nobody");
    expect((at, ""), &whole, &[("", "pool-missing", Danger)]);
    expect((at, "backend empty"), &plain, &[("esb from", "pool-missing", Danger)]);
    expect(("option httpchk GET /health", ""), &plain, &[("esb from", "tcp-check", Danger)]);
    expect(("option httpchk GET /health", ""), &plain.clone().with_http(false), &[("esb from", "tcp-check", Danger)]);
    let tcp = CLEAN.replace("option httpchk GET /health", "mode tcp");
    assert_eq!(run(&tcp, &clean().with_http(false)), []);
    expect(("option httpchk GET /health", "option tcp-check"), &plain, &[("option tcp-check", "tcp-check", Danger)]);
    expect(("option httpchk GET /health", "option tcp-check\n tcp-check expect string OK"), &plain, &[]);
    let tls = CLEAN.replace("option httpchk GET /health", "").replace("default-server ", "default-server ssl ");
    assert_eq!(run(&tls, &plain), [(19, "tcp-check", Advice)]);
    expect((at, "cookie SRV insert"), &plain, &[("cookie", "persistence", Advice)]);
    expect((at, "stick on src"), &plain, &[("stick on", "persistence", Advice)]);
    expect((at, "persist rdp-cookie(X)"), &plain, &[("persist", "persistence", Advice)]);
    expect((at, "option persist"), &plain, &[("option persist", "persist", Danger)]);
    expect((at, "no option persist"), &plain, &[]);
    expect((at, "force-persist if LOCALHOST"), &plain, &[("force-persist", "force-persist", Danger)]);
    expect((at, "ignore-persist if TRUE"), &plain, &[("ignore-persist", "ignore-persist", Danger)]);
    let named = [("use-server", "persistence", Advice), ("use-server", "use-server", Danger)];
    expect((at, "use-server esb1 if TRUE"), &plain, &named);
    let slow = CLEAN.replace(at, "cookie SRV insert").replace("redispatch 1", "redispatch");
    assert_eq!(run(&slow, &plain), [(13, "redispatch", Advice), (20, "persistence", Advice)]);
    let hashed = [("balance", "hashed-clients", Advice), ("balance", "static-weights", Advice)];
    expect((at, "balance source"), &plain, &hashed);
    expect((at, "balance hdr(host)\n    hash-type consistent"), &plain, &hashed[..1]);
    expect((at, "balance static-rr"), &plain, &hashed[1..]);
    let canary = clean().with_canary_percent(10);
    expect((at, "balance first"), &canary, &[("balance", "static-weights", Danger)]);
    expect((at, "http-reuse never"), &plain, &[("never", "http-reuse", Danger)]);
    expect(("timeout server 90s", "timeout server 30000"), &plain, &[("timeout server", "timeout-server", Danger)]);
    expect(("timeout server 90s", "timeout server \"$T\""), &plain, &[]);
    expect((at, "load-server-state-from-file global"), &plain, &[("load-server", "state-file", Advice)]);
    expect((at, "load-server-state-from-file none"), &plain, &[]);
    expect(("option idle-close-on-response", ""), &plain, &[("frontend web", "idle-close", Advice)]);
    let longer = clean().with_longest_request(Duration::from_secs(600));
    let cut = [("hard-stop", "hard-stop-after", Danger), ("timeout server", "timeout-server", Danger)];
    expect((at, "# longer"), &longer, &cut);
}

#[test]
fn servers() {
    let plain = clean();
    let at = "server esb2 10.0.0.2:8280";
    let with = |params: &str| format!("{at} {params}");
    let cases = [
        (with("no-check"), "no-check", Danger),
        (with("observe layer7 error-limit 1 on-error mark-down"), "observe", Danger),
        (with("on-marked-down shutdown-sessions"), "shutdown-sessions", Danger),
        (with("track esb1"), "track", Danger),
        (with("agent-check agent-port 9"), "agent-check", Advice),
        (with("on-marked-up shutdown-backup-sessions"), "shutdown-backup-sessions", Danger),
        ("server esb2 10.0.0.1:8280".into(), "address-twice", Danger),
        ("server esb2 ipv4@10.0.0.1:8280".into(), "address-twice", Danger),
        (with("disabled"), "disabled", Advice),
        ("server esb/2 10.0.0.2:8280".into(), "server-name", Danger),
        ("server esb1 10.0.0.2:8280".into(), "server-twice", Danger),
        ("server-template esb 1-2 10.0.0.2:8280".into(), "server-twice", Danger),
    ];
    for (line, rule, severity) in cases {
        expect((at, &line), &plain, &[(&line, rule, severity)]);
    }
    for fine in ["observe layer7 error-limit 10 on-error mark-down", "observe layer7", "on-marked-up none", "#disabled"]
    {
        expect((at, &with(fine)), &plain, &[]);
    }
    expect((at, &with("disabled")), &clean().with_spare("esb2"), &[]);
    expect((at, "server \"${HOST}/x\" 10.0.0.2:8280"), &plain, &[]);
    expect((at, "server esb2 10.0.0.1:8281"), &plain, &[]);
    expect((at, "server esb2 10.0.0.1:8280 disabled"), &clean().with_spare("esb2"), &[]);
    let canary = clean().with_canary_percent(10);
    expect((at, &with("weight 9")), &canary, &[("weight 9", "small-weight", Danger)]);
    expect((at, &with("weight \"$W\"")), &canary, &[]);
    // What two backends inherit from one line is said once.
    let twice = CLEAN.replace("weight 100", "weight 100 on-marked-down shutdown-sessions");
    let twice = format!("{twice}backend two from web\n  option httpchk\n  server a 10.0.0.1:1\n");
    assert_eq!(run(&twice, &LintExpectations::new()), [(15, "shutdown-sessions", Danger)]);
}

#[test]
fn that_a_conditional_block_is_read_whole_is_said() {
    let text = format!("# a\n  .if defined(X)\n{CLEAN}.endif\n");
    assert_eq!(run(&text, &clean()), [(2, "conditions", Advice)]);
}

#[test]
fn the_readme_lists_every_rule() {
    let readme = include_str!("../README.md");
    let sources = ["frontend", "global", "pool", "retry", "server"];
    let path = |name: &str| format!("{}/src/lint/rules/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    for name in sources {
        let text = std::fs::read_to_string(path(name)).unwrap();
        // What follows the severity in a call is the rule.
        let calls =
            ["out.danger(", "out.advice(", "out.add(severity, "].into_iter().flat_map(|call| text.split(call).skip(1));
        for rule in calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()) {
            assert!(readme.contains(&format!("`{rule}`")), "{name}: {rule}");
        }
    }
}

#[test]
fn a_warning_is_one_line_that_says_where_what_and_what_to_do() {
    let text = CLEAN.replace("server esb2", "server esb\\n2");
    let shown: Vec<_> = lint(&text, &clean()).iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "line 24: backend esb: server: danger: server name \"esb\\n2\" has other characters than A-Z a-z 0-9 _ . : -; \
          rename the server [server-name]"
        ]
    );
}

#[test]
fn facts_of_a_pool() {
    let facts = pool_facts(CLEAN, "esb").unwrap();
    assert_eq!((facts.line, facts.persistent, facts.cuts_sessions_on_mark_down), (19, false, false));
    assert_eq!((facts.checks, facts.static_weights), (Checks::Http, false));
    assert_eq!(facts.hard_stop_after, Some(Duration::from_secs(300)));
    let servers: Vec<_> =
        facts.servers.iter().map(|s| (s.line, s.name.as_str(), s.address.as_str(), s.backup)).collect();
    assert_eq!(
        servers,
        [
            (23, "esb1", "10.0.0.1:8280", false),
            (24, "esb2", "10.0.0.2:8280", false),
            (25, "esb3", "10.0.0.3:8280", true)
        ]
    );
    assert!(facts.servers.iter().all(|server| server.weight == Some(100) && !server.disabled));

    let text = "listen l\n mode tcp\n stick on src\n balance source\n default-server check\n server a 1.1.1.1:1 track b/a\n \
                server b 1.1.1.1:2 disabled on-marked-down shutdown-sessions\n server-template c 2 h:1 no-check\n";
    let facts = pool_facts(text, "l").unwrap();
    assert!(facts.persistent && facts.cuts_sessions_on_mark_down && facts.static_weights);
    assert_eq!((facts.checks, facts.hard_stop_after), (Checks::None, None));
    assert_eq!(facts.servers[0].tracks.as_deref(), Some("b/a"));
    assert_eq!((facts.servers[1].checks, facts.servers[1].disabled), (Checks::Tcp, true));
    assert_eq!((facts.servers[3].name.as_str(), facts.servers[3].checks), ("c2", Checks::None));
    assert_eq!((pool_facts(CLEAN, "web"), pool_facts("", "esb")), (None, None));
}

#[test]
fn every_beginning_of_a_file_is_read_without_panic() {
    for (end, _) in CLEAN.char_indices() {
        let text = &CLEAN[..end];
        lint(text, &clean().with_canary_percent(1));
        pool_facts(text, "esb");
    }
}

/// Runs the real HAProxy on `text`; a machine without it fails the test.
fn haproxy_accepts(text: &str) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let program = std::env::var_os("HA_HAPROXY").unwrap_or_else(|| "/usr/sbin/haproxy".into());
    let output = Command::new(program).arg("-c").arg("-f").arg(file.path()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn files_that_are_linted_are_files_that_haproxy_accepts() {
    let dangerous = CLEAN
        .replace("option redispatch 1", "no option redispatch\n retries 0\n http-reuse never")
        .replace(
            "balance roundrobin",
            "balance hdr(host)\n stick-table type ip size 1k\n stick on src\n retry-on empty-response",
        )
        .replace(
            "weight 100",
            "weight 7 observe layer7 error-limit 1 on-error mark-down on-marked-down shutdown-sessions",
        )
        .replace("hard-stop-after 5m", "hard-stop-after 30s");
    let odd = CLEAN
        .replace("    server esb1", "\tser\"ver\" 'esb'1")
        .replace("server esb2", "server esb\\x32")
        .replace("10.0.0.3:8280", "10.0.0.3:8280 disabled#not-disabled")
        .replace("defaults web\n", "defaults web\n .if defined(HOME)\n default option redispatch\n .endif\n");
    let templates =
        CLEAN.replace("server esb2 10.0.0.2:8280", "server-template t 2-3 10.0.0.2:8280 no-check track esb1");
    for text in [CLEAN, &dangerous, &templates] {
        let (accepted, said) = haproxy_accepts(text);
        assert!(accepted, "{said}\n{text}");
    }
    let rules: Vec<_> = run(&dangerous, &clean()).into_iter().map(|(_, rule, _)| rule).collect();
    let expected = [
        "hard-stop-after",
        "retries",
        "http-reuse",
        "observe",
        "shutdown-sessions",
        "redispatch",
        "hashed-clients",
        "static-weights",
        "persistence",
        "retry-on",
    ];
    assert_eq!(rules, expected);
    let names = |text: &str| -> Vec<String> {
        pool_facts(text, "esb").unwrap().servers.into_iter().map(|server| server.name).collect()
    };
    assert_eq!(names(&templates), ["esb1", "t2", "t3", "esb3"]);
    let (accepted, said) = haproxy_accepts(&odd);
    assert!(accepted, "{said}\n{odd}");
    assert_eq!(names(&odd), ["esb1", "esb2", "esb3"]);
    assert!(pool_facts(&odd, "esb").unwrap().servers[2].disabled);
}

#[test]
fn names_that_are_refused_here_are_refused_by_haproxy() {
    for (name, why) in [("esb/2", "not permitted"), ("esb1", "distinct names"), ("es\\x62\\x31", "distinct names")] {
        let text = CLEAN.replace("server esb2", &format!("server {name}"));
        let (accepted, said) = haproxy_accepts(&text);
        assert!(!accepted && said.contains(why), "{said}");
        assert_eq!(run(&text, &clean()).len(), 1, "{name}");
    }
}

fn words() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "global",
        "defaults",
        "from",
        "backend esb",
        "listen esb",
        "frontend f",
        "server",
        "server-template",
        "default-server",
        "no",
        "option",
        "redispatch",
        "httpchk",
        "stats socket",
        "level",
        "cookie",
        "stick",
        "on",
        "balance",
        "hdr(",
        "timeout",
        "server 1d",
        "hard-stop-after",
        "99999999999999999999d",
        "4294967295",
        "0-4294967295",
        "check",
        "weight",
        "track",
        "disabled",
        "\"",
        "'",
        "\\",
        "\\x",
        "\\x4",
        "#",
        "$",
        "%[",
        ":",
        "[",
        "@",
        "\n",
        "\r",
        "\0",
        "é",
        "use_backend",
    ]);
    let any = ".{0,6}".prop_map(|text| text);
    prop::collection::vec((prop_oneof![4 => known.prop_map(String::from), 1 => any], " |\n|"), 0..60)
        .prop_map(|parts| parts.into_iter().map(|(word, gap)| word + &gap).collect())
}

#[test]
fn a_backend_that_has_a_members_server_and_is_not_declared_is_told() {
    let other = |server: &str| format!("{CLEAN}backend mgmt from web\n    option httpchk GET /\n    server {server}\n");
    let line = CLEAN.lines().count() + 3;
    let told = |server: &str, expect: &LintExpectations| {
        let mut found = run(&other(server), expect);
        found.retain(|(_, rule, _)| *rule == "left-out");
        found
    };
    let plain = clean();
    for (server, severity) in
        [("c1 10.0.0.1:8280", Danger), ("esb1 10.9.9.9:9443", Danger), ("c1 10.0.0.2:9443", Advice)]
    {
        assert_eq!(told(server, &plain), [(line, "left-out", severity)], "{server}");
        let declared = clean().with_declared("mgmt");
        assert_eq!(told(server, &declared), [], "{server}: declared");
        let others = clean().with_member("esb3");
        assert_eq!(told(server, &others), [], "{server}: of a server that stays");
        assert_eq!(told(server, &LintExpectations::new()), [], "{server}: all backends are looked at");
    }
    assert_eq!(told("c1 10.0.0.7:9443", &plain), []);
    let warning = lint(&other("c1 10.0.0.1:8280"), &plain).into_iter().find(|found| found.rule == "left-out").unwrap();
    assert_eq!((warning.section.as_str(), warning.keyword.as_str()), ("backend mgmt", "server c1"));
    assert!(warning.message.contains("the address and port of member esb1"), "{warning}");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in prop_oneof![words(), "(?s).{0,300}"], percent: u8) {
        let expect = LintExpectations::new().with_pool("esb").with_canary_percent(percent).with_controllers(3);
        let warnings = lint(&text, &expect);
        prop_assert!(warnings.is_sorted_by_key(|warning| warning.line));
        prop_assert!(warnings.iter().all(|warning| !warning.to_string().contains('\n')));
        prop_assert_eq!(&warnings, &lint(&text, &expect));
        lint(&text, &LintExpectations::new());
        pool_facts(&text, "esb");
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        lint_bytes(&bytes, &LintExpectations::new());
    }
}
