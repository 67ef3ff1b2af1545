use serde::{Deserialize, Serialize};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Returns the position.
            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    };
}

index!(
    /// The position of a node in its topology.
    NodeIx, u16
);
index!(
    /// The position of a balancer instance in its topology.
    BalancerIx, u8
);
index!(
    /// The position of a failure domain in its topology.
    DomainIx, u16
);

index!(
    /// The position of a site in its topology.
    SiteIx, u8
);
index!(
    /// The position of a pool in its topology.
    PoolIx, u8
);

/// The position of a member (a node in a pool on a balancer instance) among all members of a topology: node after node,
/// each in the order of its pools and of their balancers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberIx(u32);

impl MemberIx {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Returns the position.
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl PoolIx {
    pub(crate) fn new(index: u8) -> Self {
        Self(index)
    }
}

impl SiteIx {
    pub(crate) fn new(index: u8) -> Self {
        Self(index)
    }
}

impl NodeIx {
    /// Makes an index; a topology has at most 65,535 nodes, validated when it is read.
    pub(crate) fn new(index: usize) -> Self {
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }
}

impl BalancerIx {
    pub(crate) fn new(index: u8) -> Self {
        Self(index)
    }
}

impl DomainIx {
    pub(crate) fn new(index: usize) -> Self {
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }
}
