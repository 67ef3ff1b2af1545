//! Settings: what is wrong is named by its key, nothing is guessed, and no secret is shown.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::topology::{Component, Name, Setting};

fn text(text: &str) -> Setting {
    Setting::Text(text.into())
}

fn list(list: &[&str]) -> Setting {
    Setting::List(list.iter().map(ToString::to_string).collect())
}

fn component(kind: &str, settings: &[(&str, Setting)]) -> Component {
    let mut component = Component::new(Name::new(kind).unwrap());
    component.settings.extend(settings.iter().map(|(key, value)| ((*key).to_string(), value.clone())));
    component
}

fn refusal(kind: &str, settings: &[(&str, Setting)]) -> String {
    ha_probe::from_component(&component(kind, settings)).unwrap_err().to_string()
}

/// Settings that will do, then one more: each with the key that must be named.
fn each_is_named(kind: &str, good: &[(&str, Setting)], wrong: &[(&str, Setting, &str)]) {
    ha_probe::from_component(&component(kind, good)).unwrap();
    for (key, value, named) in wrong {
        let message = refusal(kind, &[good, &[(*key, value.clone())]].concat());
        assert!(message.starts_with(&format!("setting {named}: ")), "{kind} {key} = {value:?}: {message}");
    }
    for (left_out, _) in good {
        let rest: Vec<_> = good.iter().filter(|(key, _)| key != left_out).cloned().collect();
        let message = refusal(kind, &rest);
        assert!(
            message.starts_with(&format!("setting {left_out}: is missing")),
            "{kind} without {left_out}: {message}"
        );
    }
}

#[test]
fn settings_of_http_probes_are_named() {
    each_is_named(
        "http",
        &[("url", text("http://esb1:8280/health"))],
        &[
            ("url", text("esb1"), "url"),
            ("url", Setting::Integer(8280), "url"),
            ("test_url", text("ftp://esb1/"), "test_url"),
            ("expect_status", Setting::Integer(99), "expect_status"),
            ("expect_status", list(&["200", "often"]), "expect_status"),
            ("expect_status", list(&["101"]), "expect_status"),
            ("host", text("a b"), "host"),
            ("headers", list(&["no header"]), "headers"),
            ("headers", list(&["Host: esb1"]), "headers"),
            ("headers", list(&["content-length: 0"]), "headers"),
            ("headers", Setting::Flag(true), "headers"),
            ("release_header", text("x release"), "release_header"),
            ("release_json", text("version"), "release_json"),
            ("ports", list(&["8243"]), "ports"),
            ("timeout", text("0s"), "timeout"),
            ("test_timeout", Setting::Integer(2_000), "test_timeout"),
            ("pin", text("00"), "url"),
            ("ca", text("/etc/ssl/certs/ca-certificates.crt"), "url"),
            ("insecure", Setting::Flag(true), "insecure"),
        ],
    );
    let both =
        [("url", text("http://esb1/")), ("release_json", text("/version")), ("release_header", text("x-release"))];
    assert!(refusal("http", &both).starts_with("setting release_json: give it or release_header"));
}

#[test]
fn settings_of_tcp_probes_are_named_and_identity_is_not_optional() {
    each_is_named(
        "tcp",
        &[("ports", list(&["esb1:8243"])), ("release_command", list(&["/opt/esb/release"]))],
        &[
            ("ports", list(&["esb1:0"]), "ports"),
            ("release_command", text("/opt/esb/release"), "release_command"),
            ("release_command", list(&["bin/release"]), "release_command"),
            ("test", list(&["./test"]), "test"),
            ("command", list(&["true"]), "command"),
        ],
    );
}

#[test]
fn settings_of_command_probes_are_named() {
    each_is_named(
        "command",
        &[("command", list(&["esb-release", "--now"]))],
        &[
            ("command", text("esb-release"), "command"),
            ("test", list(&[]), "test"),
            ("timeout", text("-1s"), "timeout"),
            ("url", text("http://esb1/"), "url"),
        ],
    );
}

#[test]
fn settings_of_log_probes_are_named_and_neither_ports_nor_identity_are_optional() {
    each_is_named(
        "log",
        &[
            ("log", text("/opt/esb/carbon.log")),
            ("line", text("Server started")),
            ("release_prefix", text("release ")),
            ("ports", list(&["esb1:8243"])),
        ],
        &[
            ("log", text("carbon.log"), "log"),
            ("line", text(""), "line"),
            ("release_command", list(&["esb-release"]), "release_prefix"),
            ("start_line", Setting::Integer(1), "start_line"),
            ("regex", text(".*"), "regex"),
        ],
    );
}

#[test]
fn an_unknown_kind_is_told_the_known_ones() {
    assert!(refusal("ping", &[]).contains("http, tcp, command, log"));
}

#[test]
fn secrets_are_not_shown() {
    let settings = [
        ("url", text("http://esb1/health?key=s3cret")),
        ("headers", list(&["authorization: Basic s3cret"])),
        ("test_url", text("http://esb1/test?key=s3cret")),
    ];
    let shown = format!("{:?}", ha_probe::from_component(&component("http", &settings)).unwrap());
    assert!(!shown.contains("s3cret") && shown.contains("authorization: ***"), "{shown}");
    for (key, value) in
        [("url", "http://me:s3cret@esb1/"), ("headers", "authorization Basic s3cret"), ("headers", "a b: s3cret")]
    {
        let mut wrong = settings.to_vec();
        wrong.push((key, text(value)));
        let message = refusal("http", &wrong);
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn https_names_the_feature_that_it_needs() {
    for key in ["url", "test_url"] {
        let message =
            refusal("http", &[("url", text("http://esb1/")), (key, text("https://esb1/")), ("pin", text("00"))]);
        assert!(message.starts_with(&format!("setting {key}: ")) && message.contains("feature tls"), "{message}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn https_is_never_believed_without_a_pin_or_a_ca() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, bad) = (dir.path().join("empty.pem"), dir.path().join("bad.pem"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&bad, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let pin = "0123456789abcdef".repeat(4);
    let https = ("url", text("https://esb1:9443/health"));
    let with = |key, value: &str| refusal("http", &[https.clone(), (key, text(value))]);
    let message = refusal("http", std::slice::from_ref(&https));
    assert!(message.starts_with("setting url: ") && message.contains("pin") && message.contains("ca"), "{message}");
    let message = refusal("http", &[("url", text("http://esb1/")), ("test_url", text("https://esb1/"))]);
    assert!(message.starts_with("setting test_url: "), "{message}");
    for wrong in ["any", "00", "sha1:00", &pin[2..]] {
        assert!(with("pin", wrong).starts_with("setting pin: "), "{wrong}");
    }
    for wrong in ["ca.pem", "/nowhere/ca.pem", &empty.display().to_string(), &bad.display().to_string()] {
        let message = with("ca", wrong);
        assert!(message.starts_with("setting ca: "), "{message}");
    }
    let both = refusal("http", &[https.clone(), ("pin", text(&pin)), ("ca", text("/nowhere/ca.pem"))]);
    assert!(both.starts_with("setting ca: give it or pin"), "{both}");
    ha_probe::from_component(&component("http", &[https, ("pin", text(&pin))])).unwrap();
}
