use super::members::{Entrance, MemberLayout, Members, Seat};
use super::{
    Balancer, BalancerIx, DomainIx, Expect, MemberIx, Name, Node, NodeIx, Permille, Policy, Pool, PoolIx, Port, Role,
    SiteIx, SiteRole, SiteSpec, Topology,
};

impl Topology {
    /// Returns the cluster's name: the lease is taken on it.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns how long things may take.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns what the cluster as a whole is held against by the doctor.
    pub fn expect(&self) -> &Expect {
        &self.expect
    }

    /// Lists the data centres, at most 4; none where there is one.
    pub fn sites(&self) -> &[SiteSpec] {
        &self.sites
    }

    /// Lists the positions of the data centres.
    pub fn site_indices(&self) -> impl Iterator<Item = SiteIx> + use<> {
        (0..u8::try_from(self.sites.len()).unwrap_or(u8::MAX)).map(SiteIx::new)
    }

    /// Tells whether a data centre is lost with all its nodes; one that has none is not.
    pub(crate) fn is_site_lost(&self, site: SiteIx, lost: &[DomainIx]) -> bool {
        let mut nodes = self.nodes().filter(|(_, node)| node.site == Some(site)).peekable();
        nodes.peek().is_some() && nodes.all(|(_, node)| lost.contains(&node.domain))
    }

    /// Returns a data centre.
    ///
    /// # Panics
    /// For an index of another topology.
    pub fn site(&self, site: SiteIx) -> &SiteSpec {
        &self.sites[site.index()]
    }

    /// Finds a data centre by name.
    pub fn find_site(&self, name: &str) -> Option<SiteIx> {
        self.sites.iter().zip(0..).find(|(site, _)| site.name.as_str() == name).map(|(_, index)| SiteIx::new(index))
    }

    /// Returns the site that serves at rest; `None` where no sites are declared.
    pub fn home(&self) -> Option<SiteIx> {
        let home = self.sites.iter().zip(0..).find(|(site, _)| site.role == SiteRole::Serving);
        home.map(|(_, index)| SiteIx::new(index))
    }

