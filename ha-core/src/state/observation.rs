use super::{
    ClusterState, GenerationId, MemberState, Process, ReleaseId, Route, Schema, SiteState, Sync, Target, Work,
    WriterEpoch,
};
use crate::topology::{NodeIx, SiteIx};

/// The state of the cluster as observed at one moment: facts only, no memory.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// One entry a node.
    pub nodes: Vec<NodeSeen>,
    /// The members, node after node, as the topology lays them out.
    pub members: Vec<MemberState>,
    /// The state of the schema; `None` where it could not be seen, or no database is declared.
    pub schema: Option<Schema>,
    /// The route of the plan's service; `None` where it could not be seen, or the plan has none.
    pub exposure: Option<Route>,
    /// One entry a site, in the order of the topology: `None` where it could not be seen; empty where none was looked at.
    pub sites: Vec<Option<SiteState>>,
}

/// How one node was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NodeSeen {
    /// The process; `Ready` without the warmth.
    pub process: Process,
    /// The release that answers, or the installed one where nothing answers.
    pub release: Option<ReleaseId>,
    /// How it takes part in file sharing; `None` where nothing is shared.
    pub shared: Option<SharedSeen>,
    /// Whether it pulls work.
    pub work: Work,
}

/// How one node was seen to take part in file sharing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SharedSeen {
    /// The file sync into it.
    pub sync: Sync,
    /// The set of files that it has; `None` where that could not be seen, or is none that the plan knows.
    pub generation: Option<GenerationId>,
    /// The epoch with which it may write.
    pub writer: WriterEpoch,
    /// The highest epoch that its host has seen.
    pub seen: WriterEpoch,
}

impl Observation {
    /// Describes what was seen.
    pub fn new(nodes: Vec<NodeSeen>, members: Vec<MemberState>) -> Self {
        Self { nodes, members, schema: None, exposure: None, sites: Vec::new() }
    }

    /// Adds the observed state of the schema.
    #[must_use]
    pub fn with_schema(mut self, schema: Option<Schema>) -> Self {
        self.schema = schema;
        self
    }

    /// Adds the observed states of the sites.
    #[must_use]
    pub fn with_sites(mut self, sites: Vec<Option<SiteState>>) -> Self {
        self.sites = sites;
        self
    }

    /// Adds the observed state of the route.
    #[must_use]
    pub fn with_exposure(mut self, exposure: Option<Route>) -> Self {
        self.exposure = exposure;
        self
    }
}

impl NodeSeen {
    /// Describes how a node was seen.
    pub fn new(process: Process, release: Option<ReleaseId>) -> Self {
        Self { process, release, shared: None, work: Work::None }
    }
}

impl SharedSeen {
    /// Describes how a node was seen to take part.
    pub fn new(sync: Sync, generation: Option<GenerationId>, writer: WriterEpoch, seen: WriterEpoch) -> Self {
        Self { sync, generation, writer, seen }
    }
}

impl ClusterState {
    /// Takes over what was seen. What a run knows besides stays: gates passed, loans. What an order in flight changes, as
    /// `changing` tells, is left to that order's own read-back; everything else is taken over whatever is in flight.
    pub fn absorb(&mut self, seen: &Observation, changing: impl Fn(Target) -> bool) {
        let count = self.nodes().count();
        for (index, node) in seen.nodes.iter().take(count).enumerate().map(|(index, node)| (NodeIx::new(index), node)) {
            if !changing(Target::Traffic(index)) {
                let members = seen.members.get(self.layout().members_of(index.index())).unwrap_or(&[]);
                self.set_members(index, members);
            }
            let known = self.node_mut(index);
            if !changing(Target::Server(index)) {
                known.release = node.release;
                known.process = match (known.process, node.process) {
                    (Process::Ready { warm }, Process::Ready { .. }) => Process::Ready { warm },
                    (_, Process::Ready { .. }) => Process::Ready { warm: known.is_tested() },
                    (Process::Ready { .. } | Process::Sick, Process::Starting) => Process::Sick,
                    (_, process) => process,
                };
            }
            if !changing(Target::Work(index)) {
                known.work = node.work;
            }
            if let Some(shared) = node.shared.filter(|_| !changing(Target::Files(index))) {
                (known.sync, known.generation, known.writer) = (shared.sync, shared.generation, shared.writer);
                self.writer_epoch = self.writer_epoch.max(shared.seen);
            }
        }
        if let Some(schema) = seen.schema.filter(|_| !changing(Target::Database)) {
            self.schema = schema;
        }
        if let Some(exposure) = seen.exposure.filter(|_| !changing(Target::Exposure)) {
            self.exposure = exposure;
        }
        for ((known, seen), index) in self.sites.iter_mut().zip(&seen.sites).zip(0..) {
            if let Some(seen) = seen.filter(|_| !changing(Target::Site(SiteIx::new(index)))) {
                *known = seen;
            }
        }
    }
}
