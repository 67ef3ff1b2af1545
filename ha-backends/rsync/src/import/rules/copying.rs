use super::super::edges::{Call, place};
use super::super::finding::{Finding, Rule};
use super::super::model::Edge;
use super::super::shell::Section;
use super::super::trace::{Act, AroundKind};
use super::{Out, Run, is_inside, is_negated, is_test, leads_out};

/// Folders that a server looks into for what is new.
const WATCHED: [&str; 6] =
    ["repository/deployment", "repository/tenants", "carbonapps", "webapps", "deployments", "autodeploy"];

/// Folders beside a tree, for what takes its place later; hidden ones are such too.
const BESIDE: [&str; 3] = ["releases", "stage", "staging"];

pub(super) fn run(run: &Run, out: &mut Out<'_>) {
    for call in &run.calls {
        unguarded(run, call, out);
        without_timeout(run, call, out);
        live_tree(call, out);
        slashes(call, out);
        host_keys(call, out);
        left_out(call, out);
    }
    reads_list(run, out);
}

/// Measured: an empty or unmounted source wiped every reader, and rsync ended with 0.
fn unguarded(run: &Run, call: &Call, out: &mut Out<'_>) {
    let sources: Vec<&str> = call.edges.iter().map(|edge| edge.source.folder()).collect();
    let is_guard = |number: usize| {
        let act = &run.trace.acts[number];
        let below = |path: &str| {
            sources
                .iter()
                .any(|source| path.strip_prefix(source).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1))
        };
        let paths: Vec<String> = act.operands().map(|field| field.shown()).collect();
        let looks = is_test(act)
            && paths
                .iter()
                .any(|path| below(path) || sources.iter().any(|source| path.contains("ls ") && path.contains(source)));
        let mounted = act.name() == "mountpoint"
            && paths.iter().any(|path| sources.iter().any(|source| source.starts_with(path.as_str())));
        let holds = leads_out(&run.trace, number, !is_negated(act))
            || (is_inside(&run.trace, number, call.act) && !is_negated(act));
        (looks || mounted) && holds
    };
    let guarded = call.copy.max_delete.is_some() || (0..call.act).any(is_guard);
    if call.copy.deletes && !guarded {
        let what = "--delete without a limit: an empty or unmounted source empties every destination, and rsync reports success";
        out.add(Rule::DeleteUnguarded, call.at, what);
    }
}

/// Measured: one dead destination held the loop for ever, and with it the lock.
fn without_timeout(run: &Run, call: &Call, out: &mut Out<'_>) {
    let is_over_ssh = call.edges.is_empty()
        || call.edges.iter().any(|edge| edge.source.host.is_some() || edge.destination.host.is_some());
    let is_set = call.copy.timeout.as_ref().is_some_and(|field| field.shown() != "0");
    let keeps_alive = |edge: &Edge| ssh_option(edge, "serveraliveinterval").is_some_and(|value| value != "0");
    let by_ssh = !call.edges.is_empty() && call.edges.iter().all(keeps_alive);
    if is_over_ssh && !is_set && !by_ssh && !run.trace.acts[call.act].timed {
        let what = "no --timeout: a destination that is dead holds the run, and its lock, for ever";
        out.add(Rule::NoTimeout, call.at, what);
    }
}

/// Measured: with readers at work, half of their reads saw files of two sets; with --delay-updates for 104 ms a copy.
fn live_tree(call: &Call, out: &mut Out<'_>) {
    let is_watched = |edge: &&Edge| {
        let target = format!("{}/", edge.target());
        let beside = target.split('/').any(|part| part.starts_with('.') || BESIDE.contains(&part));
        !beside && WATCHED.iter().any(|folder| target.contains(&format!("/{folder}/")))
    };
    let Some(edge) = call.edges.iter().find(is_watched) else { return };
    let target = edge.target();
    if call.copy.delays_updates {
        let what = format!("{target} changes while a server watches it: for a moment it has files of two sets");
        out.add(Rule::LiveTreeMixed, call.at, what);
    } else {
        let what = format!("{target} changes file by file while a server watches it: it deploys half of a set");
        out.add(Rule::LiveTree, call.at, what);
    }
}

