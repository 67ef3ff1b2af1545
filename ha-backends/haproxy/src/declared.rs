//! What HAProxy's socket does not show and its configuration does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ha_core::backend::{ConfigFinding, ErrorKind, Expectations, MemberCheck, MemberRef, StepError};
use ha_core::topology::{Name, Permille};

use crate::config::HaProxyConfig;
use crate::left_out::RULE;
use crate::lint::{LintExpectations, PoolFacts, Severity, Warning, lint, member_check, pool_facts};
use crate::sources::Sources;

/// A server of another backend: the section and the keyword under which the lint tells it.
pub(crate) type LeftOut = (String, String);

/// What the configuration of a pool tells.
#[derive(Debug, Default)]
pub(crate) struct Linted {
    pub(crate) findings: Vec<ConfigFinding>,
    pub(crate) left_out: Vec<LeftOut>,
    /// The files' names, and what they declare; `None` without files, or where they have no such pool.
    pub(crate) facts: Option<(String, PoolFacts)>,
}

/// What was declared of one instance, by its settings or by its configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    persistent: Option<bool>,
    cuts_on_maint: Option<bool>,
    files: Vec<PathBuf>,
    accept: Vec<String>,
    has_master: bool,
    /// What the file said of each pool at the last look.
    pools: Arc<Mutex<HashMap<Name, (bool, bool)>>>,
}

impl Declared {
    pub(crate) fn of(config: &HaProxyConfig) -> Self {
        Self {
            persistent: config.persistent,
            cuts_on_maint: config.cuts_on_maint,
            files: config.config_files.clone(),
            accept: config.accept.clone(),
            has_master: config.master.is_some(),
            pools: Arc::default(),
        }
    }

    /// Tells whether a pool's clients are bound to servers, and whether maintenance cuts what is in flight.
    pub(crate) fn of_pool(&self, pool: &Name) -> (bool, bool) {
        let read = self.pools.lock().unwrap_or_else(PoisonError::into_inner).get(pool).copied();
        let (persistent, cuts) = read.unwrap_or_default();
        (self.persistent.unwrap_or(persistent), self.cuts_on_maint.unwrap_or(cuts))
    }

    /// Reads the configuration anew, where there is one: a reload may have brought another.
    pub(crate) async fn refresh(&self, pool: &Name) -> Result<(), StepError> {
        let Some(sources) = self.sources("members").await? else { return Ok(()) };
        if let Some(facts) = pool_facts(&sources.text, pool.as_str()) {
            let declared = (facts.persistent, facts.cuts_sessions_on_mark_down);
            self.pools.lock().unwrap_or_else(PoisonError::into_inner).insert(pool.clone(), declared);
        }
        Ok(())
    }

    /// Tells whether the owner has accepted what a rule of the lint finds.
    pub(crate) fn accepts(&self, rule: &str) -> bool {
        self.accept.iter().any(|accepted| accepted == rule)
    }

    /// Lints the configuration, where there is one; returns also what it says of the pool's servers, and which servers of
    /// other backends were found to be left out.
    pub(crate) async fn config_findings(&self, expect: &Expectations) -> Result<Linted, StepError> {
        let Some(sources) = self.sources("config_findings").await? else { return Ok(Linted::default()) };
        let mut lints = LintExpectations::new()
            .with_pool(expect.pool.as_str())
            .with_longest_request(expect.longest_request)
            .with_master_socket(self.has_master);
        for spare in &expect.spares {
            lints = lints.with_spare(spare.as_str());
        }
        for member in &expect.members {
            lints = lints.with_member(member.as_str());
        }
        for backend in &expect.declared {
            lints = lints.with_declared(backend.as_str());
        }
        if let Some(canary) = expect.canary {
            lints = lints.with_canary_percent(percent(canary));
        }
        let mut warnings = lint(&sources.text, &lints);
        warnings.retain(|warning| !self.accepts(warning.rule));
        let left_out = warnings.iter().filter(|warning| warning.rule == RULE);
        let left_out = left_out.map(|warning| (warning.section.clone(), warning.keyword.clone())).collect();
        let finding = |mut warning: Warning| {
            let (file, line) = sources.place(warning.line);
            warning.line = line;
            let message = format!("{file}: {warning}");
            let found = match warning.severity {
                Severity::Danger => ConfigFinding::danger(message),
                Severity::Advice => ConfigFinding::advice(message),
            };
            found.with_rule(warning.rule)
        };
        let findings = warnings.into_iter().map(finding).collect();
        let facts = pool_facts(&sources.text, expect.pool.as_str());
        Ok(Linted { findings, left_out, facts: facts.map(|facts| (sources.names(), facts)) })
    }

    /// Reads how a server is checked. The socket shows the port of a check, and not what it asks.
    pub(crate) async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError> {
        let error = |kind, why: String| StepError::new(kind, "check_of", member.to_string()).with_context(why);
        let Some(sources) = self.sources("check_of").await? else {
            let why = "only its configuration says how it checks: name that as config_file".into();
            return Err(error(ErrorKind::Unsupported, why).without_effect());
        };
        let missing = || error(ErrorKind::NotFound, format!("{} has no such server", sources.names())).without_effect();
        member_check(&sources.text, member.pool.as_str(), member.member.as_str()).ok_or_else(missing)
    }

    async fn sources(&self, operation: &'static str) -> Result<Option<Sources>, StepError> {
        if self.files.is_empty() {
            return Ok(None);
        }
        let failed = |path: &str, message: String| {
            StepError::new(ErrorKind::NotFound, operation, path)
                .with_context(format!(
                    "HAProxy's configuration cannot be read: {message}; correct config_file or leave it out"
                ))
                .without_effect()
        };
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || Sources::read(&files)).await {
            Ok(Ok(sources)) => Ok(Some(sources)),
            Ok(Err((path, error))) => Err(failed(&path.display().to_string(), error.to_string())),
            Err(error) => Err(failed("config_file", error.to_string())),
        }
    }
}

/// Rounds down, as HAProxy does.
fn percent(share: Permille) -> u8 {
    u8::try_from(share.at_most(100)).unwrap_or(100)
}
