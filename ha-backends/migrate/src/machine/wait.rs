use std::time::Duration;

/// A pause that doubles, shortened by chance so that two that wait do not stay in step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    current: Duration,
    seed: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, current: first, seed: seed | 1 }
    }

    /// Begins again with the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.current = self.first;
    }

    /// The next pause: between half and the whole of what is due.
    pub(crate) fn next(&mut self) -> Duration {
        // xorshift64
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let part = u32::try_from(self.seed % 500).unwrap_or(0) + 501;
        let pause = self.current * part / 1_000;
        self.current = (self.current * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_below_half() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500), 7);
        for due in [50, 100, 200, 400, 500, 500] {
            let pause = backoff.next();
            assert!(
                pause <= Duration::from_millis(due) && pause >= Duration::from_millis(due / 2),
                "{pause:?} of {due}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}
