use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::{GenerationId, LoanSet, Process, ReleaseId, ReleaseSet, ServerDomain, Sync, Work, WriterEpoch};

/// The state of one node, its servers on the balancers apart: what is observed of it, and what a run knows besides: gates
/// passed, changes begun, loans.
///
/// # Examples
///
/// ```
/// use ha_core::state::{NodeState, Process, ReleaseSet, Releases};
///
/// let release = Releases::default().enter("4.2.0")?;
/// let mut tested = ReleaseSet::default();
/// assert!(!NodeState::new(Process::Ready { warm: true }, Some(release), tested).is_tested());
/// tested.insert(release);
/// assert!(NodeState::new(Process::Ready { warm: true }, Some(release), tested).is_tested());
/// # Ok::<(), ha_core::state::TooManyReleases>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NodeState {
    /// The server process.
    pub process: Process,
    /// The installed release; `None` while it is not known, or half changed.
    pub release: Option<ReleaseId>,
    /// The releases whose gate has passed on this node.
    pub tested: ReleaseSet,
    /// Whether a change or its restore has begun and was not seen to end: the installed release cannot be trusted.
    pub half_changed: bool,
    /// From the first changing intent until its gate has passed.
    pub under_change: bool,
    /// The set of shared files it has; `None` while that is not known, or half changed.
    pub generation: Option<GenerationId>,
    /// Which of the servers' own cluster domains it has joined.
    pub server_domain: ServerDomain,
    /// The work that it pulls by itself.
    pub work: Work,
    /// The file sync into it, from whoever may write.
    pub sync: Sync,
    /// The epoch with which it may write shared files; 0 when it may not.
    pub writer: WriterEpoch,
    /// Temporary changes still to be taken back.
    pub loans: LoanSet,
}

/// Written by hand, since the explorer hashes millions of nodes: the small fields go in as one number.
impl Hash for NodeState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for word in self.packed() {
            hasher.write_u64(word);
        }
    }
}

impl NodeState {
    /// Describes a node with no change under way.
    pub fn new(process: Process, release: Option<ReleaseId>, tested: ReleaseSet) -> Self {
        Self {
            process,
            release,
            tested,
            half_changed: false,
            under_change: false,
            generation: Some(GenerationId::FIRST),
            server_domain: ServerDomain::Production,
            work: Work::None,
            sync: Sync::None,
            writer: WriterEpoch::default(),
            loans: LoanSet::default(),
        }
    }

    /// Tells whether the installed release has passed its gate here after its last change.
    pub fn is_tested(&self) -> bool {
        !self.under_change && self.release.is_some_and(|release| self.tested.contains(release))
    }

    /// Packs every field into three numbers: two nodes are in the same state exactly when these are equal. A field that is
    /// not named here does not compile.
    pub(crate) fn packed(&self) -> [u64; 3] {
        let Self {
            process,
            release,
            tested,
            half_changed,
            under_change,
            generation,
            server_domain,
            work,
            sync,
            writer,
            loans,
        } = *self;
        let process = match process {
            Process::Absent => 0,
            Process::Stopped => 1,
            Process::Starting => 2,
            Process::Ready { warm: false } => 3,
            Process::Ready { warm: true } => 4,
            Process::Sick => 5,
            Process::Unknown => 6,
        };
        let fields: [(u64, u32); 8] = [
            (process, 3),
            (u64::from(half_changed) | u64::from(under_change) << 1, 2),
            (release.map_or(0, |release| 1 + release.number()), 7),
            (generation.map_or(0, |generation| 1 + generation.number()), 7),
            (server_domain as u64, 1),
            (work as u64, 2),
            (sync as u64, 3),
            (loans.bits(), 16),
        ];
        let packed = fields.iter().fold(0_u64, |packed, (value, width)| packed << width | value);
        [packed, tested.bits(), writer.number()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::LoanKind;

    #[test]
    fn two_nodes_that_differ_in_one_field_are_packed_differently() {
        let node = NodeState::new(Process::Stopped, None, ReleaseSet::default());
        let change = |change: &dyn Fn(&mut NodeState)| {
            let mut other = node;
            change(&mut other);
            other.packed()
        };
        let all = [
            node.packed(),
            change(&|node| node.process = Process::Sick),
            change(&|node| node.release = ReleaseId::try_from(0).ok()),
            change(&|node| node.release = ReleaseId::try_from(63).ok()),
            change(&|node| node.tested.insert(ReleaseId::try_from(63).unwrap())),
            change(&|node| node.half_changed = true),
            change(&|node| node.under_change = true),
            change(&|node| node.generation = None),
            change(&|node| node.server_domain = ServerDomain::Test),
            change(&|node| node.work = Work::Unknown),
            change(&|node| node.sync = Sync::Unknown),
            change(&|node| node.writer = WriterEpoch::new(1)),
            change(&|node| node.loans.open(LoanKind::HeldOut)),
            change(&|node| node.loans.open(LoanKind::InTestDomain)),
        ];
        for (place, packed) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == packed), Some(place), "{place} is packed as one before it");
        }
    }
}
