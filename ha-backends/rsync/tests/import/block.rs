//! The settings that are written, read back as a cluster file's.

use std::time::Duration;

use ha_core::topology::{Name, Topology};
use ha_rsync::RsyncConfig;
use ha_rsync::import::{Imported, Rendering};

use super::{CLEAN, COPIED, Site};

const CLUSTER: &str = r#"
[cluster]
name = "orders"
[policy]
peak_load = 1000
[pool]
name = "esb"
serve = 2
[[balancer]]
name = "lb1"
backend = "haproxy"
[[node]]
name = "esb1"
capacity = 1000
host = { backend = "local", home = "/opt/esb" }
probe = { backend = "http" }
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "local", home = "/opt/esb" }
probe = { backend = "http" }
[[node]]
name = "esb3"
capacity = 1000
host = { backend = "local", home = "/opt/esb" }
probe = { backend = "http" }
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn rendering() -> Rendering {
    let rendering = Rendering::new(name("esb1"));
    rendering.with_node("10.0.0.2", name("esb2")).with_node("10.0.0.3", name("esb3"))
}

fn config(block: &str) -> RsyncConfig {
    let topology =
        Topology::from_toml_str(&format!("{CLUSTER}{block}")).unwrap_or_else(|error| panic!("{error}\n{block}"));
    RsyncConfig::from_component(topology.files().unwrap(), &topology).unwrap_or_else(|error| panic!("{error}\n{block}"))
}

fn refused(imported: &Imported, rendering: &Rendering) -> String {
    imported.files_block(rendering).unwrap_err().reasons.join("\n")
}

#[test]
fn the_block_is_read_back_as_what_the_script_does() {
    let block = COPIED.import().files_block(&rendering()).unwrap();
    let config = config(&block);
    assert_eq!((config.tree.to_str(), config.writer.as_str()), (Some("repository/deployment/server"), "esb1"));
    // The block does not take the check of host keys away.
    assert_eq!(config.rsh, ["ssh", "-i", "/home/wso2/.ssh/id_share"]);
    assert!(block.contains("# Host keys are checked from here on"), "{block}");
    assert!(block.starts_with("# Instead of /var/spool/cron/crontabs/wso2:1: remove that job"), "{block}");
    let destinations: Vec<_> =
        config.nodes.iter().map(|node| (node.name.as_str(), node.destination.as_str())).collect();
    assert_eq!(destinations, [("esb1", "esb1"), ("esb2", "wso2@10.0.0.2"), ("esb3", "wso2@10.0.0.3")]);
    assert_eq!((config.delete_budget, config.timeout), (100, Duration::from_secs(30)), "the defaults");
}

#[test]
fn limits_and_excludes_are_taken_over() {
    let list = CLEAN.list.replace(".stage/server", "repository/deployment/server");
    let script = CLEAN.script.replace("-e ", "--exclude '/tmp/' --exclude \"/log/a b.log\" -e ").replace("=30", "=45");
    let imported = Site { script: &script, list: &list, ..CLEAN }.import();
    let config = config(&imported.files_block(&rendering()).unwrap());
    assert_eq!(config.local_only, ["tmp", "log/a b.log"]);
    assert_eq!((config.delete_budget, config.timeout), (50, Duration::from_secs(45)));
}

#[test]
fn a_script_that_deletes_nothing_gets_no_deletions() {
    let list = CLEAN.list.replace(".stage/server", "repository/deployment/server");
    let script = CLEAN.script.replace("--delete --max-delete=50 ", "");
    let imported = Site { script: &script, list: &list, ..CLEAN }.import();
    assert_eq!(config(&imported.files_block(&rendering()).unwrap()).delete_budget, 0);
}

