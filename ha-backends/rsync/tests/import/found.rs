use std::time::Duration;

use ha_core::topology::Name;
use ha_rsync::import::{LockKind, Rendering, Severity, Sources, Trigger, import};

use super::{CLEAN, COPIED, CRON, LIST, SCRIPT, Site, shown};

#[test]
fn a_job_without_a_fault_has_no_finding() {
    let imported = CLEAN.import();
    assert_eq!(imported.findings, []);
    let [job] = imported.jobs.as_slice() else { panic!("{:?}", imported.jobs) };
    assert_eq!((job.at.line, job.is_held, job.scripts.as_slice()), (3, false, &[SCRIPT.to_string()] as &[_]));
    assert_eq!(
        (job.locks[0].kind, job.locks[0].path.as_str(), job.locks[0].at.line),
        (LockKind::Flock, "/run/lock/share.lock", 6)
    );
    let Trigger::Schedule(schedule) = &job.trigger else { panic!("{:?}", job.trigger) };
    assert_eq!(schedule.shortest_gap(), Duration::from_secs(60));
}

#[test]
fn each_line_of_the_list_is_an_edge() {
    let imported = CLEAN.import();
    let edges: Vec<_> = imported
        .edges
        .iter()
        .map(|edge| {
            let destination = &edge.destination;
            let listed = edge.listed_at.as_ref().unwrap();
            (edge.at.line, listed.line, destination.user.as_deref().unwrap(), destination.host.as_deref().unwrap())
        })
        .collect();
    assert_eq!(edges, [(12, 2, "wso2", "esb2"), (12, 3, "wso2", "esb3")]);
    let edge = &imported.edges[0];
    assert_eq!(edge.source.path, "/opt/esb/repository/deployment/server/");
    assert_eq!(edge.rsh, ["ssh", "-i", "/opt/share/key"]);
    assert_eq!((edge.deletes, edge.max_delete, edge.timeout), (true, Some(50), Some(Duration::from_secs(30))));
    assert_eq!(edge.options, ["-a"]);
    assert_eq!(edge.target(), "/opt/esb/.stage/server");
}

