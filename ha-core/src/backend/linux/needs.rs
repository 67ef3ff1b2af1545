use super::Supervisor;

/// A program that is run on a host, and who names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NeededProgram<'a> {
    /// The setting that names it; `None` for a command of a change.
    pub setting: Option<&'static str>,
    /// A path, from the server's home on where it is relative, or a name that is looked up in the `PATH`.
    pub program: &'a str,
}

impl<'a> NeededProgram<'a> {
    /// Lists the programs that a server's settings name, and those of a change.
    pub fn of(
        supervisor: &'a Supervisor,
        start_test: &'a [String],
        version: &'a [String],
        change: &'a [String],
    ) -> Vec<Self> {
        let own: Vec<(&'static str, &'a [String])> = match supervisor {
            Supervisor::Scripts(scripts) => vec![("start", &scripts.start), ("stop", &scripts.stop)],
            Supervisor::Systemd(unit) => vec![("systemctl", &unit.systemctl)],
        };
        let own = own.into_iter().chain([("start_test", start_test), ("version", version)]);
        let own = own.filter_map(|(setting, argv)| Some(Self { setting: Some(setting), program: argv.first()? }));
        own.chain(change.iter().map(|program| Self { setting: None, program })).collect()
    }

    /// Says that it is not there, or cannot be run.
    pub fn is_missing(&self, home: &str) -> String {
        let (program, named) =
            (self.program, self.setting.map_or_else(|| "the change".into(), |key| format!("setting {key}")));
        let place = if program.starts_with('/') {
            String::new()
        } else if program.contains('/') {
            format!(" below {home}")
        } else {
            " in the PATH".into()
        };
        format!("{named}: there is no program {program}{place} that can be run: correct it, or install the program")
    }
}

/// Says that the home is not there.
pub fn home_is_missing(home: &str) -> String {
    format!("setting home: there is no folder {home}: correct it, or install the server")
}

/// Says that a pid file is not where a server writes it.
pub fn pid_file_is_missing(pid_file: &str, home: &str, runs: bool) -> String {
    let seen = if runs { "the server runs, and there is no such file" } else { "there is no such folder" };
    format!("setting pid_file: {pid_file} below {home}: {seen}: name the file that the server's own scripts write")
}
