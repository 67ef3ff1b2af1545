#![doc = include_str!("../README.md")]

pub mod conformance;
pub mod faulty;
pub mod golden;
#[cfg(feature = "mock")]
pub mod mock;
pub mod simulate;
pub mod world;

/// Prints a line of figures from inside a test, past the test harness, which hides what passing tests print. Where
/// `HA_FIGURES` names a file, the line is added to it as well: a test runner with a process for each test keeps all output
/// of passing tests to itself.
///
/// # Examples
///
/// ```
/// let (tried, caught) = (90, 90);
/// ha_testkit::figures!("defects: {tried} tried, {caught} caught");
/// ```
#[macro_export]
macro_rules! figures {
    ($($words:tt)*) => {
        $crate::print_figures(&format!($($words)*))
    };
}

/// Prints one line past the test harness; use [`figures!`].
pub fn print_figures(line: &str) {
    use std::io::Write as _;
    let line = format!("figures: {line}\n");
    // One write, so that tests that run at once do not mix their lines; nobody has to read them.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("HA_FIGURES") {
        let file = std::fs::File::options().create(true).append(true).open(file);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
