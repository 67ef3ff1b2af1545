use super::version::Version;

/// What a script is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ScriptKind {
    /// Runs once: `V`.
    Versioned(Version),
    /// Takes a versioned script back: `U`.
    Undo(Version),
    /// Runs whenever it has changed, after all versioned ones: `R`.
    Repeatable,
    /// Makes the schema of this version where there is none: `B`.
    Baseline(Version),
}

impl ScriptKind {
    /// Returns its version, which a repeatable script has not.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::Versioned(version) | Self::Undo(version) | Self::Baseline(version) => Some(version),
            Self::Repeatable => None,
        }
    }

    /// Returns the letter that its name begins with.
    pub fn letter(&self) -> char {
        match self {
            Self::Versioned(_) => 'V',
            Self::Undo(_) => 'U',
            Self::Repeatable => 'R',
            Self::Baseline(_) => 'B',
        }
    }
}

/// What the name of a script file says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ScriptName {
    /// What it is, with its version.
    pub kind: ScriptKind,
    /// What it does: what follows `__`, with blanks for `_`.
    pub description: String,
}

/// A file name that is none of a script.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the name of a script: {what}{}", suggestion.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
pub struct NameError {
    /// What is wrong with it.
    pub what: String,
    /// The name that was probably meant.
    pub suggestion: Option<String>,
}

impl ScriptName {
    /// Reads a file name, such as `V1_2__add_column.sql`.
    ///
    /// # Errors
    /// [`NameError`], with the name that was probably meant.
    ///
    /// # Examples
    /// ```
    /// use ha_migrate::script::{ScriptKind, ScriptName};
    ///
    /// let name = ScriptName::parse("V1_2__add_column.sql")?;
    /// assert_eq!((name.kind.letter(), name.description.as_str()), ('V', "add column"));
    /// let error = ScriptName::parse("v1_add_column.sql").unwrap_err();
    /// assert_eq!(error.suggestion.as_deref(), Some("V1__add_column.sql"));
    /// # Ok::<(), ha_migrate::script::NameError>(())
    /// ```
    pub fn parse(file_name: &str) -> Result<Self, NameError> {
        Self::read(file_name).map_err(|what| NameError { what: what.into(), suggestion: suggestion(file_name) })
    }

    fn read(file_name: &str) -> Result<Self, &'static str> {
        let stem = file_name.strip_suffix(".sql").ok_or("it does not end with .sql")?;
        if ["before", "after"].iter().any(|when| stem.starts_with(when)) {
            return Err("it is a callback of Flyway, which is not run");
        }
        let (head, description) = stem.split_once("__").ok_or("it has no __ before its description")?;
        if description.trim_matches('_').is_empty() {
            return Err("it has no description behind __");
        }
        let mut letters = head.chars();
        let letter = letters.next().ok_or("it has no letter before __")?;
        let version = letters.as_str();
        let versioned = |kind: fn(Version) -> ScriptKind| {
            if version.is_empty() {
                return Err("it has no version behind its letter");
            }
            version.parse().map(kind).map_err(|_| "its version is not numbers with _ or . between them")
        };
        let kind = match letter {
            'V' => versioned(ScriptKind::Versioned)?,
            'U' => versioned(ScriptKind::Undo)?,
            'B' => versioned(ScriptKind::Baseline)?,
            'R' if version.is_empty() => ScriptKind::Repeatable,
            'R' => return Err("a repeatable script has no version"),
            _ => return Err("it does not begin with V, U, R or B"),
        };
        Ok(Self { kind, description: description.replace('_', " ") })
    }
}

/// Guesses what was meant: the letter in lower case or left out, one `_` or another sign for `__`, `.SQL`.
fn suggestion(file_name: &str) -> Option<String> {
    let (stem, end) = file_name.rsplit_once('.').unwrap_or((file_name, ""));
    if !end.eq_ignore_ascii_case("sql") {
        return None;
    }
    let first = stem.chars().next()?;
    let (letter, rest) = match first.to_ascii_uppercase() {
        letter @ ('V' | 'U' | 'B' | 'R') => (letter, stem.get(1..)?),
        '0'..='9' => ('V', stem),
        _ => return None,
    };
    let rest = rest.trim_start_matches([' ', '-']);
    let is_version = |sign: char| sign.is_ascii_digit() || sign == '.' || sign == '_';
    let end = rest.find(|sign| !is_version(sign)).unwrap_or(rest.len());
    let (version, description) = rest.split_at_checked(end)?;
    let version = version.trim_matches(['.', '_']);
    let description: String = description
        .trim_matches(['_', '-', ' ', '.'])
        .chars()
        .map(|sign| if sign == ' ' { '_' } else { sign })
        .collect();
    let description = if description.is_empty() { "description" } else { &description };
    let meant = match letter {
        'R' => format!("R__{description}.sql"),
        letter => format!("{letter}{version}__{description}.sql"),
    };
    (meant != file_name && ScriptName::read(&meant).is_ok()).then_some(meant)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flyways_names_are_read() {
        for (name, letter, version, description) in [
            ("V1__a.sql", 'V', Some("1"), "a"),
            ("V1_2_3__add_a_column.sql", 'V', Some("1.2.3"), "add a column"),
            ("V2024.01.05__x__y.sql", 'V', Some("2024.01.05"), "x  y"),
            ("U1.2__back.sql", 'U', Some("1.2"), "back"),
            ("B10__all.sql", 'B', Some("10"), "all"),
            ("R__views_é.sql", 'R', None, "views é"),
        ] {
            let read = ScriptName::parse(name).unwrap();
            assert_eq!(read.kind.letter(), letter);
            assert_eq!(read.kind.version().map(ToString::to_string).as_deref(), version);
            assert_eq!(read.description, description);
        }
    }

    #[test]
    fn near_misses_get_a_suggestion() {
        for (name, says, meant) in [
            ("V1_desc.sql", "no __", Some("V1__desc.sql")),
            ("v1__a.sql", "V, U, R or B", Some("V1__a.sql")),
            ("V1_2_add_column.sql", "no __", Some("V1_2__add_column.sql")),
            ("1__a.sql", "V, U, R or B", Some("V1__a.sql")),
            ("001-create tables.sql", "no __", Some("V001__create_tables.sql")),
            ("V1__a.SQL", ".sql", Some("V1__a.sql")),
            ("V1.sql", "no __", Some("V1__description.sql")),
            ("V1__.sql", "no description", Some("V1__description.sql")),
            ("V 1__a.sql", "version", Some("V1__a.sql")),
            ("V__a.sql", "no version", None),
            ("R1__a.sql", "repeatable", Some("R__a.sql")),
            ("R_views.sql", "no __", Some("R__views.sql")),
            ("V1.x__a.sql", "version", Some("V1__x__a.sql")),
            ("afterMigrate.sql", "callback", None),
            ("dump.sql", "no __", None),
            (".sql", "no __", None),
        ] {
            let error = ScriptName::parse(name).unwrap_err();
            assert!(error.what.contains(says), "{name}: {error}");
            assert_eq!(error.suggestion.as_deref(), meant, "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_read_or_refused_and_a_suggestion_is_a_name(name in "[VURBvr0-9._ é-]{0,6}_{0,3}[a-z_ ]{0,4}(\\.sql|\\.SQL)?") {
            if let Err(NameError { suggestion: Some(meant), .. }) = ScriptName::parse(&name) {
                prop_assert!(ScriptName::parse(&meant).is_ok(), "{}", meant);
            }
        }
    }
}
