//! What follows from the product that a node runs: data in the files beside this one, filled in where `cluster.toml` does not say it
//! itself.

mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::component::Components;
use super::draft::Draft;
use super::reader::{At, Findings, duration};
use super::{Expect, Role, Setting, Topology};

pub use update::{ToolEnd, UpdateTool};

/// A value that a profile has filled in.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Setting, Topology};
///
/// let mut host = Component::new(Name::new("local")?);
/// host.settings.insert("home".into(), Setting::Text("/opt/mi".into()));
/// let node = |name: &str| NodeSpec::new(name, 1000, host.clone(), Component::new(Name::new("http").unwrap()));
/// let topology = Topology::builder("orders")
///     .profile("wso2-mi-4")
///     .pool(PoolSpec::new("mi", 1, 1000))
///     .balancer("lb1", Component::new(Name::new("fake")?))
///     .node(node("mi1"))
///     .node(node("mi2"))
///     .build()?;
/// let url = topology.filled_in().iter().find(|filled| filled.key == "node mi1.probe.url").unwrap();
/// assert_eq!((url.value.as_str(), url.from.as_str()), ("\"http://127.0.0.1:9201/healthz\"", "profile wso2-mi-4"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FilledIn {
    /// What, as `node esb1.host.start` or `policy.stop_deadline`.
    pub key: String,
    /// Its value, as it would be written in `cluster.toml`.
    pub value: String,
    /// Where it comes from, as `profile wso2-mi-4`.
    pub from: String,
}

/// The profiles that are known: their names and their files.
const FILES: [(&str, &str); 6] = [
    ("puppet", include_str!("puppet.toml")),
    ("systemd", include_str!("systemd.toml")),
    ("tomcat-10", include_str!("tomcat-10.toml")),
    ("wso2-apim-4", include_str!("wso2-apim-4.toml")),
    ("wso2-ei-6", include_str!("wso2-ei-6.toml")),
    ("wso2-mi-4", include_str!("wso2-mi-4.toml")),
];

static KNOWN: LazyLock<BTreeMap<&str, Profile>> =
    LazyLock::new(|| FILES.into_iter().filter_map(|(name, text)| Some((name, toml::from_str(text).ok()?))).collect());

type Values = BTreeMap<String, Setting>;

/// One profile, as its file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    title: String,
    #[serde(default)]
    policy: BTreeMap<String, String>,
    /// Settings of a host that drives a server by scripts.
    #[serde(default)]
    host: Values,
    /// Settings of a probe, by its backend.
    #[serde(default)]
    probe: BTreeMap<String, Values>,
    #[serde(default)]
    files: Values,
    #[serde(default)]
    expect: Values,
    #[serde(default)]
    node: OfNode,
    update: Option<UpdateTool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNode {
    #[serde(default)]
    offset: u16,
}

/// Lists the profiles that are known, each with what it is for.
pub fn profiles() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.iter().map(|(name, profile)| (*name, profile.title.as_str()))
}

/// Returns the update tool of a profile; `None` where there is no such profile, or it has none.
pub fn update_tool(profile: &str) -> Option<&'static UpdateTool> {
    KNOWN.get(profile)?.update.as_ref()
}

impl Topology {
    /// Lists what the profiles have filled in; empty where none is named.
    pub fn filled_in(&self) -> &[FilledIn] {
        &self.filled_in
    }
}

/// What stands for the placeholders of a profile on one node.
struct Place {
    home: Option<String>,
    address: Option<String>,
    offset: u16,
}

