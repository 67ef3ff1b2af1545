use std::time::Duration;

use super::node::Flags;

/// What is known of one site: it is lost when none of its nodes is seen alive for the hold-down.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SiteWatch {
    counted: u32,
    gone: u32,
    gone_since: Option<Duration>,
    told: bool,
}

impl SiteWatch {
    /// Takes note of what has changed of one of its nodes.
    pub(super) fn note(&mut self, now: Duration, was: Flags, is: Flags) {
        self.counted = self.counted + u32::from(is.counted) - u32::from(was.counted);
        self.gone = self.gone + u32::from(is.gone) - u32::from(was.gone);
        if self.counted > 0 && self.gone == self.counted {
            self.gone_since.get_or_insert(now);
        } else {
            (self.gone_since, self.told) = (None, false);
        }
    }

    /// Returns since when it is lost, once, after the hold-down. Only time in which verdicts may be given counts.
    pub(super) fn tell(
        &mut self,
        now: Duration,
        fine_since: Option<Duration>,
        hold_down: Duration,
    ) -> Option<Duration> {
        let (gone, fine) = self.gone_since.zip(fine_since)?;
        let is_news = !self.told && now.saturating_sub(gone.max(fine)) >= hold_down;
        self.told |= is_news;
        is_news.then_some(gone)
    }

    /// Begins anew: what was seen before counts for nothing.
    pub(super) fn forget(&mut self, now: Duration) {
        self.gone_since = self.gone_since.map(|_| now);
    }
}
