use std::path::PathBuf;

use crate::frame::{Keep, Nonce};
use crate::quote::{HoldsNul, quote};

/// One script for a host, with what it is fed and what is kept of its output.
#[derive(Debug)]
pub(crate) struct Script {
    /// POSIX shell. Data is in it only as quoted words.
    pub(crate) body: String,
    /// What the script reads from standard input, sent once it has begun.
    pub(crate) input: Input,
    /// Which part of each stream is kept.
    pub(crate) keep: Keep,
    /// Whether a shell that is kept sends its output when all of it is there.
    pub(crate) at_once: bool,
}

/// What a script reads from standard input.
#[derive(Debug)]
pub(crate) enum Input {
    Nothing,
    Bytes(Vec<u8>),
    Local(PathBuf),
}

impl Script {
    /// A script that reads nothing; the first 64 KiB of its output are kept.
    pub(crate) fn new(body: String) -> Self {
        Self { body, input: Input::Nothing, keep: Keep::Begin(64 * 1024), at_once: false }
    }

    pub(crate) fn with_input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    pub(crate) fn with_keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Lets its output come at once where a shell that is kept runs it, in one packet: for scripts that end soon, and print
    /// little text and nothing but text. Line feeds at its end are lost, and what it says on stderr unless it fails.
    pub(crate) fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// Wraps the script so that it reports its own beginning and end.
    ///
    /// A shell executes a script while it reads it. The braces make it read the whole first: half a script, of a
    /// connection that was lost while it was sent, is a syntax error and does nothing.
    pub(crate) fn wrap(&self, nonce: &Nonce) -> String {
        let (nonce, body) = (nonce.as_str(), self.body.trim_end());
        format!(
            "{{\nha_end() {{ ha_code=$?; ha_last; printf '\\n{nonce} e %s\\n' \"$ha_code\"; \
             printf '\\n{nonce} e %s\\n' \"$ha_code\" >&2; }}\nha_last() {{ :; }}\ntrap ha_end EXIT\n\
             printf '\\n{nonce} b\\n'; printf '\\n{nonce} b\\n' >&2\n{body}\nexit 0\n}}\n"
        )
    }

    /// Wraps the script for a shell that goes on to others: nothing of it stays in the shell, and the shell reports its
    /// end, however it ends.
    pub(crate) fn wrap_apart(&self, nonce: &Nonce) -> String {
        let (nonce, body) = (nonce.as_str(), self.body.trim_end());
        if self.at_once {
            // A function, since not every shell finds the end of a `case` in a command substitution.
            return format!(
                "ha_body() {{\n{body}\nexit 0\n}}\nha_out=$(ha_body </dev/null); ha_code=$?\n\
                 printf '\\n{nonce} b\\n%s\\n{nonce} e %s\\n' \"$ha_out\" \"$ha_code\"\n\
                 [ \"$ha_code\" = 0 ] || printf '\\n{nonce} e %s\\n' \"$ha_code\" >&2\n"
            );
        }
        format!(
            "(\nprintf '\\n{nonce} b\\n'; printf '\\n{nonce} b\\n' >&2\n{body}\nexit 0\n) </dev/null\n\
             ha_code=$?; printf '\\n{nonce} e %s\\n' \"$ha_code\"; printf '\\n{nonce} e %s\\n' \"$ha_code\" >&2\n"
        )
    }
}

/// The parts that scripts are put together from.
pub(crate) const GUARD: &str = include_str!("sh/guard.sh");
pub(crate) const STATE: &str = include_str!("sh/state.sh");
pub(crate) const START: &str = include_str!("sh/start.sh");
pub(crate) const RUNNER: &str = include_str!("sh/runner.sh");
pub(crate) const START_SERVER: &str = include_str!("sh/start_server.sh");
pub(crate) const START_UNIT: &str = include_str!("sh/start_unit.sh");
pub(crate) const KILL_UNIT: &str = include_str!("sh/kill_unit.sh");
pub(crate) const CANCEL: &str = include_str!("sh/cancel.sh");
pub(crate) const PUT: &str = include_str!("sh/put.sh");
pub(crate) const SWEEP: &str = include_str!("sh/sweep.sh");
pub(crate) const PROCESS: &str = include_str!("sh/process.sh");
pub(crate) const FIND: &str = include_str!("sh/find.sh");
pub(crate) const INSTALLED: &str = include_str!("sh/installed.sh");
pub(crate) const MISSING: &str = include_str!("sh/missing.sh");
pub(crate) const LIVES: &str = include_str!("sh/lives.sh");
pub(crate) const KILL: &str = include_str!("sh/kill.sh");
pub(crate) const PROBE: &str = include_str!("sh/probe.sh");
pub(crate) const TREE: &str = include_str!("sh/tree.sh");

/// What scripts end with when they refuse. Below the codes of signals, beside those of sysexits.
pub(crate) mod refusal {
    /// No such directory, file or program.
    pub(crate) const NOT_FOUND: i32 = 64;
    /// Something else is at this path.
    pub(crate) const CONFLICT: i32 = 65;
    /// The system refused it.
    pub(crate) const DENIED: i32 = 66;
    /// What arrived is not what was sent.
    pub(crate) const DAMAGED: i32 = 70;
    /// Another controller's effect still runs.
    pub(crate) const BUSY: i32 = 75;
    /// A higher epoch was seen.
    pub(crate) const FENCED: i32 = 77;
    /// The state directory cannot be used.
    pub(crate) const BROKEN: i32 = 78;
}

