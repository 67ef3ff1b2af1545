//! What each HAProxy version shows and needs, on a scripted socket with that version's own answers: one row of the table in
//! the README each. `tests/versions/*.txt` were recorded from HAProxy 2.4.0, 2.6.12, 2.8.0, 3.0.0, 3.2.0 and 3.4.0 after a
//! reload: `esb1` serves a slow request in the older worker and has `maxconn 2`; the agent of `esb2` says `down`; `esb3`
//! follows a server that is down; up to 3.2, where it may, a frontend has the backend's name. Process ids and ports were
//! replaced.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ha_core::backend::{
    AddMember, Admin, Applied, Completeness, ErrorKind, Health, LoadBalancer, MemberRef, Membership, ObserveBalancer,
    SetAdmin,
};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use ha_haproxy::{Endpoint, HaProxy, HaProxyConfig};
use ha_lab::{ScriptedAnswer, ScriptedSocket};

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);

/// A version, its recorded answers, and what is so there.
struct Version {
    name: &'static str,
    recorded: &'static str,
    /// An older worker lists what it still serves.
    counts_older: bool,
    /// Servers can be added at run time.
    adds: bool,
    /// A frontend may have a backend's name.
    shares_names: bool,
    /// What wakes a server in front of whose pool requests wait; empty where nothing does.
    wakes_by: &'static str,
    /// Agents are reported right after a reload.
    reports_agents: bool,
}

const MAXCONN: &str = ";set maxconn server esb/esb1 2";

const VERSIONS: [Version; 6] = [
    Version {
        name: "2.4.0",
        recorded: include_str!("versions/2.4.txt"),
        counts_older: false,
        adds: false,
        shares_names: true,
        wakes_by: "",
        reports_agents: false,
    },
    version("2.6.12-1+deb12u4", include_str!("versions/2.6.txt")),
    version("2.8.0", include_str!("versions/2.8.txt")),
    version("3.0.0", include_str!("versions/3.0.txt")),
    version("3.2.0", include_str!("versions/3.2.txt")),
    Version { shares_names: false, ..version("3.4.0", include_str!("versions/3.4.txt")) },
];

const fn version(name: &'static str, recorded: &'static str) -> Version {
    let (counts_older, adds, shares_names, reports_agents) = (true, true, true, true);
    Version { name, recorded, counts_older, adds, shares_names, wakes_by: MAXCONN, reports_agents }
}

impl Version {
    /// Answers as this version did; what was not recorded, as it does to commands that succeed.
    fn answer(&self, line: &str, drained: bool) -> String {
        let answers: BTreeMap<&str, &str> =
            self.recorded.split(">>> ").filter_map(|section| section.split_once('\n')).collect();
        if let Some(whole) = answers.get(line) {
            return (*whole).to_string();
        }
        let one = |command: &str| match answers.get(command) {
            Some(answer) if drained => answer.replace("esb1 127.0.0.1 2 0 ", "esb1 127.0.0.1 2 8 "),
            Some(answer) => (*answer).to_string(),
            // A narrower question than the recorded one.
            None if command.starts_with("show stat esb 4") => answers["show stat esb 6 -1"].to_string(),
            None if command.starts_with("@!4001 show stat") => answers["@!4001 show stat -1 4 -1"].to_string(),
            None => "\n".to_string(),
        };
        line.split(';').map(one).collect()
    }

    fn socket(&'static self, dir: &tempfile::TempDir, name: &str) -> ScriptedSocket {
        // Drained until somebody writes.
        let writes = AtomicU32::new(0);
        let script = move |line: &str| {
            let drained = writes.load(Ordering::SeqCst) == 0;
            if line.contains("state ready") {
                writes.fetch_add(1, Ordering::SeqCst);
                return ScriptedAnswer::text(self.answer(line, false));
            }
            ScriptedAnswer::text(self.answer(line, drained))
        };
        ScriptedSocket::on_unix(dir.path().join(name), script).unwrap()
    }
}

struct Driven {
    backend: HaProxy,
    admin: ScriptedSocket,
    _master: ScriptedSocket,
    _dir: tempfile::TempDir,
}

fn driven(version: &'static Version) -> Driven {
    let dir = tempfile::tempdir().unwrap();
    let (admin, master) = (version.socket(&dir, "admin.sock"), version.socket(&dir, "master.sock"));
    let config = HaProxyConfig::new(dir.path().join("admin.sock"))
        .with_deadline(Duration::from_secs(20))
        .with_master(Endpoint::Unix(dir.path().join("master.sock")));
    Driven { backend: HaProxy::new(config), admin, _master: master, _dir: dir }
}

fn member(name: &str) -> MemberRef {
    MemberRef::new(Name::new("esb").unwrap(), Name::new(name).unwrap())
}

