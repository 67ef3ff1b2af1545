//! The handbook. Each page can be read in some minutes.
//!
//! | Page | For whom, and what |
//! |---|---|
//! | [`quick_start`] | everybody: from nothing to the first change |
//! | [`concepts`] | everybody: how a change goes from a request to a report |
//! | [`guarantees`] | who decides: what is promised, and what is not |
//! | [`procedures`] | each procedure, with diagrams of its run |
//! | [`cluster_toml`] | the configuration: every key of the cluster's file |
//! | [`doctor`] | operators: looking at a cluster at rest |
//! | [`operating`] | operators: pause, go on, roll back, approve |
//! | [`watching`] | operators: how a loss is found |
//! | [`three_in_the_morning`] | operators: what to do about each named end and refusal |
//! | [`several_controllers`] | lease, journal, take-over |
//! | [`security`] | who can do what with which socket, key and file |
//! | [`testing_procedures`] | developers: a change under faults, before it meets a cluster |
//! | [`writing_a_backend`] | developers: another product behind the same engine |
//! | [`states`] | the states of each resource |
//! | [`beside_the_proof`] | what the engine decides beside what is proven |
//! | [`terms`] | each word once |

#[doc = include_str!("quick_start.md")]
pub mod quick_start {}

#[doc = include_str!("concepts.md")]
pub mod concepts {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("cluster_toml.md")]
pub mod cluster_toml {}

#[doc = include_str!("doctor.md")]
pub mod doctor {}

#[doc = include_str!("watching.md")]
pub mod watching {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("three_in_the_morning.md")]
pub mod three_in_the_morning {}

#[doc = include_str!("several_controllers.md")]
pub mod several_controllers {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("testing_procedures.md")]
pub mod testing_procedures {}

#[doc = include_str!("writing_a_backend.md")]
pub mod writing_a_backend {}

#[doc = include_str!("beside_the_proof.md")]
pub mod beside_the_proof {}

#[doc = include_str!("procedures.md")]
pub mod procedures {}

#[doc = include_str!("states.md")]
pub mod states {}

#[doc = include_str!("terms.md")]
pub mod terms {}

#[cfg(test)]
mod named_ends;
