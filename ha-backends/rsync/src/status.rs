use std::time::{Duration, SystemTime};

use ha_core::backend::Shared;
use ha_core::state::{Generation, Sync, WriterEpoch};

/// One hold of the sync into a node. A sync is open again when the last one is gone; each is taken away by its owner alone.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Hold {
    /// Who holds it: `ha` for the engine, or the name of a person or a tool.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Since when, by the clock of the node.
    pub since: SystemTime,
}

/// What the state of one node says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Status {
    pub(crate) writer: WriterEpoch,
    pub(crate) seen: WriterEpoch,
    pub(crate) is_running: bool,
    /// Whether it is held, and nothing has shown yet that no copy comes past the gate.
    pub(crate) is_unproven: bool,
    pub(crate) holds: Vec<Hold>,
    pub(crate) generation: Option<Generation>,
}

impl Status {
    /// Reads what `ha-files status` prints; `None` where a line is missing or is none of its own.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut status, mut writer, mut seen) = (Self::default(), None, None);
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "writer" => writer = Some(WriterEpoch::new(rest.parse().ok()?)),
                "seen" => seen = Some(WriterEpoch::new(rest.parse().ok()?)),
                "running" => status.is_running = true,
                "unproven" => status.is_unproven = true,
                "held" => status.holds.push(hold(rest)?),
                "generation" => {
                    let (number, digest) = rest.split_once(' ')?;
                    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
                    status.generation = Some(Generation::new(number.parse().ok()?, is_digest.then_some(digest)?));
                }
                _ => return None,
            }
        }
        (status.writer, status.seen) = (writer?, seen?);
        Some(status)
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.writer > WriterEpoch::default()
    }

    pub(crate) fn held_by(&self, owner: &str) -> bool {
        self.holds.iter().any(|hold| hold.owner == owner)
    }

    pub(crate) fn shared(&self) -> Shared {
        let sync = match (self.is_writer(), self.is_running || self.is_unproven, self.holds.is_empty()) {
            (true, _, _) => Sync::None,
            (false, true, _) => Sync::Running,
            (false, false, false) => Sync::Held,
            (false, false, true) => Sync::Active,
        };
        Shared::new(sync, self.generation.clone()).with_writer(self.writer, self.seen)
    }
}

fn hold(text: &str) -> Option<Hold> {
    let mut words = text.splitn(3, ' ');
    let (since, owner) = (words.next()?.parse().ok()?, words.next()?);
    let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))?;
    Some(Hold { owner: owner.into(), reason: words.next().unwrap_or_default().into(), since })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_one_meaning_and_what_is_none_has_none() {
        let digest = "ab".repeat(32);
        let status = Status::parse(&format!(
            "writer 0\nseen 4\nheld 1700000000 alice tests the new build\nheld 1700000001 ha lease epoch 3\n\
             generation 7 {digest}\n"
        ));
        let status = status.unwrap();
        assert_eq!((status.writer.number(), status.seen.number(), status.holds.len()), (0, 4, 2));
        assert_eq!((status.holds[0].owner.as_str(), status.holds[0].reason.as_str()), ("alice", "tests the new build"));
        assert_eq!(status.generation, Some(Generation::new(7, digest)));
        assert_eq!(status.shared().sync, Sync::Held);
        assert_eq!(Status::parse("running 4 5 \nwriter 0\nseen 0\n").unwrap().shared().sync, Sync::Running);
        assert_eq!(Status::parse("writer 3\nseen 3\n").unwrap().shared().sync, Sync::None);
        for odd in ["", "writer 1\n", "seen 1\n", "writer x\nseen 1\n", "writer 1\nseen 1\ngeneration 7\n", "no\n"] {
            assert_eq!(Status::parse(odd), None, "{odd:?}");
        }
        for odd in ["generation 7 zz", "held", "held x y", "held 99999999999999999999 a"] {
            assert_eq!(Status::parse(&format!("writer 1\nseen 1\n{odd}\n")), None, "{odd:?}");
        }
    }
}
