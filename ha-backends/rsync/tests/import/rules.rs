//! Each rule where it finds something, and where it must not.

use std::collections::BTreeSet;

use ha_rsync::import::{Rule, Severity, Sources, import};

use super::{CLEAN, COPIED, SCRIPT, Site, shown};

/// Where a row changes the site that has nothing wrong.
#[derive(Clone, Copy, Debug)]
enum In {
    Cron,
    Script,
    List,
}
use In::{Cron, List, Script};

type Row<'t> = (In, &'t str, &'t str, &'t [&'t str]);

fn changed((place, from, to, _): &Row<'_>) -> Vec<String> {
    let text = match place {
        Cron => CLEAN.cron,
        Script => CLEAN.script,
        List => CLEAN.list,
    };
    assert_eq!(text.matches(from).count(), 1, "{from:?}");
    let text = text.replace(from, to);
    let site = match place {
        Cron => Site { cron: &text, ..CLEAN },
        Script => Site { script: &text, ..CLEAN },
        List => Site { list: &text, ..CLEAN },
    };
    shown(&site.import())
}

const FLOCK: &str = "exec 9>\"$LOCK\"\nflock -n 9 || exit 0\n";
const COPY: &str = "rsync -a --delete --max-delete=50 --timeout=30 -e \"ssh -i /opt/share/key\" \"$SOURCE\" \"$node\"";
const BRANCH: &str = "    if ! rsync -a --delete --max-delete=50 --timeout=30 -e \"ssh -i /opt/share/key\" \"$SOURCE\" \"$node\"; then\n        \
                      echo \"no files for $node\" >&2\n        failed=1\n    fi\n";
const PLAIN: &str =
    "    rsync -a --delete --max-delete=50 --timeout=30 -e \"ssh -i /opt/share/key\" \"$SOURCE\" \"$node\"";
const HOLD: &str = "[ -e /opt/share/hold ] && exit 0\n";
const MARKER: &str = "[ -e \"${SOURCE}.shared-tree\" ] || exit 1\n";
const JOB: &str = "* * * * * /opt/share/share.sh\n";

fn check(rows: &[Row<'_>]) {
    for row in rows {
        assert_eq!(changed(row), row.3, "{row:?}");
    }
}

#[test]
fn locks() {
    let mkdir = "if ! mkdir \"$LOCK\"; then exit 0; fi\ntrap 'rmdir \"$LOCK\"' EXIT\n";
    let early = "trap 'rmdir \"$LOCK\"' EXIT\nif ! mkdir \"$LOCK\"; then exit 0; fi\n";
    let by_function = "finish() { rm -rf $LOCK; }\ntrap finish EXIT\nmkdir $LOCK || exit 0\n";
    let late_function = "finish() { rm -rf $LOCK; }\nmkdir $LOCK || exit 0\ntrap finish EXIT\n";
    let other = "trap 'rm -f /tmp/log' EXIT\nexec 9>\"$LOCK\"\nflock -n 9 || exit 0\n";
    let flock_early = "trap 'rm -f \"$LOCK\"' EXIT\nexec 9>\"$LOCK\"\nflock -n 9 || exit 0\n";
    let touch = "if touch \"$LOCK\"; then\ntrue\nfi\n";
    let test_then_touch = "[ -f \"$LOCK\" ] && exit 0\ntouch \"$LOCK\"\n";
    let pid_file = "if [ -e \"$LOCK\" ]; then exit 0; fi\necho $$ > \"$LOCK\"\n";
    let noclobber = "set -o noclobber\n: > \"$LOCK\" || exit 0\n";
    let grouped = "(\nflock -n 9 || exit 0\n) 9>\"$LOCK\"\n";
    check(&[
        (Script, FLOCK, mkdir, &["share.sh:5 lock-survives-kill"]),
        (Script, FLOCK, early, &["share.sh:5 trap-before-lock", "share.sh:6 lock-survives-kill"]),
        (Script, FLOCK, by_function, &["share.sh:6 trap-before-lock", "share.sh:7 lock-survives-kill"]),
        (Script, FLOCK, late_function, &["share.sh:6 lock-survives-kill"]),
        (Script, FLOCK, other, &[]),
        (Script, FLOCK, flock_early, &["share.sh:5 trap-before-lock"]),
        (Script, FLOCK, touch, &["wso2:3 overlap", "share.sh:5 lock-survives-kill", "share.sh:5 touch-as-lock"]),
        (
            Script,
            FLOCK,
            test_then_touch,
            &["wso2:3 overlap", "share.sh:6 lock-survives-kill", "share.sh:6 touch-as-lock"],
        ),
        (Script, FLOCK, pid_file, &["wso2:3 overlap", "share.sh:6 lock-survives-kill", "share.sh:6 touch-as-lock"]),
        (
            Script,
            FLOCK,
            "mkdir -p \"$LOCK\" || exit 0\n",
            &["wso2:3 overlap", "share.sh:5 lock-survives-kill", "share.sh:5 touch-as-lock"],
        ),
        (Script, FLOCK, noclobber, &["share.sh:6 lock-survives-kill"]),
        (Script, FLOCK, "ln -s $$ \"$LOCK\" || exit 0\n", &["share.sh:5 lock-survives-kill"]),
        (Script, FLOCK, grouped, &[]),
        (Script, FLOCK, "touch /opt/share/last-run\nexec 9>\"$LOCK\"\nflock -n 9 || exit 0\n", &[]),
        (Script, FLOCK, "", &["wso2:3 overlap"]),
        (
            Script,
            FLOCK,
            "trap 'rm -rf /tmp/x \"$LOCK\"' EXIT\nmkdir \"$LOCK\" || exit\n",
            &["share.sh:5 trap-before-lock", "share.sh:6 lock-survives-kill"],
        ),
        (
            Script,
            FLOCK,
            "mkdir /tmp/a || exit\nmkdir /tmp/b || exit\n",
            &["share.sh:5 lock-survives-kill", "share.sh:6 lock-survives-kill"],
        ),
        (Script, FLOCK, "mkdir -m 700 \"$LOCK\" || exit\n", &["share.sh:5 lock-survives-kill"]),
        (
            Script,
            FLOCK,
            "mkdir --parents \"$LOCK\" || exit\n",
            &["wso2:3 overlap", "share.sh:5 lock-survives-kill", "share.sh:5 touch-as-lock"],
        ),
        (Script, FLOCK, "set -u\n: > \"$LOCK\" || exit 0\n", &["wso2:3 overlap"]),
        (Script, FLOCK, "set -C\n: > \"$LOCK\"\n", &["wso2:3 overlap"]),
        (
            Script,
            FLOCK,
            "[ -e own.pid ] && exit\necho $$ > own.pid\n",
            &["wso2:3 overlap", "share.sh:6 lock-survives-kill", "share.sh:6 touch-as-lock"],
        ),
        (Script, FLOCK, "exec 9>\"$LOCK\"\nflock -w 5 9\n", &["wso2:3 overlap", "share.sh:6 lock-unread"]),
        (Script, FLOCK, "exec 9>\"$LOCK\"\nflock -n 9\n", &["wso2:3 overlap", "share.sh:6 lock-unread"]),
        (Script, FLOCK, "exec 9>\"$LOCK\"\nflock 9\n", &[]),
        (Script, FLOCK, "exec 9>\"$LOCK\"\nif ! flock -w 5 9; then exit 1; fi\n", &[]),
        (Script, FLOCK, "set -e\nexec 9>\"$LOCK\"\nflock -n 9\n", &[]),
        (Script, FLOCK, "exec 9>\"$LOCK\"\nflock -sn 9 || exit 0\n", &["wso2:3 overlap"]),
    ]);
}

#[test]
fn jobs() {
    let second = "* * * * * /opt/share/share.sh\n*/5 * * * * /opt/share/share.sh --again\n";
    let locked_twice = "* * * * * flock -n /a /opt/share/share.sh\n*/5 * * * * flock -n /a /opt/share/share.sh -x\n";
    check(&[
        (Cron, JOB, second, &["wso2:4 second-job"]),
        (Cron, JOB, locked_twice, &["wso2:4 second-job"]),
        (Cron, JOB, "* * * * * /opt/share/share.sh\n*/5 * * * * echo x\n", &[]),
        (Cron, JOB, "@reboot /opt/share/share.sh\n", &["wso2:3 startup-only"]),
        (Cron, JOB, "@hourly /opt/share/share.sh\n", &[]),
        (Cron, JOB, "/opt/esb/repository IN_CREATE,IN_MODIFY /opt/share/share.sh $@/$#\n", &["wso2:3 event-push"]),
        (Cron, JOB, "* * * * * /opt/share/share.sh >/dev/null 2>&1\n", &["wso2:3 output-discarded"]),
        (Cron, JOB, "* * * * * /opt/share/share.sh >/dev/null\n", &[]),
        (Cron, JOB, "* * * * * /opt/share/share.sh &>/dev/null\n", &["wso2:3 output-discarded", "wso2:3 bashism"]),
        (
            Cron,
            JOB,
            "* * * * * /opt/share/share.sh >> /var/log/s-$(date +%F).log\n",
            &["wso2:3 percent", "wso2:3 not-understood"],
        ),
        (Cron, JOB, "* * * * * /opt/share/share.sh >> /var/log/s-$(date +\\%F).log\n", &[]),
        (Cron, JOB, "* * * * * /opt/share/share.sh\n0 3 * * * /opt/other.sh\n", &["wso2:4 script-not-given"]),
        (Cron, JOB, "* * * * * /opt/share/share.sh\n* * * * run it\n", &["wso2:4 not-understood"]),
        (Cron, JOB, "* * * * * /opt/share/share.sh 2>/dev/null\n", &[]),
        (Cron, JOB, "* * * * * /opt/share/share.sh >/tmp/log 2>/dev/null\n", &[]),
        (Cron, JOB, "* * * * * /opt/share/share.sh >/dev/null 2>/tmp/log\n", &[]),
        (Cron, JOB, "* * * * * /opt/share/share.sh >/tmp/log 2>&1\n", &[]),
        (Cron, JOB, "* * * * * /opt/share/share.sh 1>/dev/null 2>/dev/null\n", &["wso2:3 output-discarded"]),
        (Cron, JOB, "* * * * * /opt/share/share.sh\n0 3 * * * /opt/other x\n", &["wso2:4 script-not-given"]),
        (Script, HOLD, "", &["wso2:3 no-hold"]),
        (Script, HOLD, "[ -e /opt/share/hold ] && echo held && exit 0\n", &[]),
        (Script, HOLD, "[ \"$1\" = /a ] && exit 0\n", &["wso2:3 no-hold"]),
        (Script, HOLD, "[ -e /run/lock/share.lock ] && exit 0\n", &["wso2:3 no-hold"]),
        (Script, HOLD, "if [ -f /opt/share/hold ]; then echo held; exit 0; fi\n", &[]),
        (Script, HOLD, "[ ! -e /opt/share/hold ] || exit 0\n", &[]),
        (Script, HOLD, "[ -e /opt/share/hold ] && echo held\n", &["wso2:3 no-hold"]),
        (
            Script,
            FLOCK,
            "inotifywait -e create /opt/esb\nexec 9>\"$LOCK\"\nflock -n 9 || exit 0\n",
            &["share.sh:5 event-push"],
        ),
    ]);
    // A hold that is looked for before the lock is no hold: a run may be between the two.
    let early = CLEAN.script.replace(HOLD, "").replace(FLOCK, &format!("{HOLD}{FLOCK}"));
    assert_eq!(shown(&Site { script: &early, ..CLEAN }.import()), ["wso2:3 no-hold"]);
}

#[test]
fn a_lock_that_only_one_of_two_jobs_takes_keeps_nobody_away() {
    let script = CLEAN.script.replace(FLOCK, "");
    let at = |cron: &str| shown(&Site { cron, script: &script, ..CLEAN }.import());
    let one = "* * * * * flock -n /a /opt/share/share.sh\n0 * * * * /opt/share/share.sh\n";
    assert_eq!(at(one), ["wso2:2 lock-on-one-side", "wso2:2 overlap", "wso2:2 second-job"]);
    let turned = "0 * * * * /opt/share/share.sh\n* * * * * flock -n /a /opt/share/share.sh\n";
    assert_eq!(at(turned), ["wso2:1 lock-on-one-side", "wso2:1 overlap", "wso2:2 second-job"]);
    let different = "* * * * * flock -n /a /opt/share/share.sh\n0 * * * * flock -n /b /opt/share/share.sh\n";
    assert_eq!(at(different), ["wso2:2 lock-on-one-side", "wso2:2 second-job"]);
    let same = "* * * * * flock -n /a /opt/share/share.sh\n0 * * * * flock -n /a /opt/share/share.sh\n";
    assert_eq!(at(same), ["wso2:2 second-job"]);
    // Two scripts on one tree are two jobs on it as well.
    let cron = "* * * * * /opt/share/share.sh\n0 1 * * * /opt/share/night.sh\n";
    let sources = Site { cron, ..CLEAN }.sources().with_script("/opt/share/night.sh", script.as_bytes());
    assert_eq!(shown(&import(&sources)), ["wso2:2 lock-on-one-side", "wso2:2 overlap", "wso2:2 second-job"]);
}

#[test]
fn copies() {
    let unlimited = COPY.replace("--max-delete=50 ", "");
    let no_timeout = COPY.replace("--timeout=30 ", "");
    let alive = no_timeout.replace("ssh -i", "ssh -o ServerAliveInterval=5 -i");
    let limited = format!("timeout 60 {no_timeout}");
    let unchecked = |option: &str| COPY.replace("ssh -i", &format!("ssh {option} -i"));
    let no = unchecked("-o StrictHostKeyChecking=no");
    let null = unchecked("-oUserKnownHostsFile=/dev/null");
    let new = unchecked("-o 'StrictHostKeyChecking accept-new'");
    let yes = unchecked("-o StrictHostKeyChecking=yes");
    let glob = COPY.replace("\"$SOURCE\"", "${SOURCE}*");
    let bare = COPY.replace("\"$SOURCE\"", "/opt/esb/repository/deployment/server");
    let excluded = COPY.replace("-e ", "--exclude /tmp/ --exclude=/log/audit.log -e ");
    let pattern = COPY.replace("-e ", "--exclude '*.tmp' -e ");
    let odd = COPY.replace("-a ", "-au --bwlimit=100 ");
    let dry = COPY.replace("-a ", "-an ");
    let unknown = COPY.replace("-a ", "-a$MORE ");
    check(&[
        (Script, COPY, &unlimited, &[]),
        (Script, COPY, &no_timeout, &["share.sh:12 no-timeout"]),
        (Script, COPY, &alive, &[]),
        (Script, COPY, &limited, &[]),
        (Script, COPY, &no, &["share.sh:12 host-keys-unchecked"]),
        (Script, COPY, &null, &["share.sh:12 host-keys-unchecked"]),
        (Script, COPY, &new, &["share.sh:12 host-keys-on-first-use"]),
        (Script, COPY, &yes, &[]),
        (Script, COPY, &glob, &["share.sh:12 source-glob"]),
        (Script, COPY, &bare, &["share.sh:12 source-without-slash"]),
        (Script, COPY, &excluded, &[]),
        (Script, COPY, &pattern, &["share.sh:12 exclude-pattern"]),
        (Script, COPY, &odd, &["share.sh:12 option-not-taken", "share.sh:12 option-not-taken"]),
        (Script, COPY, &unknown, &["share.sh:12 not-understood", "nodes-list.txt:0 not-understood"]),
        (
            Script,
            COPY,
            &COPY.replace("-a ", "-a --$MORE "),
            &["share.sh:12 option-not-taken", "share.sh:12 not-understood", "nodes-list.txt:0 not-understood"],
        ),
        (Script, COPY, &dry, &["nodes-list.txt:0 not-understood"]),
        (
            List,
            "esb2:/opt/esb/.stage/server/",
            "esb2:/opt/esb/repository/deployment/server",
            &["share.sh:12 live-tree"],
        ),
        (List, "esb2:/opt/esb/.stage/server/", "esb2:/opt/esb/repository/components", &[]),
    ]);
    let site = CLEAN.list.replace(".stage/server", "repository/deployment/server");
    let delayed = CLEAN.script.replace("--delete ", "--delete --delay-updates ");
    assert_eq!(shown(&Site { script: &delayed, list: &site, ..CLEAN }.import()), ["share.sh:12 live-tree-mixed"]);
    let excluded = CLEAN.script.replace("--delete --max-delete=50", "--delete-excluded").replace(MARKER, "");
    assert_eq!(
        shown(&Site { script: &excluded, ..CLEAN }.import()),
        ["share.sh:11 delete-unguarded", "share.sh:11 option-not-taken"]
    );
    // A source without a slash is right where its destination is the folder above.
    let (above, list) = (CLEAN.script.replace(COPY, &bare), CLEAN.list.replace("/server/", "/"));
    assert_eq!(shown(&Site { script: &above, list: &list, ..CLEAN }.import()), [] as [&str; 0]);
}

#[test]
fn what_guards_a_deletion() {
    let unlimited = CLEAN.script.replace("--max-delete=50 ", "");
    let found = ["share.sh:11 delete-unguarded"];
    let rows: [(&str, &[&str]); 9] = [
        (MARKER, &[]),
        ("if [ ! -f $SOURCE/.marker ]; then exit 1; fi\n", &[]),
        ("test -s \"${SOURCE}carbonapps/main.car\" || { echo empty >&2; exit 1; }\n", &[]),
        ("mountpoint -q /opt/esb || exit 1\n", &[]),
        ("[ \"$(ls -A /opt/esb/repository/deployment/server)\" ] || exit 1\n", &[]),
        ("[ -d $SOURCE ] || exit 1\n", &found),
        ("[ -e $SOURCE/.marker ] && exit 1\n", &found),
        ("[ -e $SOURCE/.marker ]\n", &found),
        ("[ -e /elsewhere/.marker ] || exit 1\n", &found),
    ];
    for (guard, expected) in rows {
        let script = unlimited.replace(MARKER, guard).replace("--delete ", "--delete --partial ");
        let shift = guard.lines().count();
        let expected: Vec<String> = expected.iter().map(|text| text.replace("11", &(11 + shift).to_string())).collect();
        assert_eq!(shown(&Site { script: &script, ..CLEAN }.import()), expected, "{guard}");
    }
}

#[test]
fn exit_statuses() {
    let with = |behind: &str| format!("{PLAIN}{behind}\n");
    let ignored: &[&str] = &["share.sh:12 exit-ignored"];
    let rows: [(&str, &[&str]); 15] = [
        ("", ignored),
        (" || failed=1", &[]),
        (" || true", ignored),
        (" && echo well", &[]),
        (
            "\n    rsync -a --timeout=9 /b/ esb2:/b/ || failed=1\n    [ $? -eq 0 ] || failed=1",
            &["share.sh:12 exit-ignored", "share.sh:13 several-trees"],
        ),
        (" &", ignored),
        ("\n    rc=$?", &[]),
        ("\n    if [ $? -ne 0 ]; then failed=1; fi", &[]),
        ("\n    echo copied\n    if [ $? -eq 0 ]; then echo well; fi", &["share.sh:14 exit-of-another"]),
        (" | tee /tmp/log", ignored),
        (" | tee /tmp/log\n    [ $? -eq 0 ] || failed=1", &["share.sh:13 exit-of-another"]),
        ("; echo \"it was $?\"", &[]),
        ("\n    echo well", ignored),
        ("\n    echo ${PIPESTATUS[0]}", ignored),
        ("\n    unset x; [ $? = 0 ] && y=1", &["share.sh:13 exit-of-another"]),
    ];
    for (behind, expected) in rows {
        let script = CLEAN.script.replace(BRANCH, &with(behind));
        assert_ne!(script, CLEAN.script);
        assert_eq!(shown(&Site { script: &script, ..CLEAN }.import()), expected, "{behind}");
    }
    let stops = CLEAN.script.replace(BRANCH, &with(""));
    let well: &[&str] = &[];
    for (begin, expected) in [("#!/bin/bash -e", well), ("#!/bin/bash -x", ignored)] {
        let script = stops.replace("#!/bin/bash", begin);
        assert_eq!(shown(&Site { script: &script, ..CLEAN }.import()), expected, "{begin}");
    }
    let piped = CLEAN.script.replace(BRANCH, &with(" | tee /tmp/log")).replace("failed=0", "set -eo pipefail");
    assert_eq!(shown(&Site { script: &piped, ..CLEAN }.import()), [] as [&str; 0]);
    let captured = CLEAN.script.replace(BRANCH, &format!("out=$({COPY} 2>&1)\n    [ $? -eq 0 ] || failed=1\n"));
    assert_eq!(shown(&Site { script: &captured, ..CLEAN }.import()), [] as [&str; 0]);
    let piped = piped.replace("set -eo pipefail", "set -e");
    assert_eq!(shown(&Site { script: &piped, ..CLEAN }.import()), ignored);
    for (group, expected) in
        [(format!("( {COPY}; echo x ) || failed=1"), ignored), (format!("{{ {COPY}; }} || failed=1"), well)]
    {
        let script = CLEAN.script.replace(BRANCH, &format!("    {group}\n"));
        assert_eq!(shown(&Site { script: &script, ..CLEAN }.import()), expected, "{group}");
    }
    let group = CLEAN.script.replace(BRANCH, &format!("    ( {COPY} ) || failed=1\n"));
    assert_eq!(shown(&Site { script: &group, ..CLEAN }.import()), [] as [&str; 0]);
}

#[test]
fn lists() {
    let at = "wso2@esb3:/opt/esb/.stage/server/";
    let line = &["nodes-list.txt:3 list-line"];
    check(&[
        (List, at, "esb3", line),
        (List, at, "wso2@esb3", line),
        (List, at, "/opt/esb/server", line),
        (List, at, "wso2@esb3:", line),
        (List, at, "-oProxyCommand=x:/y", line),
        (List, at, "wso2@esb3:/opt two", line),
        (List, at, "esb3::module/x", line),
        (List, at, "wso2@esb2:/opt/esb/.stage/server", &["nodes-list.txt:3 destination-twice"]),
        (List, at, "other@esb2:/opt/esb/.stage/server/", &["nodes-list.txt:3 destination-twice"]),
        (List, at, "wso2@esb2:/opt/esb-b/.stage/server/", &[]),
        (List, at, "wso2@esb1:/opt/x/", &["nodes-list.txt:3 destination-own-host"]),
        (List, at, "localhost:/opt/x/", &["nodes-list.txt:3 destination-own-host"]),
        (List, at, "wso2@127.0.0.1:/opt/x/", &["nodes-list.txt:3 destination-own-host"]),
        (List, at, "wso2@esb3:stage", &["nodes-list.txt:3 not-understood"]),
        (List, at, "# esb3 is away", &[]),
        (List, at, "", &[]),
        (List, at, "wso2@esb3:/opt/esb/.stage/server/\r", &["nodes-list.txt:3 carriage-return"]),
        (List, at, "wso2@esb3:/opt/\u{0}", &["nodes-list.txt:3 not-text"]),
        (Script, "    case $node in '' | '#'*) continue ;; esac\n", "    [[ $node == '#'* ]] && continue\n", &[]),
        // Nothing in this loop passes over a comment.
        (Script, "    case $node in '' | '#'*) continue ;; esac\n", "", &["nodes-list.txt:1 list-line"]),
    ]);
}

#[test]
fn shells() {
    let bash = "#!/bin/bash";
    let rows: [(&str, &str, &[&str]); 9] = [
        ("#!/bin/sh", "pushd /opt", &["share.sh:5 bashism"]),
        ("#!/bin/sh", "[[ -d /opt ]]", &["share.sh:5 bashism"]),
        ("#!/usr/bin/env dash", "declare -a x", &["share.sh:5 bashism"]),
        ("# no first line", "x=(a b)", &["share.sh:5 bashism"]),
        ("#!/bin/sh", "x=${LOCK//a/b}", &["share.sh:5 bashism"]),
        ("#!/bin/sh", "x=${LOCK%/*}${LOCK#*/}${LOCK:-y}", &[]),
        (bash, "pushd /opt", &[]),
        ("#!/usr/bin/env bash", "[[ -d /opt ]]", &[]),
        ("#!/usr/bin/perl", "x", &["share.sh:1 not-understood", "nodes-list.txt:0 not-understood"]),
    ];
    for (begin, line, expected) in rows {
        let script = CLEAN.script.replace(bash, begin).replace(FLOCK, &format!("{line}\n{FLOCK}"));
        assert_eq!(shown(&Site { script: &script, ..CLEAN }.import()), expected, "{begin} {line}");
    }
    // Who starts a script by a shell does not ask its first line.
    let script = CLEAN.script.replace(bash, "#!/bin/sh").replace(FLOCK, &format!("pushd /opt\n{FLOCK}"));
    let by = |shell: &str| {
        let cron = format!("* * * * * {shell} /opt/share/share.sh\n");
        shown(&Site { cron: &cron, script: &script, ..CLEAN }.import())
    };
    assert_eq!((by("bash"), by("/bin/sh").len()), (vec![], 1));
}

#[test]
fn an_ssh_in_the_loop_reads_the_list() {
    let before = |ssh: &str| format!("    {ssh}\n{BRANCH}");
    let rows: [(&str, &[&str]); 6] = [
        ("ssh esb2 true", &["share.sh:12 ssh-reads-list"]),
        ("ssh -n esb2 true", &[]),
        ("ssh -o BatchMode=yes -n esb2 true", &[]),
        ("ssh -oConnectTimeout=5 -p 22n -q esb2 -n", &["share.sh:12 ssh-reads-list"]),
        ("ssh esb2 true </dev/null", &[]),
        ("echo x | ssh esb2 cat", &[]),
    ];
    for (ssh, expected) in rows {
        let script = CLEAN.script.replace(BRANCH, &before(ssh));
        assert_eq!(shown(&Site { script: &script, ..CLEAN }.import()), expected, "{ssh}");
    }
    let outside = CLEAN.script.replace("failed=0", "ssh esb2 true");
    assert_eq!(shown(&Site { script: &outside, ..CLEAN }.import()), [] as [&str; 0]);
}

#[test]
fn what_is_not_understood_is_said_with_its_line() {
    let line = &["share.sh:9 not-understood"];
    let unread: &[&str] = &["share.sh:12 not-understood", "nodes-list.txt:0 not-understood"];
    let at = "failed=0";
    check(&[
        (Script, at, "/usr/local/bin/announce esb", line),
        (Script, at, "eval \"$COMMAND\"", line),
        (Script, at, ". /opt/share/settings", line),
        (Script, at, "$TOOL --run", line),
        (Script, at, "ssh esb2 rsync -a /x/ esb3:/x/", line),
        (Script, at, "find /opt -exec rsync {} esb2:/x \\;", line),
        (Script, at, "fi", line),
        (Script, at, "echo <<END\nrsync -a /a/ b:/a/\nEND", &["share.sh:10 not-understood"]),
        (Script, at, "echo rsync", &[]),
        (Script, at, "f() { true; }\nf() { false; }", &["share.sh:10 not-understood"]),
        (Script, at, "./night.sh x", &["share.sh:9 script-not-given"]),
        (Script, at, ". /opt/share/night.bash", line),
        (Script, at, "python3 -m this", line),
        (
            Script,
            "while read -r node; do",
            "while next node; do",
            &["share.sh:10 not-understood", "share.sh:12 not-understood", "nodes-list.txt:0 not-understood"],
        ),
        (Script, "SOURCE=/opt/esb/repository/deployment/server/", "SOURCE=$ESB_HOME/", unread),
        (Script, "SOURCE=/opt/esb/repository/deployment/server/", "SOURCE=$(readlink /x)/", unread),
        (Script, "SOURCE=/opt/esb/repository/deployment/server/", "[ -d /a ] && SOURCE=/a/", unread),
        (Script, at, "if [ -d /a ]; then SOURCE=/a/; fi", unread),
        (Script, at, "case $1 in a) SOURCE=/a/;; esac", unread),
        (Script, at, "for x in a b; do SOURCE=/$x/; done", unread),
        (Script, at, "if [ -d /a ]; then x=/a/; echo $x; elif [ -d /b ]; then x=/b/; else x=/c/; fi", &[]),
        (Script, "\"$node\"; then", "\"${node%%:*}:/opt\"; then", unread),
        (
            Script,
            "done <\"$LIST\"",
            "done < <(mysql -e 'select')",
            &["share.sh:10 not-understood", "nodes-list.txt:0 not-understood"],
        ),
    ]);
    let open = CLEAN.script.replace("failed=0", "failed='0");
    assert!(shown(&Site { script: &open, ..CLEAN }.import()).contains(&"share.sh:9 not-understood".to_string()));
}

#[test]
fn copies_that_are_no_push_are_looked_at() {
    let one = |ends: &str| {
        let script =
            format!("#!/bin/sh\nexec 9>/l\nflock -n 9 || exit\n[ -e /h ] && exit\nrsync -a --timeout=9 {ends}\n");
        shown(&Site { script: &script, list: "", ..CLEAN }.import())
            .into_iter()
            .filter(|text| !text.starts_with("nodes"))
            .collect::<Vec<_>>()
    };
    assert_eq!(one("/mnt/share/ /opt/esb/shared/"), ["share.sh:5 local-copy"]);
    assert_eq!(one("wso2@esb9:/opt/shared/ /opt/esb/shared/"), ["share.sh:5 pull"]);
    assert_eq!(one("esb2:/a/ esb3:/a/"), ["share.sh:5 not-understood"]);
    assert_eq!(one("/only"), ["share.sh:5 not-understood"]);
    assert_eq!(one("/a/ esb3:/a/"), [] as [&str; 0]);
    assert_eq!(
        one("/a/ esb3:/a/\nrsync -a --timeout=9 /b/ esb3:/b/"),
        ["share.sh:5 exit-ignored", "share.sh:6 several-trees"]
    );
}

/// The rows of the table in the module's documentation.
#[test]
fn the_table_of_the_documentation_has_every_rule_with_its_severity() {
    let text = include_str!("../../src/import/mod.rs");
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let rows: Vec<(&str, &str)> = rows
        .map(|row| {
            let (id, rest) = row.split_once("` | ").unwrap();
            (id, rest.split(" | ").next().unwrap())
        })
        .collect();
    let rules: Vec<_> = Rule::ALL.iter().map(|rule| (rule.id(), rule.severity().to_string())).collect();
    assert_eq!(rows, rules.iter().map(|(id, severity)| (*id, severity.as_str())).collect::<Vec<_>>());
    assert_eq!(rules.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), rules.len());
    let is_id = |id: &str| id.chars().all(|char| char.is_ascii_lowercase() || char == '-');
    assert!(Rule::ALL.iter().all(|rule| is_id(rule.id()) && !rule.fix().is_empty()));
    assert!(Severity::Advice < Severity::Danger);
    let tested = concat!(include_str!("rules.rs"), include_str!("found.rs"));
    let untested: Vec<_> = Rule::ALL.iter().filter(|rule| !tested.contains(&format!(" {rule}\""))).collect();
    assert!(untested.is_empty(), "no row finds {untested:?}");
    assert!(COPIED.import().findings.iter().any(|finding| finding.severity == Severity::Danger));
}

#[test]
fn lists_that_are_split_or_chosen_otherwise_are_not_guessed() {
    let passes = "    case $node in '' | '#'*) continue ;; esac\n";
    let chosen = CLEAN.script.replace(passes, "").replace("done <\"$LIST\"", "done < <(grep -v '^esb9' \"$LIST\")");
    assert_eq!(shown(&Site { script: &chosen, ..CLEAN }.import()), ["nodes-list.txt:1 list-line"]);
    let split = CLEAN.script.replace("while read", "while IFS=: read");
    assert_eq!(
        shown(&Site { script: &split, ..CLEAN }.import()),
        ["share.sh:10 not-understood", "nodes-list.txt:0 not-understood"]
    );
}

#[test]
fn a_copy_inside_the_test_of_a_marker_is_guarded() {
    let one = |test: &str| {
        let copy = "rsync -a --delete --timeout=9 /a/ esb3:/a/";
        let script = format!("#!/bin/sh\nexec 9>/l\nflock -n 9 || exit\n[ -e /h ] && exit\n{test}; then {copy}; fi\n");
        let sources = Sources::new().with_crontab("c", CLEAN.cron.as_bytes()).with_script(SCRIPT, script.as_bytes());
        shown(&import(&sources))
    };
    assert_eq!(one("if [ -e /a/.marker ]"), [] as [&str; 0]);
    assert_eq!(one("if ! [ -e /a/.marker ]"), ["share.sh:5 delete-unguarded"]);
    assert_eq!(one("if [ ! -e /a/.marker ]"), ["share.sh:5 delete-unguarded"]);
}
