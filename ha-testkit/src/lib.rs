#![doc = include_str!("../README.md")]

pub mod fake_carbon;
pub mod golden;
pub mod lab;
pub mod load;
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
