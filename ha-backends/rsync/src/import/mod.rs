//! Reads the file sharing that is there already: a crontab, the script that it runs, and the list of nodes that the script loops
//! over.
//!
//! What many sites have is a job on the manager node that calls `rsync --delete` for each worker. [`import`] says what
//! such files do ([`Imported::jobs`], [`Imported::edges`]), which of it is unsafe or not understood ([`Imported::findings`]),
//! and writes it as the settings of this backend ([`Imported::files_block`]). Nothing is run and no file is opened: the caller
//! gives the bytes.
//!
//! A script is read as far as copying files needs it: variables, conditions, loops over a list, functions, traps, scripts that
//! it calls. What is beyond that is never guessed: it is a finding with its line (`not-understood`), and no block is written
//! until a person has said that it was looked at.
//!
//! # Rules
//!
//! | rule | severity | what can happen | fix |
//! |---|---|---|---|
//! | `trap-before-lock` | danger | A run that finds the lock taken deletes it at its end; the next run works beside the lock's owner. | Arm the trap in the line after the lock was taken. |
//! | `lock-survives-kill` | danger | A killed run, or a power loss, leaves the lock: nothing is copied until somebody notices. | Take the lock with `flock`. |
//! | `touch-as-lock` | danger | To make the file does not fail where it is there: two runs take it. | Take the lock with `flock -n`. |
//! | `lock-unread` | danger | `flock -n` fails and the run goes on without the lock. | `flock -n 9 \|\| exit`. |
//! | `lock-on-one-side` | danger | Two jobs on one tree take different locks, or one takes none: both run at once. | One lock for all jobs of a tree. |
//! | `overlap` | danger | cron starts a run while the last one is at work. | Start it through `flock -n`. |
//! | `second-job` | danger | Two jobs copy one tree: they overwrite each other, and who holds one holds nothing. | One job for each tree. |
//! | `event-push` | danger | incron or inotify starts a copy in the middle of a write, and many at once. | Copy from a release step or a timer. |
//! | `startup-only` | advice | The files are copied when the machine starts, and not again. | Give the job a schedule. |
//! | `held-by-comment` | review | The line is a comment: somebody holds the copies, or has given them up; nothing says who. | Ask, and hold a node by the gate of the backend. |
//! | `no-hold` | advice | Only an edit of the crontab or of the list holds the copies, and a run that is at work goes on. | Hold a node by the gate of the backend. |
//! | `percent` | danger | cron ends the command at a `%` without a backslash. | Write `\%`. |
//! | `output-discarded` | advice | What fails is not seen. | Send it to a log or to cron's mail. |
//! | `bashism` | danger | A plain `sh` does not know the word: `pushd` fails, and the list is looked for elsewhere. | `#!/bin/bash`, or plain words. |
//! | `delete-unguarded` | danger | An empty or unmounted source empties every node, and rsync reports success. | A marker file that is tested, and `--max-delete`. |
//! | `no-timeout` | danger | A dead node holds the run, and the lock, for ever. | `--timeout`, and ssh's `ConnectTimeout`. |
//! | `exit-ignored` | danger | A node that gets nothing is not noticed. | Test the status of rsync. |
//! | `exit-of-another` | danger | The status that is tested is that of an `echo` or of a pipe's end. | Keep `$?` in the next line. |
//! | `live-tree` | danger | The server deploys half of a set. | Copy beside the tree and rename, or with the node out of traffic. |
//! | `live-tree-mixed` | advice | For a moment the tree has files of two sets. | Take the node out of traffic. |
//! | `source-without-slash` | danger | The files land one folder deeper, where no server looks. | End the source with a slash. |
//! | `source-glob` | danger | Hidden files stay behind, and nothing is deleted at the top. | Name the folder. |
//! | `host-keys-unchecked` | danger | Whoever answers for a node's address gets the files. | Enter the keys into `known_hosts`. |
//! | `host-keys-on-first-use` | advice | Whoever answers first is the node. | Enter the keys into `known_hosts`. |
//! | `ssh-reads-list` | danger | An ssh in the loop reads the rest of the list: only the first node gets anything. | `ssh -n`. |
//! | `list-line` | danger | A line that is no destination fails each run, or copies into a local folder. | `user@host:path`, or no line. |
//! | `destination-twice` | danger | A node gets everything twice, and is held only half. | Remove a line. |
//! | `destination-own-host` | danger | The writer copies into its own tree. | Remove the destination. |
//! | `local-copy` | review | Both ends are on one machine: perhaps a pull from a mount. | Say which node is the writer. |
//! | `pull` | review | The readers fetch the files themselves: the job is on each of them. | Stop the job on each reader. |
//! | `carriage-return` | danger | The end of line becomes a part of the last word, as of a path. | Plain line ends. |
//! | `not-text` | review | Bytes that are no text. | Look by hand. |
//! | `exclude-pattern` | review | The exclude is no path below the tree: to leave it out would delete the nodes' own files. | Name the paths in `local_only`. |
//! | `option-not-taken` | review | The option changes what is copied or how, and no setting says it. | See whether the copy needs it. |
//! | `several-trees` | review | The backend shares one tree. | Choose it. |
//! | `script-not-given` | review | What the script does is not known: it may be a second writer. | Import again with it. |
//! | `list-not-given` | review | The destinations are not known. | Import again with it. |
//! | `not-understood` | review | What happens there is not known. | Look by hand. |
//!
//! # Examples
//!
//! ```
//! use ha_core::topology::Name;
//! use ha_rsync::import::{Rendering, Rule, Sources, import};
//!
//! let cron = b"* * * * * flock -n /run/share.lock rsync -a --timeout=30 --max-delete=50 --delete \
//!     /opt/esb/repository/deployment/server/ wso2@esb2:/opt/esb/repository/deployment/server/\n";
//! let imported = import(&Sources::new().with_crontab("crontab", cron));
//! assert_eq!(imported.edges.len(), 1);
//! assert!(imported.findings.iter().any(|finding| finding.rule == Rule::LiveTree && finding.line == 1));
//!
//! let block = imported.files_block(&Rendering::new(Name::new("esb1")?))?;
//! assert!(block.contains("destinations = [\"esb2=wso2@esb2\"]"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod commands;
mod copy;
mod cron;
mod edges;
mod field;
mod finding;
mod lists;
mod model;
mod render;
mod rules;
mod schedule;
mod shell;
mod text;
mod trace;
mod walk;