#[tokio::test]
async fn every_version_is_read_by_the_names_of_its_columns() {
    for version in &VERSIONS {
        let driven = driven(version);
        let instance = driven.backend.identify().await.unwrap();
        assert_eq!((instance.version, instance.generation), (format!("HAProxy {}", version.name), 4002));
        let members = driven.backend.members(&Name::new("esb").unwrap()).await.unwrap();
        let seen: Vec<_> = members.iter().map(|(name, member)| (name.as_str(), member.admin, member.health)).collect();
        let agent = if version.reports_agents { Health::Down } else { Health::Up };
        let follows = Health::Down;
        assert_eq!(
            seen,
            [("esb1", Admin::Drain, Health::Up), ("esb2", Admin::Ready, agent), ("esb3", Admin::Ready, follows)],
            "{}",
            version.name
        );
        assert!(members.iter().all(|(_, member)| member.persistent), "{}: the cookie", version.name);
        assert!(members[2].1.inherited, "{}", version.name);
        let widened = driven.admin.lines().iter().any(|line| line.contains("show stat -1 "));
        assert_eq!(widened, version.shares_names, "{}", version.name);
    }
}

#[tokio::test]
async fn older_workers_are_counted_or_said_to_be_invisible() {
    for version in &VERSIONS {
        let figures = driven(version).backend.quiescence(&member("esb1")).await.unwrap();
        let expected = match version.counts_older {
            true => (1, Completeness::Proven),
            false => (0, Completeness::OlderGenerationsInvisible),
        };
        assert_eq!((figures.older_sessions, figures.completeness), expected, "{}", version.name);
    }
}

#[tokio::test]
async fn a_server_with_slots_is_woken_when_it_is_made_ready() {
    for version in &VERSIONS {
        let driven = driven(version);
        let made = driven.backend.set_admin(EPOCH, SetAdmin::new(member("esb1"), Admin::Ready)).await.unwrap();
        assert_eq!(made, Applied::Applied, "{}", version.name);
        let lines = driven.admin.lines();
        let written = lines.iter().find(|line| line.contains("state ready")).unwrap();
        let wanted = format!("set server esb/esb1 state ready{};show servers state esb", version.wakes_by);
        assert!(written.ends_with(&wanted), "{}: {written}", version.name);
    }
}

#[tokio::test]
async fn servers_are_added_where_the_version_can() {
    for version in &VERSIONS {
        let driven = driven(version);
        driven.backend.identify().await.unwrap();
        assert_eq!(driven.backend.capabilities().adds_members, version.adds, "{}", version.name);
        let added = driven.backend.add(EPOCH, AddMember::new(member("esb9"), ([127, 0, 0, 1], 8289).into())).await;
        match added {
            // It was registered, and the recorded table does not list it.
            Err(error) if version.adds => assert_eq!(error.kind(), ErrorKind::Conflict, "{}: {error}", version.name),
            added => {
                let error = added.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error}", version.name);
                assert!(error.to_string().contains("HAProxy 2.5 or later"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_server_is_named_on_every_version() {
    for version in &VERSIONS {
        let error = driven(version).backend.member(&member("nobody")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", version.name);
    }
}

/// An empty answer, or none, is asked for again as long as one question may take: seen on 2.8 and 3.4 right after a reload.
#[tokio::test]
async fn an_older_worker_that_answers_nothing_at_first_is_asked_again_and_then_cannot_be_told() {
    let version = &VERSIONS[2];
    for (silent, hangs) in [(2, false), (1, true), (u32::MAX, false)] {
        let dir = tempfile::tempdir().unwrap();
        let _admin = version.socket(&dir, "admin.sock");
        let asked = AtomicU32::new(0);
        let script = move |line: &str| {
            if line.starts_with("@!4001") && asked.fetch_add(1, Ordering::SeqCst) < silent {
                return if hangs { ScriptedAnswer::hang() } else { ScriptedAnswer::Close };
            }
            ScriptedAnswer::text(version.answer(line, true))
        };
        let _master = ScriptedSocket::on_unix(dir.path().join("master.sock"), script).unwrap();
        let config = HaProxyConfig::new(dir.path().join("admin.sock"))
            .with_deadline(Duration::from_secs(if silent == u32::MAX { 1 } else { 20 }))
            .with_master(Endpoint::Unix(dir.path().join("master.sock")));
        let figures = HaProxy::new(config).quiescence(&member("esb1")).await;
        match figures {
            Ok(figures) => assert_eq!((figures.older_sessions, silent < u32::MAX), (1, true)),
            Err(error) => {
                assert_eq!(silent, u32::MAX, "{error}");
                assert!(error.to_string().contains("older worker 4001 gives no answer that can be used"), "{error}");
            }
        }
    }
}
