use std::fmt;

use serde::{Deserialize, Serialize};

use super::GenerationId;
use crate::topology::Name;

/// The state of the route that leads consumers to a service.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// No balancer instance has it: the service is not offered.
    #[default]
    Dark,
    /// Every balancer instance has it: consumers reach the service.
    Exposed,
    /// Some instances have it, or it leads elsewhere, or nobody could read it; counts as exposed.
    Unknown,
}

/// What happened to a route.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RouteEvent {
    /// Every balancer instance got it.
    Exposed,
    /// Every balancer instance lost it.
    Hidden,
    /// Some of them were changed, and others were not.
    ChangedInPart,
}

impl Route {
    /// Takes one event. Each is absolute: a route can be exposed and hidden whatever its state.
    #[must_use]
    pub fn on(self, event: RouteEvent) -> Self {
        match (self, event) {
            (Self::Dark | Self::Exposed | Self::Unknown, RouteEvent::Exposed) => Self::Exposed,
            (Self::Dark | Self::Exposed | Self::Unknown, RouteEvent::Hidden) => Self::Dark,
            (Self::Dark | Self::Exposed | Self::Unknown, RouteEvent::ChangedInPart) => Self::Unknown,
        }
    }

    /// Tells whether consumers may reach the service.
    pub fn is_open(self) -> bool {
        match self {
            Self::Exposed | Self::Unknown => true,
            Self::Dark => false,
        }
    }

    /// Tells whether no balancer instance has it.
    pub(super) fn is_dark(&self) -> bool {
        !self.is_open()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dark => "dark",
            Self::Exposed => "exposed",
            Self::Unknown => "unknown",
        })
    }
}

/// The key of a route, by which a balancer finds it: a path prefix as `/orders`, or a host. It goes into balancers' commands and
/// map files as it is: 1 to 255 visible ASCII characters, none of which ends or quotes anything there.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct RouteKey(Box<str>);

/// Refuses a text that cannot be the key of a route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is no key of a route: give a path prefix or a host of 1 to 255 visible ASCII characters, without any of {FORBIDDEN}"
)]
pub struct InvalidRouteKey(String);

/// What ends a command, begins a comment, quotes or escapes, in a map file or on a balancer's socket.
const FORBIDDEN: &str = "; # \\ \" ' < > ` | { }";
const LONGEST: usize = 255;

impl RouteKey {
    /// Makes a key of a text.
    ///
    /// # Errors
    /// [`InvalidRouteKey`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidRouteKey> {
        let text = text.into();
        let is_allowed = |letter: char| letter.is_ascii_graphic() && !FORBIDDEN.contains(letter);
        if text.is_empty() || text.len() > LONGEST || !text.chars().all(is_allowed) {
            return Err(InvalidRouteKey(text));
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RouteKey {
    type Error = InvalidRouteKey;

    fn try_from(text: String) -> Result<Self, InvalidRouteKey> {
        Self::new(text)
    }
}

impl From<RouteKey> for String {
    fn from(key: RouteKey) -> Self {
        key.0.into()
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The route of a service: what leads to it, and where it leads.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServiceRoute {
    /// By what a balancer finds it.
    pub key: RouteKey,
    /// Where it leads: the backend of a pool, as the balancers call it.
    pub value: Name,
}

impl ServiceRoute {
    /// Names a route.
    pub fn new(key: RouteKey, value: Name) -> Self {
        Self { key, value }
    }
}

impl fmt::Display for ServiceRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.key, self.value)
    }
}

/// A service that a plan exposes or hides: its route, and the set of shared files that has it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Service {
    /// Its route.
    pub route: ServiceRoute,
    /// The set that every node must have, tested, before consumers reach the service.
    pub generation: GenerationId,
}

impl Service {
    /// Describes a service.
    pub fn new(route: ServiceRoute, generation: GenerationId) -> Self {
        Self { route, generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_was_changed_in_part_counts_as_open_until_it_is_hidden() {
        let partly = Route::Dark.on(RouteEvent::ChangedInPart);
        assert_eq!(partly, Route::Unknown);
        assert!(partly.is_open() && Route::Exposed.is_open() && !Route::Dark.is_open());
        assert_eq!(partly.on(RouteEvent::Hidden), Route::Dark);
        assert_eq!(partly.on(RouteEvent::Exposed), Route::Exposed);
    }

    #[test]
    fn what_would_end_a_command_or_a_line_is_no_key() {
        for bad in ["", " ", "/a b", "/a\n/b", "/a;show", "#a", "/a\\b", "/a\tb", "\"/a\"", "/é", "/a\0", "<<", "/a|b"]
        {
            assert!(RouteKey::new(bad).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<RouteKey>(bad.into()).is_err(), "{bad:?}");
        }
        assert!(RouteKey::new("/".repeat(256)).is_err());
        for good in ["/", "/orders", "/orders/v1.2", "api.example.com:8443", "/a%20b", "/a@b", "/a=b,c"] {
            assert_eq!(RouteKey::new(good).unwrap().as_str(), good);
        }
    }
}
