//! The handbook.

#[doc = include_str!("cluster_toml.md")]
pub mod cluster_toml {}

#[doc = include_str!("watching.md")]
pub mod watching {}

#[doc = include_str!("beside_the_proof.md")]
pub mod beside_the_proof {}