    /// Lists the nodes of a site that are no spares.
    pub fn members_in(&self, site: SiteIx) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes().filter(move |(_, node)| !node.spare && node.site == Some(site))
    }

    /// Lists the pools with their positions: 1 to 16.
    pub fn pools(&self) -> impl Iterator<Item = (PoolIx, &Pool)> {
        self.pools.iter().zip(0..).map(|(pool, index)| (PoolIx::new(index), pool))
    }

    /// Returns a pool.
    ///
    /// # Panics
    /// For an index of another topology.
    pub fn pool(&self, pool: PoolIx) -> &Pool {
        &self.pools[pool.index()]
    }

    /// Names a pool for a message: nothing where there is one only, `pool NAME: ` where there are several.
    pub fn prefix(&self, pool: PoolIx) -> String {
        if self.pools.len() > 1 { format!("pool {}: ", self.pool(pool).name) } else { String::new() }
    }

    /// Lists the nodes with their positions, spares included: 1 to 65,535.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeIx::new(index), node))
    }

    /// Tells whether a node is in the site that serves at rest.
    pub fn is_home(&self, node: &Node) -> bool {
        let role = node.site.and_then(|site| self.sites.get(site.index())).map(|site| site.role);
        role.is_none_or(|role| role == SiteRole::Serving)
    }

    /// Returns the topology with one host more, in every pool of the site that serves at rest and in a failure domain of its own: a
    /// spare, or a member, which serves where all of a pool do; `capacities` has one entry a pool. `None` where there is no node to
    /// take the rest from.
    pub(crate) fn with_host(&self, name: Name, capacities: &[u64], spare: bool) -> Option<(Self, NodeIx)> {
        let like = self.members().map(|(_, node)| node).next()?;
        let mut next = self.clone();
        let domain = DomainIx::new(next.domains.len());
        next.domains.push(name.clone());
        let of_site = |pool: &PoolIx| self.pool(*pool).site == like.site;
        let pools = (0..).map(PoolIx::new).zip(capacities).filter(|(pool, _)| of_site(pool));
        let port = |(pool, capacity): (PoolIx, &u64)| Port { pool, member: name.clone(), capacity: *capacity };
        let ports: Vec<Port> = pools.map(port).collect();
        for port in ports.iter().filter(|_| !spare) {
            let all = self.members_of(port.pool).count();
            let pool = &mut next.pools[port.pool.index()];
            pool.serve += u16::from(usize::from(pool.serve) >= all);
        }
        let (site, components, expect) = (like.site, like.components.clone(), like.expect.clone());
        // A spare is brought and tested before anything changes, so that it is warm then.
        let warm_up = if spare { Permille::WHOLE } else { like.warm_up };
        next.nodes.push(Node {
            name: name.clone(),
            ports,
            warm_up,
            site,
            domain,
            spare,
            components,
            expect,
            stands_for: 1,
        });
        next.members = Members::new(&next.pools, &next.nodes);
        Some((next, NodeIx::new(self.nodes.len())))
    }

    /// Returns the topology without the components that have one of these roles.
    pub(crate) fn without(&self, roles: &[Role]) -> Self {
        let mut next = self.clone();
        let of_nodes = next.nodes.iter_mut().map(|node| &mut node.components);
        let of_balancers = next.balancers.iter_mut().map(|balancer| &mut balancer.components);
        of_nodes.chain(of_balancers).for_each(|components| components.remove(roles));
        next
    }

    /// Returns the topology of some of the nodes, in their order, each with how many it stands for, itself included.
    pub(crate) fn of_some(&self, nodes: &[(NodeIx, u16)]) -> Self {
        let mut next = self.clone();
        (next.domains, next.nodes) = (Vec::new(), Vec::new());
        for (index, stands_for) in nodes {
            let mut node = self.node(*index).clone();
            let name = self.domain_name(node.domain);
            let known = next.domains.iter().position(|known| known == name);
            let place = known.unwrap_or_else(|| {
                next.domains.push(name.clone());
                next.domains.len() - 1
            });
            (node.domain, node.stands_for) = (DomainIx::new(place), *stands_for);
            next.nodes.push(node);
        }
        next.members = Members::new(&next.pools, &next.nodes);
        next
    }

    /// Lists the members: the nodes of the serving site that are no spares.
    pub fn members(&self) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes().filter(|(_, node)| !node.spare && self.is_home(node))
    }

    /// Lists the members of a pool, with their port there: its nodes in its own site that are no spares.
    pub fn members_of(&self, pool: PoolIx) -> impl Iterator<Item = (NodeIx, &Node, &Port)> {
        let site = self.pool(pool).site;
        self.nodes()
            .filter(move |(_, node)| !node.spare && node.site == site)
            .filter_map(move |(index, node)| Some((index, node, node.port(pool)?)))
    }

    /// Lists the spares of the serving site.
    pub fn spares(&self) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes().filter(|(_, node)| node.spare && self.is_home(node))
    }

    /// Returns a node.
    ///
    /// # Panics
    /// For an index of another topology.
    pub fn node(&self, node: NodeIx) -> &Node {
        &self.nodes[node.index()]
    }

    /// Finds a node by name.
    pub fn find(&self, name: &str) -> Option<NodeIx> {
        self.nodes().find(|(_, node)| node.name.as_str() == name).map(|(index, _)| index)
    }

    /// Lists the balancer instances with their positions: 1 to 16.
    pub fn balancers(&self) -> impl Iterator<Item = (BalancerIx, &Balancer)> {
        self.balancers.iter().zip(0..).map(|(balancer, index)| (BalancerIx::new(index), balancer))
    }

    /// Returns a balancer instance.
    ///
    /// # Panics
    /// For an index of another topology.
    pub fn balancer(&self, balancer: BalancerIx) -> &Balancer {
        &self.balancers[balancer.index()]
    }

    /// Lists the failure domains.
    pub fn domains(&self) -> impl Iterator<Item = DomainIx> + use<> {
        (0..self.domains.len()).map(DomainIx::new)
    }

    /// Returns the name of a failure domain.
    ///
    /// # Panics
    /// For an index of another topology.
    pub fn domain_name(&self, domain: DomainIx) -> &Name {
        &self.domains[domain.index()]
    }

    /// Lists the nodes of a failure domain.
    pub fn nodes_of(&self, domain: DomainIx) -> impl Iterator<Item = NodeIx> + '_ {
        self.nodes().filter(move |(_, node)| node.domain == domain).map(|(index, _)| index)
    }

    /// Lists a node's memberships, in their order: each with its port and the balancer instance that it is on.
    pub fn memberships(&self, node: NodeIx) -> impl Iterator<Item = (MemberIx, &Port, BalancerIx)> {
        let ports = self.node(node).ports.iter();
        let on = ports.flat_map(|port| self.pool(port.pool).balancers.iter().map(move |balancer| (port, *balancer)));
        let places = self.members.layout.members_of(node.index()).map(MemberIx::new);
        places.zip(on).map(|(member, (port, balancer))| (member, port, balancer))
    }

    /// Lists a pool's entrances: its balancer instances, each with the pool's members there.
    pub fn entrances(&self, pool: PoolIx) -> &[Entrance] {
        &self.members.entrances[pool.index()]
    }

    /// Lists the members on a balancer instance, pool after pool.
    pub fn seats_on(&self, balancer: BalancerIx) -> impl Iterator<Item = &Seat> {
        let on = move |entrance: &&Entrance| entrance.balancer == balancer;
        self.members.entrances.iter().flatten().filter(on).flat_map(|entrance| &entrance.seats)
    }

    /// Returns where each node's members are among all members.
    pub fn member_layout(&self) -> &MemberLayout {
        &self.members.layout
    }
}

impl Node {
    /// Returns the node's port in a pool; `None` where it is not in that pool.
    pub fn port(&self, pool: PoolIx) -> Option<&Port> {
        self.ports.iter().find(|port| port.pool == pool)
    }
}
