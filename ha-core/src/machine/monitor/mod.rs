//! Watching a cluster without I/O: independent observers, a suspicion before each verdict, and a look at itself before it says
//! that much is lost.
//!
//! | Observer | What it is asked | What counts against a node |
//! |---|---|---|
//! | its balancers | what their own health checks say | checks that fail; their silence counts for nothing |
//! | its probe | whether it is ready, past the balancers | a closed port; silence, while the probes of other nodes answer |
//! | its host | whether the server's process exists | no process; silence, while the hosts of other nodes answer |
//!
//! These are the three kinds of observers; several balancers are of one kind. A node is **lost** when at least `needed` kinds
//! (2 of 3 by default) have agreed for `dead_after`, each without a word to the contrary, at least one of them saw it down and did
//! not merely get no answer, and nobody sees it serve. Where a kind says nothing of a node (a balancer that does not check it), the
//! others have to agree; one observer alone makes a suspicion and never a verdict. A process that runs and does not serve, in the
//! eyes of balancer and probe, is given longer: `hung_after`.
//!
//! What is held, whatever the policy says:
//! - Observers contradict each other: nothing is done, [`MonitorEvent::Disputed`] says who says what.
//! - More than half of the failure domains give no answer at once, and no other site answers: the monitor suspects itself.
//! - The monitor was stalled: what it had seen before counts for nothing.
//! - A node that every answering balancer holds out (drain, maintenance) is not expected to serve, as in a planned change. While no
//!   balancer answers, a node is expected to do what it was last; a change that stops it then looks like a loss.
//! - A lost node that serves again is in quarantine until [`Input::TakenBack`]; one that is lost too often is left to a person.
//! - A site is lost after `hold_down`, and that is always for a person to decide.
//!
//! # Examples
//!
//! ```
//! # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
//! use std::sync::Arc;
//! use std::time::Duration;
//! use ha_core::machine::monitor::{Ask, Input, Monitor, MonitorEvent, MonitorPolicy, Saw, Watchpoint};
//!
//! # let topology = observed::topology()?;
//! let esb1 = topology.find("esb1").ok_or("no esb1")?;
//! let mut monitor = Monitor::new(Duration::ZERO, Arc::new(topology), MonitorPolicy::default());
//! // esb1 is stopped; everything else is well.
//! let ask = |ask: &Ask| match ask.of {
//!     Watchpoint::Balancer(_) => vec![(esb1, Saw::Dead)],
//!     Watchpoint::Probe(node) | Watchpoint::Host(node) if node == esb1 => vec![(node, Saw::Dead)],
//!     Watchpoint::Probe(node) => vec![(node, Saw::Alive)],
//!     Watchpoint::Host(node) => vec![(node, Saw::Running)],
//! };
//! let lost = loop {
//!     let now = monitor.poll_timeout().ok_or("nothing to wait for")?;
//!     while let Some(question) = monitor.poll_command(now) {
//!         monitor.handle(now, Input::Answered { saw: ask(&question), ask: question });
//!     }
//!     if let Some(event @ MonitorEvent::NodeLost { .. }) = std::iter::from_fn(|| monitor.poll_event()).last() {
//!         break event;
//!     }
//! };
//! assert_eq!(
//!     lost.to_string(),
//!     "node esb1 in failure domain esb1 is lost: its process is gone (balancer lb1: down; probe: down; host: down); \
//!      detected after 2000 ms"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod event;
mod node;
mod opinion;
mod policy;
mod reach;
mod schedule;
mod site;
mod verdict;
mod view;
mod watch;
mod words;

pub use event::{Loss, MonitorEvent, Testimony};
pub use policy::{MonitorPolicy, OnLoss};
pub use verdict::NodeVerdict;
pub use watch::Monitor;
pub use words::{Ask, Input, Observer, Saw, Watchpoint};
