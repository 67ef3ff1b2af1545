use std::fmt;

/// How bad a warning is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Severity {
    /// Works, but is slower, weaker or easier to get wrong than it need be.
    Advice,
    /// Requests can be lost or doubled, or a server cannot be taken out safely.
    Danger,
}

/// One thing in a `haproxy.cfg` that is dangerous or unwise.
///
/// # Examples
///
/// ```
/// use ha_haproxy::{LintExpectations, Severity, lint};
///
/// let text = "defaults\n  mode http\n  retries 3\nbackend esb\n  server esb1 10.0.0.1:8280\n";
/// for warning in lint(text, &LintExpectations::default()).iter().filter(|warning| warning.severity == Severity::Danger) {
///     println!("{warning}");
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Warning {
    /// The line, from 1 on; 0 where the whole file is meant. What is missing is reported at its section's first line.
    pub line: usize,
    /// The section, as `backend esb`; empty where the whole file is meant.
    pub section: String,
    /// The keyword, as `option redispatch`.
    pub keyword: String,
    /// The name of the rule, for those who leave some out. Names do not change.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, and why that matters.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Advice => "advice",
            Self::Danger => "danger",
        })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.section.is_empty() {
            write!(f, "{}: ", OneLine(&self.section))?;
        }
        let (keyword, message, fix) = (OneLine(&self.keyword), OneLine(&self.message), OneLine(&self.fix));
        write!(f, "{keyword}: {}: {message}; {fix} [{}]", self.severity, self.rule)
    }
}

/// Shows control characters escaped, since names come from the file.
struct OneLine<'t>(&'t str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\u{2028}' | '\u{2029}' => write!(f, "{}", char.escape_unicode()),
            char if char.is_control() => write!(f, "{}", char.escape_default()),
            char => write!(f, "{char}"),
        })
    }
}
