use std::fmt;

/// What was seen of one object: its definition's hash, and where the server tells, its identity.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Print {
    /// It is not there.
    Absent,
    /// It is there.
    Seen {
        /// The beginning of the SHA-256 of its definition.
        definition: String,
        /// The server's own number of it, which changes when it is made anew.
        identity: Option<String>,
    },
    /// The server does not show it.
    Hidden,
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Seen { definition, identity: None } => write!(f, "d={definition}"),
            Self::Seen { definition, identity: Some(identity) } => write!(f, "d={definition},i={identity}"),
            Self::Hidden => f.write_str("?"),
        }
    }
}

impl Print {
    /// Writes several as the journal keeps them.
    pub(crate) fn join(prints: &[Self]) -> String {
        prints.iter().map(Self::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Reads what [`join`](Self::join) wrote; what is not understood is hidden.
    pub(crate) fn split(text: &str) -> Vec<Self> {
        text.split_whitespace().map(Self::read).collect()
    }

    fn read(text: &str) -> Self {
        if text == "absent" {
            return Self::Absent;
        }
        let Some(rest) = text.strip_prefix("d=") else { return Self::Hidden };
        match rest.split_once(",i=") {
            None => Self::Seen { definition: rest.into(), identity: None },
            Some((definition, identity)) => {
                Self::Seen { definition: definition.into(), identity: Some(identity.into()) }
            }
        }
    }

    /// Tells whether the object changed since, `None` where that cannot be told.
    pub(crate) fn changed_since(&self, before: &Self) -> Option<bool> {
        match (before, self) {
            (Self::Hidden, _) | (_, Self::Hidden) => None,
            (Self::Absent, Self::Absent) => Some(false),
            (Self::Absent, Self::Seen { .. }) | (Self::Seen { .. }, Self::Absent) => Some(true),
            (Self::Seen { definition: old, identity: old_id }, Self::Seen { definition: new, identity: new_id }) => {
                Some(old != new || matches!((old_id, new_id), (Some(old), Some(new)) if old != new))
            }
        }
    }

    pub(crate) fn has_identity(&self) -> bool {
        matches!(self, Self::Absent | Self::Seen { identity: Some(_), .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_are_read_as_they_were_written() {
        let seen = |definition: &str, identity: Option<&str>| Print::Seen {
            definition: definition.into(),
            identity: identity.map(Into::into),
        };
        let prints = vec![Print::Absent, seen("ab", None), seen("cd", Some("17")), Print::Hidden];
        assert_eq!(Print::join(&prints), "absent d=ab d=cd,i=17 ?");
        assert_eq!(Print::split(&Print::join(&prints)), prints);
        assert!(Print::split("").is_empty());
    }

    #[test]
    fn a_change_is_told_only_where_both_sides_are_seen() {
        let seen = |definition: &str, identity: Option<&str>| Print::Seen {
            definition: definition.into(),
            identity: identity.map(Into::into),
        };
        for (before, now, changed) in [
            (Print::Absent, Print::Absent, Some(false)),
            (Print::Absent, seen("a", None), Some(true)),
            (seen("a", None), Print::Absent, Some(true)),
            (seen("a", None), seen("b", None), Some(true)),
            (seen("a", Some("1")), seen("a", Some("1")), Some(false)),
            (seen("a", Some("1")), seen("a", Some("2")), Some(true)),
            (seen("a", Some("1")), seen("a", None), Some(false)),
            (Print::Hidden, seen("a", None), None),
            (seen("a", None), Print::Hidden, None),
        ] {
            assert_eq!(now.changed_since(&before), changed, "{before} -> {now}");
        }
    }
}