fn slashes(call: &Call, out: &mut Out<'_>) {
    for edge in &call.edges {
        let last = edge.source.path.rsplit('/').next().unwrap_or_default();
        if last.contains(['*', '?', '[']) {
            let what = format!(
                "{} is a pattern: hidden files stay behind, and nothing is deleted at the top",
                edge.source.path
            );
            out.add(Rule::SourceGlob, call.at, what);
        } else if !last.is_empty() && edge.destination.folder().rsplit('/').next() == Some(last) {
            let what = format!("{} has no slash at its end: the files land in {}", edge.source.path, edge.target());
            out.add(Rule::SourceWithoutSlash, call.at, what);
        }
    }
}

/// Returns the value of an option of ssh, in lower case, as `-o Name=value` or `-oName value`.
fn ssh_option(edge: &Edge, name: &str) -> Option<String> {
    let mut words = edge.rsh.iter();
    while let Some(word) = words.next() {
        let Some(text) = word.strip_prefix("-o") else { continue };
        let text = if text.is_empty() { words.next()?.as_str() } else { text };
        let (key, value) = text.split_once(['=', ' '])?;
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().to_ascii_lowercase());
        }
    }
    None
}

/// Tells whether a word of the remote shell turns the check of host keys off.
pub(in super::super) fn is_unchecked(option: &str) -> bool {
    let Some((key, value)) = option.split_once(['=', ' ']) else { return false };
    let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase());
    match key.as_str() {
        "stricthostkeychecking" => ["no", "off", "accept-new"].contains(&value.as_str()),
        "userknownhostsfile" | "globalknownhostsfile" => value == "/dev/null",
        _ => false,
    }
}

fn host_keys(call: &Call, out: &mut Out<'_>) {
    let of = |name| call.edges.iter().find_map(|edge| ssh_option(edge, name));
    let checking = of("stricthostkeychecking");
    let forgets = of("userknownhostsfile").is_some_and(|value| value == "/dev/null");
    match checking.as_deref() {
        Some("no" | "off") => {
            let what = "host keys are not checked: whoever answers for a node's address gets the files";
            out.add(Rule::HostKeysUnchecked, call.at, what);
        }
        _ if forgets => {
            out.add(Rule::HostKeysUnchecked, call.at, "the known host keys are read from /dev/null: there are none");
        }
        Some("accept-new") => {
            out.add(Rule::HostKeysOnFirstUse, call.at, "the key of a new host is taken as it comes");
        }
        Some(_) | None => {}
    }
}

/// What the settings of the backend do not hold.
fn left_out(call: &Call, out: &mut Out<'_>) {
    let is_path = |pattern: &str| super::super::render::local_only(pattern).is_some();
    for field in call.copy.excludes.iter().filter(|field| !is_path(&field.shown())) {
        let what = format!(
            "the exclude {:?} matches in any folder, or by a pattern: it is no path below the tree",
            field.shown()
        );
        out.add(Rule::ExcludePattern, call.at, what);
    }
    for option in &call.copy.odd {
        out.add(Rule::OptionNotTaken, call.at, format!("the option {option}"));
    }
    for edge in call
        .edges
        .iter()
        .filter(|edge| edge.destination.host.is_some() && !edge.destination.path.starts_with(['/', '~']))
    {
        let what = format!("{} is a path below the account's home", edge.destination.path);
        out.findings.push(Finding::new(Rule::NotUnderstood, place(edge), what));
    }
}

/// ssh reads its input to the end: in a loop that reads a list, the rest of the list.
fn reads_list(run: &Run, out: &mut Out<'_>) {
    for act in run.trace.acts.iter().filter(|act| act.name() == "ssh") {
        let reads = |(block, section): &(usize, Section)| {
            let in_loop = matches!(run.trace.blocks[*block].kind, AroundKind::Loop { reads_input: true, .. });
            in_loop && *section == Section::Body
        };
        let has_no_input = super::super::commands::ssh_reads_nothing(&act.fields)
            || act.redirects.iter().any(|redirect| redirect.operator == "<");
        if act.path.iter().any(reads) && !has_no_input && !is_fed(run, act) {
            let what = "ssh reads the rest of the list: the loop ends behind its first line";
            out.add(Rule::SshReadsList, act.at, what);
        }
    }
}

/// Tells whether another command's output is its input.
fn is_fed(run: &Run, act: &Act) -> bool {
    let before = run.trace.acts.iter().take_while(|one| !std::ptr::eq(*one, act)).last();
    before.is_some_and(|before| before.then == super::Join::Pipe)
}
