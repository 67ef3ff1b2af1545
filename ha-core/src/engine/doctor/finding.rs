use std::fmt;

use serde::Serialize;

use super::Check;

/// How bad a finding is.
///
/// # Examples
///
/// ```
/// use ha_core::engine::Severity;
///
/// assert!(Severity::Danger < Severity::Warning, "the worst comes first");
/// assert_eq!(Severity::NotChecked.to_string(), "not checked");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Requests are lost, or would be by the next loss or the next change.
    Danger,
    /// Something is not as it should be at rest: look at it before the next change.
    Warning,
    /// It could not be looked at. Nothing is known, neither good nor bad.
    NotChecked,
    /// It works, and could be better; or it is to be known.
    Advice,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Danger => "danger",
            Self::Warning => "warning",
            Self::NotChecked => "not checked",
            Self::Advice => "advice",
        })
    }
}

/// Where something was found.
///
/// # Examples
///
/// ```
/// use ha_core::engine::Place;
///
/// let place = Place::File { node: "esb1".into(), path: "conf/wso2carbon.jks".into() };
/// assert_eq!(place.to_string(), "node esb1, file conf/wso2carbon.jks");
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Place {
    /// The cluster as a whole.
    Cluster,
    /// A data centre.
    Site {
        /// Its name.
        site: String,
    },
    /// A pool.
    Pool {
        /// Its name.
        pool: String,
    },
    /// A balancer instance.
    Balancer {
        /// Its name.
        balancer: String,
    },
    /// A node.
    Node {
        /// Its name.
        node: String,
    },
    /// A node's server in a pool on a balancer instance.
    Member {
        /// The balancer.
        balancer: String,
        /// The pool.
        pool: String,
        /// The node.
        node: String,
    },
    /// A file of a node.
    File {
        /// The node.
        node: String,
        /// The path, as it is declared.
        path: String,
    },
    /// A run.
    Run {
        /// Its name.
        run: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Site { site } => write!(f, "site {site}"),
            Self::Pool { pool } => write!(f, "pool {pool}"),
            Self::Balancer { balancer } => write!(f, "balancer {balancer}"),
            Self::Node { node } => write!(f, "node {node}"),
            Self::Member { balancer, pool, node } => write!(f, "node {node} in pool {pool} on {balancer}"),
            Self::File { node, path } => write!(f, "node {node}, file {path}"),
            Self::Run { run } => write!(f, "run {run}"),
        }
    }
}

/// One thing that the doctor found.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{Check, Finding, Place, Severity};
///
/// let place = Place::Node { node: "esb1".into() };
/// let finding = Finding::new(Check::DiskFull, Severity::Warning, place, "its disk is nearly full", "make space")
///     .with_evidence("4 % of / is free");
/// assert_eq!(
///     finding.to_string(),
///     "warning: node esb1: its disk is nearly full (4 % of / is free): make space [disk-full]"
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong, or why it could not be looked at.
    pub message: String,
    /// The figures and answers that it was told from. Never a secret, nor a fingerprint of one.
    pub evidence: Vec<String>,
    /// What to do.
    pub fix: String,
}

impl Finding {
    /// Describes a finding without evidence.
    pub fn new(
        check: Check,
        severity: Severity,
        place: Place,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check, severity, place, message: message.into(), evidence: Vec::new(), fix: fix.into() }
    }

    /// Adds a line of evidence.
    #[must_use]
    pub fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// Adds lines of evidence.
    #[must_use]
    pub fn with_all_evidence(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, severity, place, message, evidence, fix } = self;
        write!(f, "{severity}: {place}: {message}")?;
        if !evidence.is_empty() {
            write!(f, " ({})", evidence.join("; "))?;
        }
        write!(f, ": {fix} [{check}]")
    }
}

/// A check of something that the cluster does not have, or of which nothing was declared.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NotNeeded {
    /// The check.
    pub check: Check,
    /// Why there was nothing to look at.
    pub why: String,
}

/// What one look of the doctor found. Each check is in exactly one of `findings`, `well`, `in_part` and `not_needed`.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{Diagnosis, Engine, Severity};
///
/// /// Lets a change begin only in a cluster in which nothing is wrong and nothing is unknown.
/// async fn is_fit(engine: &Engine) -> bool {
///     let diagnosis: Diagnosis = engine.doctor().await;
///     for finding in diagnosis.findings.iter().filter(|found| found.severity == Severity::Danger) {
///         println!("{finding}");
///     }
///     diagnosis.is_healthy()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Diagnosis {
    /// The cluster.
    pub cluster: String,
    /// When it was looked at, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// What was looked at everywhere and is well.
    pub well: Vec<Check>,
    /// What was looked at in part, and is well there: what could not be read is told by [`Check::Unread`].
    pub in_part: Vec<Check>,
    /// What there was nothing to look at for.
    pub not_needed: Vec<NotNeeded>,
}

impl Diagnosis {
    /// Returns how bad the worst finding is; `None` where nothing was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|found| found.severity).min()
    }

    /// Tells whether nothing is wrong and nothing is unknown, so that nothing is `in_part` either. Advice alone is no illness.
    pub fn is_healthy(&self) -> bool {
        self.in_part.is_empty() && self.worst().is_none_or(|worst| worst == Severity::Advice)
    }

    /// Lists what one check found.
    pub fn of(&self, check: Check) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |found| found.check == check)
    }

    /// Counts the findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.severity == severity).count()
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [Severity::Danger, Severity::Warning, Severity::NotChecked, Severity::Advice];
        let counts = counts.map(|severity| format!("{} {severity}", self.count(severity)));
        write!(f, "cluster {}: {}, {} checks well", self.cluster, counts.join(", "), self.well.len())?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        let list = |checks: Vec<&str>| checks.join(", ");
        if !self.well.is_empty() {
            write!(f, "\n  well: {}", list(self.well.iter().map(|check| check.id()).collect()))?;
        }
        if !self.in_part.is_empty() {
            write!(f, "\n  looked at in part: {}", list(self.in_part.iter().map(|check| check.id()).collect()))?;
        }
        for NotNeeded { check, why } in &self.not_needed {
            write!(f, "\n  not needed: {check}: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_in_part_is_not_healthy_though_nothing_was_found() {
        let of = |in_part: &[Check]| Diagnosis {
            cluster: "orders".into(),
            at_unix_ms: 0,
            findings: Vec::new(),
            well: Vec::new(),
            in_part: in_part.to_vec(),
            not_needed: Vec::new(),
        };
        assert!(of(&[]).is_healthy() && !of(&[Check::Drained]).is_healthy());
    }
}