use std::collections::BTreeSet;

pub use cron::{CrontabForm, Trigger};
pub use finding::{Finding, Place, Rule, Severity};
pub use model::{Edge, End, Imported, Job, Lock, LockKind};
pub use render::{NotRendered, Rendering};
pub use schedule::Schedule;

use cron::{Crontab, Entry};
use edges::{Call, Lists};
use field::{Piece, Variables};
use rules::{Out, Run, Taken};
use shell::Script;
use text::Text;
use trace::Trace;

/// The files to read, each with its name on the machine that it is from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Sources {
    crontabs: Vec<(Text, CrontabForm)>,
    scripts: Vec<Text>,
    lists: Vec<Text>,
    own_hosts: Vec<String>,
}

impl Sources {
    /// Reads nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a crontab, or a table of incron. The name tells its form, see [`CrontabForm::of`].
    #[must_use]
    pub fn with_crontab(self, name: &str, bytes: &[u8]) -> Self {
        self.with_crontab_of(CrontabForm::of(name), name, bytes)
    }

    /// Adds a crontab of a form.
    #[must_use]
    pub fn with_crontab_of(mut self, form: CrontabForm, name: &str, bytes: &[u8]) -> Self {
        self.crontabs.push((Text::new(name, bytes), form));
        self
    }

    /// Adds a script. It is found where a command has its whole name or, where a folder is not known, the last part of it.
    #[must_use]
    pub fn with_script(mut self, name: &str, bytes: &[u8]) -> Self {
        self.scripts.push(Text::new(name, bytes));
        self
    }

    /// Adds a list of destinations. It is found as a script is.
    #[must_use]
    pub fn with_list(mut self, name: &str, bytes: &[u8]) -> Self {
        self.lists.push(Text::new(name, bytes));
        self
    }

    /// Adds a name or an address of the machine that the files are from.
    #[must_use]
    pub fn with_own_host(mut self, host: impl Into<String>) -> Self {
        self.own_hosts.push(host.into());
        self
    }
}

/// Reads what the files say about the sharing of files.
///
/// # Guarantees
/// Never panics, whatever the bytes; opens and runs nothing; gives the same answer for the same files. Each finding names a line
/// that is there.
pub fn import(sources: &Sources) -> Imported {
    let texts: Vec<Text> =
        sources.crontabs.iter().map(|(text, _)| text).chain(&sources.scripts).chain(&sources.lists).cloned().collect();
    let mut out = Out::new(&texts, &sources.own_hosts);
    texts.iter().for_each(|text| text.check(&mut out.findings));
    let first_script = sources.crontabs.len();
    let first_list = first_script + sources.scripts.len();
    let scripts: Vec<usize> = (first_script..first_list).collect();
    let list_numbers: Vec<usize> = (first_list..texts.len()).collect();
    let mut lists = Lists { texts: &texts, lists: &list_numbers, read: BTreeSet::new() };

    let mut runs = Vec::new();
    for (number, (_, form)) in sources.crontabs.iter().enumerate() {
        let crontab = Crontab::parse(&texts[number], *form);
        for line in &crontab.unclear {
            out.add(Rule::NotUnderstood, (number, *line), "the line is no job, no variable and no comment");
        }
        runs.extend(jobs(&texts, &scripts, number, &crontab, &mut lists, &mut out));
    }
    let reached: BTreeSet<usize> = runs.iter().flat_map(|run: &Run| run.trace.scripts.iter().copied()).collect();
    for script in scripts.iter().copied().filter(|script| !reached.contains(script)) {
        let trace = walk::walk_script(&texts, &scripts, script);
        runs.push(looked_at(trace, None, &mut lists, &mut out));
    }
    for run in &runs {
        rules::run(run, &mut out);
    }
    rules::together(&runs, &mut out);
    for list in list_numbers.iter().copied().filter(|list| !lists.read.contains(list)) {
        edges::check_alone(&texts[list], list, &mut out);
        out.add(Rule::NotUnderstood, (list, 0), "no script that was given reads this list");
    }
    let edges = distinct(&runs);
    several_trees(&edges, &runs, &mut out);
    let jobs = runs.into_iter().filter_map(|run| run.job).map(|(_, job)| job).collect();
    Imported { jobs, edges, findings: out.into_findings() }
}

