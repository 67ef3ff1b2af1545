use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::exit;
use crate::out::help_width;

/// Changes a running middleware cluster without losing a request: plans, proves, runs, follows and reports.
#[derive(Debug, Parser)]
#[command(name = "hactl", version, propagate_version = true, arg_required_else_help = true, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The file that declares the cluster
    #[arg(short, long, global = true, default_value = "cluster.toml", value_name = "FILE")]
    pub(crate) cluster: PathBuf,
    /// Where runs are recorded [default: journal.db beside the cluster file]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Prints JSON; `hactl schema` has the schemas
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Common {
    /// Returns where runs are recorded.
    pub(crate) fn journal(&self) -> PathBuf {
        let beside = || self.cluster.parent().unwrap_or(Path::new("")).join("journal.db");
        self.journal.clone().unwrap_or_else(beside)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes a commented cluster file to begin with
    Init {
        /// Fills in balancers, pools and members from HAProxy's configuration
        #[arg(long, value_name = "HAPROXY_CFG")]
        from: Option<PathBuf>,
        /// Replaces a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Checks the cluster file and change files; touches nothing
    Validate {
        /// Change files to check too
        #[arg(value_name = "CHANGE")]
        changes: Vec<PathBuf>,
    },
    /// Shows the cluster: what is declared, and what is seen of it
    Show {
        /// Only what is declared; touches nothing
        #[arg(long)]
        declared: bool,
    },
    /// Looks for what would make a change or a loss go wrong: capacity, drift, residue, settings; changes nothing
    Doctor {
        /// Looks again and again, one line a look, and tells what is new and what is gone
        #[arg(long)]
        watch: bool,
        /// How long to wait between two looks, as 30s, 15m or 1h
        #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration, requires = "watch")]
        every: Duration,
    },
    /// Plans a change and proves the plan; changes nothing
    Plan {
        #[command(flatten)]
        change: ChangeFile,
        /// Prints the plan as a Mermaid diagram
        #[arg(long, conflicts_with = "json")]
        mermaid: bool,
    },
    /// Shows the proof of a plan, or how it would break the law and what would help; changes nothing
    Prove {
        #[command(flatten)]
        change: ChangeFile,
    },
    /// Plans, proves and runs a change, and follows it to its end
    Run {
        #[command(flatten)]
        change: ChangeFile,
        #[command(flatten)]
        start: Start,
    },
    /// Tells who acts on the cluster and how its 20 newest runs are; reads the journal only
    Status {
        /// Only this run
        run: Option<String>,
    },
    /// Approves what a run waits for; bound to the plan, the step and the facts that are shown
    Approve {
        /// The run
        run: String,
        /// How long the approval holds, as 30s, 15m or 1h
        #[arg(long = "for", value_name = "TIME", default_value = "15m", value_parser = duration)]
        holds: Duration,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Lets a run finish the step under way and begin nothing new, whoever drives it
    Pause {
        /// The run
        run: String,
        /// How long at most, as 30s, 15m or 1h; the run ends for a person then
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
        holds: Duration,
        #[command(flatten)]
        reason: Reason,
    },
    /// Ends a run's pause; goes on, and follows, where it has stopped or its controller is gone
    Resume {
        /// The run
        run: String,
        /// Leaves out the step at which it stopped: somebody did it by hand, or it is not needed
        #[arg(long, requires = "reason")]
        skip: bool,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Takes a run back, whoever drives it; follows it where nobody does
    Rollback {
        /// The run
        run: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Stops a run after the step under way, for a person to decide, whoever drives it
    Abort {
        /// The run
        run: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Follows a run that another process drives; reads the journal only
    Watch {
        /// The run [default: the newest one]
        run: Option<String>,
    },
    /// Measures how long a site takes that stands by, without moving consumers
    Drill {
        /// The site
        #[arg(long)]
        site: String,
        #[command(flatten)]
        start: Start,
    },
    /// Reports a run from the journal
    Report {
        /// The run [default: the newest one]
        run: Option<String>,
        /// Writes the report as one self-contained page
        #[arg(long, value_name = "FILE", conflicts_with = "json")]
        html: Option<PathBuf>,
        /// Replaces a file that is there
        #[arg(long, requires = "html")]
        force: bool,
        /// Prints a short text for a ticket
        #[arg(long, conflicts_with_all = ["json", "html"])]
        markdown: bool,
    },
    /// Lists what the journal has of a run, or its 20 newest runs
    Journal {
        /// The run; without it the runs are listed
        run: Option<String>,
    },
    /// Prints a JSON Schema of what `--json` prints, or of a file
    Schema {
        /// Its name; without it the names are listed
        name: Option<String>,
    },
    /// Prints the completion script of a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes it and those of all commands into a folder
    Man {
        /// The folder
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ChangeFile {
    /// The file that describes the change
    #[arg(value_name = "CHANGE", default_value = "change.toml")]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Start {
    /// The name of the run [default: the procedure and the time]
    #[arg(long, value_name = "NAME")]
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Reason {
    /// Why; it is recorded with who asks
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Reads `30s`, `15m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let seconds = match &text[digits..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    let number = text[..digits].parse::<u64>().ok().filter(|number| (1..=1_000_000).contains(number) && seconds > 0);
    number.map(|number| Duration::from_secs(number * seconds)).ok_or_else(|| "give a time as 30s, 15m or 1h".into())
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Confirm {
    /// Does not ask; needed with --json, and where there is no terminal to ask on
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Returns the definition of the command line: for completions, manual pages and tests.
pub fn definition() -> clap::Command {
    Cli::command().term_width(help_width()).after_help(exit::table())
}
