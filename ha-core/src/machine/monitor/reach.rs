use std::time::Duration;

use crate::topology::{DomainIx, Topology};

/// Whom this process reaches: where that is less than half of the cluster, it looks at itself and at nothing else.
#[derive(Debug)]
pub(super) struct Reach {
    domains: Vec<Domain>,
    sites: Vec<Tally>,
    all: Tally,
    suspect_since: Option<Duration>,
    fine_since: Option<Duration>,
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Domain {
    site: usize,
    /// Whether it counts: its nodes serve, or have answered once.
    known: bool,
    reached: u32,
}

/// How many failure domains count, and how many of them give no answer.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    known: u32,
    silent: u32,
}

/// What is told of this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    Suspect { silent: u32, of: u32 },
    Fine,
}

impl Reach {
    pub(super) fn new(now: Duration, topology: &Topology) -> Self {
        let nothing = Domain { site: 0, known: false, reached: 0 };
        let mut domains = vec![nothing; topology.domains().count()];
        for (_, node) in topology.nodes() {
            let domain = &mut domains[node.domain.index()];
            domain.site = node.site.map_or(0, |site| site.index());
            domain.known |= topology.is_home(node) && !node.spare;
        }
        let (mut sites, mut all) = (vec![Tally::default(); topology.sites().len().max(1)], Tally::default());
        for domain in domains.iter().filter(|domain| domain.known) {
            for tally in [&mut sites[domain.site], &mut all] {
                (tally.known, tally.silent) = (tally.known + 1, tally.silent + 1);
            }
        }
        // Nobody has answered yet.
        Self { domains, sites, all, suspect_since: Some(now), fine_since: None, told: false }
    }

    /// Takes note of whether a node is reached, which was reached or not before.
    pub(super) fn note(&mut self, now: Duration, domain: DomainIx, was_reached: bool, is_reached: bool) {
        let Self { domains, sites, all, .. } = self;
        let domain = &mut domains[domain.index()];
        let (was_known, was_silent) = (domain.known, domain.known && domain.reached == 0);
        domain.known |= is_reached;
        match (was_reached, is_reached) {
            (false, true) => domain.reached += 1,
            (true, false) => domain.reached = domain.reached.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
        let is_silent = domain.known && domain.reached == 0;
        for tally in [&mut sites[domain.site], all] {
            tally.known += u32::from(domain.known && !was_known);
            tally.silent = tally.silent + u32::from(is_silent) - u32::from(was_silent);
        }
        if self.is_cut_off() {
            self.suspect_since.get_or_insert(now);
            self.fine_since = None;
        } else {
            self.fine_since.get_or_insert(now);
            self.suspect_since = None;
        }
    }

    /// Tells whether more than half of the failure domains are silent at once, and no other site answers in full while one is
    /// silent.
    fn is_cut_off(&self) -> bool {
        let in_one_site = self.sites.iter().any(|site| site.silent == self.all.silent);
        let another_answers = self.sites.iter().any(|site| site.known > 0 && site.silent == 0);
        self.all.silent * 2 > self.all.known && !(in_one_site && another_answers)
    }

    /// Tells whether no verdict may be given.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect_since.is_some()
    }

    /// Returns since when verdicts may be given.
    pub(super) fn fine_since(&self) -> Option<Duration> {
        self.fine_since
    }

    /// Returns what is to be told: a suspicion, or its end, that lasts for `after`.
    pub(super) fn tell(&mut self, now: Duration, after: Duration) -> Option<Told> {
        let lasts = |since: Option<Duration>| since.is_some_and(|since| now.saturating_sub(since) >= after);
        if !self.told && lasts(self.suspect_since) {
            self.told = true;
            return Some(Told::Suspect { silent: self.all.silent, of: self.all.known });
        }
        if self.told && lasts(self.fine_since) {
            self.told = false;
            return Some(Told::Fine);
        }
        None
    }

    /// Starts anew: what was seen before counts for nothing.
    pub(super) fn forget(&mut self, now: Duration) {
        self.fine_since = self.fine_since.map(|_| now);
        self.suspect_since = self.suspect_since.map(|_| now);
    }
}

/// Since when a kind of observers speaks, of whatever node: only then does its silence of one node say something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trust {
    /// Since when, and when last.
    spoken: Option<(Duration, Duration)>,
}

impl Trust {
    pub(super) fn spoke(&mut self, now: Duration, longest_gap: Duration) {
        let since = self.since(now, longest_gap).unwrap_or(now);
        self.spoken = Some((since, now));
    }

    /// Returns since when it speaks without a gap.
    pub(super) fn since(&self, now: Duration, longest_gap: Duration) -> Option<Duration> {
        self.spoken.filter(|(_, last)| now.saturating_sub(*last) <= longest_gap).map(|(since, _)| since)
    }
}
