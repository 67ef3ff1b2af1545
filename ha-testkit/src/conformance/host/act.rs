use std::time::Duration;

use ha_core::backend::RunCommand;

/// A command that the suite runs on a host: a script of `/bin/sh`. A fake reads back what it is meant to do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Act {
    /// Ends with this code.
    Exit(i32),
    /// Ends itself by this signal.
    Signal(i32),
    /// Prints both as they are, to standard output and to standard error.
    Say(String, String),
    /// Prints the variable [`VARIABLE`](Self::VARIABLE) as it is.
    Show,
    /// Sleeps so many milliseconds, then adds a line to this file of the home.
    Mark(String, u64),
    /// Has a child that adds a line to this file every 50 ms, for ten seconds at most, and waits for it.
    Beat(String),
    /// As `Beat`, but prints `begun` and ends at once: the child keeps the output open.
    LeaveBeating(String),
}

const EXIT: &str = "exit \"$1\"";
const SIGNAL: &str = "kill -\"$1\" $$";
const SAY: &str = "printf %s \"$1\"; printf %s \"$2\" >&2";
const SHOW: &str = "printf %s \"$CONFORMANCE\"";
const MARK: &str = "sleep \"$2\"; echo x >>\"$1\"";
const BEAT: &str = "(i=0; while [ $i -lt 200 ]; do echo x >>\"$1\" || exit; sleep 0.05; i=$((i+1)); done) & wait";
const LEAVE: &str =
    "(i=0; while [ $i -lt 200 ]; do echo x >>\"$1\" || exit; sleep 0.05; i=$((i+1)); done) & echo begun";

impl Act {
    /// The variable that `Show` prints.
    pub const VARIABLE: &'static str = "CONFORMANCE";

    /// Writes it as a command with this deadline.
    pub fn command(&self, deadline: Duration) -> RunCommand {
        let (script, tag, arguments) = match self {
            Self::Exit(code) => (EXIT, "ha-exit", vec![code.to_string()]),
            Self::Signal(signal) => (SIGNAL, "ha-signal", vec![signal.to_string()]),
            Self::Say(out, err) => (SAY, "ha-say", vec![out.clone(), err.clone()]),
            Self::Show => (SHOW, "ha-show", Vec::new()),
            Self::Mark(name, pause) => {
                (MARK, "ha-mark", vec![name.clone(), format!("{}.{:03}", pause / 1000, pause % 1000)])
            }
            Self::Beat(name) => (BEAT, "ha-beat", vec![name.clone()]),
            Self::LeaveBeating(name) => (LEAVE, "ha-leave", vec![name.clone()]),
        };
        let mut argv: Vec<String> = ["/bin/sh", "-c", script, tag].map(String::from).to_vec();
        argv.extend(arguments);
        RunCommand::new(argv, deadline)
    }

    /// Reads what a command was written for, where it was written by [`command`](Self::command).
    pub fn parse(argv: &[String]) -> Option<Self> {
        let number = |index: usize| argv.get(index).and_then(|text| text.parse::<i32>().ok());
        let text = |index: usize| argv.get(index).cloned();
        match argv.get(3)?.as_str() {
            "ha-exit" => number(4).map(Self::Exit),
            "ha-signal" => number(4).map(Self::Signal),
            "ha-say" => Some(Self::Say(text(4)?, text(5)?)),
            "ha-show" => Some(Self::Show),
            "ha-mark" => {
                let pause = text(5)?.replace('.', "").parse().ok()?;
                Some(Self::Mark(text(4)?, pause))
            }
            "ha-beat" => text(4).map(Self::Beat),
            "ha-leave" => text(4).map(Self::LeaveBeating),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_read_back_from_its_command() {
        let text = || String::from("a 'b' $c\n");
        let acts = [
            Act::Exit(255),
            Act::Signal(9),
            Act::Say(text(), text()),
            Act::Show,
            Act::Mark(text(), 1_050),
            Act::Beat(text()),
            Act::LeaveBeating(text()),
        ];
        for act in acts {
            assert_eq!(Act::parse(&act.command(Duration::from_secs(1)).argv), Some(act));
        }
        assert_eq!(Act::parse(&["true".into()]), None);
    }
}