#[test]
fn a_remote_shell_with_quotes_in_it_is_one_toml_text_each() {
    let script = COPIED.script.replace("ssh -i $key -o StrictHostKeyChecking=no", "ssh -o 'ProxyCommand a \\\\ b'");
    let block = Site { script: &script, ..COPIED }.import().files_block(&rendering()).unwrap();
    assert!(block.contains(r#"rsh = ["ssh", "-o", "ProxyCommand a \\ b"]"#), "{block}");
    assert_eq!(config(&block).rsh, ["ssh", "-o", "ProxyCommand a \\ b"]);
}

#[test]
fn what_the_settings_cannot_say_is_refused_with_the_reason() {
    let pattern = COPIED.script.replace("rsync ", "rsync --exclude '*.tmp' ");
    let imported = Site { script: &pattern, ..COPIED }.import();
    assert!(refused(&imported, &rendering()).contains("the exclude \"*.tmp\" is no path below the tree"));
    let by_hand = rendering().with_local_only(vec!["tmp".into()]);
    assert_eq!(config(&imported.files_block(&by_hand).unwrap()).local_only, ["tmp"]);

    let elsewhere = CLEAN.import();
    assert!(
        refused(&elsewhere, &rendering())
            .contains("/opt/esb/.stage/server is no home with repository/deployment/server below it")
    );

    let home = COPIED.script.replace("esb_home/repository/deployment/server/", "esb_home/shared/");
    let list = COPIED.list.replace("repository/deployment/server", "shared");
    let imported = Site { script: &home, list: &list, ..COPIED }.import();
    assert!(refused(&imported, &rendering()).contains("it is not known which part of /opt/esb/shared is the home"));
    let block = imported.files_block(&rendering().with_home("/opt/esb/")).unwrap();
    assert!(block.contains("tree = \"shared\""), "{block}");

    assert!(
        refused(&Site { script: "#!/bin/sh\n", ..COPIED }.import(), &rendering()).contains("no copy from the writer")
    );
}

#[test]
fn several_trees_are_a_choice() {
    let line = COPIED.script.lines().find(|line| line.contains("rsync")).unwrap();
    let script = COPIED
        .script
        .replace("$worker\n    done", "$worker\n@    done")
        .replace('@', &format!("{}\n", line.replace("deployment/server/ $worker", "tenants $tenants")));
    let script = script.replace("do\n", "do\n        tenants=wso2@10.0.0.2:/opt/esb/repository\n");
    let imported = Site { script: &script, ..COPIED }.import();
    assert!(
        refused(&imported, &rendering()).contains("choose one: repository/deployment/server, repository/tenants"),
        "{:#?}",
        imported.findings
    );
    let one = imported.files_block(&rendering().with_tree("repository/tenants")).unwrap();
    assert!(one.contains("tree = \"repository/tenants\"\n") && one.contains("[\"esb2=wso2@10.0.0.2\"]"), "{one}");
    assert!(refused(&imported, &rendering().with_tree("other")).contains("no copy from the writer"));
}

#[test]
fn nothing_is_written_before_a_person_has_looked() {
    let list = format!("{}esb4\n", COPIED.list);
    let imported = Site { list: &list, ..COPIED }.import();
    let reasons = refused(&imported, &rendering());
    assert!(reasons.contains("/opt/share/nodes-list.txt:3: \"esb4\" names no host"), "{reasons}");
    assert!(imported.files_block(&rendering().with_reviewed(true)).is_ok());
}

#[test]
fn a_held_job_is_told_in_the_block() {
    let cron = "#* * * * * /opt/share/share.sh\n";
    let block = Site { cron, ..COPIED }.import().files_block(&rendering()).unwrap();
    assert!(block.starts_with("# /var/spool/cron/crontabs/wso2:1 is held by a comment"), "{block}");
}

#[test]
fn only_paths_below_the_tree_are_taken_from_excludes() {
    for pattern in ["tmp", "/a/../b", "/./a", "/-x", "//x", "/a*", "/", "/a;b"] {
        let script = COPIED.script.replace("rsync ", &format!("rsync --exclude '{pattern}' "));
        let imported = Site { script: &script, ..COPIED }.import();
        assert!(refused(&imported, &rendering()).contains("is no path below the tree"), "{pattern}");
    }
}

#[test]
fn of_the_remote_shell_only_what_turns_the_check_off_is_left_out() {
    let rsh = "ssh -oUserKnownHostsFile=/dev/null -o UserKnownHostsFile=/k -o StrictHostKeyChecking=yes -p 22";
    let script = COPIED.script.replace("ssh -i $key -o StrictHostKeyChecking=no", rsh);
    let block = Site { script: &script, ..COPIED }.import().files_block(&rendering()).unwrap();
    assert_eq!(config(&block).rsh.join(" "), "ssh -o UserKnownHostsFile=/k -o StrictHostKeyChecking=yes -p 22");
}

#[test]
fn homes_and_nodes_that_do_not_fit_are_refused() {
    let imported = COPIED.import();
    let home = rendering().with_home("/opt/esb/repository/deployment/server");
    assert!(refused(&imported, &home).contains("it is not known which part of"));
    let twice = rendering().with_node("10.0.0.3", name("esb2"));
    assert!(refused(&imported, &twice).contains("esb2 has two destinations: wso2@10.0.0.2 and wso2@10.0.0.3"));
    let pattern = COPIED.script.replace("server/ ", "* ");
    assert!(refused(&Site { script: &pattern, ..COPIED }.import(), &rendering()).contains("is the home: name it"));
}

#[test]
fn a_pull_is_no_block() {
    let script = COPIED
        .script
        .replace("$esb_home/repository/deployment/server/ $worker", "$worker $esb_home/repository/deployment/server/");
    let reasons = refused(&Site { script: &script, ..COPIED }.import(), &rendering());
    assert!(reasons.contains("the copy does not go from the writer to another host"), "{reasons}");
}
