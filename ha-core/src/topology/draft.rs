//! What was declared, not yet validated: the same for TOML, with lines, and for the builder, without.

use std::collections::BTreeMap;
use std::time::Duration;

use super::at_rest;
use super::component::Components;
use super::members::Members;
use super::reader::{At, Findings, LONGEST, MISSING};
use super::spec::{BalancerDraft, NodeSpec, PoolSpec, SiteDraft};
use super::{
    Balancer, DomainIx, Expect, FileSharing, Name, Node, Owner, Permille, Policy, Pool, PoolIx, SiteRole, SiteSpec,
    Topology,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<At<String>>,
    pub(super) policy: PolicyDraft,
    pub(super) pools: Vec<PoolSpec>,
    pub(super) balancers: Vec<BalancerDraft>,
    pub(super) nodes: Vec<NodeSpec>,
    pub(super) components: Components,
    pub(super) sharing: FileSharing,
    pub(super) sites: Vec<SiteDraft>,
    pub(super) expect: Expect,
    pub(super) profile: Option<At<String>>,
}

/// The policy, and what it says for the pools that do not say it themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyDraft {
    pub(super) line: usize,
    pub(super) peak_load: Option<At<u64>>,
    pub(super) serve_now: Option<At<Permille>>,
    pub(super) survive_one: Option<At<Permille>>,
    pub(super) lease_ttl_line: usize,
    /// Which of the times that a profile knows were given.
    pub(super) given: Vec<&'static str>,
    pub(super) policy: Policy,
}

const MOST_POOLS: usize = 16;
const MOST_BALANCERS: usize = 16;
const MOST_SITES: usize = 4;
const MOST_NODES: usize = u16::MAX as usize;

impl Draft {
    /// Validates what was declared. Whatever is wrong is added to the findings, but for what follows from another finding:
    /// names are resolved only where those that they may mean were read, and the law at rest is checked last.
    pub(super) fn validate(mut self, findings: &Findings<'_>) -> Option<Topology> {
        let filled_in = self.fill_in(findings);
        let name = named(findings, "cluster.name", self.name.as_ref());
        self.check_policy(findings);
        let balancers = self.balancers(findings);
        let sites = self.sites(findings);
        let pools = self.pools(findings, &balancers, &sites);
        let (mut nodes, domains) = self.nodes(findings, &pools, &sites)?;
        let lines: Vec<usize> =
            self.pools.iter().map(|pool| pool.serve.as_ref().map_or(pool.line, |at| at.line)).collect();
        for node in &mut nodes {
            node.ports.sort_by_key(|port| port.pool);
        }
        self.sharing.check(&self.components, findings);
        let is_complete = self.components.check(Owner::Cluster, findings, "", 0);
        if !is_complete || ["pool", "node", "site", "balancer"].iter().any(|table| findings.has(table)) {
            return None;
        }
        let members = Members::new(&pools, &nodes);
        let (name, policy, components, sharing, expect) =
            (name?, self.policy.policy.clone(), self.components.clone(), self.sharing, self.expect.clone());
        let mut topology = Topology {
            name,
            policy,
            pools,
            balancers,
            nodes,
            domains,
            components,
            sharing,
            sites,
            expect,
            filled_in,
            members,
        };
        at_rest::check_serve(&topology, &lines, findings, &self.pools);
        if !findings.has("pool") && !findings.has("policy") {
            self.share_defaults(&mut topology);
            at_rest::check_law(&topology, findings, &self.pools, &self.policy);
        }
        Some(topology)
    }

