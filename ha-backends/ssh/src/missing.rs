//! What later calls need on the machine, looked for beforehand.

use ha_core::backend::linux::{NeededProgram, Supervisor, home_is_missing, pid_file_is_missing};
use ha_core::backend::{ServerProcess, StepError};

use crate::host::Inner;
use crate::quote::quote_all;
use crate::script::{Head, MISSING};

impl Inner {
    pub(crate) async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError> {
        let config = &self.config;
        let needed = NeededProgram::of(&config.supervisor, &config.start_test, &config.version, programs);
        let scripts = match &config.supervisor {
            Supervisor::Scripts(scripts) => Some(scripts),
            Supervisor::Systemd(_) => None,
        };
        let folder = scripts.and_then(|scripts| scripts.pid_file.rsplit_once('/')).map_or("", |(folder, _)| folder);
        let nul = self.nul("missing");
        let numbers: Vec<String> = (0..needed.len()).map(|number| number.to_string()).collect();
        let pairs = numbers.iter().zip(&needed).flat_map(|(number, needed)| [number.as_str(), needed.program]);
        let head = Head::new().text("home", &config.home).and_then(|head| head.text("pid_folder", folder));
        let set = format!("set -- {}\n", quote_all(pairs).map_err(&nul)?);
        let body = head.map_err(&nul)?.then([set.as_str(), MISSING]);
        let answer = self.ask_text("missing", body, config.read_deadline).await?;
        if let Some(refused) = self.refusal("missing", &answer) {
            return Err(refused.without_effect());
        }
        let (text, home) = (answer.out(), &config.home);
        let (mut missing, mut has_folder) = (Vec::new(), true);
        for name in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match name {
                "home" => return Ok(vec![home_is_missing(home)]),
                "pid_file" => has_folder = false,
                number => {
                    let found = number.parse().ok().and_then(|number: usize| needed.get(number));
                    missing.extend(found.map(|needed| needed.is_missing(home)));
                }
            }
        }
        if let Some(scripts) = scripts {
            let seen = self.processes("missing", scripts).await?;
            let runs = matches!(seen.state(), ServerProcess::Running(_));
            if !has_folder || (runs && seen.named.is_none() && seen.nonsense.is_none()) {
                missing.push(pid_file_is_missing(&scripts.pid_file, home, has_folder));
            }
        }
        Ok(missing)
    }
}
