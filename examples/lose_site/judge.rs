//! What was seen of a loss and of the way back, and whether all of it was as promised.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use examples::{Fallible, Show, page};
use ha_core::record::{End, Evidence};
use ha_core::report::RunReport;
use ha_lab::load::{LoadReport, Snapshot};
use serde_json::json;

use crate::sites::Answered;

/// By how much the clocks of two processes and the times of an event and of what it tells may differ.
const CLOCKS_MS: u64 = 300;

/// When somebody tried to write, in milliseconds since 1970, and whether it was taken.
type Write = (u64, bool);

/// What was seen. Times of day in milliseconds since 1970, others since the load began.
pub(crate) struct Seen {
    pub(crate) drill: RunReport,
    pub(crate) loss: RunReport,
    pub(crate) back: RunReport,
    pub(crate) load: LoadReport,
    /// What consumers had got, each second.
    pub(crate) seconds: Vec<Snapshot>,
    /// The same before and after each planned procedure.
    pub(crate) around_drill: [Snapshot; 2],
    pub(crate) around_back: [Snapshot; 2],
    pub(crate) lost_after: Duration,
    pub(crate) served_after: Duration,
    pub(crate) lost_at_ms: u64,
    pub(crate) fenced_at_ms: u64,
    pub(crate) promoting_at_ms: u64,
    pub(crate) back_began_at_ms: u64,
    pub(crate) answered: Vec<Answered>,
    /// The orders that the database of north has at the end.
    pub(crate) kept: BTreeSet<String>,
    /// Whether the database of north took a write while it was awake and fenced.
    pub(crate) takes_a_write: bool,
    /// What somebody inside north has written, if anybody was there.
    pub(crate) inside: Vec<Write>,
    pub(crate) insisted: bool,
    /// How long the files of the services took from north to all servers: before the loss, and after the way back.
    pub(crate) spread: Vec<Duration>,
    /// The sets of files with which the servers of south replaced north, where files are shared.
    pub(crate) sets_of_south: Vec<Option<u64>>,
}

impl Seen {
    /// Prints it, writes the report, and tells whether all was as promised; what was not is printed.
    pub(crate) fn judge(&self, out: &Path, show: &Show) -> Fallible<bool> {
        let (lost, later): (Vec<&Answered>, Vec<&Answered>) =
            self.answered.iter().filter(|order| !self.kept.contains(&order.id)).partition(|order| order.epoch == 1);
        let [at_once, by_the_loser] = [overlaps(&self.answered), self.by_the_loser()];
        let (taken, late): (Vec<Write>, Vec<Write>) =
            self.inside.iter().copied().filter(|(_, taken)| *taken).partition(|(at, _)| *at < self.fenced_at_ms);
        let declared = self.oldest_of_the_lost();
        let failed = |around: &[Snapshot; 2]| around[1].failures() - around[0].failures();
        let sent = |around: &[Snapshot; 2]| around[1].sent - around[0].sent;
        let lasted = |run: &RunReport| {
            run.windows
                .iter()
                .max_by_key(|window| window.at_most_ms)
                .map_or((0, 0), |window| (window.used_ms, window.at_most_ms))
        };
        let [(used, at_most), (waited, may_wait)] = [lasted(&self.loss), lasted(&self.back)];

        self.over_time();
        show.counts(&self.load, None);
        println!("north lost         {:>9} ms after the load began", self.lost_after.as_millis());
        let (served, dark) =
            (self.served_after.as_millis(), self.served_after.saturating_sub(self.lost_after).as_millis());
        println!("served by south    {served:>9} ms after the load began, {dark} ms after the loss");
        println!("window used        {used:>9} ms of {at_most} ms declared: no site serves");
        println!("orders lost        {:>9} that north had answered and not passed on", lost.len());
        if let Some((oldest, from)) = lost.iter().map(|order| order.at_ms).min().zip(declared) {
            let (oldest, from) = (self.lost_at_ms.saturating_sub(oldest), self.lost_at_ms.saturating_sub(from));
            println!(
                "  the oldest       {oldest:>9} ms before all was gone; the report counts as safe what is older than {from} ms"
            );
        }
        println!("orders lost later  {:>9}", later.len());
        println!("answered at once   {at_once:>9} by two sites; {by_the_loser} by the lost one after its fence");
        if self.insisted {
            println!(
                "written inside     {:>9} times in north while it was cut off; {} times after its fence",
                taken.len(),
                late.len()
            );
        }
        println!(
            "drill              {:>9} requests failed of {}",
            failed(&self.around_drill),
            sent(&self.around_drill)
        );
        println!("way back           {:>9} requests failed of {}", failed(&self.around_back), sent(&self.around_back));
        println!("consumers waited   {waited:>9} ms of {may_wait} ms declared");

        if let [before, after] = self.spread[..] {
            let [before, after] = [before, after].map(|took| took.as_millis());
            println!("files to all      {before:>9} ms by rsync before the loss, {after} ms after the way back");
        }

        let told = json!({
            "drill": self.drill, "site_loss": self.loss, "fail_back": self.back, "load": self.load, "seconds": self.seconds,
            "orders_lost": lost.len(), "orders_lost_later": later.len(), "answered_at_once": at_once,
            "answered_by_the_loser": by_the_loser, "written_by_the_loser": late.len(), "sets_of_south": self.sets_of_south,
        });
        let pages = [("drill", "/drill"), ("report", "/site_loss"), ("fail_back", "/fail_back")];
        page::write(out, show, &told, &pages, &[("front", &self.load)])?;

        let by = |site: &str| self.answered.iter().filter(|order| order.site == site).count();
        let noted = u64::try_from(self.answered.len())?;
        let in_declared = |order: &&Answered| declared.is_some_and(|from| order.at_ms + CLOCKS_MS >= from);
        let failures = [self.load.first_failure_ms, self.load.last_failure_ms];
        let ended = |run: &RunReport| run.end == End::AllNew && run.open.is_empty();
        let judged = [
            (
                [&self.drill, &self.loss, &self.back].into_iter().all(ended),
                "a run did not end as it was asked for, with nothing open",
            ),
            (noted >= self.load.counts.ok, "an answer was given that no server has noted"),
            (by("north") > 0 && by("south") > 0, "one of the sites has answered nothing"),
            (failed(&self.around_drill) == 0, "requests failed during the drill"),
            (failed(&self.around_back) == 0, "requests failed on the way back"),
            (!failures.iter().flatten().any(|at| self.is_outside(*at)), "requests failed while a site served"),
            (used > 0 && used <= at_most, "the window of the loss was not kept, or not measured"),
            (waited > 0 && waited <= may_wait, "the window of the way back was not kept, or not measured"),
            (lost.iter().all(in_declared), "orders are lost that the report counts as safe"),
            (
                self.sets_of_south.iter().all(|set| *set == Some(2)),
                "south replaced north without the files that north had brought to it",
            ),
            (
                lost.iter().all(|order| order.at_ms <= self.fenced_at_ms),
                "orders are lost that were taken after the fence",
            ),
            (later.is_empty(), "orders are lost that were taken after the loss"),
            (at_once == 0 && by_the_loser == 0, "two sites answered at once"),
            (!self.takes_a_write, "the database of the lost site took a write while it was fenced"),
            (late.is_empty(), "somebody inside the lost site could write after its fence"),
            (
                taken.is_empty() != self.insisted,
                "nobody inside the lost site could write before its fence: nothing was tried",
            ),
        ];
        for (_, broken) in judged.iter().filter(|(kept, _)| !kept) {
            println!("NOT AS PROMISED: {broken}");
        }
        Ok(judged.iter().all(|(kept, _)| *kept))
    }

