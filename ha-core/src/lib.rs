#![doc = include_str!("../README.md")]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod backend;
pub mod engine;
pub mod journal;
pub mod law;
pub mod machine;
pub mod manual;
mod millis;
pub mod plan;
pub mod procedure;
pub mod record;
pub mod report;
pub mod safety;
pub mod state;
pub mod telemetry;
pub mod topology;
