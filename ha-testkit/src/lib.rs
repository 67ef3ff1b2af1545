#![doc = include_str!("../README.md")]

pub mod conformance;
pub mod faulty;
pub mod golden;
#[cfg(feature = "mock")]
pub mod mock;
pub mod simulate;
pub mod world;

/// Prints a line of figures from inside a test, past the test harness, which hides what passing tests print.
#[macro_export]
macro_rules! figures {
    ($($words:tt)*) => {
        $crate::print_figures(&format!($($words)*))
    };
}

/// Prints one line past the test harness; use [`figures!`].
pub fn print_figures(line: &str) {
    use std::io::Write as _;
    // One write, so that tests that run at once do not mix their lines; nobody has to read them.
    let _ = std::io::stderr().write_all(format!("figures: {line}\n").as_bytes());
}
