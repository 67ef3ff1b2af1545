use ha_core::topology::{Permille, Pool};

/// What a pool's users are promised, computed from what its owner declared, and by no function that the law uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Required {
    /// The capacity that serves in every fault-free state.
    pub(super) now: u64,
    /// The capacity that is left when one failure domain more is lost.
    pub(super) after_loss: u64,
}

impl Required {
    pub(super) fn of(pool: &Pool) -> Self {
        Self { now: share(pool.peak_load, pool.serve_now), after_loss: share(pool.peak_load, pool.survive_one) }
    }
}

/// Returns the smallest capacity that is no less than this share of the peak.
fn share(peak: u64, of: Permille) -> u64 {
    let (whole, rest, share) = (peak / 1000, peak % 1000, u64::from(of.thousandths()));
    let part = rest * share;
    whole.saturating_mul(share).saturating_add(part / 1000 + u64::from(part % 1000 > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_never_less_than_the_share_of_the_peak() {
        for (peak, thousandths, required) in [
            (1000, 750, 750),
            (1000, 1000, 1000),
            (999, 750, 750),
            (3, 340, 2),
            (1, 1, 1),
            (2500, 500, 1250),
            (7, 0, 0),
        ] {
            assert_eq!(share(peak, Permille::new(thousandths)), required, "{thousandths} thousandths of {peak}");
        }
    }
}
