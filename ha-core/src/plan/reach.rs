use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, Plan};
use crate::topology::{Role, Topology};

/// What is reached by settings that a proof does not rest on.
const ROLES: [Role; 4] = [Role::Balancer, Role::Host, Role::Probe, Role::Artifacts];

/// How each balancer, host and probe of a topology is reached, and its artifact store: by digest, since settings may name secrets. A plan stays one for a
/// topology in which only that differs.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::plan::Reach;
///
/// # let topology = observed::topology()?;
/// // What a run compares when it is resumed with a topology that was edited meanwhile.
/// let reach = Reach::of(&topology);
/// assert!(reach.differences(&topology).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Reach(BTreeMap<String, Digest>);

impl Reach {
    /// Reads it from a topology.
    pub fn of(topology: &Topology) -> Self {
        let declared = ROLES.iter().flat_map(|role| topology.components(*role));
        Self(declared.map(|one| (one.key(), digest(one.component))).collect())
    }

    /// Names what is reached otherwise in a topology, as `balancer lb1` and `node esb1.host`.
    pub fn differences(&self, topology: &Topology) -> Vec<String> {
        let there = Self::of(topology);
        self.0.iter().filter(|(key, digest)| there.0.get(*key) != Some(digest)).map(|(key, _)| key.clone()).collect()
    }
}

impl Plan {
    /// Digests what a proof rests on in a topology, as [`Plan::topology`] holds it: everything but how balancers and nodes are
    /// reached.
    pub fn digest_of(topology: &Topology) -> Digest {
        digest(&topology.without(&ROLES))
    }

    /// Tells whether the plan is one for this topology. How balancers and nodes are reached may differ ([`Reach`]), but for plans
    /// of a format before 4, which did not tell it apart.
    pub fn is_for(&self, topology: &Topology) -> bool {
        let there = if self.format < 4 { digest(topology) } else { Self::digest_of(topology) };
        self.topology == there
    }
}

fn digest(value: &impl Serialize) -> Digest {
    // Serialising data of strings, numbers and lists into memory has no way to fail.
    Digest::of(&serde_json::to_vec(value).unwrap_or_default())
}
