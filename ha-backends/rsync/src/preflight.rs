//! What later calls need on a node, looked for beforehand.

use ha_core::backend::StepError;
use ha_core::topology::Name;

use crate::inner::Inner;
use crate::remote::READ;

/// The first rsync that compares times by the nanosecond.
const OLDEST: [u32; 3] = [3, 1, 3];

impl Inner {
    pub(crate) async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        let op = "missing";
        let remote = self.remote(op, node)?;
        let ran = remote.ask(op, &["check"], READ).await?;
        if !ran.is_success() {
            return Err(remote.refused(op, &ran).without_effect());
        }
        let tree = remote.tree();
        let mut missing: Vec<String> = ran.stdout.lines().filter_map(|line| meaning(line, tree)).collect();
        let Ok(writer) = self.writer(op, node).await else { return Ok(missing) };
        if writer.node.name != *node {
            let reached = writer.ask(op, &["reach", &remote.node.destination], READ).await?;
            if !reached.is_success() {
                let cause = writer.refused(op, &reached);
                missing.push(format!(
                    "setting rsh: {} does not reach it as {}: {cause}; correct rsh or destinations, or let its key log in",
                    writer.node.name, remote.node.destination
                ));
            }
        }
        Ok(missing)
    }
}

/// Reads one line of the node's program; `None` where nothing is missing.
fn meaning(line: &str, tree: &str) -> Option<String> {
    match line.split_once(' ') {
        Some(("program", program)) => Some(format!("file sharing: there is no program {program}: install it")),
        Some(("rsync", version)) => {
            let version = version.trim().strip_prefix("version ")?.split(' ').next()?;
            let number =
                |part: &str| part.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0);
            let parts: Vec<u32> = version.split('.').take(3).map(number).collect();
            let is_old = parts.as_slice() < OLDEST.as_slice();
            is_old.then(|| format!("file sharing: rsync {version} is too old: install 3.1.3 or later"))
        }
        Some(_) => None,
        None => match line {
            "tree" => Some(format!(
                "setting tree: it writes the shared files, and {tree} is no folder: put the first set there"
            )),
            "set" => Some(format!(
                "setting tree: {tree} holds no .ha-generation with a number: write the number of its set there"
            )),
            "link" => Some(format!(
                "setting publish: {tree} is a folder, and with \"switch\" it is a link to a release: move it into {tree}.releases \
                 and link it, or give \"in-place\""
            )),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_check_has_one_meaning() {
        for (line, named) in [
            ("program flock", Some("program flock")),
            ("rsync  version 3.0.9  protocol version 30", Some("3.0.9 is too old")),
            ("rsync  version 3.1.2  protocol version 31", Some("3.1.2 is too old")),
            ("rsync  version v2.6.9  protocol version 29", Some("too old")),
            ("rsync  version 3.1.3  protocol version 31", None),
            ("rsync  version 3.2.7  protocol version 31", None),
            ("rsync  version 3.4.1pre1  protocol version 32", None),
            ("tree", Some("/t is no folder")),
            ("set", Some(".ha-generation")),
            ("link", Some("in-place")),
            ("", None),
            ("openrsync: protocol version 29", None),
        ] {
            let meant = meaning(line, "/t");
            match named {
                Some(named) => assert!(meant.as_ref().is_some_and(|meant| meant.contains(named)), "{line}: {meant:?}"),
                None => assert_eq!(meant, None, "{line}"),
            }
        }
    }
}
