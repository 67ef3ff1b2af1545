//! The parsers of what hosts send, for the fuzz targets alone: `fuzz/` at the root of the repository.

use std::time::SystemTime;

use ha_core::backend::ServerProcess;

use crate::frame::{Frame, Keep, Nonce};
use crate::probe::{Processes, identity, split};

/// What a stream has told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// The script has begun.
    pub begun: bool,
    /// How it ended.
    pub code: Option<i32>,
    /// What is kept of it.
    pub content: Vec<u8>,
}

/// The word of the script whose stream is read.
pub fn nonce() -> String {
    Nonce::new([7; 16]).as_str().into()
}

/// Reads a stream that comes in pieces.
pub fn frame<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Told {
    let mut frame = Frame::new(&Nonce::new([7; 16]), Keep::End(1000));
    pieces.into_iter().for_each(|piece| frame.push(piece));
    Told { begun: frame.has_begun(), code: frame.code(), content: frame.into_content() }
}

/// Reads the look at a server's processes: its life, taken apart again, or that it is stopped. `None` for nonsense.
pub fn processes(text: &str) -> Option<Option<(String, u32, u64)>> {
    Some(match Processes::parse(text).ok()?.state() {
        ServerProcess::Stopped => None,
        ServerProcess::Running(life) => Some(split(&life).map(|(boot, pid, start)| (boot.into(), pid, start))?),
    })
}

/// Reads which machine answers: its names, none of them empty.
pub fn machine(text: &str) -> Option<(String, String)> {
    let now = SystemTime::now();
    identity(text, now, now).ok().map(|found| (found.machine.into(), found.boot.into()))
}
