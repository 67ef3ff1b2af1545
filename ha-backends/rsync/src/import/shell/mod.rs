//! A part of the shell's language, as far as scripts that copy files need it: words, commands, the blocks around them. What is
//! beyond it is said to be so, by line.

mod lex;
mod parse;

pub(super) use lex::{Part, Word};
pub(super) use parse::{BlockKind, Command, Join, Redirect, Script, Section, assignment};