/// Builds the assignments at the head of a script.
#[derive(Debug, Default)]
pub(crate) struct Head(String);

impl Head {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets a variable to a text, whatever is in it.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Result<Self, HoldsNul> {
        self.0.push_str(&format!("{name}={}\n", quote(value)?));
        Ok(self)
    }

    /// Sets a variable to a number.
    pub(crate) fn number(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.push_str(&format!("{name}={value}\n"));
        self
    }

    /// Adds a part of a script.
    pub(crate) fn raw(mut self, part: &str) -> Self {
        self.0.push_str(part);
        self
    }

    /// Adds parts of a script.
    pub(crate) fn then<'a>(mut self, parts: impl IntoIterator<Item = &'a str>) -> String {
        parts.into_iter().for_each(|part| self.0.push_str(part));
        self.0
    }
}

/// Writes a time as seconds, as sleep, flock and timeout read it.
pub(crate) fn seconds(time: std::time::Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::frame::Frame;

    fn sh(text: &[u8]) -> (Frame, Frame) {
        let mut child = Command::new("/bin/sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        let output = child.wait_with_output().unwrap();
        let (mut out, mut err) = (Frame::new(&nonce(), Keep::End(1000)), Frame::new(&nonce(), Keep::End(1000)));
        out.push(&output.stdout);
        err.push(&output.stderr);
        (out, err)
    }

    fn nonce() -> Nonce {
        Nonce::new([7; 16])
    }

    #[test]
    fn every_exit_code_comes_back_and_a_killed_shell_reports_none() {
        for (body, code) in
            [("true", Some(0)), ("exit 255", Some(255)), ("(exit 3); exit $?", Some(3)), ("kill -9 $$", None)]
        {
            let (out, err) = sh(Script::new(body.into()).wrap(&nonce()).as_bytes());
            assert_eq!((out.code(), err.code()), (code, code), "{body}");
            assert!(out.has_begun(), "{body}");
        }
    }

    #[test]
    fn a_script_whose_answer_comes_at_once_reports_its_end_and_says_more_only_where_it_fails() {
        let cases = [
            ("printf 'a\\n\\nb\\n'; echo c >&2", 0, "a\n\nb", None),
            ("case x in x) echo y ;; esac", 0, "y", None),
            ("true", 0, "", None),
            ("echo why >&2; exit 66", 66, "", Some("why\n")),
            ("printf 'half'; return 5", 5, "half", Some("")),
            ("cd /; x=1; kill -9 $(exec sh -c 'echo $PPID')", 137, "", Some("")),
        ];
        for (body, code, said, message) in cases {
            let mut text = Script::new(body.into()).at_once().wrap_apart(&Nonce::new([1; 16]));
            text.push_str(&Script::new(body.into()).at_once().wrap_apart(&nonce()));
            let (out, err) = sh(text.as_bytes());
            assert_eq!(out.code(), Some(code), "{body}");
            assert_eq!(String::from_utf8(out.into_content()).unwrap(), said, "{body}");
            let err = String::from_utf8(err.into_content()).unwrap();
            match message {
                // Both scripts have said it.
                Some(message) => {
                    assert!(err.ends_with(&format!("{message}\n{} e {code}\n", nonce().as_str())), "{err:?}")
                }
                None => assert!(!err.contains(nonce().as_str()), "{err:?}"),
            }
        }
    }

    #[test]
    fn scripts_of_one_shell_leave_nothing_to_the_next_one() {
        let leaving = [
            ("cd /; x=1; umask 0; trap 'echo trapped' EXIT; exec >&2; exit 7", 7),
            ("cat; read -r line; exit 3", 3),
            ("kill -9 $(exec sh -c 'echo $PPID')", 137),
            ("exec true", 0),
            ("exec 0<&-; false; return 5", 5),
        ];
        for (body, code) in leaving {
            let mut text = Script::new(body.into()).wrap_apart(&Nonce::new([1; 16]));
            text.push_str("ha_before=$ha_code\n");
            let next =
                format!("[ \"$ha_before\" = {code} ] && [ -z \"${{x-}}\" ] && [ \"$PWD\" != / ] && ! read -r line");
            text.push_str(&Script::new(next).wrap_apart(&nonce()));
            let (out, err) = sh(text.as_bytes());
            assert_eq!((out.code(), err.code()), (Some(0), Some(0)), "{body}");
            assert_eq!((out.into_content(), err.into_content()), (Vec::new(), Vec::new()), "{body}");
        }
        let (out, _) = sh(Script::new("kill -9 $$".into()).wrap_apart(&nonce()).as_bytes());
        assert_eq!(out.code(), None);
    }

    #[test]
    fn half_a_script_does_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let touched = dir.path().join("touched");
        let text = Script::new(format!("touch {0}\ntouch {0}", touched.display())).wrap(&nonce());
        for length in 0..text.len() - 2 {
            let (out, _) = sh(&text.as_bytes()[..length]);
            assert!(out.code().is_none() && !touched.exists(), "{length} bytes: {}", &text[..length]);
        }
        sh(text.as_bytes());
        assert!(touched.exists());
    }
}
