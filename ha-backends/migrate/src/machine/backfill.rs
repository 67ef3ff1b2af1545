//! Goes through a table in batches: as large as they stay quick, with pauses, until nothing is left.

use std::time::Duration;

use super::apply::{Applying, Stage};
use super::{Command, Input, Machine, State};
use crate::MigrateError;

/// A batch should take no longer.
const TARGET: Duration = Duration::from_millis(100);
/// The largest batch, in rows.
const LARGEST: u64 = 5_000;
/// The smallest.
const SMALLEST: u64 = 50;
/// Replicas that are further behind are waited for.
const LAG: Duration = Duration::from_secs(1);

impl Machine {
    pub(super) fn begin_backfill(&mut self, mut on: Applying) {
        let size = self.units.get(on.unit).and_then(|unit| unit.backfill.as_ref()).map_or(SMALLEST, |spec| spec.batch);
        let (unit, size) = (on.unit, size.clamp(1, 100_000));
        on.stage = Stage::Batch { size, pass: 1 };
        self.go(State::Applying(on), Command::Batch { unit, size });
    }

    pub(super) fn on_backfill(
        &mut self,
        now: Duration,
        mut on: Applying,
        stage: Stage,
        command: Command,
        input: Input,
    ) {
        let unit = on.unit;
        match (stage, input) {
            (Stage::Batch { size, pass }, Input::Batch { rows, more: true, took, lag }) => {
                self.summary.rows += rows;
                (on.attempts, on.since) = (1, now);
                self.backoff.reset();
                let size = adapted(size, took);
                on.stage = Stage::Batch { size, pass };
                self.go_after(now + pause(took, lag), State::Applying(on), Command::Batch { unit, size });
            }
            (Stage::Batch { pass, .. }, Input::Batch { rows, more: false, .. }) => {
                self.summary.rows += rows;
                on.stage = Stage::Count { pass };
                self.go(State::Applying(on), Command::CountLeft { unit });
            }
            (Stage::Count { .. }, Input::Left(0)) => self.record(now, on),
            (Stage::Count { pass: 1 }, Input::Left(_)) => {
                // Rows came in behind the cursor: once more from the beginning.
                on.stage = Stage::Rewind;
                self.go(State::Applying(on), Command::Rewind { unit });
            }
            (Stage::Count { .. }, Input::Left(left)) => {
                let script = self.units.get(unit).map(|unit| unit.script.clone()).unwrap_or_default();
                self.fail(MigrateError::Mismatch { script, left });
            }
            (Stage::Rewind, Input::Done { .. }) => {
                let size =
                    self.units.get(unit).and_then(|unit| unit.backfill.as_ref()).map_or(SMALLEST, |spec| spec.batch);
                on.stage = Stage::Batch { size, pass: 2 };
                self.go(State::Applying(on), Command::Batch { unit, size });
            }
            (stage, Input::Failed { error, .. })
                if self.is_transient(&error) && now.saturating_sub(on.since) < self.policy.retry_deadline =>
            {
                self.summary.retries += 1;
                on.attempts += 1;
                let until = now + self.backoff.next();
                let command = match (&stage, command) {
                    // A smaller batch holds fewer locks.
                    (Stage::Batch { .. }, Command::Batch { unit, size }) => {
                        Command::Batch { unit, size: (size / 2).max(SMALLEST.min(size)) }
                    }
                    (_, command) => command,
                };
                on.stage = stage;
                self.go_after(until, State::Applying(on), command);
            }
            (Stage::Batch { .. }, Input::Failed { error, step: Some(step) }) => {
                on.step = step;
                self.blame(on, error);
            }
            (_, other) => self.unexpected(command, other),
        }
    }
}

/// The size of the next batch after one of `size` rows took that long.
fn adapted(size: u64, took: Duration) -> u64 {
    if took > TARGET {
        (size / 2).max(SMALLEST.min(size))
    } else if took < TARGET / 3 {
        (size + size / 4 + 1).min(LARGEST.max(size))
    } else {
        size
    }
}

/// How long to leave the database to others: half of what the batch took, and longer while replicas are behind.
fn pause(took: Duration, lag: Duration) -> Duration {
    let behind = if lag > LAG { lag.min(Duration::from_secs(5)) } else { Duration::ZERO };
    (took / 2).min(TARGET) + behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_shrink_when_slow_and_grow_when_quick() {
        let ms = Duration::from_millis;
        for (size, took, next) in [
            (2_000, ms(150), 1_000),
            (2_000, ms(60), 2_000),
            (2_000, ms(10), 2_501),
            (5_000, ms(1), 5_000),
            (60, ms(900), 50),
            (10, ms(900), 10),
            (20_000, ms(1), 20_000),
        ] {
            assert_eq!(adapted(size, took), next, "{size} in {took:?}");
        }
    }

    #[test]
    fn the_pause_is_half_of_the_batch_and_longer_behind_replicas() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(40), ms(0)), ms(20));
        assert_eq!(pause(ms(900), ms(0)), ms(100));
        assert_eq!(pause(ms(40), ms(3_000)), ms(3_020));
        assert_eq!(pause(ms(40), ms(60_000)), ms(5_020));
    }
}
