use ha_core::backend::{ErrorKind, Ready, StepError};

use crate::answer::OpContext;

/// What the business test said.
pub(crate) enum Tested {
    Passed,
    Failed(String),
}

/// Runs a business test between two looks, which must tell the same release: else nobody knows which one was tested.
/// Without a test, readiness is the test.
pub(crate) async fn trial<L, A, T>(asked: OpContext<'_>, look: L, test: Option<T>) -> Result<Box<str>, StepError>
where
    L: Fn() -> A,
    A: Future<Output = Result<Ready, StepError>>,
    T: Future<Output = Result<Tested, StepError>>,
{
    let before = serving(asked, look().await?)?;
    let Some(test) = test else { return Ok(before) };
    if let Tested::Failed(message) = test.await? {
        return Err(asked.failed(ErrorKind::Conflict, message));
    }
    let after = serving(asked, look().await?)?;
    if before == after {
        return Ok(after);
    }
    let message = format!("release {before} answered before the test and {after} after it: test again");
    Err(asked.failed(ErrorKind::Conflict, message))
}

fn serving(asked: OpContext<'_>, ready: Ready) -> Result<Box<str>, StepError> {
    match ready {
        Ready::Yes { release } => Ok(release),
        Ready::NotYet(message) => Err(asked.failed(ErrorKind::Conflict, message)),
        _ => Err(asked.failed(ErrorKind::Conflict, "nothing listens there")),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const ASKED: OpContext<'_> = OpContext { operation: "test", target: "esb1" };

    #[tokio::test]
    async fn a_restart_during_the_test_leaves_nothing_tested() {
        let looks = Cell::new(0);
        let look = async || {
            looks.set(looks.get() + 1);
            Ok(Ready::Yes { release: format!("{}.0", looks.get()).into() })
        };
        let error = trial(ASKED, look, Some(async { Ok(Tested::Passed) })).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("1.0") && error.to_string().contains("2.0"), "{error}");
    }
}
