//! Mistakes that are made in a cluster file, one at a time: each is told with its line, its key and what to do, and nothing else
//! is told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;

use ha_backends::connect;
use ha_core::topology::Topology;

const GOOD: &str = r#"[cluster]
name = "orders"

[policy]
peak_load = 1000
drain_deadline = "30s"
soak = "5s"

[pool]
name = "esb"
serve = 1

[[balancer]]
name = "lb1"
backend = "haproxy"
socket = "/run/haproxy/admin.sock"

[[node]]
name = "esb1"
capacity = 1000
[node.host]
backend = "local"
home = "/opt/esb1"
start = ["bin/esb", "start"]
stop = ["bin/esb", "stop"]
version = ["bin/esb", "version"]
pid_file = "esb.pid"
identity = "-Desb.home=/opt/esb1"
[node.probe]
backend = "http"
url = "http://10.0.0.1:8280/version"

[[node]]
name = "esb2"
capacity = 1000
[node.host]
backend = "ssh"
host = "wso2@esb2"
home = "/opt/esb2"
unit = "esb.service"
version = ["bin/esb", "version"]
[node.probe]
backend = "tcp"
ports = ["10.0.0.2:8280"]
release_command = ["/usr/bin/esb-release", "10.0.0.2"]

[[node]]
name = "spare1"
capacity = 1000
spare = true
[node.host]
backend = "ssh"
host = "wso2@spare1"
home = "/opt/esb1"
unit = "esb.service"
version = ["bin/esb", "version"]
[node.probe]
backend = "command"
command = ["/usr/bin/esb-release", "10.0.0.3"]
"#;

/// One mistake: what is replaced, by what, and what has to be told, one text for each finding.
type Mistake = (&'static str, &'static str, &'static [&'static str]);

