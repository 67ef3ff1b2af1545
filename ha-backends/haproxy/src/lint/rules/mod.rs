//! The rules, each a small function with its reason. "Measured" means on loopback with HAProxy 2.6.12, some of it with 2.4
//! to 3.4 too, and with a meter at the client; "manual" means HAProxy's configuration or management manual.

mod frontend;
mod global;
mod left_out;
mod pool;
mod retry;
mod server;

use super::expect::LintExpectations;
use super::facts::is_pool;
use super::model::{Config, Found, Proxy};
use super::warning::{Severity, Warning};

/// Collects warnings.
pub(super) struct Findings {
    warnings: Vec<Warning>,
}

/// One backend under the rules.
struct Pool<'c> {
    proxy: &'c Proxy<'c>,
    /// The frontends that lead here.
    frontends: Vec<&'c Proxy<'c>>,
    expect: &'c LintExpectations,
}

impl Findings {
    fn add(
        &mut self,
        severity: Severity,
        rule: &'static str,
        at: Found<'_>,
        keyword: &str,
        message: String,
        fix: &str,
    ) {
        let (line, section, fix) = (at.line.number, at.section.title(), fix.to_string());
        self.warnings.push(Warning { line, section, keyword: keyword.to_string(), rule, severity, message, fix });
    }

    fn danger(&mut self, rule: &'static str, at: Found<'_>, keyword: &str, message: impl Into<String>, fix: &str) {
        self.add(Severity::Danger, rule, at, keyword, message.into(), fix);
    }

    fn advice(&mut self, rule: &'static str, at: Found<'_>, keyword: &str, message: impl Into<String>, fix: &str) {
        self.add(Severity::Advice, rule, at, keyword, message.into(), fix);
    }

    /// Adds advice about a line that is of no section.
    fn at_line(&mut self, line: usize, rule: &'static str, keyword: &str, message: &str, fix: &str) {
        let (message, fix, keyword) = (message.to_string(), fix.to_string(), keyword.to_string());
        let (section, severity) = (String::new(), Severity::Advice);
        self.warnings.push(Warning { line, section, keyword, rule, severity, message, fix });
    }

    /// Adds a warning about the whole file, or about a section that is not there.
    fn whole(
        &mut self,
        severity: Severity,
        rule: &'static str,
        section: &str,
        keyword: &str,
        message: String,
        fix: &str,
    ) {
        let (section, keyword, fix) = (section.to_string(), keyword.to_string(), fix.to_string());
        self.warnings.push(Warning { line: 0, section, keyword, rule, severity, message, fix });
    }

    /// Sorts by line; what several backends inherit from one line is said once.
    fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings;
        let key = |w: &Warning| (w.line, w.rule, w.keyword.clone(), w.message.clone());
        warnings.sort_by_cached_key(key);
        warnings.dedup();
        warnings
    }
}

pub(super) fn run(config: &Config, expect: &LintExpectations) -> Vec<Warning> {
    let mut out = Findings { warnings: Vec::new() };
    let proxies = config.proxies();
    let is_asked = |name: &str| expect.pools.is_empty() || expect.pools.iter().any(|pool| pool == name);
    let asked: Vec<&Proxy<'_>> = proxies
        .iter()
        .filter(|proxy| is_pool(proxy) && !proxy.servers.is_empty() && is_asked(proxy.section.name()))
        .collect();
    global::run(config, expect, &mut out);
    for name in &expect.pools {
        pool::exists(&proxies, name, &mut out);
    }
    let in_front = proxies.iter().filter(|proxy| proxy.section.kind() != "backend");
    let in_front: Vec<_> = in_front.map(|proxy| (proxy, proxy.targets())).collect();
    for (proxy, targets) in &in_front {
        if asked.iter().any(|pool| targets.contains(pool.section.name())) {
            frontend::run(proxy, &mut out);
        }
    }
    left_out::run(&proxies, &asked, expect, &mut out);
    for proxy in asked {
        let leads_here = in_front.iter().filter(|(_, targets)| targets.contains(proxy.section.name()));
        let frontends = leads_here.map(|(from, _)| *from).collect();
        let pool = Pool { proxy, frontends, expect };
        pool::run(&pool, &mut out);
        retry::run(&pool, &mut out);
        server::run(&pool, &mut out);
    }
    out.into_warnings()
}
