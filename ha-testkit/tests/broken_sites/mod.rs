//! Fences, copies of a database and site switches with one defect each, around the fakes.

/// Lists the defects once, so that none is left untried.
macro_rules! defects {
    ($($name:ident)*) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Defect { $($name),* }

        pub(crate) const DEFECTS: &[Defect] = &[$(Defect::$name),*];
    };
}

pub(crate) mod fence;
pub(crate) mod replica;
pub(crate) mod switch;

use ha_core::backend::{ErrorKind, StepError};
use ha_core::state::LeaseEpoch;

/// An epoch that no fence refuses.
pub(crate) fn newest(epoch: LeaseEpoch) -> LeaseEpoch {
    LeaseEpoch::new(epoch.number().max(11))
}

/// Says an error of a kind with another kind, provably without effect.
pub(crate) fn another_kind<T>(answer: Result<T, StepError>, from: ErrorKind, to: ErrorKind) -> Result<T, StepError> {
    answer.map_err(|error| match error.kind() == from {
        true => StepError::new(to, error.operation(), error.target()).without_effect(),
        false => error,
    })
}

/// Says an error of a kind without what is known of its effect.
pub(crate) fn with_unknown_effect<T>(answer: Result<T, StepError>, of: ErrorKind) -> Result<T, StepError> {
    answer.map_err(|error| match error.kind() == of {
        true => StepError::new(of, error.operation(), error.target()),
        false => error,
    })
}