impl Place {
    /// Puts the node's own values in; `None` where one is not known.
    fn text(&self, text: &str) -> Option<String> {
        let (mut done, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}')?;
            done.push_str(before);
            match name.parse::<u16>() {
                Ok(port) => done.push_str(&port.checked_add(self.offset)?.to_string()),
                Err(_) if name == "home" => done.push_str(self.home.as_deref()?),
                Err(_) if name == "address" => done.push_str(self.address.as_deref()?),
                Err(_) => return None,
            }
            rest = behind;
        }
        done.push_str(rest);
        Some(done)
    }

    fn setting(&self, setting: &Setting) -> Option<Setting> {
        Some(match setting {
            Setting::Text(text) => Setting::Text(self.text(text)?),
            Setting::List(list) => Setting::List(list.iter().map(|text| self.text(text)).collect::<Option<_>>()?),
            Setting::Integer(number) => Setting::Integer(*number),
            Setting::Flag(flag) => Setting::Flag(*flag),
        })
    }
}

/// The backends whose hosts and files know the settings of a profile; what another one knows is its own matter.
const HOSTS: [&str; 2] = ["local", "ssh"];
/// The probes that read files of the machine they run on: only of a node whose host is there too is the home's log among them.
const READS_FILES: &str = "log";
/// A setting that says what these would say: where it is given, none of them is filled in.
const INSTEAD: [(&str, &[&str]); 5] = [
    ("unit", &["start", "stop", "pid_file", "identity"]),
    ("release_header", &["release_json"]),
    ("release_json", &["release_header"]),
    ("release_prefix", &["release_command"]),
    ("release_command", &["release_prefix"]),
];

impl Draft {
    /// Fills in what follows from the profiles, and says what.
    pub(super) fn fill_in(&mut self, findings: &Findings<'_>) -> Vec<FilledIn> {
        let mut filled = Vec::new();
        let mut profiles: Vec<Option<&'static str>> = vec![None; self.nodes.len()];
        let of_cluster = known(findings, "cluster.profile", self.profile.as_ref());
        for (node, named) in self.nodes.iter_mut().zip(&mut profiles) {
            let own = known(findings, &format!("{}.profile", node.path), node.profile.as_ref());
            let Some((name, profile)) = own.or(if node.profile.is_none() { of_cluster } else { None }) else {
                continue;
            };
            *named = Some(name);
            let place = place(profile, &node.components, node.address.as_deref(), node.offset);
            let called = node.name.as_ref().map_or_else(|| node.path.clone(), |name| format!("node {}", name.value));
            let mut tell = |key: String, value: String| {
                filled.push(FilledIn { key: format!("{called}.{key}"), value, from: format!("profile {name}") });
            };
            let backend = |role| node.components.get(role).map(|component| component.backend.to_string());
            let (of_host, of_probe) = (backend(Role::Host), backend(Role::Probe));
            let is_here = of_host.as_deref() == Some("local");
            if of_host.is_some_and(|backend| HOSTS.contains(&backend.as_str())) {
                settle(&mut node.components, Role::Host, &profile.host, &place, &mut tell);
            }
            let of_probe = of_probe.filter(|backend| is_here || backend != READS_FILES);
            if let Some(values) = of_probe.and_then(|backend| profile.probe.get(&backend)) {
                settle(&mut node.components, Role::Probe, values, &place, &mut tell);
            }
            node.expect.or(&self.expect);
            let expect = expected(&profile.expect, &place);
            let before = node.expect.clone();
            node.expect.or(&expect);
            for (key, value) in node.expect.beside(&before) {
                tell(format!("expect.{key}"), value);
            }
        }
        self.fill_in_policy(&profiles, &mut filled);
        let used: BTreeSet<&'static str> = profiles.into_iter().flatten().collect();
        if let [name] = used.into_iter().collect::<Vec<_>>()[..] {
            self.fill_in_files(name, &mut filled);
        }
        filled
    }

