//! The handbook.

#[doc = include_str!("cluster_toml.md")]
pub mod cluster_toml {}

#[doc = include_str!("doctor.md")]
pub mod doctor {}

#[doc = include_str!("watching.md")]
pub mod watching {}

#[doc = include_str!("beside_the_proof.md")]
pub mod beside_the_proof {}

#[doc = include_str!("procedures.md")]
pub mod procedures {}

#[doc = include_str!("states.md")]
pub mod states {}