#[test]
fn the_script_that_many_sites_have_copied_is_read_with_all_its_faults() {
    let imported = COPIED.import();
    assert_eq!(
        shown(&imported),
        [
            "wso2:1 no-hold",
            "share.sh:6 trap-before-lock",
            "share.sh:8 lock-survives-kill",
            "share.sh:9 bashism",
            "share.sh:12 delete-unguarded",
            "share.sh:12 no-timeout",
            "share.sh:12 exit-ignored",
            "share.sh:12 live-tree",
            "share.sh:12 host-keys-unchecked",
            "share.sh:14 bashism",
        ],
        "{:#?}",
        imported.findings
    );
    let hosts: Vec<_> = imported.edges.iter().map(|edge| edge.destination.host.clone().unwrap()).collect();
    assert_eq!(hosts, ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(imported.edges[0].rsh, ["ssh", "-i", "/home/wso2/.ssh/id_share", "-o", "StrictHostKeyChecking=no"]);
}

/// A log folder, a folder of the script's own, homes below that of the account, and list lines without the tree.
#[test]
fn homes_of_accounts_and_the_folder_of_the_script_may_be_in_the_paths() {
    let script = r#"#!/bin/sh
manager_home=~/esb-manager
trap 'rm -rf /var/lock/esb-share' EXIT
mkdir /tmp/share-logs/
if mkdir /var/lock/esb-share; then
    echo "this run is the only one" >&2
else
    echo "another run is at work" >&2
    exit 1
fi
pushd `dirname $0` > /dev/null
HERE=`pwd`
popd > /dev/null
for node in `cat ${HERE}/nodes-list.txt`
do
    echo "---- $node" >> /tmp/share-logs/log.txt
    rsync --delete -arve "ssh -i ~/.ssh/share.pem -o StrictHostKeyChecking=no" $manager_home/repository/deployment/server/ $node/repository/deployment/server/ >> /tmp/share-logs/log.txt
    echo "----" >> /tmp/share-logs/log.txt
done
"#;
    let list = "ubuntu@10.0.0.2:~/esb-worker\nubuntu@10.0.0.3:~/esb-worker/\n";
    let imported = Site { script, list, ..COPIED }.import();
    assert_eq!(
        shown(&imported),
        [
            "wso2:1 no-hold",
            "share.sh:3 trap-before-lock",
            "share.sh:5 lock-survives-kill",
            "share.sh:11 bashism",
            "share.sh:13 bashism",
            "share.sh:17 delete-unguarded",
            "share.sh:17 no-timeout",
            "share.sh:17 exit-ignored",
            "share.sh:17 live-tree",
            "share.sh:17 host-keys-unchecked",
        ],
        "{:#?}",
        imported.findings
    );
    assert_eq!(imported.edges.len(), 2);
    assert_eq!(imported.edges[0].destination.path, "~/esb-worker/repository/deployment/server/");
    let block = imported.files_block(&Rendering::new(Name::new("manager").unwrap())).unwrap();
    assert!(block.contains("tree = \"repository/deployment/server\"\n"), "{block}");
    assert!(block.contains("rsh = [\"ssh\", \"-i\", \"~/.ssh/share.pem\"]\n"), "{block}");
}

/// A lock that is touched, a status that is that of an echo, and a start by each change.
#[test]
fn the_variants_of_the_script_are_read_with_their_faults() {
    let script = r#"#!/bin/bash
LOCK=/tmp/share.lock
if [ -f $LOCK ]; then
    exit 0
fi
touch $LOCK
NODES=/opt/share/nodes-list.txt
while read line; do
    rsync -avz --delete --timeout=60 -e ssh /opt/esb/repository/deployment/server $line
    echo "copied to $line"
    if [ $? -eq 0 ]; then
        logger "share: well"
    fi
done < $NODES
rm -f $LOCK
"#;
    let cron = "/opt/esb/repository/deployment/server IN_CREATE,IN_DELETE,IN_CLOSE_WRITE /opt/share/share.sh\n";
    let list = "wso2@esb2:/opt/esb/repository/deployment/server\nwso2@esb3:/opt/esb/repository/deployment\n";
    let imported = Site { cron, script, list }.import();
    assert_eq!(
        shown(&imported),
        [
            "wso2:1 event-push",
            "wso2:1 no-hold",
            "share.sh:6 lock-survives-kill",
            "share.sh:6 touch-as-lock",
            "share.sh:9 delete-unguarded",
            "share.sh:9 live-tree",
            "share.sh:9 source-without-slash",
            "share.sh:11 exit-of-another",
        ],
        "{:#?}",
        imported.findings
    );
    let targets: Vec<_> = imported.edges.iter().map(|edge| edge.target()).collect();
    assert_eq!(targets, ["/opt/esb/repository/deployment/server/server", "/opt/esb/repository/deployment/server"]);
}

#[test]
fn a_finding_is_told_in_one_line_with_its_place_and_its_fix() {
    let imported = COPIED.import();
    let text = imported.findings[1].to_string();
    assert!(
        text.starts_with("/opt/share/share.sh:6: danger: the trap is armed before /var/lock/esb-share is taken"),
        "{text}"
    );
    assert!(text.ends_with("; arm the trap in the line after the lock was taken [trap-before-lock]"), "{text}");
    assert!(imported.findings.iter().all(|finding| finding.severity == finding.rule.severity()));
    let odd = Site { list: "a\u{1b}[31m b\n", ..CLEAN };
    assert!(odd.import().findings.iter().all(|finding| !finding.to_string().contains('\u{1b}')));
}

#[test]
fn a_job_in_a_comment_is_held() {
    for cron in [
        "# off (ops, 3 May): * * * * * /opt/share/share.sh\n",
        "#* * * * * /opt/share/share.sh\n",
        "# * * * * * /opt/share/share.sh\n",
        "x=1\n  ##@hourly /opt/share/share.sh",
    ] {
        let imported = Site { cron, ..CLEAN }.import();
        let line = cron.lines().count();
        assert_eq!(shown(&imported), [format!("wso2:{line} held-by-comment")], "{cron}");
        assert!(imported.jobs[0].is_held && imported.edges.len() == 2, "{cron}");
        assert_eq!(imported.findings[0].severity, Severity::Review);
    }
    // A comment that speaks of it, and a leftover of a job that runs, hold nothing.
    for beside in
        ["# runs /opt/share/share.sh each minute\n", "#*/5 * * * * /opt/share/share.sh\n", "#* * * * * /opt/other.sh\n"]
    {
        let cron = format!("{beside}* * * * * /opt/share/share.sh\n");
        assert_eq!(shown(&Site { cron: &cron, ..CLEAN }.import()), [] as [&str; 0], "{cron}");
    }
}

#[test]
fn the_copy_may_be_in_the_crontab_itself() {
    let cron = "* * * * * wso2 flock -n /run/s.lock timeout 50 rsync -a /opt/esb/repository/deployment/server/ wso2@esb2:/opt/esb/.stage/server\n";
    let imported = import(&Sources::new().with_crontab("/etc/cron.d/share", cron.as_bytes()));
    assert_eq!(shown(&imported), ["share:1 no-hold"]);
    let job = &imported.jobs[0];
    assert_eq!((job.account.as_deref(), job.locks[0].path.as_str()), (Some("wso2"), "/run/s.lock"));
    assert_eq!(imported.edges[0].destination.host.as_deref(), Some("esb2"));
}

#[test]
fn the_script_is_found_however_the_job_calls_it() {
    let commands = [
        "/opt/share/share.sh",
        "/bin/bash /opt/share/share.sh",
        "cd /opt/share && ./share.sh",
        "sudo -u wso2 nice -n 10 bash -x /opt/share/share.sh --all",
        "su - wso2 -c '/opt/share/share.sh'",
        "bash -c \"/opt/share/share.sh\"",
        "[ -x /opt/share/share.sh ] && /opt/share/share.sh",
        "$SHARE/share.sh",
        "/opt/$NOWHERE/share.sh",
        "/opt/share/share.sh 2>&1 | logger -t share",
    ];
    for command in commands {
        let cron = format!("SHARE=/opt/share\n*/5 * * * * {command}\n");
        let imported = Site { cron: &cron, ..CLEAN }.import();
        assert_eq!((shown(&imported), imported.edges.len()), (vec![], 2), "{command}");
    }
}

#[test]
fn lists_are_found_however_the_script_loops() {
    let at = "while read -r node; do";
    let end = "done <\"$LIST\"";
    let with = |begin: &str, done: &str| {
        let script = CLEAN.script.replace(at, begin).replace(end, done);
        // What leaves the comments out need not pass over them in the loop.
        let is_filtered = script.contains("grep") || script.contains("sed");
        let passes = "    case $node in '' | '#'*) continue ;; esac\n";
        if is_filtered { script.replace(passes, "") } else { script }
    };
    let scripts = [
        with("for node in $(grep -v '^#' \"$LIST\"); do", "done"),
        with("for node in `grep -v '^ *#' $LIST`; do", "done"),
        with("grep -v '^#' \"$LIST\" | while IFS= read -r node; do", "done"),
        with("cat $LIST | grep -v '#' | sort | while read node\ndo", "done"),
        with("NODES=$(grep -v '^#' /opt/share/nodes-list.txt)\nfor node in $NODES; do", "done"),
        with("while read -r node; do", "done < <(grep -v '^#' \"$LIST\")"),
        with("while read -r node; do", "done < ${OTHER:-nodes-list.txt}"),
        with("OTHER=\nwhile read -r node; do", "done < ${OTHER:-nodes-list.txt}"),
        with("for node in $(sed '/^#/d' $LIST); do", "done"),
        with("share() {\nwhile read -r node; do", "done <\"$1\"\n}\nshare \"$LIST\""),
        with("for node in wso2@esb2:/opt/esb/.stage/server/ wso2@esb3:/opt/esb/.stage/server/; do", "done <\"$LIST\""),
    ];
    for script in scripts {
        let imported = Site { script: &script, ..CLEAN }.import();
        let listed = !script.contains("in wso2@esb2");
        let expected: &[&str] = if listed { &[] } else { &["nodes-list.txt:0 not-understood"] };
        assert_eq!(shown(&imported), expected, "{script}");
        assert_eq!(imported.edges.len(), 2, "{script}");
    }
}

#[test]
fn hosts_and_paths_may_be_told_apart() {
    let script = CLEAN
        .script
        .replace("read -r node", "read -r node path")
        .replace("\"$node\"; then", "\"wso2@$node:$path/\"; then");
    let list = "esb2 /opt/a/.stage\nesb3   /opt/b/.stage\n";
    let imported = Site { script: &script, list, ..CLEAN }.import();
    assert_eq!(imported.findings, []);
    let paths: Vec<_> = imported.edges.iter().map(|edge| edge.destination.path.as_str()).collect();
    assert_eq!(paths, ["/opt/a/.stage/", "/opt/b/.stage/"]);
}

#[test]
fn files_that_were_not_given_are_asked_for() {
    let without = |script: bool, list: bool| {
        let mut sources = Sources::new().with_crontab(CRON, CLEAN.cron.as_bytes());
        if script {
            sources = sources.with_script(SCRIPT, CLEAN.script.as_bytes());
        }
        if list {
            sources = sources.with_list(LIST, CLEAN.list.as_bytes());
        }
        shown(&import(&sources))
    };
    assert_eq!(without(false, false), ["wso2:3 script-not-given"]);
    assert!(
        import(&Sources::new().with_crontab(CRON, CLEAN.cron.as_bytes())).findings[0]
            .what
            .contains("/opt/share/share.sh")
    );
    assert_eq!(without(true, false), ["share.sh:10 list-not-given"]);
    assert_eq!(without(false, true), ["wso2:3 script-not-given", "nodes-list.txt:0 not-understood"]);
    let alone =
        import(&Sources::new().with_script(SCRIPT, CLEAN.script.as_bytes()).with_list(LIST, CLEAN.list.as_bytes()));
    assert_eq!((alone.findings.len(), alone.edges.len(), alone.jobs.len()), (0, 2, 0));
}

#[test]
fn what_another_script_sets_is_known_where_it_was_given() {
    let script = CLEAN.script.replace("SOURCE=/opt/esb/repository/deployment/server/", ". /opt/share/settings");
    let sources = Site { script: &script, ..CLEAN }.sources();
    let settings = b"SOURCE=/opt/esb/repository/deployment/server/\n";
    let imported = import(&sources.clone().with_script("/opt/share/settings", settings));
    assert_eq!((shown(&imported), imported.edges.len()), (vec![], 2));
    assert!(shown(&import(&sources)).contains(&"share.sh:4 not-understood".to_string()));
}

#[test]
fn the_remote_shell_may_come_from_the_environment() {
    let script = CLEAN.script.replace(" -e \"ssh -i /opt/share/key\"", "");
    let rsh = |script: &str| {
        let imported = Site { script, ..CLEAN }.import();
        assert_eq!((shown(&imported), imported.edges.len()), (vec![], 2));
        imported.edges[0].rsh.join(" ")
    };
    assert_eq!(rsh(&script.replace("failed=0", "export RSYNC_RSH='ssh -p 22'")), "ssh -p 22");
    assert_eq!(rsh(&script.replace("if ! rsync", "if ! RSYNC_RSH='ssh -p 23' OTHER=x rsync")), "ssh -p 23");
    assert_eq!(rsh(&script.replace("failed=0", "OTHER='ssh -p 22'")), "");
}

#[test]
fn a_list_alone_is_checked_line_by_line() {
    let list =
        b"# nodes\nesb2\nwso2@esb3\nwso2@esb4:/opt/esb\n\ntwo words\n/opt/esb\nesb5:\nesb2\nother@esb4:/opt/esb\n";
    assert_eq!(
        shown(&import(&Sources::new().with_list(LIST, list))),
        [
            "nodes-list.txt:0 not-understood",
            "nodes-list.txt:6 list-line",
            "nodes-list.txt:7 list-line",
            "nodes-list.txt:8 list-line",
            "nodes-list.txt:9 destination-twice",
            "nodes-list.txt:10 destination-twice",
        ]
    );
}
