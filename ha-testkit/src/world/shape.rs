use std::time::Duration;

use ha_core::backend::FenceLevel;
use ha_core::topology::{
    AfterLoss, Component, Expect, Name, NodeSpec, Policy, PoolSpec, PortSpec, Setting, SiteRole, Topology,
    TopologyBuilder, TopologyError,
};

use super::World;

/// The shape of a simulated cluster, for tests that need many.
///
/// # Examples
///
/// ```
/// use ha_testkit::world::Shape;
///
/// // Three that all serve, each with half of the peak, a spare, and two balancers in front.
/// let topology = Shape::active_active(3, 500).with_spares(&[500]).with_balancers(2).topology()?;
/// assert_eq!((topology.members().count(), topology.balancers().count()), (3, 2));
/// # Ok::<(), ha_core::topology::TopologyError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Shape {
    /// The declared peak load.
    pub peak_load: u64,
    /// The capacity of each member.
    pub members: Vec<u64>,
    /// How many of them serve.
    pub serve: usize,
    /// The capacity of each spare.
    pub spares: Vec<u64>,
    /// Balancer instances.
    pub balancers: usize,
    /// Members that share a failure domain with the one before them.
    pub together: Vec<usize>,
    /// Whether files are shared.
    pub files: bool,
    /// Whether a database is shared.
    pub database: bool,
    /// Whether the database can be cloned.
    pub clone: bool,
    /// Whether services are exposed by routes on the balancers.
    pub exposure: bool,
    /// Whether sets of shared files are kept in an artifact store.
    pub artifacts: bool,
    /// Whether the first member pulls work.
    pub work: bool,
    /// Whether the second one does too.
    pub second_puller: bool,
    /// Whether it is declared what installs on the members.
    pub provision: bool,
    /// How many members serve in a second pool, `mgmt`, behind the last balancer; `None` where there is one pool. Its load
    /// and its capacities are a tenth of the first pool's, and its members have names of their own there.
    pub second_pool: Option<u16>,
    /// What the second site, `south`, is for at rest; `None` where there is one site.
    pub recovery: Option<SiteRole>,
    /// How far the fences of the sites reach.
    pub fence_level: FenceLevel,
    /// What becomes of a change that meets a loss, where not enough is left to finish or undo it under the law.
    pub after_loss: AfterLoss,
    /// What the doctor holds it against.
    pub expect: Expect,
}

impl Shape {
    /// One active and one passive member, each able to carry everything.
    pub fn active_passive() -> Self {
        Self {
            peak_load: 1000,
            members: vec![1000, 1000],
            serve: 1,
            spares: vec![1000],
            balancers: 1,
            together: Vec::new(),
            files: false,
            database: false,
            clone: false,
            exposure: false,
            artifacts: false,
            work: false,
            second_puller: false,
            provision: false,
            second_pool: None,
            recovery: None,
            fence_level: FenceLevel::Database,
            after_loss: AfterLoss::Hold,
            expect: Expect::new(),
        }
    }

    /// Members that all serve, each with a capacity in thousandths of the peak.
    pub fn active_active(members: usize, capacity: u64) -> Self {
        Self { members: vec![capacity; members], serve: members, spares: Vec::new(), ..Self::active_passive() }
    }

    /// Sets the capacities of the spares.
    #[must_use]
    pub fn with_spares(mut self, spares: &[u64]) -> Self {
        self.spares = spares.to_vec();
        self
    }

    /// Sets the number of balancer instances.
    #[must_use]
    pub fn with_balancers(mut self, balancers: usize) -> Self {
        self.balancers = balancers;
        self
    }

    /// Adds a second pool in which so many members serve.
    #[must_use]
    pub fn with_second_pool(mut self, serve: u16) -> Self {
        self.second_pool = Some(serve);
        self
    }

    /// Shares files.
    #[must_use]
    pub fn with_files(mut self) -> Self {
        self.files = true;
        self
    }

    /// Shares a database.
    #[must_use]
    pub fn with_database(mut self) -> Self {
        self.database = true;
        self
    }

    /// Shares a database that can be cloned.
    #[must_use]
    pub fn with_clone(mut self) -> Self {
        (self.database, self.clone) = (true, true);
        self
    }

    /// Exposes services by routes on the balancers.
    #[must_use]
    pub fn with_exposure(mut self) -> Self {
        self.exposure = true;
        self
    }

    /// Keeps sets of shared files in an artifact store.
    #[must_use]
    pub fn with_artifacts(mut self) -> Self {
        self.artifacts = true;
        self
    }

    /// Lets the first member pull work.
    #[must_use]
    pub fn with_work(mut self) -> Self {
        self.work = true;
        self
    }

    /// Adds a second site, `south`, with as many members, balancers and pools, and what leads consumers to one of both: each has a
    /// fence and a copy of the database. In a hot one the servers run and are admitted, in a warm or cold one they are stopped.
    #[must_use]
    pub fn with_sites(mut self, recovery: SiteRole) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Says how far the fences of the sites reach. Default: to the database.
    #[must_use]
    pub fn with_fence_level(mut self, level: FenceLevel) -> Self {
        self.fence_level = level;
        self
    }

    /// Declares what installs on the members.
    #[must_use]
    pub fn with_provision(mut self) -> Self {
        self.provision = true;
        self
    }

    /// Makes the world of this shape.
    ///
    /// # Errors
    /// What is wrong in its topology.
    pub fn world(&self) -> Result<World, TopologyError> {
        self.topology().map(World::new)
    }

