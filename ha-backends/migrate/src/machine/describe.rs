use super::{At, Command, Machine};

impl Machine {
    /// Says what a command does, for messages.
    pub(crate) fn describe(&self, command: &Command) -> String {
        let unit = |index: usize| self.units.get(index).map_or("a script", |unit| unit.script.as_str());
        let step = |at: At| {
            let line = self.step(at).map_or(0, |step| step.line);
            format!("statement {} (line {line}) of {}", at.step + 1, unit(at.unit))
        };
        match command {
            Command::Connect => "connect".into(),
            Command::Identify => "ask the server what it is".into(),
            Command::TryLock => "take the lock of migrations".into(),
            Command::Terminate(session) => format!("end session {session}"),
            Command::CreateTables => "create the tables of the history".into(),
            Command::BumpEpoch => "raise the epoch".into(),
            Command::ReadHistory => "read the history".into(),
            Command::LookForDrift => "compare the schema with what the scripts left".into(),
            Command::Import(_) => "take over the history of Flyway".into(),
            Command::LookAtOrphan(session) => format!("look for session {session}"),
            Command::LookAtOldSessions => "look for sessions of the old release".into(),
            Command::LookAtBlockers { unit: index } => format!("look who blocks the tables of {}", unit(*index)),
            Command::Fingerprint(at) => format!("read the definitions that {} names", step(*at)),
            Command::LookAtIndex(at) => format!("look at the index of {}", step(*at)),
            Command::DropIndex(at) => format!("drop the broken index of {}", step(*at)),
            Command::LookAtEngines(at) => format!("read the engines of the tables of {}", step(*at)),
            Command::RunScript { unit: index, .. } => format!("run {}", unit(*index)),
            Command::RunWithRow(at) | Command::Run(at) => format!("run {}", step(*at)),
            Command::Begin { at, .. } | Command::Finish { at, .. } | Command::Withdraw { at, .. } => {
                format!("journal {}", step(*at))
            }
            Command::Record { unit: index, .. } => format!("record {}", unit(*index)),
            Command::Abort { key, .. } => format!("give up {key}"),
            Command::Batch { unit: index, .. } => format!("run a batch of {}", unit(*index)),
            Command::CountLeft { unit: index } => format!("count what {} has left", unit(*index)),
            Command::Rewind { unit: index } => format!("begin {} again", unit(*index)),
        }
    }
}
