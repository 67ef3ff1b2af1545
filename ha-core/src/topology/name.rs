use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a node, pool, balancer or failure domain: 1 to 128 of `A-Z a-z 0-9 _ . : -`.
///
/// HAProxy allows exactly these characters in names, so a parsed name can never carry a second command.
///
/// # Examples
///
/// ```
/// use ha_core::topology::Name;
///
/// assert!(Name::new("esb-1.example:8280").is_ok());
/// assert!(Name::new("be/s1;disable server be/s2").is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// Refuses a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not a name: use 1 to 128 of A-Z a-z 0-9 _ . : -")]
pub struct InvalidName {
    text: String,
}

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, longer than 128 bytes or has another character.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(allowed) {
            let text = text.chars().take(160).collect();
            return Err(InvalidName { text });
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_accepted_name_never_ends_a_word_or_a_command(text in "\\PC{0,20}|[ -~\n\0;#/]{0,20}") {
            if let Ok(name) = Name::new(&text) {
                let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
                prop_assert!(name.as_str().chars().all(allowed));
            }
        }
    }
}
