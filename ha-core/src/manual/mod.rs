//! The handbook.

#[doc = include_str!("cluster_toml.md")]
pub mod cluster_toml {}
