//! A simulated cluster on virtual time: balancers, hosts and probes as fakes over one world with a state of its own.
//!
//! The fakes are written as servers: they know nothing of ha-core's actions and their effects. A simulated client sends
//! a request every few milliseconds over every balancer and counts what is lost, so that a test asserts what users
//! would have seen.
//!
//! # Examples
//!
//! ```
//! use ha_testkit::world::World;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! let world = World::active_passive();
//! let clients = world.clients();
//! let engine = world.engine();
//! let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
//! let run = engine.run("first".into(), planned).await.unwrap();
//! let report = run.wait().await.unwrap();
//! assert_eq!(report.end, ha_core::record::End::AllNew);
//! assert_eq!(clients.stop().await.lost, 0);
//! # });
//! ```

pub(crate) mod artifact;
mod balancer;
pub(crate) mod clients;
pub(crate) mod clone;
mod cluster;
mod controller;
pub(crate) mod database;
mod exposure;
mod fault;
mod health;
mod host;
mod membership;
pub(crate) mod model;
mod provision;
mod shape;
mod shared;
mod site;

pub use artifact::FakeArtifacts;
pub use balancer::FakeBalancer;
pub use clients::{Clients, PoolServed, Served};
pub use cluster::World;
pub use controller::{Controller, Death, Moment};
pub use database::FakeDatabase;
pub use exposure::FakeExposure;
pub use fault::{Fault, Operation};
pub use host::{FakeHost, FakeProbe};
pub use provision::FakeProvisioner;
pub use shape::Shape;
pub use shared::{FakeFiles, FakeWorkload};
pub use site::{FakeFence, FakeReplica, FakeSwitch};
