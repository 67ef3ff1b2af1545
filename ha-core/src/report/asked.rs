use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Request;

/// What a person asked of a run, and what the run said to it.
///
/// # Examples
///
/// ```
/// use ha_core::report::RunReport;
///
/// /// Lists who approved what.
/// fn approvals(report: &RunReport) -> impl Iterator<Item = String> {
///     let approved = report.requests.iter().filter(|asked| asked.what == "approve" && asked.refused.is_none());
///     approved.map(ToString::to_string)
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AskedFor {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What, as `pause` or `roll-back`.
    pub what: String,
    /// The step that it is about, as the plan's text counts it: `3.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why it was refused; `null` where it was taken.
    pub refused: Option<String>,
    /// When it was asked, in milliseconds since 1970.
    pub unix_ms: u64,
}

impl AskedFor {
    pub(crate) fn new(request: &Request, refused: Option<&str>) -> Self {
        Self {
            by: request.by.name.clone(),
            reason: request.by.reason.clone(),
            what: request.what.name().into(),
            step: request.what.step().map(|(stage, step)| format!("{}.{}", stage + 1, step + 1)),
            refused: refused.map(Into::into),
            unix_ms: request.unix_ms,
        }
    }
}

impl fmt::Display for AskedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.by, self.what)?;
        if let Some(step) = &self.step {
            write!(f, " step {step}")?;
        }
        write!(f, " ({})", self.reason)?;
        match &self.refused {
            Some(why) => write!(f, ", refused: {why}"),
            None => Ok(()),
        }
    }
}