    fn check_policy(&self, findings: &Findings<'_>) {
        let ttl = self.policy.policy.lease_ttl;
        if ttl < Duration::from_secs(3) {
            let fix = "give at least \"3s\"; below 20 s a busy machine loses its lease";
            findings.add(self.policy.lease_ttl_line, "policy.lease_ttl", "too short to be renewed in time", fix);
        }
        let policy = &self.policy.policy;
        for (key, duration) in [
            ("drain_deadline", policy.drain_deadline),
            ("longest_request", policy.longest_request),
            ("persistence_grace", policy.persistence_grace),
            ("canary_watch", policy.canary_watch),
            ("ready_deadline", policy.ready_deadline),
            ("stop_deadline", policy.stop_deadline),
            ("command_deadline", policy.command_deadline),
            ("migrate_deadline", policy.migrate_deadline),
            ("soak", policy.soak),
            ("lease_ttl", policy.lease_ttl),
            ("lost_after", policy.lost_after),
        ] {
            if duration > LONGEST {
                findings.add(0, format!("policy.{key}"), "is longer than a day", "give at most \"24h\"");
            }
        }
        let nothing = Some(Permille::new(0));
        if self.policy.policy.canary == nothing {
            findings.add(0, "policy.canary", "0 is no share", "give a share above 0 and up to 1.0, or none");
        }
    }

    fn balancers(&self, findings: &Findings<'_>) -> Vec<Balancer> {
        if self.balancers.is_empty() && !findings.has("balancer") {
            findings.add(0, "balancer", "no balancer is declared", "declare each instance as [[balancer]]");
        }
        if let Some(extra) = self.balancers.get(MOST_BALANCERS) {
            let message = "more than 16 balancer instances";
            findings.add(extra.line, "balancer", message, "declare at most 16; split the cluster otherwise");
        }
        let mut seen = BTreeMap::new();
        let mut balancers = Vec::new();
        for draft in self.balancers.iter().take(MOST_BALANCERS) {
            let key = format!("{}.name", draft.path);
            let name = named(findings, &key, draft.name.as_ref())
                .and_then(|name| once(findings, &key, draft.name.as_ref(), name, &mut seen));
            let is_complete = draft.components.check(Owner::Balancer, findings, &draft.path, draft.line);
            if let Some(name) = name.filter(|_| is_complete) {
                balancers.push(Balancer { name, components: draft.components.clone() });
            }
        }
        balancers
    }

    fn sites(&self, findings: &Findings<'_>) -> Vec<SiteSpec> {
        if let Some(extra) = self.sites.get(MOST_SITES) {
            let fix = "declare the serving site and those that can replace it";
            findings.add(extra.line, "site", "more than 4 sites", fix);
        }
        let (mut seen, mut sites, mut serving) = (BTreeMap::new(), Vec::new(), 0);
        for draft in self.sites.iter().take(MOST_SITES) {
            let key = format!("{}.name", draft.path);
            let name = named(findings, &key, draft.name.as_ref())
                .and_then(|name| once(findings, &key, draft.name.as_ref(), name, &mut seen));
            serving += usize::from(draft.role == Some(SiteRole::Serving));
            if let (Some(name), Some(role)) = (name, draft.role) {
                draft.components.check(Owner::Site, findings, &draft.path, draft.line);
                sites.push(SiteSpec { name, role, components: draft.components.clone() });
            }
        }
        if let Some(first) = self.sites.first().filter(|_| serving != 1 && !findings.has("site")) {
            let message = format!("{serving} sites serve; two that write part the data, none leaves nothing to change");
            findings.add(first.line, "site.role", message, "give exactly one site role = \"serving\"");
        }
        sites
    }

