use super::super::field::Field;
use super::super::finding::Rule;
use super::super::model::{Lock, LockKind};
use super::super::trace::{Act, At, Trace};
use super::{Out, Run, is_test};

/// A lock that a run takes.
#[derive(Clone, Debug)]
pub(in super::super) struct Taken {
    /// Its place among the acts.
    pub(in super::super) act: usize,
    pub(in super::super) at: At,
    pub(in super::super) kind: LockKind,
    pub(in super::super) path: String,
}

impl Taken {
    pub(in super::super) fn all(trace: &Trace) -> Vec<Self> {
        let mut locks: Vec<Self> = Vec::new();
        for (number, act) in trace.acts.iter().enumerate() {
            if let Some((kind, path)) = taken(trace, number, act)
                && !locks.iter().any(|lock| lock.path == path && lock.kind == kind)
            {
                locks.push(Self { act: number, at: act.at, kind, path });
            }
        }
        locks
    }

    pub(in super::super) fn told(&self, out: &Out<'_>) -> Lock {
        Lock { kind: self.kind, path: self.path.clone(), at: out.place(self.at) }
    }
}

fn taken(trace: &Trace, number: usize, act: &Act) -> Option<(LockKind, String)> {
    let operand = || act.operands().last().map(Field::shown);
    let is_parents = |text: String| {
        let is_short = text.starts_with('-') && !text.starts_with("--");
        text == "--parents" || (is_short && text.contains('p'))
    };
    let makes_always = act.fields.iter().filter_map(Field::text).any(is_parents);
    match act.name().as_str() {
        "flock" => {
            let waits = act.fields.get(1).is_some_and(|field| field.shown() == "--wait");
            let kind = if waits || act.is_tested() || act.stops { LockKind::Flock } else { LockKind::Unread };
            Some((kind, locked_file(trace, number, &operand()?)))
        }
        "mkdir" if !makes_always && (act.is_tested() || act.stops) => Some((LockKind::Exclusive, operand()?)),
        "ln" if act.is_tested() => Some((LockKind::Exclusive, operand()?)),
        "lockfile" | "lockfile-create" | "dotlockfile" => Some((LockKind::Exclusive, operand()?)),
        "mkdir" | "touch" => {
            let path = operand()?;
            let meant =
                is_lock_name(&path) || was_tested(trace, number, &path) || (act.name() == "touch" && act.is_tested());
            meant.then_some((LockKind::TestThenSet, path))
        }
        _ => {
            let writes = act
                .redirects
                .iter()
                .find(|redirect| redirect.operator == ">" && redirect.fd.is_none_or(|fd| fd == 1))?;
            let path = writes.target.shown();
            let is_kept = trace.acts[..number].iter().any(keeps_files) && act.is_tested();
            let kind = if is_kept { LockKind::Exclusive } else { LockKind::TestThenSet };
            let meant = path != "/dev/null" && (is_kept || was_tested(trace, number, &path));
            meant.then_some((kind, path))
        }
    }
}

/// Tells whether from here on `>` makes new files only.
fn keeps_files(act: &Act) -> bool {
    act.name() == "set" && act.fields.iter().skip(1).any(|field| ["-C", "noclobber"].contains(&field.shown().as_str()))
}

fn was_tested(trace: &Trace, number: usize, path: &str) -> bool {
    trace.acts[..number].iter().any(|act| is_test(act) && act.fields.iter().any(|field| field.shown() == path))
}

fn is_lock_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    name.contains("lock") || name.contains(".lck")
}

/// Returns the file that a descriptor leads to.
fn locked_file(trace: &Trace, number: usize, operand: &str) -> String {
    let Ok(fd) = operand.parse::<u32>() else { return operand.into() };
    let act = &trace.acts[number];
    let around = act.path.iter().rev().flat_map(|(block, _)| &trace.blocks[*block].redirects);
    let before = trace.acts[..number].iter().rev().filter(|act| act.name() == "exec").flat_map(|act| &act.redirects);
    let found = act.redirects.iter().chain(around).chain(before).find(|redirect| redirect.fd == Some(fd));
    found.map_or_else(|| format!("descriptor {fd}"), |redirect| redirect.target.shown())
}

pub(super) fn run(run: &Run, out: &mut Out<'_>) {
    for lock in &run.locks {
        match lock.kind {
            LockKind::Flock => {}
            LockKind::Unread => {
                let what = format!("nothing reads whether {} was taken: the run goes on without it", lock.path);
                out.add(Rule::LockUnread, lock.at, what);
            }
            LockKind::Exclusive => {
                let what = format!(
                    "a run that is killed, or cut by a power loss, leaves {}: nothing is copied any more",
                    lock.path
                );
                out.add(Rule::LockSurvivesKill, lock.at, what);
            }
            LockKind::TestThenSet => {
                let what = format!("two runs can both take {}: to make it does not fail where it is there", lock.path);
                out.add(Rule::TouchAsLock, lock.at, what);
                let what = format!("a run that is killed leaves {}", lock.path);
                out.add(Rule::LockSurvivesKill, lock.at, what);
            }
        }
        for trap in &run.trace.traps {
            let removes = |act: &Act| {
                act.is(&["rm", "rmdir", "unlink", "lockfile-remove"])
                    && act.operands().any(|field| field.shown() == lock.path)
            };
            if trap.before <= lock.act && trap.acts.iter().any(removes) {
                let what = format!(
                    "the trap is armed before {} is taken: a run that finds it taken deletes it at its end, and the next one runs beside its owner",
                    lock.path
                );
                out.add(Rule::TrapBeforeLock, trap.at, what);
            }
        }
    }
}
