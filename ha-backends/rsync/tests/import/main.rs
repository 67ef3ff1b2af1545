//! Crontabs, scripts and lists as they are found on managers, read and judged.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod block;
mod bytes;
mod found;
mod rules;

use ha_rsync::import::{Imported, Sources, import};

pub(crate) const CRON: &str = "/var/spool/cron/crontabs/wso2";
pub(crate) const SCRIPT: &str = "/opt/share/share.sh";
pub(crate) const LIST: &str = "/opt/share/nodes-list.txt";

/// One job, one script and one list, with nothing wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'t> {
    pub(crate) cron: &'t str,
    pub(crate) script: &'t str,
    pub(crate) list: &'t str,
}

pub(crate) const CLEAN: Site<'static> = Site {
    cron: "MAILTO=ops@example\n# files to the workers\n* * * * * /opt/share/share.sh\n",
    script: r##"#!/bin/bash
LOCK=/run/lock/share.lock
LIST=/opt/share/nodes-list.txt
SOURCE=/opt/esb/repository/deployment/server/
exec 9>"$LOCK"
flock -n 9 || exit 0
[ -e /opt/share/hold ] && exit 0
[ -e "${SOURCE}.shared-tree" ] || exit 1
failed=0
while read -r node; do
    case $node in '' | '#'*) continue ;; esac
    if ! rsync -a --delete --max-delete=50 --timeout=30 -e "ssh -i /opt/share/key" "$SOURCE" "$node"; then
        echo "no files for $node" >&2
        failed=1
    fi
done <"$LIST"
exit "$failed"
"##,
    list: "# the workers\nwso2@esb2:/opt/esb/.stage/server/\nwso2@esb3:/opt/esb/.stage/server/\n",
};

/// What sites run whose script was written down once and copied since: the same faults, in other words.
pub(crate) const COPIED: Site<'static> = Site {
    cron: "* * * * * /opt/share/share.sh\n",
    script: r#"#!/bin/sh
esb_home=/opt/esb
lock=/var/lock/esb-share
key=/home/wso2/.ssh/id_share

trap 'rm -rf "$lock"; exit 1' INT TERM EXIT

if mkdir "$lock"; then
    pushd `dirname $0`
    for worker in `cat nodes-list.txt`; do
        echo "copying to $worker"
        rsync --delete -arve "ssh -i $key -o StrictHostKeyChecking=no" $esb_home/repository/deployment/server/ $worker
    done
    popd
    rm -rf "$lock"
else
    echo "another run is at work"
fi
"#,
    list: "wso2@10.0.0.2:/opt/esb/repository/deployment/server/\nwso2@10.0.0.3:/opt/esb/repository/deployment/server/\n",
};

impl Site<'_> {
    pub(crate) fn sources(&self) -> Sources {
        let sources = Sources::new().with_crontab(CRON, self.cron.as_bytes());
        sources.with_script(SCRIPT, self.script.as_bytes()).with_list(LIST, self.list.as_bytes()).with_own_host("esb1")
    }

    pub(crate) fn import(&self) -> Imported {
        import(&self.sources())
    }
}

/// Shows findings as `file:line rule`, the last part of the file's name only.
pub(crate) fn shown(imported: &Imported) -> Vec<String> {
    let show = |file: &str, line: usize, rule: &str| format!("{}:{line} {rule}", file.rsplit('/').next().unwrap());
    imported.findings.iter().map(|one| show(&one.file, one.line, one.rule.id())).collect()
}
