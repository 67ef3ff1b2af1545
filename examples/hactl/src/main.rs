//! `hactl`: the operator's tool.

use std::process::ExitCode;

fn main() -> ExitCode {
    hactl::main(std::env::args_os()).into()
}