    fn pools(&self, findings: &Findings<'_>, balancers: &[Balancer], sites: &[SiteSpec]) -> Vec<Pool> {
        if self.pools.is_empty() && !findings.has("pool") {
            findings.add(0, "pool", "no pool is declared", "declare what the nodes serve as [pool]");
        }
        if let Some(extra) = self.pools.get(MOST_POOLS) {
            findings.add(extra.line, "pool", "more than 16 pools", "declare at most 16; split the cluster otherwise");
        }
        let mut seen = BTreeMap::new();
        let mut pools: Vec<Pool> = Vec::new();
        for draft in self.pools.iter().take(MOST_POOLS) {
            let key = format!("{}.name", draft.path);
            let name = named(findings, &key, draft.name.as_ref())
                .and_then(|name| once(findings, &key, draft.name.as_ref(), name, &mut seen));
            let backend_key = format!("{}.backend", draft.path);
            let backend = draft.backend.as_ref().map(|backend| named(findings, &backend_key, Some(backend)));
            let serve = draft.serve.as_ref().map(|serve| u16::try_from(serve.value).unwrap_or(u16::MAX));
            for (key, share) in [("serve_now", &draft.serve_now), ("survive_one", &draft.survive_one)] {
                positive(
                    findings,
                    &draft.path,
                    key,
                    share.as_ref().map(|at| At { value: at.value > Permille::new(0), line: at.line }),
                );
            }
            positive(
                findings,
                &draft.path,
                "serve",
                draft.serve.as_ref().map(|at| At { value: at.value > 0, line: at.line }),
            );
            let peak_load = self.peak_load(findings, draft);
            let front = draft.balancers(findings, balancers);
            let (Some(name), Some(serve)) = (name, serve) else { continue };
            let Some(backend) = backend.unwrap_or_else(|| Some(name.clone())) else { continue };
            let shared =
                |other: &&Pool| other.backend == backend && other.balancers.iter().any(|one| front.contains(one));
            if let Some(other) = pools.iter().find(shared) {
                let message = format!("its backend {backend} is that of pool {} on the same balancer", other.name);
                let fix = "name the backend that it has there as backend, or its own balancers as balancers";
                let (key, at) = match &draft.backend {
                    Some(given) => (backend_key, given.line),
                    None => (key, draft.name.as_ref().map_or(0, |name| name.line)),
                };
                findings.add(at, key, message, fix);
            }
            let (serve_now, survive_one) = (Permille::WHOLE, Permille::WHOLE);
            let (balancers, site) = (front, draft.site(findings, sites));
            pools.push(Pool { name, backend, serve, peak_load, serve_now, survive_one, balancers, site });
        }
        pools
    }

    /// Returns the peak load of a pool: its own, or where it is the only one the policy's.
    fn peak_load(&self, findings: &Findings<'_>, pool: &PoolSpec) -> u64 {
        let (own, shared) = (pool.peak_load.as_ref(), self.policy.peak_load.as_ref());
        let key = format!("{}.peak_load", pool.path);
        match (own, shared) {
            (_, Some(shared)) if self.pools.len() > 1 => {
                if !findings.has("policy.peak_load") {
                    let message = "there are several pools, and their loads differ";
                    let fix = "remove it, and give each [[pool]] its own peak_load";
                    findings.add(shared.line, "policy.peak_load", message, fix);
                }
            }
            (Some(_), Some(shared)) => {
                let fix = format!("remove it; {key} says it");
                findings.add(shared.line, "policy.peak_load", "the peak load is given twice", fix);
            }
            (None, None) if findings.has(&key) || findings.has("policy.peak_load") => {}
            (None, None) if self.pools.len() > 1 => {
                findings.add(pool.line, key.as_str(), MISSING, "add peak_load");
            }
            (None, None) => findings.add(self.policy.line, "policy.peak_load", MISSING, "add peak_load"),
            (Some(_), None) | (None, Some(_)) => {}
        }
        let given = own.or(shared);
        if given.is_some_and(|at| at.value == 0) {
            findings.add(given.map_or(0, |at| at.line), key, "0 is no load", "give a whole number from 1 on");
        }
        given.map_or(1, |at| at.value)
    }

