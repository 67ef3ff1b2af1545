use std::fmt::Write as _;
use std::path::Path;

use super::inventory::{Inventory, Node, Port};

/// Writes the cluster file of what a configuration tells.
pub(super) fn cluster_toml(found: &Inventory, config: &Path) -> String {
    let mut text = format!(
        "# Drafted from {}. Change what is marked with CHANGE, then: hactl validate, hactl show, hactl plan.\n\
         # Every key, with its unit, range and default: the handbook of ha-core, cluster_toml.\n\n\
         [cluster]\nname = \"cluster\"                    # CHANGE. The lease is taken on it: one name a cluster.\n\n\
         [policy]\n\
         drain_deadline = \"60s\"              # how long requests in flight may take to end\n\
         soak = \"10s\"                        # how long a changed node carries traffic before the next is touched\n",
        config.display().to_string().replace(char::is_control, " ")
    );
    for pool in &found.pools {
        let _ = write!(
            text,
            "\n[[pool]]\nname = \"{}\"\nserve = {}                           # how many members serve at rest\n\
             peak_load = 1000                    # CHANGE. Requests a second at peak.\n",
            pool.name, pool.serve
        );
    }
    let socket = found.socket.as_deref().unwrap_or("/run/haproxy/admin.sock");
    let mark = if found.socket.is_some() { "" } else { "  # CHANGE" };
    let _ = write!(
        text,
        "\n[[balancer]]                        # one entry for each instance, standby instances too\nname = \"lb1\"\n\
         backend = \"haproxy\"\nsocket = {}{mark}\nconfig_file = {}\n\
         # master = \"/run/haproxy/master.sock\"    # `haproxy -W -S`: shows what older workers still serve\n",
        quoted(socket),
        quoted(&config.display().to_string())
    );
    let mut probed = Vec::new();
    for node in &found.nodes {
        write_node(&mut text, found, node, &mut probed);
    }
    text
}

/// Writes one node; `probed` are the URLs of those before it: two nodes with one address would be one server to their probes.
fn write_node(text: &mut String, found: &Inventory, node: &Node, probed: &mut Vec<String>) {
    let _ = write!(text, "\n[[node]]\nname = \"{}\"\n", node.name);
    if node.is_spare {
        text.push_str("spare = true                        # held out, and used only while a change needs it\n");
    }
    text.push_str("capacity = 1000                     # CHANGE. What it carries, in the unit of peak_load.\n");
    text.push_str("# domain = \"rack-a\"                 # what fails with it; by default nothing else\n");
    if node.ports.len() < found.pools.len() {
        let pools: Vec<String> = node.ports.iter().map(|port| format!("\"{}\"", found.pools[port.pool].name)).collect();
        let _ = writeln!(text, "pools = [{}]", pools.join(", "));
    }
    let (name, home) = (&node.name, format!("/opt/{}", node.name));
    match node.host.as_deref() {
        Some(host) if is_this_machine(host) => text.push_str("[node.host]\nbackend = \"local\"\n"),
        Some(host) => {
            let _ = write!(text, "[node.host]\nbackend = \"ssh\"\nhost = \"{host}\"\n");
        }
        None => {
            let _ = write!(text, "[node.host]\nbackend = \"ssh\"\nhost = \"{name}.example\"             # CHANGE\n");
        }
    }
    let _ = write!(
        text,
        "home = \"{home}\"                     # CHANGE. Commands run there.\n\
         start = [\"bin/server.sh\", \"start\"]  # CHANGE. Or `unit = \"NAME.service\"` for systemd.\n\
         stop = [\"bin/server.sh\", \"stop\"]    # CHANGE\n\
         version = [\"cat\", \"bin/version.txt\"]    # CHANGE. Prints the installed release in its first line.\n\
         pid_file = \"server.pid\"             # CHANGE. Below home.\n\
         identity = \"-Dserver.home={home}\"   # CHANGE. One argument of the process that no other process has.\n"
    );
    // Plain HTTP needs nothing else; a certificate has to be known.
    if let Some(first) = node.ports.iter().find(|port| !port.is_tls).or(node.ports.first()) {
        let seen = url(node.host.as_deref(), first).filter(|url| !probed.contains(url));
        let sure = seen.is_some() && first.path.is_some();
        let mark = if sure { "" } else { "  # CHANGE. Answers 200 once the node is ready." };
        let own =
            || format!("http://{}.example/", node.name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
        let url = seen.unwrap_or_else(own);
        let _ = write!(text, "[node.probe]\nbackend = \"http\"\nurl = {}{mark}\n", quoted(&url));
        text.push_str(
            "# test_url = \"...\"                  # asked before the node gets traffic again: what it says decides\n",
        );
        if url.starts_with("https:") {
            let _ = writeln!(text, "pin = [\"{:064}\"] # CHANGE. `hactl show` names the one that the server shows.", 0);
        }
        probed.push(url);
    }
    for port in node.ports.iter().filter(|port| port.member != node.name) {
        let pool = &found.pools[port.pool].name;
        let _ = write!(text, "[[node.port]]\npool = \"{pool}\"\nmember = \"{}\"\n", port.member);
        text.push_str("# capacity = 1000                   # what it carries there, where that is not the node's\n");
    }
}

/// Returns where a server is probed; `None` where its address is no host.
fn url(host: Option<&str>, port: &Port) -> Option<String> {
    let host = host.map(|host| if host.contains(':') { format!("[{host}]") } else { host.to_string() })?;
    let scheme = if port.is_tls { "https" } else { "http" };
    let number = port.number.map_or_else(String::new, |number| format!(":{number}"));
    Some(format!("{scheme}://{host}{number}{}", port.path.as_deref().unwrap_or("/")))
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host == "::1" || host.starts_with("127.")
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted + "\""
}
