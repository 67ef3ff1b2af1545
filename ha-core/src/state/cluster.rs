use serde::{Deserialize, Serialize};

use super::{Copies, MemberState, NodeState, Process, ProcessEvent, Route, Schema, SiteState, Traffic, WriterEpoch};
use crate::topology::{DomainIx, MemberIx, MemberLayout, NodeIx, Topology};

/// The state of the whole cluster: the product of its resources' states.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::state::Traffic;
///
/// # let (topology, mut state, _) = observed::cluster()?;
/// let esb1 = topology.find("esb1").ok_or("no such node")?;
/// state.set_traffic_everywhere(esb1, |_| Traffic::Out);
/// assert!(state.members(esb1).iter().all(|member| member.traffic == Traffic::Out));
/// assert!(state.node(esb1).process.is_ready());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ClusterState {
    nodes: Vec<NodeState>,
    /// Journals of earlier versions call them rows.
    #[serde(rename = "rows")]
    members: Vec<MemberState>,
    layout: MemberLayout,
    lost: Vec<DomainIx>,
    /// The state of the shared database's schema; `Base` where no database is declared.
    pub schema: Schema,
    /// The route of the plan's service; `Dark` where no exposure is declared.
    #[serde(default, skip_serializing_if = "Route::is_dark")]
    pub exposure: Route,
    /// The two copies of the shared database; single where nothing is cloned.
    #[serde(default, skip_serializing_if = "Copies::is_single")]
    pub copies: Copies,
    /// The highest epoch that any host has seen for the writing of shared files.
    pub writer_epoch: WriterEpoch,
    /// The declared sites, in the order of the topology; empty where none is declared.
    pub sites: Vec<SiteState>,
}

impl ClusterState {
    /// Puts a state together: one entry a node, and the members as the topology lays them out, node after node.
    ///
    /// # Panics
    /// When there is not one entry a node and one member for each that is declared: a programming error of the caller.
    pub fn new(topology: &Topology, nodes: Vec<NodeState>, members: Vec<MemberState>) -> Self {
        let layout = topology.member_layout().clone();
        assert_eq!(nodes.len(), topology.nodes.len(), "one entry a node");
        assert_eq!(members.len(), layout.count(), "one member a node, pool and balancer");
        let writer_epoch = nodes.iter().map(|node| node.writer).max().unwrap_or_default();
        let (schema, exposure, copies) = (Schema::default(), Route::default(), Copies::default());
        let sites = Vec::new();
        Self { nodes, members, layout, lost: Vec::new(), schema, exposure, copies, writer_epoch, sites }
    }

    /// Tells whether every index of a topology leads somewhere here; a damaged journal may hold another state.
    pub(crate) fn fits(&self, topology: &Topology) -> bool {
        self.nodes.len() == topology.nodes.len()
            && self.layout == *topology.member_layout()
            && self.members.len() == self.layout.count()
            && self.sites.len() == topology.sites.len()
            && self.lost.iter().all(|domain| domain.index() < topology.domains.len())
    }

    /// Returns the schema of the database that takes writes: every script was run on a clone that does.
    pub fn schema_in_use(&self) -> Schema {
        if self.copies.clone.may_take_writes() { Schema::Contracted } else { self.schema }
    }

    /// Returns a node.
    pub fn node(&self, node: NodeIx) -> &NodeState {
        &self.nodes[node.index()]
    }

    /// Returns a node, to change it.
    pub fn node_mut(&mut self, node: NodeIx) -> &mut NodeState {
        &mut self.nodes[node.index()]
    }

    /// Lists the nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIx, &NodeState)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeIx::new(index), node))
    }

    /// Returns one member.
    pub fn member(&self, member: MemberIx) -> MemberState {
        self.members[member.index()]
    }

    /// Lists a node's members: one for each of its pools on each balancer instance of the pool.
    pub fn members(&self, node: NodeIx) -> &[MemberState] {
        &self.members[self.layout.members_of(node.index())]
    }

    /// Lists `count` members from one on.
    pub(crate) fn members_from(&self, first: MemberIx, count: usize) -> &[MemberState] {
        &self.members[first.index()..first.index() + count]
    }

    /// Sets what goes over one member.
    pub fn set_traffic(&mut self, member: MemberIx, traffic: Traffic) {
        self.members[member.index()].traffic = traffic;
    }

    /// Sets one member, as it was seen.
    pub fn set_member(&mut self, member: MemberIx, seen: MemberState) {
        self.members[member.index()] = seen;
    }

    /// Sets a node's members, as they were seen.
    pub fn set_members(&mut self, node: NodeIx, members: &[MemberState]) {
        for (known, seen) in self.members[self.layout.members_of(node.index())].iter_mut().zip(members) {
            *known = *seen;
        }
    }

    /// Changes what goes over all members of a node, but those on balancers that are gone.
    pub fn set_traffic_everywhere(&mut self, node: NodeIx, mut traffic: impl FnMut(MemberState) -> Traffic) {
        let members = &mut self.members[self.layout.members_of(node.index())];
        for member in members.iter_mut().filter(|member| member.traffic != Traffic::Gone) {
            member.traffic = traffic(*member);
        }
    }

    /// Changes what goes over all members of a node; at the first refusal it leaves off.
    pub(crate) fn try_each_member<E>(
        &mut self,
        node: NodeIx,
        mut traffic: impl FnMut(MemberState) -> Result<Traffic, E>,
    ) -> Result<(), E> {
        for member in &mut self.members[self.layout.members_of(node.index())] {
            member.traffic = traffic(*member)?;
        }
        Ok(())
    }

    /// Returns where each node's members are among all members.
    pub(crate) fn layout(&self) -> &MemberLayout {
        &self.layout
    }

    /// Lists the failure domains that are lost, in the order of the topology.
    pub fn lost(&self) -> &[DomainIx] {
        &self.lost
    }

    /// Tells whether a failure domain is lost.
    pub fn is_lost(&self, domain: DomainIx) -> bool {
        self.lost.contains(&domain)
    }

    /// Sets which failure domains are lost, when a person has brought others back.
    pub fn set_losses(&mut self, domains: &[DomainIx]) {
        self.lost = domains.to_vec();
    }

    /// Loses a failure domain with all servers on these, its nodes.
    pub fn lose(&mut self, domain: DomainIx, nodes: impl Iterator<Item = NodeIx>) {
        self.set_lost(domain);
        for node in nodes {
            let process = &mut self.node_mut(node).process;
            *process = process.on(ProcessEvent::HostLost).unwrap_or(Process::Absent);
        }
    }

    /// Marks a failure domain as lost; its nodes are the caller's to change.
    pub fn set_lost(&mut self, domain: DomainIx) {
        if let Err(place) = self.lost.binary_search(&domain) {
            self.lost.insert(place, domain);
        }
    }

    /// Packs every field into numbers: two states of one topology are equal exactly when these are. A field that is not named
    /// here does not compile.
    pub(crate) fn pack(&self, words: &mut Vec<u64>) {
        // The layout is the topology's own.
        let Self { nodes, members, layout: _, lost, schema, exposure, copies, writer_epoch, sites } = self;
        words.extend(nodes.iter().flat_map(NodeState::packed));
        for chunk in members.chunks(8) {
            words.push(chunk.iter().fold(0, |packed, member| packed << 8 | u64::from(member.packed())));
        }
        words.push((lost.len() as u64) << 24 | copies.packed() << 16 | (*exposure as u64) << 8 | *schema as u64);
        words.extend(lost.iter().map(|domain| domain.index() as u64));
        words.push(writer_epoch.number());
        words.extend(sites.iter().map(SiteState::packed));
    }
}
