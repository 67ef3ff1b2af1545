//! Commands that only read: outside of the fence, over a session of their own, with nothing kept on the machine.

use ha_core::backend::{Ended, ErrorKind, Ran, RunCommand, StepError};

use crate::frame::Keep;
use crate::host::{Inner, LATE};
use crate::quote::{quote, quote_all};
use crate::script::{Head, seconds};

/// What `timeout -s KILL` ends with when it had to.
const OVERDUE: i32 = 137;
/// What the script ends with where there is nothing to run.
const NOTHING_THERE: i32 = 127;

impl Inner {
    pub(crate) async fn read_by(&self, command: RunCommand) -> Result<Ran, StepError> {
        let nul = self.nul("ask");
        let Some(program) = command.argv.first() else {
            return Err(self.refuse(ErrorKind::Unsupported, "ask", "the command is empty"));
        };
        let (program, argv) = (quote(program), quote_all(command.argv.iter().map(String::as_str)));
        let env =
            command.env.iter().map(|(name, value)| quote(&format!("{name}={value}"))).collect::<Result<Vec<_>, _>>();
        let (program, argv, env) = (program.map_err(&nul)?, argv.map_err(&nul)?, env.map_err(&nul)?.join(" "));
        let body = Head::new().text("home", &self.config.home).map_err(&nul)?.then([
            "cd -- \"$home\" || exit 127\n",
            &format!("command -v -- {program} >/dev/null || exit 127\n"),
            &format!("timeout -s KILL {} env {env} {argv} </dev/null\nexit $?\n", seconds(command.deadline)),
        ]);
        let keep = Keep::End(command.output_limit);
        let answer = self.ask_apart("ask", &body, keep, command.deadline + LATE).await?;
        match answer.code {
            OVERDUE => Err(self.refuse(ErrorKind::Timeout, "ask", "it passed its deadline and was killed")),
            NOTHING_THERE => Err(self.refuse(ErrorKind::NotFound, "ask", "its home or the program is not there")),
            code => Ok(Ran::new(Ended::Exited(code), answer.out(), String::from_utf8_lossy(&answer.stderr))),
        }
    }
}