    /// Counts what north has answered from its fence on until it was asked to serve again.
    fn by_the_loser(&self) -> usize {
        let meanwhile = self.fenced_at_ms..self.back_began_at_ms;
        self.answered.iter().filter(|order| order.site == "north" && meanwhile.contains(&order.at_ms)).count()
    }

    /// Returns the time from which on orders may be lost, as the promotion has reported it.
    fn oldest_of_the_lost(&self) -> Option<u64> {
        self.loss.steps.iter().find_map(|step| match step.evidence {
            Evidence::Site { behind_ms, .. } if step.action == "promote" => {
                Some(self.promoting_at_ms.saturating_sub(behind_ms?))
            }
            _ => None,
        })
    }

    fn is_outside(&self, at_ms: u64) -> bool {
        let (at, slack) = (Duration::from_millis(at_ms), Duration::from_millis(CLOCKS_MS));
        at + slack < self.lost_after || at > self.served_after + slack
    }

    /// Prints what consumers got in each second.
    fn over_time(&self) {
        println!("second     north     south    failed");
        let mut before = Snapshot::default();
        for (second, now) in self.seconds.iter().enumerate() {
            let by = |site: &str| {
                let of = |counts: &Snapshot| counts.by_release.get(site).copied().unwrap_or_default();
                of(now) - of(&before)
            };
            println!("{second:>6} {:>9} {:>9} {:>9}", by("north"), by("south"), now.failures() - before.failures());
            before = now.clone();
        }
    }
}

/// Counts the orders that were answered with an epoch after one with a higher epoch was, or with an epoch that another site has.
fn overlaps(answered: &[Answered]) -> usize {
    let mut by_time: Vec<&Answered> = answered.iter().collect();
    by_time.sort_by_key(|order| order.at_ms);
    let mut highest = (0, "");
    let mut late = 0;
    for order in by_time {
        let other_site = order.epoch == highest.0 && order.site != highest.1;
        if order.epoch < highest.0 || other_site {
            late += 1;
        } else {
            highest = (order.epoch, &order.site);
        }
    }
    late
}
