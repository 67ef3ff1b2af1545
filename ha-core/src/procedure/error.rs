use super::Remedy;
use crate::law::Violation;
use crate::plan::Plan;
use crate::safety::Counterexample;
use crate::topology::FileSharing;

/// Refuses to make a plan. Nothing was changed.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::PlanError;
///
/// fn advice(error: &PlanError) -> Vec<String> {
///     match error {
///         PlanError::Missing(lines) => lines.clone(),
///         PlanError::Unprovable { remedy, .. } => vec![remedy.to_string()],
///         other => vec![other.to_string()],
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The cluster breaks the law in its present state, before anything is done.
    #[error("the cluster breaks the law at rest, no plan can start from here: {}; bring it in order first", list(.0))]
    AtRest(Vec<Violation>),
    /// A node is not in a state that a plan can start from.
    #[error("{node} is not ready for a change: {what}; {fix}")]
    NotReady {
        /// The node.
        node: String,
        /// Its state.
        what: String,
        /// What to do.
        fix: String,
    },
    /// What a change needs is not there, on one node or several: one line each, with the setting and what to do.
    #[error("what a change needs is missing, nothing was changed:\n  {}", .0.join("\n  "))]
    Missing(Vec<String>),
    /// Every member has what was asked for already.
    #[error("every member has {what} already: there is nothing to do")]
    NothingToDo {
        /// What, as text.
        what: String,
    },
    /// What was asked for is so already.
    #[error("{what} already: there is nothing to do")]
    AlreadySo {
        /// What, as text.
        what: String,
    },
    /// The change holds files back on a node, and files that are shared in this way cannot be held there.
    #[error("files of kind {kind} cannot be held back on one node: {what}; {fix}")]
    NotHeld {
        /// How the files are shared.
        kind: FileSharing,
        /// Why not.
        what: String,
        /// What to do instead.
        fix: String,
    },
    /// The scripts that wait for the database break the release that is in use, or block it, and cannot be put off.
    #[error(
        "the migration scripts cannot be run beside the release that is in use, nothing was changed:\n  {}\nput what removes \
         something into scripts of the contract phase, and what blocks into a form that does not; or declare for how long the \
         database may refuse writes (`with_window`), and it is cloned",
        .reasons.join("\n  ")
    )]
    NeedsWindow {
        /// What breaks or blocks, one line each: file, line, rule.
        reasons: Vec<String>,
    },
    /// What a balancer is configured to do would lose requests: one line each, with the rule and what to do.
    #[error(
        "a balancer's configuration would lose requests, nothing was changed:\n  {}\ncorrect it there, or accept a rule where you \
         know better, by its name in the settings of that balancer",
        .0.join("\n  ")
    )]
    Dangerous(Vec<String>),
    /// A request without a command, or with an empty release.
    #[error("the request is not complete: {0}")]
    Incomplete(String),
    /// No order of steps was found that holds the law.
    #[error("{counterexample}remedy: {remedy}")]
    Unprovable {
        /// The refused plan.
        plan: Box<Plan>,
        /// The shortest way to a broken law.
        counterexample: Box<Counterexample>,
        /// The smallest change that was found to make it provable; or none, and why.
        remedy: Box<Remedy>,
    },
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
