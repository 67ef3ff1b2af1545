use std::fmt;

use serde::Serialize;

/// One thing that is wrong in a configuration: where, what, and what to do.
///
/// # Examples
///
/// ```
/// use ha_core::topology::Diagnostic;
///
/// let found = Diagnostic::new(7, "node[1].hosts", "unknown key", "did you mean host?");
/// assert_eq!(found.to_string(), "line 7: node[1].hosts: unknown key; did you mean host?");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Diagnostic {
    /// The line, from 1 on; 0 where the whole file is meant.
    pub line: usize,
    /// The path of the key, as `node[1].capacity`; empty where the whole file is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl Diagnostic {
    /// Describes one thing that is wrong.
    pub fn new(line: usize, key: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { line, key: key.into(), message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.message, self.fix)
    }
}

/// Refuses a topology, with everything that is wrong in it.
///
/// # Examples
///
/// ```
/// use ha_core::topology::Topology;
///
/// let refused = Topology::from_toml_str("[cluster]\nname = \"orders\"\ncolour = \"red\"\n").unwrap_err();
/// let unknown = refused.diagnostics().iter().find(|found| found.key == "cluster.colour");
/// assert_eq!(unknown.map(|found| found.line), Some(3));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopologyError {
    diagnostics: Vec<Diagnostic>,
}

impl TopologyError {
    /// Of what was found, in the order of the lines.
    pub(super) fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics }
    }

    /// Lists what is wrong, in the order of the lines.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the topology has {} error(s)", self.diagnostics.len())?;
        for diagnostic in &self.diagnostics {
            write!(f, "\n  {diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TopologyError {}
