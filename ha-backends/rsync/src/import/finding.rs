use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Severity {
    /// Works, but is weaker or easier to get wrong than it need be.
    Advice,
    /// It cannot be told from the files what happens: a person has to look.
    Review,
    /// Files can be lost, mixed or left out, or two runs can be at work at once.
    Danger,
}

/// Where something is written.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Place {
    /// The name of the file, as it was given.
    pub file: String,
    /// The line, from 1 on; 0 where the whole file is meant.
    pub line: usize,
}

/// One thing in a crontab, a script or a list that is unsafe or not understood.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// The name of the file, as it was given.
    pub file: String,
    /// The line, from 1 on; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong, and what can happen.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal $severity:ident $fix:literal;)*) => {
        /// What a finding is about. The table in the documentation of [`import`](crate::import) says what can happen.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn declared(self) -> (&'static str, Severity, &'static str) {
                match self {
                    $(Self::$name => ($id, Severity::$severity, $fix),)*
                }
            }
        }
    };
}

rules! {
    /// A trap that deletes the lock is armed before the lock is taken.
    TrapBeforeLock = "trap-before-lock" Danger "arm the trap in the line after the lock was taken";
    /// The lock is a file or folder that outlives a killed run.
    LockSurvivesKill = "lock-survives-kill" Danger "take the lock with flock, which ends with the process";
    /// The lock can be taken by two runs at once.
    TouchAsLock = "touch-as-lock" Danger "take the lock with flock -n on a file descriptor";
    /// Nothing reads whether the lock was taken.
    LockUnread = "lock-unread" Danger "write flock -n 9 || exit";
    /// Jobs on one tree do not take the same lock.
    LockOnOneSide = "lock-on-one-side" Danger "take one lock in all jobs that copy this tree";
    /// A job can start while its last run is at work.
    Overlap = "overlap" Danger "start it through flock -n";
    /// Two jobs copy one tree.
    SecondJob = "second-job" Danger "keep one job for each tree";
    /// A change of a file starts a copy.
    EventPush = "event-push" Danger "start copies from a release step or a timer, behind one lock";
    /// A job runs when the machine starts, and never again.
    StartupOnly = "startup-only" Advice "give the job a schedule";
    /// A job is in a comment.
    HeldByComment = "held-by-comment" Review "find out who holds it and why; hold a node by the gate of the backend instead";
    /// Nothing holds the copying but an edit.
    NoHold = "no-hold" Advice "hold a node by the gate of the backend, which waits for what is at work";
    /// cron ends the command at an unescaped percent sign.
    Percent = "percent" Danger "write \\% in a crontab";
    /// What runs print is thrown away.
    OutputDiscarded = "output-discarded" Advice "send it to a log or to the mail of cron";
    /// The shell that runs the script does not know a word of it.
    Bashism = "bashism" Danger "write #!/bin/bash in the first line, or use what a plain sh knows";
    /// `--delete` runs without a limit or a look at the source.
    DeleteUnguarded = "delete-unguarded" Danger "test for a marker file in the source, and give --max-delete";
    /// A dead destination stalls the run.
    NoTimeout = "no-timeout" Danger "give rsync --timeout, and ssh ConnectTimeout";
    /// Nothing reads whether the copy went well.
    ExitIgnored = "exit-ignored" Danger "test the exit status of rsync itself, and end with an error";
    /// The exit status that is tested is that of another command.
    ExitOfAnother = "exit-of-another" Danger "keep $? in a variable in the line after rsync";
    /// A tree that a server watches changes file by file.
    LiveTree = "live-tree" Danger "copy beside the tree and rename, or take the node out of traffic and give --delay-updates";
    /// A tree that a server watches changes in a moment that is short, and not nothing.
    LiveTreeMixed = "live-tree-mixed" Advice "take the node out of traffic while its tree changes";
    /// The copy lands one folder deeper than its source.
    SourceWithoutSlash = "source-without-slash" Danger "end the source with a slash";
    /// A pattern chooses what is copied.
    SourceGlob = "source-glob" Danger "name the folder, with a slash at its end";
    /// ssh takes any host for the node.
    HostKeysUnchecked = "host-keys-unchecked" Danger "enter the nodes' keys into known_hosts, and leave the option out";
    /// ssh takes the host that it finds first for the node.
    HostKeysOnFirstUse = "host-keys-on-first-use" Advice "enter the nodes' keys into known_hosts, and leave the option out";
    /// ssh in a loop reads the list that the loop reads.
    SshReadsList = "ssh-reads-list" Danger "give ssh -n";
    /// A line of a list names no destination.
    ListLine = "list-line" Danger "write user@host:path, or remove the line";
    /// Two lines name one destination.
    DestinationTwice = "destination-twice" Danger "remove one of the lines";
    /// A destination is on the source's own machine.
    DestinationOwnHost = "destination-own-host" Danger "remove the destination";
    /// Both ends of a copy are paths of one machine.
    LocalCopy = "local-copy" Review "say which node is the writer: this may be a pull from a mount";
    /// A node fetches the files itself.
    Pull = "pull" Review "the backend copies from the writer: stop the job on each reader when you switch over";
    /// Lines end with a carriage return.
    CarriageReturn = "carriage-return" Danger "write the file with plain line ends";
    /// A file is not plain text.
    NotText = "not-text" Review "look at the line by hand";
    /// An exclude cannot be said as a path of the tree.
    ExcludePattern = "exclude-pattern" Review "name the paths in local_only by hand";
    /// An option changes what is copied or how, and the backend has no setting for it.
    OptionNotTaken = "option-not-taken" Review "see whether the copy needs it; the backend gives rsync its own options";
    /// Several trees are copied.
    SeveralTrees = "several-trees" Review "choose the tree that the nodes share";
    /// A script that is run was not given.
    ScriptNotGiven = "script-not-given" Review "import again with the script";
    /// A list that is read was not given.
    ListNotGiven = "list-not-given" Review "import again with the list";
    /// Something is not understood.
    NotUnderstood = "not-understood" Review "look at the line by hand, and write the settings yourself";
}

impl Rule {
    /// Returns its name, which does not change.
    pub fn id(self) -> &'static str {
        self.declared().0
    }

    /// Returns how bad what it finds is.
    pub fn severity(self) -> Severity {
        self.declared().1
    }

    /// Returns what to do about it.
    pub fn fix(self) -> &'static str {
        self.declared().2
    }
}

impl Place {
    pub(super) fn new(file: &str, line: usize) -> Self {
        Self { file: file.into(), line }
    }
}

impl Finding {
    pub(super) fn new(rule: Rule, at: &Place, what: impl Into<String>) -> Self {
        let Place { file, line } = at.clone();
        Self { rule, severity: rule.severity(), file, line, what: what.into(), fix: rule.fix().into() }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Advice => "advice",
            Self::Review => "review",
            Self::Danger => "danger",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", OneLine(&self.file))?;
        if self.line > 0 { write!(f, ":{}", self.line) } else { Ok(()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, what) = (Place::new(&self.file, self.line), OneLine(&self.what));
        write!(f, "{at}: {}: {what}; {} [{}]", self.severity, self.fix, self.rule)
    }
}

/// Shows control characters escaped, since texts come from the files.
struct OneLine<'t>(&'t str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\u{2028}' | '\u{2029}' => write!(f, "{}", char.escape_unicode()),
            char if char.is_control() => write!(f, "{}", char.escape_default()),
            char => write!(f, "{char}"),
        })
    }
}
