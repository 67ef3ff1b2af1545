use std::cell::Cell;
use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::lines::wrap;

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
        let terminal = io::stdout().is_terminal();
        let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let can_colour = std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        let colour = terminal && wants_colour && can_colour;
        Self { json, width: width(terminal), colour, closed: Cell::new(false) }
    }

    /// Writes text, wrapped at the width of the terminal.
    ///
    /// # Errors
    /// Where it cannot be written; not where nobody reads it any more.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.write(&wrap(text, self.width))
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

    /// Wraps a text for the terminal.
    pub(crate) fn wrapped(&self, text: &str) -> String {
        wrap(text, self.width)
    }

    pub(crate) fn toned(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_string();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Strong => 1,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Tells whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
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

/// Returns the width that text is wrapped at: `COLUMNS`, else the terminal's.
fn width(terminal: bool) -> Option<usize> {
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns >= 20);
    asked.or_else(|| {
        let (terminal_size::Width(columns), _) = terminal.then(terminal_size::terminal_size)??;
        Some(usize::from(columns).max(20))
    })
}

/// Returns the width for the help.
pub(crate) fn help_width() -> usize {
    width(io::stdout().is_terminal()).unwrap_or(100).min(120)
}
