use std::path::Path;

use ha_lab::load::{LoadReport, double_executions, untested_answers};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMES};
use crate::{Fallible, Show, page};

/// What was seen of a cluster that shares files, at the end.
pub struct Seen {
    /// What the clients of the old services got.
    pub load: LoadReport,
    /// Answers from a set that had not passed its test on the server that gave them.
    pub untested: u64,
    /// Requests that were begun more than once.
    pub doubles: u64,
    /// The set of each node.
    pub sets: Vec<u64>,
    /// The nodes whose sync is still held.
    pub held: Vec<String>,
    /// How many controllers were killed.
    pub kills: u64,
}

impl Seen {
    /// Looks at a cluster whose load has ended.
    ///
    /// # Errors
    /// When a server's log cannot be read.
    pub fn of(cluster: &Cluster, load: LoadReport, kills: u64) -> Fallible<Self> {
        Ok(Self {
            load,
            untested: untested_answers(&cluster.request_logs(), "g1")?.values().sum(),
            doubles: double_executions(&cluster.request_logs())?,
            sets: cluster.homes().iter().map(Cluster::set_of).collect(),
            held: cluster.held(),
            kills,
        })
    }

    /// Tells whether no request failed, nothing untested answered, and nothing is held.
    pub fn is_quiet(&self) -> bool {
        self.load.counts.failures() == 0 && self.untested == 0 && self.held.is_empty()
    }

    /// Tells whether every node has this set.
    pub fn all_have(&self, set: u64) -> bool {
        self.sets.iter().all(|have| *have == set)
    }

    /// Prints it.
    pub fn print(&self, show: &Show) {
        show.line("");
        show.counts(&self.load, self.doubles);
        println!("untested answers   {:>9}", self.untested);
        let sets: Vec<String> = NAMES.iter().zip(&self.sets).map(|(name, set)| format!("{name} g{set}")).collect();
        println!("sets               {}", sets.join(", "));
        println!("file syncs held    {:?}", self.held);
        if self.kills > 0 {
            println!("controllers killed {:>9}", self.kills);
        }
    }

    /// Writes it as `report.json` into a folder, with what else is to be told under its keys, and the page of the run at `run` there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &Path, show: &Show, run: &str, also: [(&str, Value); 2]) -> Fallible<()> {
        let mut told = json!({
            "load": self.load, "untested": self.untested, "executed_twice": self.doubles, "sets": self.sets,
            "held": self.held, "kills": self.kills,
        });
        for (key, value) in also {
            told[key] = value;
        }
        page::write(out, show, &told, &[("report", run)], &[("esb", &self.load)])?;
        Ok(())
    }
}