const MISTAKES: &[Mistake] = &[
    ("[cluster]\nname = \"orders\"\n", "[cluster]\n", &["line 1: cluster.name: is missing; add name"]),
    (
        "name = \"orders\"",
        "name = \"orders!\"",
        &[
            "line 2: cluster.name: \"orders!\" is not a name: use 1 to 128 of A-Z a-z 0-9 _ . : -; choose a name of these characters",
        ],
    ),
    ("name = \"orders\"", "nam = \"orders\"", &["line 2: cluster.nam: unknown key; did you mean name?"]),
    ("[policy]\n", "[policy]\npeak_load = 900\n", &["line 6: peak_load: duplicate key; correct the TOML here"]),
    (
        "peak_load = 1000",
        "peak_load = \"1000\"",
        &[
            "line 5: policy.peak_load: \"1000\", a string, cannot be used here; give a whole number from 1 to 9223372036854775807",
        ],
    ),
    (
        "peak_load = 1000",
        "peak_load = 0",
        &["line 5: policy.peak_load: 0 cannot be used here; give a whole number from 1 to 9223372036854775807"],
    ),
    (
        "peak_load = 1000",
        "peak_load = -5",
        &["line 5: policy.peak_load: -5 cannot be used here; give a whole number from 1 to 9223372036854775807"],
    ),
    (
        "peak_load = 1000",
        "peak_load = 1.5",
        &["line 5: policy.peak_load: 1.5 cannot be used here; give a whole number from 1 to 9223372036854775807"],
    ),
    (
        "peak_load = 1000",
        "peak_load = 5000",
        &[
            "line 5: policy.peak_load: at rest the law is broken: 1000 can serve, 5000 is required now; add capacity, or lower policy.peak_load to what is true",
            "line 5: policy.survive_one: at rest the law is broken: if esb1 is lost 1000 is left, 5000 is required then; add a member of capacity 4000 outside esb1, or lower policy.peak_load",
        ],
    ),
    (
        "drain_deadline = \"30s\"",
        "drain_deadline = 30",
        &[
            "line 6: policy.drain_deadline: 30 cannot be used here; give a duration as \"500ms\", \"30s\", \"5m\" or \"1h\", up to \"24h\"",
        ],
    ),
    (
        "drain_deadline = \"30s\"",
        "drain_deadline = \"30\"",
        &[
            "line 6: policy.drain_deadline: \"30\", a string, cannot be used here; give a duration as \"500ms\", \"30s\", \"5m\" or \"1h\", up to \"24h\"",
        ],
    ),
    (
        "drain_deadline = \"30s\"",
        "drain_dedline = \"30s\"",
        &["line 6: policy.drain_dedline: unknown key; did you mean drain_deadline?"],
    ),
    (
        "drain_deadline = \"30s\"",
        "drain_deadline = \"2000000000000000h\"",
        &[
            "line 6: policy.drain_deadline: \"2000000000000000h\", a string, cannot be used here; give a duration as \"500ms\", \"30s\", \"5m\" or \"1h\", up to \"24h\"",
        ],
    ),
    (
        "soak = \"5s\"",
        "soak = \"25h\"",
        &[
            "line 7: policy.soak: \"25h\", a string, cannot be used here; give a duration as \"500ms\", \"30s\", \"5m\" or \"1h\", up to \"24h\"",
        ],
    ),
    (
        "soak = \"5s\"",
        "on_drain_deadline = \"cutt\"",
        &["line 7: policy.on_drain_deadline: \"cutt\" is unknown; give \"roll-back\", \"hold\" or \"cut\""],
    ),
    (
        "soak = \"5s\"",
        "lease_ttl = \"1s\"",
        &[
            "line 7: policy.lease_ttl: too short to be renewed in time; give at least \"3s\"; below 20 s a busy machine loses its lease",
        ],
    ),
    (
        "soak = \"5s\"",
        "canary = 0.0",
        &[
            "line 7: policy.canary: 0.0 cannot be used here; give a share above 0 and up to 1.0, with at most three decimals",
        ],
    ),
    (
        "soak = \"5s\"",
        "survive_one = 1.5",
        &[
            "line 7: policy.survive_one: 1.5 cannot be used here; give a share above 0 and up to 1.0, with at most three decimals",
        ],
    ),
    ("[pool]\nname = \"esb\"\nserve = 1\n", "", &["pool: is missing; add pool"]),
    (
        "serve = 1",
        "serve = 0",
        &["line 11: pool.serve: 0 cannot be used here; give a whole number from 1 to 9223372036854775807"],
    ),
    (
        "serve = 1",
        "serve = 5",
        &["line 11: pool.serve: 5 members are to serve, 2 are declared; lower serve, or add nodes that are no spares"],
    ),
    (
        "serve = 1",
        "serve = 1\nbalancers = [\"lb2\"]",
        &["line 12: pool.balancers: no balancer lb2 is declared; declare it as [[balancer]]"],
    ),
    (
        "serve = 1",
        "serve = 1\nserves = 2",
        &[
            "line 12: pool.serves: unknown key; remove it; known here: name, backend, serve, peak_load, serve_now, survive_one, balancers, site",
        ],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"\n",
        "",
        &["balancer: is missing; add balancer"],
    ),
    (
        "backend = \"haproxy\"",
        "backend = \"haporxy\"",
        &[
            "line 15: balancer lb1.backend: no backend \"haporxy\" is known here; give one of haproxy, local, or add it to the registry",
        ],
    ),
    ("backend = \"haproxy\"\n", "", &["line 13: balancer[0].backend: is missing; add backend"]),
    (
        "socket = \"/run/haproxy/admin.sock\"",
        "socket = \"run/haproxy/admin.sock\"",
        &["line 16: balancer lb1.socket: give the absolute path of a unix socket, or host:port"],
    ),
    (
        "socket = \"/run/haproxy/admin.sock\"",
        "socket = \"/run/haproxy/../admin.sock\"",
        &["line 16: balancer lb1.socket: give the path without .."],
    ),
    (
        "socket = \"/run/haproxy/admin.sock\"",
        "sockett = \"/run/haproxy/admin.sock\"",
        &["line 16: balancer lb1.sockett: is unknown: did you mean socket?"],
    ),
    (
        "socket = \"/run/haproxy/admin.sock\"",
        "socket = \"/run/haproxy/admin.sock\"\n[[balancer]]\nname = \"lb2\"\nbackend = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"",
        &[
            "line 20: balancer lb2.socket: /run/haproxy/admin.sock is that of line 16: balancer lb1.socket already; two names for one instance would count it twice: give each its own, or remove one",
        ],
    ),
    (
        "socket = \"/run/haproxy/admin.sock\"",
        "socket = \"/run/haproxy/admin.sock\"\n[[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"/run/haproxy/b.sock\"",
        &["line 18: balancer[1].name: lb1 is used on line 14 already; give each its own"],
    ),
    (
        "name = \"esb1\"",
        "name = \"esb 1\"",
        &[
            "line 19: node[0].name: \"esb 1\" is not a name: use 1 to 128 of A-Z a-z 0-9 _ . : -; choose a name of these characters",
        ],
    ),
    (
        "name = \"esb1\"\ncapacity = 1000",
        "name = \"esb1\"\ncapacity = \"x\"",
        &[
            "line 20: node[0].capacity: \"x\", a string, cannot be used here; give a whole number from 1 to 9223372036854775807",
        ],
    ),
    ("name = \"esb1\"\ncapacity = 1000", "name = \"esb1\"", &["line 18: node[0].capacity: is missing; add capacity"]),
    (
        "name = \"esb1\"\ncapacity = 1000",
        "name = \"esb1\"\ncapacity = 1000\ncapacity = 900",
        &["line 21: capacity: duplicate key; correct the TOML here"],
    ),
    (
        "name = \"esb1\"\ncapacity = 1000",
        "name = \"esb1\"\ncapacity = 1000\nsite = \"dc2\"",
        &["line 21: node[0].site: no site dc2 is declared; declare it as [[site]]"],
    ),
    (
        "name = \"esb1\"\ncapacity = 1000",
        "name = \"esb1\"\ncapacity = 1000\npools = [\"mgmt\"]",
        &["line 21: node[0].pools: no pool mgmt is declared; declare it as [[pool]]"],
    ),
    (
        "name = \"esb2\"",
        "name = \"esb1\"",
        &["line 34: node[1].name: esb1 is used on line 19 already; give each its own"],
    ),
    (
        "[node.host]\nbackend = \"local\"",
        "[node.hosts]\nbackend = \"local\"",
        &["line 21: node[0].hosts: unknown key; did you mean host?"],
    ),
    (
        "backend = \"local\"",
        "backend = \"locl\"",
        &[
            "line 22: node esb1.host.backend: no backend \"locl\" is known here; give one of local, ssh, or add it to the registry",
        ],
    ),
    (
        "home = \"/opt/esb1\"\nstart",
        "home = \"opt/esb1\"\nstart",
        &["line 23: node esb1.host.home: give an absolute path"],
    ),
    (
        "home = \"/opt/esb1\"\nstart",
        "home = \"/opt/esb1\\u0000\"\nstart",
        &["line 23: node esb1.host.home: holds a NUL character: remove it"],
    ),
    (
        "start = [\"bin/esb\", \"start\"]",
        "start = \"bin/esb start\"",
        &["line 24: node esb1.host.start: give a list of strings: the program and its arguments"],
    ),
    (
        "start = [\"bin/esb\", \"start\"]",
        "start = []",
        &["line 24: node esb1.host.start: give a list of strings: the program and its arguments"],
    ),
    ("stop = [\"bin/esb\", \"stop\"]\n", "", &["line 21: node esb1.host.stop: is missing: add it"]),
    (
        "pid_file = \"esb.pid\"",
        "pidfile = \"esb.pid\"",
        &["line 27: node esb1.host.pidfile: is unknown: did you mean pid_file?"],
    ),
    (
        "pid_file = \"esb.pid\"",
        "pid_file = \"../esb.pid\"",
        &["line 27: node esb1.host.pid_file: give the path without .."],
    ),
    (
        "identity = \"-Desb.home=/opt/esb1\"",
        "identity = \"\"",
        &["line 28: node esb1.host.identity: give a text that is not empty"],
    ),
    (
        "identity = \"-Desb.home=/opt/esb1\"",
        "identity = \"-Desb.home=/opt/esb1\"\ncommand_deadline = \"0s\"",
        &[
            "line 29: node esb1.host.command_deadline: give a duration as \"500ms\", \"2s\" or \"5m\", from \"1ms\" to \"24h\"",
        ],
    ),
    (
        "url = \"http://10.0.0.1:8280/version\"",
        "url = \"10.0.0.1:8280/version\"",
        &["line 31: node esb1.probe.url: is no URL: give http://host:port/path, or https://"],
    ),
    (
        "url = \"http://10.0.0.1:8280/version\"",
        "url = \"http://10.0.0.1:99999/version\"",
        &["line 31: node esb1.probe.url: has a port that is none: give one from 1 to 65535"],
    ),
    (
        "url = \"http://10.0.0.1:8280/version\"",
        "url = \"http://10.0.0.1:8280/version\"\nexpect_status = \"2000\"",
        &["line 32: node esb1.probe.expect_status: give a status from 200 to 599, or a list of them"],
    ),
    (
        "host = \"wso2@esb2\"",
        "host = \"wso2@esb2\"\nport = 99999",
        &["line 39: node esb2.host.port: give a whole number from 1 to 65535"],
    ),
    (
        "host = \"wso2@esb2\"",
        "host = \"-oProxyCommand=x\"",
        &["line 38: node esb2.host.host: give user@host, or a name of the ssh configuration file"],
    ),
    ("host = \"wso2@esb2\"\n", "", &["line 36: node esb2.host.host: is missing: add it"]),
    (
        "unit = \"esb.service\"",
        "unit = \"esb*\"",
        &["line 40: node esb2.host.unit: give the whole name of a service, such as wso2esb.service"],
    ),
    (
        "unit = \"esb.service\"",
        "unit = \"esb.service\"\nstart = [\"bin/esb\", \"start\"]",
        &[
            "line 41: node esb2.host.start: is unknown; known here: host, jump, port, ssh_config, identity_file, known_hosts, connect_deadline, keepalive, keepalive_count, sessions, home, unit, systemctl, version, start_test, diagnose, state_dir, command_deadline, lock_wait, read_deadline",
        ],
    ),
    (
        "ports = [\"10.0.0.2:8280\"]",
        "ports = [\"10.0.0.2:99999\"]",
        &["line 44: node esb2.probe.ports: \"10.0.0.2:99999\" is no address: give host:port"],
    ),
    (
        "ports = [\"10.0.0.2:8280\"]",
        "ports = []",
        &["line 44: node esb2.probe.ports: give a list of texts, none of them empty"],
    ),
    (
        "release_command = [\"/usr/bin/esb-release\", \"10.0.0.2\"]\n",
        "",
        &["line 42: node esb2.probe.release_command: is missing: add it"],
    ),
    (
        "command = [\"/usr/bin/esb-release\", \"10.0.0.3\"]",
        "command = [\"bin/esb-release\"]",
        &["line 59: node spare1.probe.command: give the program with an absolute path, or by its name alone"],
    ),
    (
        "host = \"wso2@spare1\"\nhome = \"/opt/esb1\"",
        "host = \"wso2@esb2\"\nhome = \"/opt/esb2\"",
        &[
            "line 54: node spare1.host.home: /opt/esb2 is that of line 39: node esb2.host.home already; two nodes with one home are one server: give each its own, or remove one",
        ],
    ),
    (
        "host = \"wso2@spare1\"\nhome = \"/opt/esb1\"\nunit = \"esb.service\"",
        "host = \"wso2@esb2\"\nhome = \"/opt/esb3\"\nunit = \"esb.service\"",
        &[
            "line 55: node spare1.host.unit: esb.service is that of line 40: node esb2.host.unit already; two nodes with one unit are one server: give each its own, or remove one",
        ],
    ),
    (
        "spare = true",
        "spare = \"yes\"",
        &["line 50: node[2].spare: \"yes\", a string, cannot be used here; give true or false"],
    ),
    (
        "[[node]]\nname = \"esb2\"",
        "[[node]\nname = \"esb2\"",
        &["line 33: unclosed array table, expected `]`; correct the TOML here"],
    ),
    (
        "identity = \"-Desb.home=/opt/esb1\"",
        "identity = \"-Desb.home=/opt/esb1",
        &["line 28: invalid basic string, expected `\"`; correct the TOML here"],
    ),
    (
        "identity = \"-Desb.home=/opt/esb1\"",
        "identity = 4.2.1",
        &["line 28: invalid float, expected nothing; correct the TOML here: a text is in quotes"],
    ),
    ("[policy]", "[polcy]", &["line 4: polcy: unknown key; did you mean policy?"]),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[exposure]\nbackend = \"haproxy\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 13: exposure.map: is missing: add it"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[exposure]\nbackend = \"haproxy\"\nmap = \"services.map\"\n[[balancer]]\nname = \"lb1\"\n",
        &[
            "line 15: exposure.map: give an absolute path of letters, digits and / _ . : + - without ..: \"services.map\" is none",
        ],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[exposure]\nbackend = \"local\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 14: exposure.backend: lb1 is no embedded balancer: every balancer must have routes"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[exposure]\nbackend = \"command\"\nhome = \"/opt/gw\"\nshow = \"gw show\"\nexpose = [\"gw\", \"on\"]\nhide = [\"gw\", \"off\"]\n[[balancer]]\nname = \"lb1\"\n",
        &["line 16: exposure.show: give a list of strings: the program and its arguments"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[exposure]\nbackend = \"nginx\"\n[[balancer]]\nname = \"lb1\"\n",
        &[
            "line 14: exposure.backend: no backend \"nginx\" is known here; give one of command, haproxy, local, or add it to the registry",
        ],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[artifacts]\nbackend = \"local\"\nfolder = \"sets\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 15: artifacts.folder: give the absolute path of a folder of this machine"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[artifacts]\nbackend = \"rsync\"\n[[balancer]]\nname = \"lb1\"\n",
        &[
            "line 14: artifacts.backend: keeps the releases of rsync, and [files] is not shared by rsync: give \"local\" with a folder",
        ],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[files]\nbackend = \"rsync\"\ntree = \"repository/deployment\"\nwriter = \"esb9\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 16: files.writer: there is no node esb9: name one"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[files]\nkind = \"nfs\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 14: files.kind: \"nfs\" is unknown; give \"copied\", \"shared-mount\", \"database\" or \"image\""],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[files]\nbackend = \"rsync\"\ntree = \"/repository\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 15: files.tree: give a folder below each home, without .. and without a leading slash"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"migrate\"\nscripts = \"/etc/ha/scripts\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 13: database.url: is missing: add it"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"migrate\"\nurl = \"postgresql://db1/orders\"\nscripts = \"/etc/ha/scripts\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 15: database.url: give a JDBC URL, as the datasource of the servers has it"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"migrate\"\nurl = \"jdbc:oracle:thin:@db1:1521/orders\"\nscripts = \"/etc/ha/scripts\"\n[[balancer]]\nname = \"lb1\"\n",
        &[
            "line 15: database.url: no driver for Oracle is built in: run the linted scripts with the database's own client, or implement ha_migrate::Connect for it",
        ],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"migrate\"\nurl = \"jdbc:postgresql://db1/orders\"\nscripts = \"scripts\"\n[[balancer]]\nname = \"lb1\"\n",
        &["line 16: database.scripts: give an absolute path"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"flyway\"\nurl = \"jdbc:postgresql://db1/orders\"\n[[balancer]]\nname = \"lb1\"\n",
        &[
            "line 14: database.backend: no backend \"flyway\" is known here; give one of command, migrate, or add it to the registry",
        ],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"migrate\"\nurl = \"jdbc:postgresql://db1,db2/orders\"\nscripts = \"/etc/ha/scripts\"\n[[balancer]]\nname = \"lb1\"\n",
        &[
            "line 15: database.url: the URL names several servers and may reach a replica: add targetServerType=primary to its parameters",
        ],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"command\"\nhome = \"/opt/migration\"\nshow = [\"bin/schema.sh\"]\n[[balancer]]\nname = \"lb1\"\n",
        &["line 13: database.review: is missing: add it", "line 13: database.expand: is missing: add it"],
    ),
    (
        "[[balancer]]\nname = \"lb1\"\n",
        "[database]\nbackend = \"command\"\nhome = \"migration\"\nshow = [\"a\"]\nreview = [\"b\"]\nexpand = [\"c\"]\n[[balancer]]\nname = \"lb1\"\n",
        &["line 15: database.home: give an absolute path"],
    ),
];

/// All that is wrong with a file, one line each.
fn told(text: &str) -> Vec<String> {
    match Topology::from_toml_str(text) {
        Err(refused) => refused.diagnostics().iter().map(ToString::to_string).collect(),
        Ok(topology) => match connect(&topology) {
            Err(refused) => refused.errors().iter().map(ToString::to_string).collect(),
            Ok(_) => Vec::new(),
        },
    }
}

#[test]
fn each_mistake_is_told_with_its_line_its_key_and_what_to_do_and_nothing_else_is() {
    assert_eq!(told(GOOD), Vec::<String>::new());
    let mut wrong = String::new();
    for (from, to, expected) in MISTAKES {
        assert_eq!(GOOD.matches(from).count().min(1), 1, "{from}");
        let told = told(&GOOD.replacen(from, to, 1));
        if told != *expected {
            let _ = writeln!(wrong, "{from:?} as {to:?}:\n  told     {told:#?}\n  expected {expected:#?}");
        }
    }
    assert!(MISTAKES.len() >= 50, "{}", MISTAKES.len());
    assert!(wrong.is_empty(), "{wrong}");
}
