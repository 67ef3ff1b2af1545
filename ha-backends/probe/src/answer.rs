//! What all probes do with answers.

use std::time::Duration;

use ha_core::backend::{ErrorKind, StepError};
use tokio::time::timeout;

/// What was asked, and of whom: errors say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpContext<'a> {
    pub(crate) operation: &'static str,
    pub(crate) target: &'a str,
}

impl OpContext<'_> {
    /// Builds an error. Probes only read: none of their errors has an effect.
    pub(crate) fn failed(self, kind: ErrorKind, message: impl Into<String>) -> StepError {
        StepError::new(kind, self.operation, self.target).with_context(message).without_effect()
    }

    /// Ends a question at its deadline.
    pub(crate) async fn within<T>(
        self,
        limit: Duration,
        question: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let late = || self.failed(ErrorKind::Timeout, format!("no answer in {limit:?}"));
        timeout(limit, question).await.unwrap_or_else(|_| Err(late()))
    }
}

/// A release is one short line of text.
const RELEASE_LIMIT: usize = 200;

/// Reads a release, or says why it is none.
pub(crate) fn release(text: &str) -> Result<Box<str>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("the answer names no release".into());
    }
    let is_text = |c: char| !c.is_control() && c != char::REPLACEMENT_CHARACTER;
    if text.len() > RELEASE_LIMIT || !text.chars().all(is_text) {
        return Err(format!("the answer names no release but {:?}", brief(text)));
    }
    Ok(text.into())
}

/// Keeps the beginning of what a server said.
pub(crate) fn brief(text: &str) -> String {
    text.trim().chars().take(200).collect()
}

/// Keeps the end of what a program said.
pub(crate) fn ending(text: &str) -> String {
    let text = text.trim();
    text.chars().skip(text.chars().count().saturating_sub(400)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_one_short_line_of_text() {
        assert_eq!(release(" 4.2.0-rc 1\r\n").as_deref(), Ok("4.2.0-rc 1"));
        for none in ["", " \n", "4\u{1b}[31m", "\u{fffd}\u{fffd}", &"4".repeat(201)] {
            assert!(release(none).is_err(), "{none:?}");
        }
    }
}
