//! What the names in a declaration mean: balancers in front of a pool, a node's site, its pools and ports.

use std::collections::BTreeMap;

use super::draft::{named, once};
use super::reader::{At, Findings, MISSING};
use super::spec::{NodeSpec, PoolSpec, PortSpec};
use super::{Balancer, BalancerIx, Name, Pool, PoolIx, Port, SiteIx, SiteRole, SiteSpec};

impl PoolSpec {
    pub(super) fn balancers(&self, findings: &Findings<'_>, declared: &[Balancer]) -> Vec<BalancerIx> {
        let all = || declared.iter().zip(0..).map(|(_, index)| BalancerIx::new(index));
        let Some(names) = &self.balancers else { return all().collect() };
        let key = format!("{}.balancers", self.path);
        if names.value.is_empty() {
            findings.add(
                names.line,
                key,
                "no balancer is named",
                "name those in front of it, or leave the key out for all",
            );
            return Vec::new();
        }
        if findings.has("balancer") {
            return all().collect();
        }
        let mut front = Vec::new();
        for name in &names.value {
            let found = all().zip(declared).find(|(_, balancer)| balancer.name.as_str() == name.value);
            match found {
                Some((index, _)) if front.contains(&index) => {
                    findings.add(name.line, key.as_str(), format!("{} is named twice", name.value), "name it once");
                }
                Some((index, _)) => front.push(index),
                None => {
                    let message = format!("no balancer {} is declared", name.value);
                    findings.add(name.line, key.as_str(), message, "declare it as [[balancer]]");
                }
            }
        }
        front.sort_unstable();
        front
    }
}

impl NodeSpec {
    /// Finds the node's site; where sites are declared every node has one.
    pub(super) fn site(&self, findings: &Findings<'_>, sites: &[SiteSpec]) -> Option<SiteIx> {
        let key = format!("{}.site", self.path);
        if findings.has("site") {
            return None;
        }
        let Some(site) = &self.site else {
            if !sites.is_empty() {
                findings.add(self.line, key, "is missing, and sites are declared", "name the node's site");
            }
            return None;
        };
        find_site(findings, key, site, sites)
    }

    /// Resolves the node's ports: one in each of its pools.
    pub(super) fn ports(
        &self,
        findings: &Findings<'_>,
        name: &Name,
        pools: &[Pool],
        site: Option<SiteIx>,
        members: &mut [BTreeMap<Name, usize>],
    ) -> Vec<Port> {
        let member_key = format!("{}.member", self.path);
        let member = self.member.as_ref().map(|member| named(findings, &member_key, Some(member)));
        let mut ports = Vec::new();
        for pool in self.pools(findings, pools, site) {
            let own = self.ports.iter().find(|port| port.is_in(&pools[pool.index()]));
            let (path, line) = own.map_or((&self.path, self.line), |port| (&port.path, port.line));
            let capacity = own.and_then(|port| port.capacity).or(self.capacity);
            let key = format!("{path}.capacity");
            let unread = findings.has(&key) || findings.has(&format!("{}.capacity", self.path));
            if capacity.is_none() && !unread {
                findings.add(line, key, MISSING, "add capacity");
            } else if capacity.is_some_and(|at| at.value == 0) {
                findings.add(
                    capacity.map_or(0, |at| at.line),
                    key,
                    "0 is no capacity",
                    "give a whole number from 1 on",
                );
            }
            let own_member = own.and_then(|port| port.member.as_ref());
            let key =
                own.filter(|_| own_member.is_some()).map_or(member_key.clone(), |port| format!("{}.member", port.path));
            let member_here = match own_member {
                Some(given) => named(findings, &key, Some(given)),
                None => member.clone().unwrap_or_else(|| Some(name.clone())),
            };
            let (Some(member), Some(capacity)) = (member_here, capacity) else { continue };
            let at = own_member.or(self.member.as_ref()).or(self.name.as_ref());
            // A member that has its node's name is taken where that is; it is told there.
            let is_named = own_member.is_some() || self.member.is_some();
            if is_named || !findings.has(&format!("{}.name", self.path)) {
                once(findings, &key, at, member.clone(), &mut members[pool.index()]);
            }
            ports.push(Port { pool, member, capacity: capacity.value });
        }
        ports
    }

    /// Resolves the node's pools: unless they are named, all of its site, or all that there are where its site has none of its own.
    fn pools(&self, findings: &Findings<'_>, declared: &[Pool], site: Option<SiteIx>) -> Vec<PoolIx> {
        let every: Vec<PoolIx> = declared.iter().zip(0..).map(|(_, index)| PoolIx::new(index)).collect();
        let is_here = |pool: &PoolIx| declared[pool.index()].site == site;
        let own: Vec<PoolIx> = every.iter().copied().filter(is_here).collect();
        let all = if own.is_empty() { every.clone() } else { own };
        let find = |name: &str| every.iter().copied().find(|pool| declared[pool.index()].name.as_str() == name);
        let key = format!("{}.pools", self.path);
        let mut pools = Vec::new();
        match &self.pools {
            None => pools.clone_from(&all),
            Some(names) if names.value.is_empty() => {
                findings.add(
                    names.line,
                    key.as_str(),
                    "no pool is named",
                    "name its pools, or leave the key out for all",
                );
            }
            Some(names) => {
                for name in &names.value {
                    match find(&name.value) {
                        Some(pool) if pools.contains(&pool) => {
                            findings.add(
                                name.line,
                                key.as_str(),
                                format!("{} is named twice", name.value),
                                "name it once",
                            );
                        }
                        Some(pool) => pools.push(pool),
                        None => {
                            let message = format!("no pool {} is declared", name.value);
                            findings.add(name.line, key.as_str(), message, "declare it as [[pool]]");
                        }
                    }
                }
            }
        }
        let mut seen = BTreeMap::new();
        for port in &self.ports {
            let Some(pool) = &port.pool else { continue };
            let key = format!("{}.pool", port.path);
            let Some(name) = named(findings, &key, Some(pool)) else { continue };
            let is_own = find(&pool.value).is_some_and(|pool| pools.contains(&pool));
            if !is_own && !findings.has(&format!("{}.pools", self.path)) {
                let message = format!("the node is in no pool {name}");
                findings.add(pool.line, key.as_str(), message, "name one of the node's pools");
            }
            once(findings, &key, Some(pool), name, &mut seen);
        }
        pools
    }
}

impl PoolSpec {
    /// Finds the site of the pool's nodes: by default the one that serves at rest.
    pub(super) fn site(&self, findings: &Findings<'_>, sites: &[SiteSpec]) -> Option<SiteIx> {
        if findings.has("site") {
            return None;
        }
        let Some(site) = &self.site else {
            let serving = sites.iter().zip(0..).find(|(site, _)| site.role == SiteRole::Serving);
            return serving.map(|(_, index)| SiteIx::new(index));
        };
        find_site(findings, format!("{}.site", self.path), site, sites)
    }
}

fn find_site(findings: &Findings<'_>, key: String, site: &At<String>, sites: &[SiteSpec]) -> Option<SiteIx> {
    let found = sites.iter().zip(0..).find(|(spec, _)| spec.name.as_str() == site.value);
    if found.is_none() {
        findings.add(site.line, key, format!("no site {} is declared", site.value), "declare it as [[site]]");
    }
    found.map(|(_, index)| SiteIx::new(index))
}

impl PortSpec {
    fn is_in(&self, pool: &Pool) -> bool {
        self.pool.as_ref().is_some_and(|name| name.value == pool.name.as_str())
    }
}
