use super::super::finding::Rule;
use super::super::shell::{Join, Section};
use super::super::trace::{Act, AroundKind};
use super::{Out, Run};

pub(super) fn run(run: &Run, out: &mut Out<'_>) {
    for call in &run.calls {
        let (act, later) = (&run.trace.acts[call.act], &run.trace.acts[call.act + 1..]);
        match read(run, act, later) {
            Read::Itself | Read::PassedOn => {}
            Read::Nothing => {
                let what = "nothing reads whether rsync went well: a node that gets nothing is not noticed";
                out.add(Rule::ExitIgnored, call.at, what);
            }
            Read::Other(other) => {
                let what = format!(
                    "the exit status that is read is not that of rsync in line {}, but of the command in between",
                    call.at.1
                );
                out.add(Rule::ExitOfAnother, other.at, what);
            }
        }
    }
}

enum Read<'r> {
    /// The status of rsync is read.
    Itself,
    /// It is that of the run.
    PassedOn,
    Nothing,
    /// The status of another command is read, here.
    Other(&'r Act),
}

fn read<'r>(run: &'r Run, act: &Act, later: &'r [Act]) -> Read<'r> {
    let in_condition = act.path.last().is_some_and(|(_, section)| *section == Section::Condition);
    let in_loop = act.path.iter().any(|(block, _)| matches!(run.trace.blocks[*block].kind, AroundKind::Loop { .. }));
    let next = later.first();
    // What is captured is behind its command: the one that takes it comes next, and its status is that of rsync.
    let (next, later) =
        if act.is_captured { (later.get(1), later.get(1..).unwrap_or_default()) } else { (next, later) };
    match status_join(run, act, next) {
        Join::Or => {
            let is_nothing = next.is_some_and(|next| next.is(&["true", ":"]));
            return if is_nothing { Read::Nothing } else { Read::Itself };
        }
        Join::And => return Read::Itself,
        Join::Background => return Read::Nothing,
        Join::Pipe if !act.pipefail => {
            let behind = later.iter().skip_while(|act| act.then == Join::Pipe).skip(1);
            let reader = behind.take(2).find(|act| act.reads_status);
            return reader.map_or(Read::Nothing, Read::Other);
        }
        Join::Pipe | Join::Next => {}
    }
    if in_condition || act.stops {
        return Read::Itself;
    }
    let Some(next) = next else { return if in_loop { Read::Nothing } else { Read::PassedOn } };
    if next.reads_status {
        return Read::Itself;
    }
    let same_round = later.iter().take_while(|later| !later.is_copy() && later.path.starts_with(&act.path));
    same_round.into_iter().find(|later| later.reads_status).map_or(Read::Nothing, Read::Other)
}

/// Returns what joins the command to the next; behind the last one of a group, what joins the group.
fn status_join(run: &Run, act: &Act, next: Option<&Act>) -> Join {
    let mut then = act.then;
    for (depth, (block, _)) in act.path.iter().enumerate().rev() {
        let around = &run.trace.blocks[*block];
        let is_last = !next.is_some_and(|next| next.path.len() > depth && next.path[..=depth] == act.path[..=depth]);
        if then != Join::Next || !is_last || !matches!(around.kind, AroundKind::Group) {
            break;
        }
        then = around.then;
    }
    then
}
