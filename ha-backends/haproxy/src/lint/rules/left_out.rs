use super::super::expect::LintExpectations;
use super::super::facts::is_pool;
use super::super::model::Proxy;
use super::super::server::budget;
use super::{Findings, Severity};
use crate::left_out::{FIX, Known, RULE, same};

/// A server answers on several ports, each its own backend: one that nobody declared is not drained when the server stops, and
/// what it carries is lost.
pub(super) fn run(proxies: &[Proxy<'_>], asked: &[&Proxy<'_>], expect: &LintExpectations, out: &mut Findings) {
    if expect.pools.is_empty() {
        return;
    }
    let mut left = budget();
    let own = asked.iter().flat_map(|pool| &pool.servers);
    let own: Vec<(String, &str)> =
        own.flat_map(|server| server.names(&mut left).into_iter().map(|name| (name, server.address))).collect();
    let is_member = |name: &str| expect.members.is_empty() || expect.members.iter().any(|member| member == name);
    let members: Vec<Known<'_>> =
        own.iter().filter(|(name, _)| is_member(name)).map(|(name, address)| Known { name, address }).collect();
    let is_known = |name: &str| [&expect.pools, &expect.declared].into_iter().flatten().any(|known| known == name);
    let others = proxies.iter().filter(|proxy| is_pool(proxy) && !is_known(proxy.section.name()));
    for server in others.flat_map(|proxy| &proxy.servers) {
        for name in server.names(&mut left) {
            let Some((found, member)) = same(Known { name: &name, address: server.address }, &members) else {
                continue;
            };
            let severity = if found.is_danger() { Severity::Danger } else { Severity::Advice };
            out.add(severity, RULE, server.at, &format!("server {name}"), found.message(&name, member), FIX);
        }
    }
}
