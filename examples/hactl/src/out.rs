use std::cell::Cell;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::lines::{plain, wrap};

/// Where results go: the standard output, as text or as JSON.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) json: bool,
    width: Option<usize>,
    colour: bool,
    /// Nobody reads any more: the rest is not written, and nothing is said of it.
    closed: Cell<bool>,
}

/// What a word is shown as where colours are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Strong,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let can_colour = std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        let colour = stdout.is_terminal() && wants_colour && can_colour;
        Self { json, width: width(&stdout), colour, closed: Cell::new(false) }
    }

    /// Writes text, wrapped at the width of the terminal, without what would drive it but for the colours of [`toned`](Self::toned).
    ///
    /// # Errors
    /// Where it cannot be written; not where nobody reads it any more.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.write(&wrap(&self.clean(text), self.width))
    }

    /// Writes a line of text.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.text(&format!("{text}\n"))
    }

    /// Writes text as it is: what other programs read.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        self.write(text)
    }

    /// Writes a value as JSON of several lines.
    pub(crate) fn value(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::internal(error.to_string()))?;
        self.write(&(text + "\n"))
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::internal(error.to_string()))?;
        self.write(&(text + "\n"))
    }

    pub(crate) fn toned(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_string();
        }
        let [good, bad, strong, end] = SEQUENCES;
        let begin = match tone {
            Tone::Good => good,
            Tone::Bad => bad,
            Tone::Strong => strong,
        };
        format!("{begin}{text}{end}")
    }

    /// Tells whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn clean(&self, text: &str) -> String {
        let mut parts = text.split('\u{1b}');
        let mut clean = plain(parts.next().unwrap_or_default());
        for part in parts {
            let colour = SEQUENCES.into_iter().find(|colour| self.colour && part.starts_with(&colour[1..]));
            clean.push(if colour.is_some() { '\u{1b}' } else { '?' });
            clean.push_str(&plain(part));
        }
        clean
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        if self.closed.get() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed.set(true);
                Ok(())
            }
            Err(error) => {
                self.closed.set(true);
                let what = format!("the standard output cannot be written: {error}");
                Err(Failure::new(Exit::Output, what, "make room for it, or send it elsewhere, and ask again"))
            }
        }
    }
}

/// What begins each tone, and what ends it.
const SEQUENCES: [&str; 4] = ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[1m", "\u{1b}[0m"];

/// Says something on the standard error. Where it cannot be written, there is nobody else to tell.
pub(crate) fn say(text: &str) {
    let text = wrap(&plain(&format!("hactl: {text}\n")), width(&io::stderr()));
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Returns the width that text is wrapped at: `COLUMNS`, else the terminal's.
fn width(to: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns >= 20);
    asked.or_else(|| {
        let (terminal_size::Width(columns), _) = to.is_terminal().then(|| terminal_size::terminal_size_of(to))??;
        Some(usize::from(columns).max(20))
    })
}

/// Returns the width for the help.
pub(crate) fn help_width() -> usize {
    width(&io::stdout()).unwrap_or(100).min(120)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_colours_of_this_tool_reach_the_terminal() {
        let out = |colour| Out { colour, ..Out::new(false) };
        let text = format!("{}\r\u{1b}[2J\u{9b}1m\n", out(true).toned(Tone::Bad, "a\u{1b}"));
        assert_eq!(out(true).clean(&text), "\u{1b}[31ma?\u{1b}[0m??[2J?1m\n");
        assert_eq!(out(false).clean(&text), "?[31ma??[0m??[2J?1m\n");
    }
}
