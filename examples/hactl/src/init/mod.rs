//! A first cluster file: the commented template, or a draft from HAProxy's configuration.

mod inventory;
mod render;

use std::path::Path;

use ha_haproxy::{LintExpectations, Severity, lint, outline};

use inventory::Inventory;

/// The commented template.
pub(crate) const TEMPLATE: &str = include_str!("cluster.toml");

/// A cluster file to begin with, and what its owner has to look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Draft {
    /// The file.
    pub text: String,
    /// One line each.
    pub notes: Vec<String>,
}

/// Drafts a cluster file from HAProxy's configuration, which is at `path` on this machine. Opens nothing.
///
/// Servers of several backends on one host are one node with several ports; what is `disabled` everywhere is a spare; what is no
/// `backup` serves at rest. Loads and capacities are no part of HAProxy's configuration: they are marked to be changed.
///
/// # Errors
/// Why it is no configuration to begin with: it has no backend with servers.
///
/// # Examples
///
/// ```
/// let config = "backend esb\n  server esb1 10.0.0.1:8280 check\n  server esb2 10.0.0.2:8280 check backup\n";
/// let draft = hactl::draft(config, "/etc/haproxy/haproxy.cfg".as_ref())?;
/// assert!(draft.text.contains("name = \"esb2\""));
/// assert!(draft.notes.iter().any(|note| note.contains("no stats socket")), "{:?}", draft.notes);
/// # Ok::<(), String>(())
/// ```
pub fn draft(config: &str, path: &Path) -> Result<Draft, String> {
    let found = outline(config);
    let mut notes =
        vec!["change what is marked with CHANGE: loads, capacities and how servers are started".to_string()];
    let inventory = Inventory::of(&found, &mut notes);
    if inventory.pools.is_empty() {
        return Err("it has no backend with servers whose names can be used".into());
    }
    let dangers = lint(config, &LintExpectations::new());
    let dangers = dangers.iter().filter(|warning| warning.severity == Severity::Danger);
    notes.extend(dangers.map(|warning| format!("{}: {warning}", path.display())));
    Ok(Draft { text: render::cluster_toml(&inventory, path), notes })
}

#[cfg(test)]
mod tests {
    use ha_core::topology::{Role, Topology};
    use proptest::prelude::*;

    use super::*;

    fn drafted(config: &str) -> (Draft, Topology) {
        let draft = draft(config, Path::new("/etc/haproxy/haproxy.cfg")).unwrap();
        let topology = Topology::from_toml_str(&draft.text).unwrap_or_else(|error| panic!("{}\n{error}", draft.text));
        ha_backends::connect(&topology).unwrap_or_else(|error| panic!("{}\n{error}", draft.text));
        (draft, topology)
    }

    fn nodes(topology: &Topology) -> Vec<String> {
        let ports = |node: &ha_core::topology::Node| {
            let port = |port: &ha_core::topology::Port| format!("{}/{}", topology.pool(port.pool).name, port.member);
            node.ports.iter().map(port).collect::<Vec<_>>().join(" ")
        };
        let kind = |node: &ha_core::topology::Node| if node.spare { " spare" } else { "" };
        topology.nodes().map(|(_, node)| format!("{}{}: {}", node.name, kind(node), ports(node))).collect()
    }

    const TWO_POOLS: &str = "global\n  stats socket /run/haproxy/admin.sock mode 660 level admin\n\
        defaults\n  mode http\n  option httpchk GET /health\n\
        frontend in\n  bind :80\n  default_backend esb\n\
        backend esb\n  server esb1 10.0.0.1:8280 check\n  server esb2 10.0.0.2:8280 check backup\n  \
        server spare1 10.0.0.3:8280 check backup disabled\n\
        backend mgmt\n  server c1 10.0.0.1:9443 check ssl verify none\n  server c2 10.0.0.2:9443 check ssl verify none\n";

    #[test]
    fn the_template_is_valid_with_all_its_backends() {
        let topology = Topology::from_toml_str(TEMPLATE).unwrap();
        ha_backends::connect(&topology).unwrap();
    }

    #[test]
    fn servers_of_several_backends_on_one_host_are_one_node() {
        let (draft, topology) = drafted(TWO_POOLS);
        assert_eq!(nodes(&topology), ["esb1: esb/esb1 mgmt/c1", "esb2: esb/esb2 mgmt/c2", "spare1 spare: esb/spare1"]);
        let serve: Vec<u16> = topology.pools().map(|(_, pool)| pool.serve).collect();
        assert_eq!(serve, [1, 2]);
        let (_, balancer) = topology.balancers().next().unwrap();
        assert_eq!(balancer.name.as_str(), "lb1");
        assert!(draft.text.contains("socket = \"/run/haproxy/admin.sock\""), "{}", draft.text);
        assert!(draft.text.contains("config_file = \"/etc/haproxy/haproxy.cfg\""), "{}", draft.text);
        assert!(draft.text.contains("url = \"http://10.0.0.1:8280/health\""), "{}", draft.text);
        assert!(topology.nodes().all(|(_, node)| node.component(Role::Host).is_some()));
    }

