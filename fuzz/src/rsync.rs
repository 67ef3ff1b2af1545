use ha_core::topology::Name;
use ha_rsync::import::{End, Imported, Rendering, Schedule, Sources, Trigger, import};

pub(crate) const CRON: &[u8] = b"* * * * * /opt/share/share.sh\n";
pub(crate) const SCRIPT: &[u8] =
    b"#!/bin/sh\nfor node in $(grep -v '^#' /opt/share/nodes.txt); do\n    rsync -a --delete \
    /opt/esb/repository/deployment/server/ $node || exit 1\ndone\n";
pub(crate) const LIST: &[u8] = b"wso2@esb2:/opt/esb/repository/deployment/server/\n";

/// A crontab: jobs and findings name lines that are there, and a schedule is one when it is read again.
pub fn rsync_cron(data: &[u8]) {
    let imported = read(data, SCRIPT, LIST);
    for job in &imported.jobs {
        assert!((1..=lines(data)).contains(&job.at.line), "{job:?}");
        if let Trigger::Schedule(schedule) = &job.trigger {
            assert_eq!(Schedule::parse(schedule.text()).as_ref(), Some(schedule));
            let minutes = schedule.shortest_gap().as_secs() / 60;
            assert!((1..=24 * 60).contains(&minutes), "{schedule} every {minutes} min");
        }
    }
}

/// A script: whatever it has, nothing is made up.
pub fn rsync_script(data: &[u8]) {
    let imported = read(CRON, data, LIST);
    let text = String::from_utf8_lossy(data);
    assert!(
        imported.edges.is_empty() || text.contains("rsync") || text.contains('\\') || text.contains(['"', '\'', '$'])
    );
    for edge in &imported.edges {
        assert!(!edge.source.path.is_empty() && !edge.destination.path.is_empty(), "{edge:?}");
    }
}

/// A list: every destination is a line of it, and reads as one by itself.
pub fn rsync_list(data: &[u8]) {
    let imported = read(CRON, SCRIPT, data);
    let text = String::from_utf8_lossy(data);
    for edge in &imported.edges {
        let line = edge.listed_at.as_ref().map_or(0, |at| at.line);
        let listed = text.lines().nth(line.wrapping_sub(1)).unwrap_or_default();
        assert!(listed.contains(&edge.destination.path), "{edge:?} is not in line {line}");
        assert!(listed.split_whitespace().any(|word| End::parse(word).as_ref() == Some(&edge.destination)), "{edge:?}");
        assert!(edge.destination.host.as_ref().is_some_and(|host| !host.starts_with('-')), "{edge:?}");
    }
}

/// Imports, and holds what is true of any files: the lines of findings are there, and a block that is written names each host.
pub(crate) fn read(cron: &[u8], script: &[u8], list: &[u8]) -> Imported {
    let sources = Sources::new()
        .with_crontab("/etc/crontabs/wso2", cron)
        .with_script("/opt/share/share.sh", script)
        .with_list("/opt/share/nodes.txt", list);
    let imported = import(&sources);
    for finding in &imported.findings {
        let last = match finding.file.as_str() {
            "/etc/crontabs/wso2" => lines(cron),
            "/opt/share/share.sh" => lines(script),
            _ => lines(list),
        };
        assert!(finding.line <= last, "{finding} of {last} lines");
        assert!(!finding.to_string().contains(['\n', '\r']), "{finding:?} takes more than a line");
    }
    let Ok(writer) = Name::new("esb1") else { return imported };
    if let Ok(block) = imported.files_block(&Rendering::new(writer)) {
        assert!(block.lines().all(|line| line.starts_with(['#', '[']) || line.contains(" = ")), "{block}");
    }
    imported
}

fn lines(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).lines().count()
}

/// What rsync and the program of the nodes print: read, or not, and nothing counted that is not there.
pub fn rsync_output(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    ha_rsync::fuzz::parse(text);
}