/// Reads the jobs of a crontab that copy files, or may.
fn jobs(
    texts: &[Text],
    scripts: &[usize],
    number: usize,
    crontab: &Crontab,
    lists: &mut Lists<'_>,
    out: &mut Out<'_>,
) -> Vec<Run> {
    let value = |(name, value): &(String, String)| (name.clone(), vec![Piece::Text(value.clone())]);
    let variables: Variables = crontab.variables.iter().map(value).collect();
    let live: BTreeSet<&str> =
        crontab.entries.iter().filter(|entry| !entry.is_comment).map(|entry| entry.command.as_str()).collect();
    let mut runs = Vec::new();
    for entry in &crontab.entries {
        let at = (number, entry.line);
        let trace = walk::walk_line(texts, scripts, &variables, at, &entry.command);
        let is_ours = trace.copies().next().is_some() || !trace.scripts.is_empty();
        if !is_ours {
            for (at, what) in trace.missing.iter().filter(|_| !entry.is_comment) {
                out.add(Rule::ScriptNotGiven, *at, format!("what {what} does is not known: it may copy files too"));
            }
            continue;
        }
        if entry.is_comment && live.contains(entry.command.as_str()) {
            continue;
        }
        let job = Job {
            at: out.place(at),
            trigger: entry.trigger.clone(),
            account: entry.account.clone(),
            command: entry.command.clone(),
            scripts: trace.scripts.iter().map(|script| texts[*script].name.clone()).collect(),
            locks: Vec::new(),
            is_held: entry.is_comment,
        };
        check_line(entry, at, out);
        runs.push(looked_at(trace, Some((at, job)), lists, out));
    }
    runs
}

fn check_line(entry: &Entry, at: trace::At, out: &mut Out<'_>) {
    if entry.is_comment {
        let what = format!("the job {:?} is held by a comment, and nothing says by whom or why", entry.command);
        out.add(Rule::HeldByComment, at, what);
        return;
    }
    if entry.is_cut {
        let what = format!("cron ends the command at the %: {:?} is run", entry.command);
        out.add(Rule::Percent, at, what);
    }
    let script = Script::parse(&entry.command, 1, false);
    let redirects = script.commands.iter().flat_map(|command| &command.redirects);
    let (mut output, mut errors) = (false, false);
    for redirect in redirects {
        let target = redirect.target.shown();
        let is_null = target == "/dev/null";
        output |= is_null && redirect.operator.contains('>') && redirect.fd.is_none_or(|fd| fd == 1);
        errors |= redirect.fd == Some(2) && (is_null || (redirect.operator == ">&" && target == "1"));
        errors |= is_null && redirect.operator.starts_with("&>");
    }
    if output && errors {
        out.add(Rule::OutputDiscarded, at, "what the job prints is thrown away, errors too");
    }
}

fn looked_at(trace: Trace, job: Option<(trace::At, Job)>, lists: &mut Lists<'_>, out: &mut Out<'_>) -> Run {
    let calls = edges::calls(&trace, lists, out);
    let locks = Taken::all(&trace);
    let told = locks.iter().map(|lock| lock.told(out)).collect();
    let job = job.map(|(at, job)| (at, Job { locks: told, ..job }));
    Run { trace, calls, locks, job }
}

fn distinct(runs: &[Run]) -> Vec<Edge> {
    let (mut seen, mut edges) = (std::collections::HashSet::new(), Vec::new());
    for edge in runs.iter().flat_map(|run| &run.calls).flat_map(|call: &Call| &call.edges) {
        if seen.insert(edge) {
            edges.push(edge.clone());
        }
    }
    edges
}

fn several_trees(edges: &[Edge], runs: &[Run], out: &mut Out<'_>) {
    let trees: BTreeSet<&str> = edges.iter().map(|edge| edge.source.folder()).collect();
    let Some(first) = edges.first() else { return };
    let is_other = |call: &&Call| call.edges.iter().any(|edge| edge.source.folder() != first.source.folder());
    if let Some(call) = runs.iter().flat_map(|run| &run.calls).find(is_other) {
        let names: Vec<&str> = trees.into_iter().collect();
        out.add(Rule::SeveralTrees, call.at, format!("several trees are copied: {}", names.join(", ")));
    }
}
