use std::borrow::Cow;
use std::collections::BTreeMap;

/// The placeholders of scripts, `${name}`, and their values.
///
/// # Examples
/// ```
/// use ha_migrate::script::Placeholders;
///
/// let placeholders = Placeholders::new().with("schema", "orders");
/// assert_eq!(placeholders.replace("SET search_path = ${schema};")?, "SET search_path = orders;");
/// assert_eq!(placeholders.replace("a\n${shema}").unwrap_err()[0].line, 2);
/// # Ok::<(), Vec<ha_migrate::script::UnresolvedError>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placeholders {
    prefix: String,
    suffix: String,
    values: BTreeMap<String, String>,
    is_enabled: bool,
}

/// A placeholder that has no value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: the placeholder {name:?} has no value: give it one, or turn placeholders off")]
pub struct UnresolvedError {
    /// Its line, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
}

impl Default for Placeholders {
    /// `${` and `}`, without values: each placeholder is refused.
    fn default() -> Self {
        Self { prefix: "${".into(), suffix: "}".into(), values: BTreeMap::new(), is_enabled: true }
    }
}

impl Placeholders {
    /// Makes placeholders `${name}` without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves every text as it is.
    pub fn off() -> Self {
        Self { is_enabled: false, ..Self::default() }
    }

    /// Gives a placeholder its value, which is put in as it is.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Changes what is around a name; `${` and `}` by default. With an empty one of the two, placeholders are off.
    #[must_use]
    pub fn with_signs(mut self, prefix: impl Into<String>, suffix: impl Into<String>) -> Self {
        (self.prefix, self.suffix) = (prefix.into(), suffix.into());
        self
    }

    /// Replaces the placeholders of a text. A prefix without a name behind it, or without a suffix in its line, is text.
    ///
    /// # Errors
    /// All placeholders that have no value.
    pub fn replace<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, Vec<UnresolvedError>> {
        if !self.is_enabled || self.prefix.is_empty() || self.suffix.is_empty() || !text.contains(&self.prefix) {
            return Ok(Cow::Borrowed(text));
        }
        let (mut out, mut unresolved) = (String::with_capacity(text.len()), Vec::new());
        for (line, text) in (1..).zip(text.split_inclusive('\n')) {
            let mut rest = text;
            while let Some((before, behind)) = rest.split_once(&self.prefix) {
                out.push_str(before);
                let Some((name, after)) = behind.split_once(&self.suffix).filter(|(name, _)| is_name(name)) else {
                    out.push_str(&self.prefix);
                    rest = behind;
                    continue;
                };
                match self.values.get(name) {
                    Some(value) => out.push_str(value),
                    None => unresolved.push(UnresolvedError { line, name: name.into() }),
                }
                rest = after;
            }
            out.push_str(rest);
        }
        if unresolved.is_empty() { Ok(Cow::Owned(out)) } else { Err(unresolved) }
    }
}

/// Names have letters, digits and `_ - . :`, as Flyway's own `${flyway:database}`, and at most this many bytes.
const LONGEST_NAME: usize = 256;

fn is_name(name: &str) -> bool {
    let is_part = |sign: char| sign.is_alphanumeric() || ['_', '-', '.', ':'].contains(&sign);
    !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_replaced_once() {
        let placeholders = Placeholders::new().with("a", "${b}").with("b", "2").with("x.y", "é");
        for (text, expected) in [
            ("${a}${b}", "${b}2"),
            ("$${b}", "$2"),
            ("${x.y} $ { ${} ${ b} ${b", "é $ { ${} ${ b} ${b"),
            ("${\n}${b}", "${\n}2"),
            ("${${b}", "${2"),
            ("$1 $$ {b}", "$1 $$ {b}"),
        ] {
            assert_eq!(placeholders.replace(text).unwrap(), expected, "{text}");
        }
        assert_eq!(Placeholders::off().replace("${a}").unwrap(), "${a}");
        let other = Placeholders::new().with_signs("@", "@").with("a", "1");
        assert_eq!(other.replace("@a@ ${a} user@host").unwrap(), "1 ${a} user@host");
    }

    #[test]
    fn all_placeholders_without_a_value_are_refused_with_their_lines() {
        let found = Placeholders::new().with("b", "2").replace("${a}\r\n${b}\n${flyway:user} ${a}").unwrap_err();
        let found: Vec<_> = found.iter().map(|one| (one.line, one.name.as_str())).collect();
        assert_eq!(found, [(1, "a"), (3, "flyway:user"), (3, "a")]);
    }

    proptest! {
        #[test]
        fn text_without_a_placeholder_stays(text in "(?s).{0,60}") {
            let placeholders = Placeholders::new().with("a", "");
            if let Ok(replaced) = placeholders.replace(&text) {
                let is_there = text.contains("${a}");
                prop_assert!(is_there || replaced == text);
            }
        }

        #[test]
        fn hard_texts_end_soon(text in "[${}a]{0,60}") {
            let _ = Placeholders::new().replace(&text.repeat(50));
        }
    }
}
