//! The conformance suite on every kind of probe, over real sockets, programs and files.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod certificates;
mod commands;
mod details;
#[cfg(feature = "tls")]
mod https;
mod logs;
mod server;
mod web;

use std::time::Duration;

use ha_core::topology::{Component, Name, Setting};

/// The deadline of one question.
const DEADLINE: Duration = Duration::from_millis(700);

fn component(kind: &str, settings: Vec<(&str, Setting)>) -> Component {
    let mut component = Component::new(Name::new(kind).unwrap());
    component.settings.extend(settings.into_iter().map(|(key, value)| (key.to_string(), value)));
    for key in ["timeout", "test_timeout"] {
        component.settings.entry(key.into()).or_insert(text(format!("{}ms", DEADLINE.as_millis())));
    }
    component
}

fn text(text: impl ToString) -> Setting {
    Setting::Text(text.to_string())
}

fn list(list: &[&str]) -> Setting {
    Setting::List(list.iter().map(ToString::to_string).collect())
}

mod http {
    ha_testkit::conformance!(probe, crate::web::Web::plain(), skips = ["fixture: unreachable"]);
}

mod http_json {
    ha_testkit::conformance!(probe, crate::web::Web::json(), skips = ["fixture: unreachable"]);
}

#[cfg(feature = "tls")]
mod https_pinned {
    ha_testkit::conformance!(probe, crate::web::Web::pinned(), skips = ["fixture: unreachable"]);
}

#[cfg(feature = "tls")]
mod https_signed {
    ha_testkit::conformance!(probe, crate::web::Web::signed(), skips = ["fixture: unreachable"]);
}

mod tcp {
    ha_testkit::conformance!(probe, crate::commands::Commands::tcp(), skips = ["fixture: unreachable"]);
}

mod command {
    ha_testkit::conformance!(probe, crate::commands::Commands::command(), skips = ["fixture: unreachable"]);
}

/// A log cannot hang, and a server that writes it says nothing of its own to the probe.
mod log {
    ha_testkit::conformance!(
        probe,
        crate::logs::Logs,
        skips = [
            "fixture: unreachable",
            "fixture: hung",
            "fixture: endless",
            "fixture: dribbled",
            "fixture: message",
            "fixture: open questions",
        ]
    );
}
