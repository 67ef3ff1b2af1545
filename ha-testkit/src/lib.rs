#![doc = include_str!("../README.md")]

pub mod conformance;
pub mod fake_carbon;
pub mod faulty;
pub mod golden;
pub mod lab;
pub mod load;
#[cfg(feature = "mock")]
pub mod mock;
pub mod simulate;
pub mod world;

/// Adds the hidden test that plays a role of this crate when a lab starts the test binary again. Once a test binary.
#[macro_export]
macro_rules! roles {
    () => {
        #[test]
        fn ha_testkit_role() {
            $crate::fake_carbon::run_if_asked();
        }
    };
}

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