    fn nodes(&self, findings: &Findings<'_>, pools: &[Pool], sites: &[SiteSpec]) -> Option<(Vec<Node>, Vec<Name>)> {
        if self.nodes.is_empty() && !findings.has("node") {
            findings.add(0, "node", "no node is declared", "declare each server as [[node]]");
        }
        if self.nodes.len() > MOST_NODES {
            findings.add(0, "node", "more than 65535 nodes", "split the cluster");
            return None;
        }
        let (mut names, mut members) = (BTreeMap::new(), vec![BTreeMap::new(); pools.len()]);
        let mut domains: Vec<Name> = Vec::new();
        let mut places: BTreeMap<Name, DomainIx> = BTreeMap::new();
        let mut nodes = Vec::new();
        for draft in &self.nodes {
            let key = |key: &str| format!("{}.{key}", draft.path);
            let name = named(findings, &key("name"), draft.name.as_ref());
            let site = draft.site(findings, sites);
            let domain = draft.domain.as_ref().map(|domain| named(findings, &key("domain"), Some(domain)));
            let cold = draft.warm_up.as_ref().map(|at| At { value: at.value > Permille::new(0), line: at.line });
            positive(findings, &draft.path, "warm_up", cold);
            let Some(name) = name else { continue };
            once(findings, &key("name"), draft.name.as_ref(), name.clone(), &mut names);
            // A pool that could not be read would only be missed.
            let ports = if pools.len() == self.pools.len() {
                draft.ports(findings, &name, pools, site, &mut members)
            } else {
                Vec::new()
            };
            let Some(domain) = domain.unwrap_or_else(|| Some(name.clone())) else { continue };
            let domain = *places.entry(domain).or_insert_with_key(|domain| {
                domains.push(domain.clone());
                DomainIx::new(domains.len() - 1)
            });
            if !draft.components.check(Owner::Node, findings, &draft.path, draft.line) {
                continue;
            }
            let warm_up = draft.warm_up.as_ref().map_or(Permille::WHOLE, |share| share.value);
            let (components, spare) = (draft.components.clone(), draft.spare);
            let mut expect = draft.expect.clone();
            expect.or(&self.expect);
            nodes.push(Node { name, ports, warm_up, site, domain, spare, components, expect, stands_for: 1 });
        }
        Some((nodes, domains))
    }

    /// Sets the shares of each pool: its own, or the policy's, or the default for how its members serve.
    fn share_defaults(&self, topology: &mut Topology) {
        for (number, draft) in self.pools.iter().enumerate().take(topology.pools.len()) {
            let members = topology.members_of(PoolIx::new(u8::try_from(number).unwrap_or(u8::MAX))).count();
            let pool = &mut topology.pools[number];
            let all_serve = usize::from(pool.serve) >= members;
            let default = if all_serve { Permille::THREE_QUARTERS } else { Permille::WHOLE };
            let share = |own: &Option<At<Permille>>, shared: &Option<At<Permille>>, default| {
                own.as_ref().or(shared.as_ref()).map_or(default, |at| at.value)
            };
            pool.serve_now = share(&draft.serve_now, &self.policy.serve_now, Permille::WHOLE);
            pool.survive_one = share(&draft.survive_one, &self.policy.survive_one, default);
        }
    }
}

/// Makes a name of a text.
pub(super) fn named(findings: &Findings<'_>, key: &str, text: Option<&At<String>>) -> Option<Name> {
    let text = text?;
    match Name::new(&text.value) {
        Ok(name) => Some(name),
        Err(error) => {
            // A text that several pools share is reported once.
            if !findings.has(key) {
                findings.add(text.line, key, error.to_string(), "choose a name of these characters");
            }
            None
        }
    }
}

/// Refuses a name that was used before.
pub(super) fn once(
    findings: &Findings<'_>,
    key: &str,
    at: Option<&At<String>>,
    name: Name,
    seen: &mut BTreeMap<Name, usize>,
) -> Option<Name> {
    let line = at.map_or(0, |at| at.line);
    if let Some(before) = seen.insert(name.clone(), line) {
        if !findings.has(key) {
            let place = if before > 0 { format!("on line {before} ") } else { String::new() };
            findings.add(line, key, format!("{name} is used {place}already"), "give each its own");
        }
        return None;
    }
    Some(name)
}

/// Refuses a number or a share of 0, which only code can give: TOML is read as a positive one.
fn positive(findings: &Findings<'_>, path: &str, key: &str, is_positive: Option<At<bool>>) {
    if let Some(at) = is_positive.filter(|at| !at.value) {
        findings.add(at.line, format!("{path}.{key}"), "0 is not allowed", "give more than 0");
    }
}
