#![doc = include_str!("../README.md")]

pub mod action;
pub mod backend;
pub mod journal;
pub mod law;
pub mod plan;
pub mod record;
pub mod state;
pub mod topology;
