//! Reads a `haproxy.cfg` for what makes a change of a server lose requests. Pure: no file is opened here.

mod check;
mod expect;
mod facts;
mod model;
mod outline;
mod rules;
mod server;
mod warning;
mod words;

pub(crate) use check::member_check;
pub use expect::LintExpectations;
pub use facts::{Checks, PoolFacts, ServerFacts, pool_facts};
pub use outline::{Outline, OutlinePool, OutlineServer, OutlineSocket, outline};
pub use warning::{Severity, Warning};

/// Lists what is dangerous or unwise in a `haproxy.cfg`, in the order of the lines.
///
/// The text is read as HAProxy reads it: quotes, escapes, `defaults` sections with and without names, `from`,
/// `default-server`, `no option`. Unknown keywords are left alone, and a setting whose value is an environment variable
/// is not judged. Of conditional blocks (`.if`) every branch is read. `haproxy -c` stays the judge of the syntax.
///
/// # Guarantees
/// Never panics, opens nothing, and gives the same answer for the same arguments.
///
/// # Examples
///
/// ```
/// use ha_haproxy::{LintExpectations, Severity, lint};
///
/// let text = "global\n  master-worker\n  stats socket /run/haproxy/admin.sock level operator\n";
/// let warnings = lint(text, &LintExpectations::new());
/// assert_eq!((warnings[0].line, warnings[0].severity), (3, Severity::Danger));
/// assert!(warnings[0].to_string().starts_with("line 3: global: stats socket: danger: "));
/// ```
pub fn lint(text: &str, expect: &LintExpectations) -> Vec<Warning> {
    rules::run(&model::Config::parse(text), expect)
}

/// Lists what is dangerous or unwise in a `haproxy.cfg` of any bytes; what is not UTF-8 is replaced first.
///
/// # Examples
///
/// ```
/// use ha_haproxy::{LintExpectations, lint_bytes};
///
/// assert!(!lint_bytes(b"\xff\xfe", &LintExpectations::new()).is_empty());
/// ```
pub fn lint_bytes(bytes: &[u8], expect: &LintExpectations) -> Vec<Warning> {
    lint(&String::from_utf8_lossy(bytes), expect)
}
