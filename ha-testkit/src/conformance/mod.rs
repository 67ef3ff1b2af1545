//! Conformance suites: what every backend must do, one named test for each sentence. For authors of a balancer backend.
//!
//! A backend conforms when [`conformance!`](crate::conformance!) passes on it: the suite `balancer`, and `membership` where
//! it adds and removes members; `host`; `probe`; `files`; `exposure`; `artifacts`; `provisioner`; `workload`; `database`, and `clone` where it
//! can be cloned; for several sites `site_switch`, `fence` and `replica`; for a journal `requests`. The suites are proven themselves:
//! `tests/*_mutants.rs` run them on backends with one defect each, and fail if one survives.
//!
//! # What to write
//!
//! 1. A [`Fixture`](balancer::Fixture) that builds a *fresh* balancer for each case: members that are primary, ready, of
//!    weight 100 by configuration, and nobody else's.
//! 2. Its [`Subject`](balancer::Subject) with the *truth by another route*: a raw socket, a file, the inner state of a
//!    fake; never the backend under test, which could be wrong both ways.
//! 3. Requests: [`Origins`] has small servers whose requests stay in flight until they are released.
//! 4. Failures: a [`Wire`] between backend and balancer loses commands, answers and connections as it is told to.
//! 5. One line in a test file. Whatever the fixture [cannot do](balancer::Ability), and whatever capability the backend
//!    does not claim, skips cases; the reasons must be listed, and are printed with their number. Nothing is skipped in
//!    silence.
//!
//! ```text
//! figures: balancer conformance of HAProxy as TcpSocket: 75 cases, 73 held, 2 skipped (2 capability: sees_older_generations), 0 breached
//! ```
//!
//! # What breaks most often
//!
//! - An error that says "no effect" although the command had been sent: a frozen balancer carries it out as it wakes.
//! - A missing figure that becomes 0, or a figure of another generation.
//! - A value that believes what it learnt of a process that has been replaced.
//! - A write in two steps: a dropped future leaves what is neither the old nor the new state.
//! - "Drained" without the requests that wait or that an older process still has.
//!
//! # Examples
//!
//! A wrapper of one's own around any balancer, here around the fake; a backend gives its own fixture instead of
//! [`Layered`](balancer::Layered).
//!
//! ```
//! use std::sync::Arc;
//! use ha_testkit::conformance::Verdict;
//! use ha_testkit::conformance::balancer::{CASES, FakeFixture, Layered};
//! use ha_testkit::faulty::FaultyBalancer;
//!
//! mod my_wrapper {
//!     # use super::*;
//!     // In a test file this line makes a test of each case:
//!     ha_testkit::conformance!(
//!         balancer,
//!         Layered::new(FakeFixture::new(), "my wrapper", |inner| Arc::new(FaultyBalancer::new(inner))),
//!         skips = []
//!     );
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! // And this is what such a test does:
//! let fixture = Layered::new(FakeFixture::new(), "my wrapper", |inner| Arc::new(FaultyBalancer::new(inner)));
//! for case in CASES {
//!     match case.run(&fixture).await {
//!         Ok(verdict) => assert_eq!(verdict, Verdict::Held),
//!         Err(breach) => panic!("{}: {breach}", case.name()),
//!     }
//! }
//! # });
//! ```

pub mod artifacts;
pub mod balancer;
mod case;
pub mod clone;
pub mod database;
pub mod exposure;
pub mod fence;
pub mod files;
pub mod host;
pub mod membership;
mod origins;
mod patience;
pub mod probe;
pub mod provisioner;
pub mod replica;
pub mod requests;
pub mod site_switch;
mod tally;
mod verdict;
mod wire;
pub mod workload;

pub use case::Case;
pub use origins::Origins;
pub use tally::Tally;
pub use verdict::{Breach, Verdict};
pub use wire::{Wire, WireEnd};