    /// Where nodes have several profiles the longest time counts; nodes without one that says it keep at least the default.
    fn fill_in_policy(&mut self, profiles: &[Option<&'static str>], filled: &mut Vec<FilledIn>) {
        let given = self.policy.given.clone();
        let policy = &mut self.policy.policy;
        for (key, own) in [("ready_deadline", &mut policy.ready_deadline), ("stop_deadline", &mut policy.stop_deadline)]
        {
            let times = profiles.iter().map(|name| {
                let name = (*name)?;
                let text = KNOWN.get(name)?.policy.get(key)?;
                Some((duration(text)?, text, name))
            });
            let times: Vec<Option<(Duration, &String, &str)>> = times.collect();
            let counts = |time: Duration| !given.contains(&key) && (time > *own || times.iter().all(Option::is_some));
            if let Some((time, text, name)) = times.iter().flatten().max().filter(|(time, ..)| counts(*time)) {
                let time = *time;
                *own = time;
                let (key, value, from) = (format!("policy.{key}"), format!("{text:?}"), format!("profile {name}"));
                filled.push(FilledIn { key, value, from });
            }
        }
    }

    fn fill_in_files(&mut self, name: &'static str, filled: &mut Vec<FilledIn>) {
        let (Some(profile), Some(files)) = (KNOWN.get(name), self.components.get(Role::Files)) else { return };
        let known: &[&str] = match files.backend.as_str() {
            "rsync" => &["tree", "local_only"],
            "local" => &["tree"],
            _ => &[],
        };
        let tree = match files.settings.get("tree").or(profile.files.get("tree")) {
            Some(Setting::Text(tree)) => tree.trim_end_matches('/').to_string(),
            Some(Setting::Integer(_) | Setting::Flag(_) | Setting::List(_)) | None => return,
        };
        let mut values = profile.files.clone();
        values.retain(|key, _| known.contains(&key.as_str()));
        // What is local is listed below the home, and asked for below the tree.
        if let Some(Setting::List(local)) = values.get_mut("local_only") {
            let below = |path: &String| match tree.as_str() {
                "." => Some(path.clone()),
                tree => path.strip_prefix(tree)?.strip_prefix('/').map(String::from),
            };
            *local = local.iter().filter_map(below).collect();
            if local.is_empty() {
                values.remove("local_only");
            }
        }
        let place = Place { home: None, address: None, offset: 0 };
        settle(&mut self.components, Role::Files, &values, &place, &mut |key, value| {
            filled.push(FilledIn { key, value, from: format!("profile {name}") });
        });
    }
}

/// Finds a profile by name, or reports that there is none.
fn known(findings: &Findings<'_>, key: &str, name: Option<&At<String>>) -> Option<(&'static str, &'static Profile)> {
    let name = name?;
    let found = KNOWN.get_key_value(name.value.as_str()).map(|(name, profile)| (*name, profile));
    if found.is_none() {
        let names: Vec<&str> = KNOWN.keys().copied().collect();
        let message = format!("there is no profile {:?}", name.value);
        findings.add(name.line, key, message, format!("give one of {}, or say it all yourself", names.join(", ")));
    }
    found
}

fn place(profile: &Profile, components: &Components, address: Option<&str>, offset: Option<u16>) -> Place {
    let host = components.get(Role::Host);
    let text = |key: &str| match host.and_then(|host| host.settings.get(key)) {
        Some(Setting::Text(text)) => Some(text.clone()),
        Some(Setting::Integer(_) | Setting::Flag(_) | Setting::List(_)) | None => None,
    };
    let of_host = || match host.map(|host| host.backend.as_str()) {
        Some("local") => Some("127.0.0.1".to_string()),
        Some("ssh") => text("host").map(|host| host.rsplit_once('@').map_or(host.clone(), |(_, name)| name.into())),
        Some(_) | None => None,
    };
    // A port is put behind it.
    let bracketed = |address: String| match address.matches(':').count() > 1 && !address.starts_with('[') {
        true => format!("[{address}]"),
        false => address,
    };
    let address = address.map(String::from).or_else(of_host).map(bracketed);
    let home = text("home").map(|home| match home.trim_end_matches('/') {
        "" => home,
        trimmed => trimmed.to_string(),
    });
    Place { home, address, offset: offset.unwrap_or(profile.node.offset) }
}

/// Gives a component the settings that it does not have.
fn settle(
    components: &mut Components,
    role: Role,
    values: &Values,
    place: &Place,
    tell: &mut impl FnMut(String, String),
) {
    let table = role.table().unwrap_or_default();
    let Some(component) = components.get_mut(role) else { return };
    let instead = INSTEAD.iter().filter(|(key, _)| component.settings.contains_key(*key));
    let instead: Vec<&str> = instead.flat_map(|(_, keys)| keys.iter().copied()).collect();
    for (key, value) in values {
        if component.settings.contains_key(key) || instead.contains(&key.as_str()) {
            continue;
        }
        if let Some(value) = place.setting(value) {
            tell(format!("{table}.{key}"), written(&value));
            component.settings.insert(key.clone(), value);
        }
    }
}

/// Reads what a profile lets the doctor expect.
fn expected(values: &Values, place: &Place) -> Expect {
    let text = |key: &str| match values.get(key) {
        Some(Setting::Text(text)) => place.text(text),
        Some(Setting::Integer(_) | Setting::Flag(_) | Setting::List(_)) | None => None,
    };
    let list = |key: &str| match values.get(key).and_then(|value| place.setting(value)) {
        Some(Setting::List(list)) => Some(list),
        Some(Setting::Text(_) | Setting::Integer(_) | Setting::Flag(_)) | None => None,
    };
    let mut expect = Expect::new();
    (expect.secrets, expect.locks) = (list("secrets"), list("locks"));
    expect.java = text("java").and_then(|range| range.parse().ok());
    expect.check_path = text("check_path");
    expect.check_port = text("check_port").and_then(|port| port.parse().ok());
    expect.stop_budget = text("stop_budget").and_then(|budget| duration(&budget));
    expect
}

/// Writes a value as it would be in `cluster.toml`.
fn written(value: &Setting) -> String {
    match value {
        Setting::Text(text) => format!("{text:?}"),
        Setting::Integer(number) => number.to_string(),
        Setting::Flag(flag) => flag.to_string(),
        Setting::List(list) => format!("{list:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_can_be_read_and_has_values_that_can_be_used() {
        let place = Place { home: Some("/opt/x".into()), address: Some("10.0.0.1".into()), offset: 1 };
        for (name, text) in FILES {
            let profile: Profile = toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!profile.title.is_empty() && KNOWN.contains_key(name), "{name}");
            for (key, text) in &profile.policy {
                assert!(
                    ["ready_deadline", "stop_deadline"].contains(&key.as_str()) && duration(text).is_some(),
                    "{name}"
                );
            }
            for value in profile.host.values().chain(profile.probe.values().flat_map(BTreeMap::values)) {
                assert!(place.setting(value).is_some(), "{name}: {value:?}");
            }
            let expect = expected(&profile.expect, &place);
            let read = expect.beside(&Expect::new()).len();
            assert_eq!(read, profile.expect.len(), "{name}: each key is read, and its value is one");
        }
    }

    #[test]
    fn a_placeholder_that_is_not_known_fills_nothing_in() {
        let place = Place { home: None, address: Some("a".into()), offset: 10 };
        assert_eq!(place.text("http://{address}:{9191}/x").as_deref(), Some("http://a:9201/x"));
        for unknown in ["{home}/x", "{colour}", "{65530}", "{"] {
            assert_eq!(place.text(unknown), None, "{unknown}");
        }
    }

    const MI: &str = r#"[cluster]
name = "orders"
profile = "wso2-mi-4"
[policy]
peak_load = 1000
stop_deadline = "90s"
[pool]
name = "mi"
serve = 1
[[balancer]]
name = "lb1"
backend = "haproxy"
[files]
backend = "rsync"
[expect]
java = "17"
[[node]]
name = "mi1"
capacity = 1000
host = { backend = "ssh", host = "wso2@10.0.0.1", home = "/opt/mi" }
probe = { backend = "http", ports = ["10.0.0.1:9999"] }
[[node]]
name = "mi2"
capacity = 1000
offset = 12
address = "mi2.example"
host = { backend = "local", home = "/opt/mi", unit = "mi.service" }
probe = { backend = "http", release_header = "x-release" }
"#;

    fn setting(topology: &Topology, node: &str, role: Role, key: &str) -> Option<String> {
        let node = topology.node(topology.find(node).unwrap());
        node.component(role).unwrap().settings.get(key).map(written)
    }

    #[test]
    fn what_the_file_says_itself_wins_and_the_rest_is_filled_in_and_told() {
        let topology = Topology::from_toml_str(MI).unwrap();
        let of = |node, role, key| setting(&topology, node, role, key);
        assert_eq!(of("mi1", Role::Host, "identity").as_deref(), Some("\"-Dcarbon.home=/opt/mi\""));
        assert_eq!(of("mi1", Role::Probe, "url").as_deref(), Some("\"http://10.0.0.1:9201/healthz\""));
        assert_eq!(of("mi1", Role::Probe, "ports").as_deref(), Some("[\"10.0.0.1:9999\"]"));
        // A unit leaves nothing for scripts to say.
        assert_eq!((of("mi2", Role::Host, "start"), of("mi2", Role::Host, "pid_file")), (None, None));
        assert!(of("mi2", Role::Host, "version").is_some());
        assert_eq!(of("mi2", Role::Probe, "url").as_deref(), Some("\"http://mi2.example:9203/healthz\""));
        assert_eq!(of("mi2", Role::Probe, "release_json"), None);
        let files = topology.files().unwrap();
        assert!(files.settings.contains_key("tree") && !files.settings.contains_key("local_only"), "none is below it");
        let policy = topology.policy();
        assert_eq!((policy.ready_deadline.as_secs(), policy.stop_deadline.as_secs()), (120, 90));
        let expect = &topology.node(topology.find("mi2").unwrap()).expect;
        assert_eq!((expect.java.unwrap().to_string(), expect.check_port), ("17".into(), Some(9203)));

        let told = |key: &str| topology.filled_in().iter().filter(|filled| filled.key == key).count();
        for (key, count) in [
            ("policy.ready_deadline", 1),
            ("policy.stop_deadline", 0),
            ("node mi1.host.start", 1),
            ("node mi2.host.start", 0),
            ("node mi1.probe.ports", 0),
            ("node mi1.expect.java", 0),
            ("node mi2.expect.check_port", 1),
            ("files.tree", 1),
        ] {
            assert_eq!(told(key), count, "{key}: {:?}", topology.filled_in());
        }
        assert!(topology.filled_in().iter().all(|filled| filled.from == "profile wso2-mi-4"));
    }

    #[test]
    fn the_log_is_one_of_the_machine_that_the_probe_runs_on() {
        let apim = MI
            .replace("wso2-mi-4", "wso2-apim-4")
            .replace("probe = { backend = \"http\", ports = [\"10.0.0.1:9999\"] }", "probe = { backend = \"log\" }")
            .replace("probe = { backend = \"http\", release_header = \"x-release\" }", "probe = { backend = \"log\" }");
        let topology = Topology::from_toml_str(&apim).unwrap();
        assert_eq!(setting(&topology, "mi1", Role::Probe, "log"), None, "its host is behind ssh");
        assert!(setting(&topology, "mi1", Role::Host, "start").is_some());
        let log = setting(&topology, "mi2", Role::Probe, "log");
        assert_eq!(log.as_deref(), Some("\"/opt/mi/repository/logs/wso2carbon.log\""));
    }

    #[test]
    fn a_node_without_a_profile_is_given_no_less_time_than_it_had() {
        let deadlines = |of_mi2: &str| {
            let text = MI.replace("profile = \"wso2-mi-4\"\n", "").replace("stop_deadline = \"90s\"\n", "");
            let text = text.replace("name = \"mi1\"\n", "name = \"mi1\"\nprofile = \"wso2-mi-4\"\n");
            let topology = Topology::from_toml_str(&text.replace("offset = 12\n", of_mi2)).unwrap();
            (topology.policy().ready_deadline.as_secs(), topology.policy().stop_deadline.as_secs())
        };
        assert_eq!(deadlines(""), (300, 360), "it is raised only");
        assert_eq!(deadlines("profile = \"systemd\"\n"), (300, 360), "which says nothing of ready_deadline");
        assert_eq!(deadlines("profile = \"tomcat-10\"\n"), (120, 360));
    }

    #[test]
    fn a_policy_in_code_says_only_what_differs_from_the_default() {
        let built = |policy: crate::topology::Policy| {
            let component = |name: &str| crate::topology::Component::new(crate::topology::Name::new(name).unwrap());
            let node = |name: &str| crate::topology::NodeSpec::new(name, 1000, component("local"), component("http"));
            let topology = Topology::builder("orders").profile("wso2-mi-4").policy(policy);
            let topology =
                topology.pool(crate::topology::PoolSpec::new("mi", 1, 1000)).balancer("lb1", component("fake"));
            let topology = topology.node(node("mi1")).node(node("mi2")).build().unwrap();
            (topology.policy().ready_deadline.as_secs(), topology.policy().stop_deadline.as_secs())
        };
        let policy = crate::topology::Policy::default().with_soak(Duration::from_secs(5));
        assert_eq!(built(policy.clone()), (120, 360));
        assert_eq!(built(policy.with_stop_deadline(Duration::from_secs(90))), (120, 90));
    }

    #[test]
    fn an_address_of_colons_and_a_home_with_a_slash_behind_it_are_written_as_they_have_to_be() {
        let text = MI.replace("home = \"/opt/mi\"", "home = \"/opt/mi/\"").replace("mi2.example", "2001:db8::2");
        let topology = Topology::from_toml_str(&text).unwrap();
        let of = |node, role, key| setting(&topology, node, role, key);
        assert_eq!(of("mi1", Role::Host, "identity").as_deref(), Some("\"-Dcarbon.home=/opt/mi\""));
        assert_eq!(of("mi2", Role::Probe, "url").as_deref(), Some("\"http://[2001:db8::2]:9203/healthz\""));
    }

    #[test]
    fn what_is_local_to_a_node_and_below_the_tree_is_never_synced() {
        let tree = |tree: &str| {
            let text = MI.replace("backend = \"rsync\"", &format!("backend = \"rsync\"\ntree = \"{tree}\""));
            let topology = Topology::from_toml_str(&text).unwrap();
            topology.files().unwrap().settings.get("local_only").map(written)
        };
        assert_eq!(tree("repository").as_deref(), Some("[\"database\", \"logs\"]"));
        assert_eq!((tree("repository/deployment/server"), tree("repo")), (None, None));
    }

    #[test]
    fn without_a_profile_nothing_is_filled_in_and_an_unknown_one_is_told_with_those_that_are_known() {
        let plain = Topology::from_toml_str(&MI.replace("profile = \"wso2-mi-4\"\n", "")).unwrap();
        assert!(plain.filled_in().is_empty() && plain.policy().ready_deadline.as_secs() == 300);
        let refused = Topology::from_toml_str(&MI.replace("wso2-mi-4", "wso2-mi-5")).unwrap_err();
        let found = &refused.diagnostics()[0];
        assert_eq!((found.line, found.key.as_str()), (3, "cluster.profile"), "{refused}");
        assert!(KNOWN.keys().all(|name| found.fix.contains(name)), "{found}");
    }
}