    #[test]
    fn what_configurations_look_like_in_the_field_is_drafted() {
        let one_host = "backend a\n  mode http\n  server s1 127.0.0.1:8001\n  server s2 127.0.0.1:8002\n\
                        backend b\n  mode http\n  server s1 127.0.0.1:9001\n  server s2 127.0.0.1:9002\n";
        let template = "backend a\n  server-template web 3 app.example:8080 check\n";
        let odd = "backend a\n  server x ${HOST}:80\n  server y unix@/run/y.sock\n  server z [2001:db8::1]:8080\n";
        let tls = "backend a\n  server s1 h1:443 ssl\n  server s2 h2:443 ssl\n";
        let listen = "listen a\n  bind :80\n  server s1 h1:1\n  server s2 h2\n";
        let cases: [(&str, &[&str]); 5] = [
            (one_host, &["s1: a/s1 b/s1", "s2: a/s2 b/s2"]),
            (template, &["web1: a/web1", "web2: a/web2", "web3: a/web3"]),
            (odd, &["x: a/x", "y: a/y", "z: a/z"]),
            (tls, &["s1: a/s1", "s2: a/s2"]),
            (listen, &["s1: a/s1", "s2: a/s2"]),
        ];
        for (config, expected) in cases {
            let (draft, topology) = drafted(config);
            assert_eq!(nodes(&topology), expected, "{config}");
            assert!(draft.notes.iter().any(|note| note.contains("no stats socket")), "{:?}", draft.notes);
        }
    }

    #[test]
    fn what_its_owner_has_to_know_is_told() {
        let single =
            "global\n  stats socket /run/a.sock level operator\nbackend a\n  mode http\n  server s1 h1:1 check\n";
        let draft = draft(single, Path::new("h.cfg")).unwrap();
        let told = draft.notes.join("\n");
        assert!(told.contains("level admin"), "{told}");
        assert!(told.contains("pool a has one server"), "{told}");
        let error = Topology::from_toml_str(&draft.text).unwrap_err().to_string();
        assert!(error.contains("if s1 is lost"), "that one server cannot be lost is what the law says: {error}");
    }

    #[test]
    fn the_name_of_a_configuration_cannot_add_to_the_draft() {
        let name = "h.cfg\n[evil]\u{85}\u{1b}";
        let draft = draft(TWO_POOLS, Path::new(name)).unwrap();
        assert!(Topology::from_toml_str(&draft.text).is_ok(), "{}", draft.text);
        assert!(!draft.text.chars().any(|letter| letter.is_control() && letter != '\n'), "{}", draft.text);
    }

    #[test]
    fn a_configuration_without_servers_is_refused() {
        for config in ["", "frontend a\n  bind :80\n", "backend a\n", "backend a\n  server \"b c\" h:1\n", "\u{0}\u{1}"]
        {
            assert!(draft(config, Path::new("h.cfg")).is_err(), "{config}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_configuration_says_the_draft_is_toml_with_known_keys(
            lines in prop::collection::vec(
                "(global|defaults|backend [a-c\"]{1,2}|listen l|  server [a-d]{1,2} (h[1-3]|127\\.0\\.0\\.1|\\$\\{X\\}|\"q\\\\)(:[0-9]{1,6})?( backup| disabled| ssl| check){0,3}|  stats socket (/a\\\\\\.b|x|1:2)( level admin)?|  option httpchk( GET)?( /[a-z\"]{0,3})?|  mode http|[ -~]{0,12})",
                0..24,
            ),
        ) {
            if let Ok(draft) = draft(&lines.join("\n"), Path::new("/etc/ha \"proxy\".cfg")) {
                if let Err(error) = Topology::from_toml_str(&draft.text) {
                    let is_format = |found: &ha_core::topology::Diagnostic| {
                        found.fix.contains("correct the TOML") || found.message == "unknown key" || found.message == "is missing"
                    };
                    prop_assert!(!error.diagnostics().iter().any(is_format), "{}\n{error}", draft.text);
                } else {
                    let topology = Topology::from_toml_str(&draft.text).unwrap();
                    let connected = ha_backends::connect(&topology);
                    prop_assert!(connected.is_ok(), "{}\n{connected:?}", draft.text);
                }
            }
        }
    }
}
