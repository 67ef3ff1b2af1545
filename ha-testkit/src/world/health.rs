use std::collections::BTreeMap;

use ha_core::backend::{ConfigFinding, Ended, HostIdentity, MemberCheck, Ran, RunCommand};

use super::World;

/// What a doctor asks of machines and balancers, beside what a change asks. Everything is well until a test says otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    clocks: BTreeMap<String, Option<i64>>,
    machines: BTreeMap<String, String>,
    /// By node and program.
    answers: BTreeMap<(String, String), Ran>,
    /// By balancer and node; `None` where the balancer cannot say.
    checks: BTreeMap<(String, String), Option<MemberCheck>>,
    /// By balancer.
    pub(crate) config_findings: BTreeMap<String, Vec<ConfigFinding>>,
}

impl Health {
    pub(crate) fn identity(&self, node: &str) -> HostIdentity {
        let machine = self.machines.get(node).map_or(node, String::as_str);
        let identity = HostIdentity::new(machine, "1");
        match self.clocks.get(node) {
            None => identity.with_clock_ahead_ms(0),
            Some(Some(ahead)) => identity.with_clock_ahead_ms(*ahead),
            Some(None) => identity,
        }
    }

    pub(crate) fn check(&self, balancer: &str, node: &str) -> Option<MemberCheck> {
        let well = || Some(MemberCheck::Asks { port: Some(8280), path: Some("/services/Version".into()) });
        self.checks.get(&(balancer.to_string(), node.to_string())).cloned().unwrap_or_else(well)
    }

    /// Answers a program that the machine has; `None` where it has not.
    pub(crate) fn answer(&self, node: &str, command: &RunCommand) -> Option<Ran> {
        let program = command.argv.first()?;
        if let Some(answer) = self.answers.get(&(node.to_string(), program.clone())) {
            return Some(answer.clone());
        }
        let ended = Ended::Exited(0);
        match program.as_str() {
            "df" => Some(Ran::new(ended, DISK, "")),
            "java" => Some(Ran::new(ended, "", JAVA)),
            // No lock is there: one line a file, as GNU `ls` writes it.
            "ls" => {
                let files = command.argv.iter().skip(1).filter(|word| !word.starts_with('-'));
                let absent = files.map(|file| format!("ls: cannot access '{file}': No such file or directory\n"));
                Some(Ran::new(Ended::Exited(2), "", absent.collect::<String>()))
            }
            "sha256sum" => {
                let files = command.argv.iter().skip(1).filter(|word| word.as_str() != "--");
                let lines = files.map(|file| format!("{DIGEST}  {file}\n"));
                Some(Ran::new(ended, lines.collect::<String>(), ""))
            }
            _ => None,
        }
    }
}

impl World {
    /// Sets a machine's clock so far ahead of the controller's; `None` where it does not tell.
    pub fn set_clock(&self, node: &str, ahead_ms: Option<i64>) {
        self.lock().health.clocks.insert(node.into(), ahead_ms);
    }

    /// Puts a node on a machine. At first each has its own.
    pub fn set_machine(&self, node: &str, machine: &str) {
        self.lock().health.machines.insert(node.into(), machine.into());
    }

    /// Sets what a program answers on a node's host to whoever only asks. At first there are healthy `df`, `java` and `sha256sum`.
    pub fn set_answer(&self, node: &str, program: &str, answer: Ran) {
        self.lock().health.answers.insert((node.into(), program.into()), answer);
    }

    /// Sets how a balancer checks a node; `None` where it cannot say. At first it asks port 8280 for `/services/Version`.
    pub fn set_check(&self, balancer: &str, node: &str, check: Option<MemberCheck>) {
        self.lock().health.checks.insert((balancer.into(), node.into()), check);
    }

    /// Lets a balancer find something in its configuration.
    pub fn set_config_finding(&self, balancer: &str, finding: ConfigFinding) {
        self.lock().health.config_findings.entry(balancer.into()).or_default().push(finding);
    }
}

const DISK: &str =
    "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 40000000 10000000 30000000 25% /\n";
const JAVA: &str = "openjdk version \"17.0.12\" 2024-07-16\n";
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
