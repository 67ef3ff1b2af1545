use std::fmt;

/// A position in a topology.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Place {
    /// The line, from 1 on; 0 where the topology was not read from a file.
    pub line: usize,
    /// The key, as `node esb1.host.home`.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.key)
    }
}

/// One reason why the backends of a topology cannot be built.
///
/// # Examples
///
/// ```
/// use ha_backends::{ConnectError, ConnectErrors};
///
/// /// Lists the features that would have to be turned on.
/// fn features(refused: &ConnectErrors) -> Vec<&'static str> {
///     let off = |error: &ConnectError| match error {
///         ConnectError::FeatureOff { feature, .. } => Some(*feature),
///         _ => None,
///     };
///     refused.errors().iter().filter_map(off).collect()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No backend of this name is known for this purpose.
    #[error("{place}: no backend {backend:?} is known here; {}", known_here(.known))]
    UnknownBackend {
        /// Where it is named.
        place: Place,
        /// The backend's name in the topology.
        backend: String,
        /// The names that would do.
        known: Vec<String>,
    },
    /// The backend is one of this workspace, and was not compiled in.
    #[error("{place}: the backend {backend:?} is not compiled in; turn on the feature {feature:?} of ha-backends")]
    FeatureOff {
        /// Where it is named.
        place: Place,
        /// The backend's name in the topology.
        backend: String,
        /// The feature that has it.
        feature: &'static str,
    },
    /// The backend refuses one of its settings.
    #[error("{place}: {what}")]
    Setting {
        /// The setting.
        place: Place,
        /// What is wrong with it, and what to give.
        what: String,
    },
    /// Two components name one thing that only one can be.
    #[error("{place}: {value} is that of {other} already; {fix}")]
    Shared {
        /// The later one.
        place: Place,
        /// What both name.
        value: String,
        /// The earlier one.
        other: Place,
        /// What to do.
        fix: &'static str,
    },
}

impl ConnectError {
    /// Returns where it is.
    pub fn place(&self) -> &Place {
        match self {
            Self::UnknownBackend { place, .. }
            | Self::FeatureOff { place, .. }
            | Self::Setting { place, .. }
            | Self::Shared { place, .. } => place,
        }
    }
}

fn known_here(known: &[String]) -> String {
    match known {
        [] => "none is: turn on a feature of ha-backends, or add one to the registry".into(),
        known => format!("give one of {}, or add it to the registry", known.join(", ")),
    }
}

/// Refuses to build the backends of a topology, with everything that is wrong. Nothing was connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectErrors {
    errors: Vec<ConnectError>,
}

impl ConnectErrors {
    pub(crate) fn new(mut errors: Vec<ConnectError>) -> Self {
        errors.sort_by_key(|error| error.place().line);
        Self { errors }
    }

    /// Lists what is wrong, in the order of the lines. At least one.
    pub fn errors(&self) -> &[ConnectError] {
        &self.errors
    }
}

impl fmt::Display for ConnectErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the topology's backends have {} error(s); nothing was connected", self.errors.len())?;
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectErrors {}