    /// Lets a change that meets a loss be brought to an end in a declared window, where the law leaves no other way.
    #[must_use]
    pub fn with_after_loss(mut self, after_loss: AfterLoss) -> Self {
        self.after_loss = after_loss;
        self
    }

    /// Says what the doctor holds it against.
    #[must_use]
    pub fn with_expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// Declares this shape. Members are `esb1` and so on, spares `spare1`, balancers `lb1`, the pool `esb`.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn topology(&self) -> Result<Topology, TopologyError> {
        let seconds = Duration::from_secs;
        let policy = Policy::default()
            .with_soak(seconds(2))
            .with_after_loss(self.after_loss)
            .with_drain_deadline(seconds(10))
            .with_ready_deadline(seconds(30))
            .with_stop_deadline(seconds(30))
            .with_command_deadline(seconds(30))
            .with_migrate_deadline(seconds(30));
        let serve = u16::try_from(self.serve).unwrap_or(u16::MAX);
        let mut builder = Topology::builder("orders").policy(policy).expect(self.expect.clone());
        for place in self.places() {
            builder = self.declare_site(builder, &place, serve);
        }
        if self.recovery.is_some() {
            builder = builder.switch(fake());
        }
        builder = if self.files { builder.files(fake()) } else { builder };
        builder = if self.database { builder.database(self.database_component()) } else { builder };
        builder = if self.exposure { builder.exposure(fake()) } else { builder };
        builder = if self.artifacts { builder.artifacts(fake()) } else { builder };
        let mut domain = String::new();
        for (index, capacity) in self.members.iter().enumerate() {
            let name = format!("esb{}", index + 1);
            if !self.together.contains(&index) {
                domain = format!("rack-{name}");
            }
            let node = self.node(&name, *capacity, &domain, &NORTH);
            let pulls = self.work && (index == 0 || index == 1 && self.second_puller);
            let node = if pulls { node.with_work(fake()) } else { node };
            builder = builder.node(if self.provision { node.with_provision(fake()) } else { node });
        }
        for (index, capacity) in self.spares.iter().enumerate() {
            let name = format!("spare{}", index + 1);
            builder = builder.node(self.node(&name, *capacity, &format!("rack-{name}"), &NORTH).as_spare());
        }
        for (number, capacity) in (1..).zip(self.members.iter().filter(|_| self.recovery.is_some())) {
            let name = format!("south{number}");
            builder = builder.node(self.node(&name, *capacity, &format!("rack-{name}"), &SOUTH));
        }
        builder.build()
    }

    fn database_component(&self) -> Component {
        let mut database = fake();
        if self.clone {
            database.settings.insert("clone_url".into(), Setting::Text("jdbc:fake:clone".into()));
        }
        database
    }

    fn places(&self) -> Vec<(&'static Place, SiteRole)> {
        let south = self.recovery.map(|role| (&SOUTH, role));
        std::iter::once((&NORTH, SiteRole::Serving)).chain(south).collect()
    }

    /// Declares one place: its site, where there are several, its balancers and its pools.
    fn declare_site(&self, builder: TopologyBuilder, place: &(&Place, SiteRole), serve: u16) -> TopologyBuilder {
        let ((names, role), sites) = (place, self.recovery.is_some());
        let balancers: Vec<String> = (1..=self.balancers).map(|number| format!("{}{number}", names.balancer)).collect();
        let mut builder = builder;
        if sites {
            let mut fence = fake();
            fence.settings.insert("level".into(), Setting::Text(self.fence_level.to_string()));
            builder = builder.site(names.site, *role).site_fence(fence).site_replica(fake());
        }
        for balancer in &balancers {
            builder = builder.balancer(balancer, fake());
        }
        let of_site = |pool: PoolSpec| if sites { pool.with_site(names.site) } else { pool };
        let pool = of_site(PoolSpec::new(names.pool, serve, self.peak_load));
        builder = builder.pool(if sites { pool.with_balancers(&balancers) } else { pool });
        if let Some(serve) = self.second_pool {
            let pool = of_site(PoolSpec::new(names.second_pool, serve, tenth(self.peak_load)));
            builder = builder.pool(pool.with_balancers(balancers.last()));
        }
        builder
    }

    fn node(&self, name: &str, capacity: u64, domain: &str, place: &Place) -> NodeSpec {
        let node = NodeSpec::new(name, capacity, fake(), fake()).with_domain(domain);
        let node = if self.recovery.is_some() { node.with_site(place.site) } else { node };
        match self.second_pool {
            None => node,
            Some(_) => {
                let port =
                    PortSpec::new(place.second_pool).with_member(format!("{name}-mgmt")).with_capacity(tenth(capacity));
                node.with_port(port)
            }
        }
    }
}

/// The names of what is in one site.
struct Place {
    site: &'static str,
    pool: &'static str,
    second_pool: &'static str,
    balancer: &'static str,
}

const NORTH: Place = Place { site: "north", pool: "esb", second_pool: "mgmt", balancer: "lb" };
const SOUTH: Place = Place { site: "south", pool: "esb-south", second_pool: "mgmt-south", balancer: "lb-south" };

fn tenth(number: u64) -> u64 {
    number.div_ceil(10).max(1)
}

#[allow(clippy::expect_used, reason = "a fixed name, held by every test")]
fn fake() -> Component {
    Component::new(Name::new("fake").expect("a valid name"))
}
