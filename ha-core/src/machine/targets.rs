use std::hash::{Hash, Hasher};

use crate::action::{Desired, Order, TrafficAction};
use crate::record::{Cursor, Mode};
use crate::state::{ClusterState, MemberState, Target, Traffic};
use crate::topology::NodeIx;

/// How far a run has come with one order.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Progress {
    /// Not begun.
    #[default]
    Idle,
    /// The intent is recorded, the outcome is not.
    InFlight,
    /// Done, and read back.
    Done,
    /// It did not happen, or not in full.
    NotDone {
        /// Whether a look at an unknown outcome said so: such a step may be given once more.
        looked: bool,
    },
    /// Nobody knows whether it happened; `looks` counts how often the probe was asked since.
    Unknown {
        /// Probes that could not tell.
        looks: u8,
    },
}

/// The run's own memory beside the observed state: how far it has come on each target, and what it desires of the balancers.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Targets {
    /// The targets that are not idle, sorted.
    steps: Vec<(Target, Order, Progress)>,
    /// The nodes of whose traffic something is desired, or that are re-applied, sorted.
    wishes: Vec<Wish>,
    /// The orders of the step at hand that have begun, in any attempt, sorted; and which step that is.
    begun: Vec<Order>,
    begun_at: Place,
    /// Whether that is known to be all of them; then they are not listed.
    all_begun: bool,
    back: Back,
}

/// A step of a plan: its stage and its number there.
type Place = (u16, u16);

/// How far a run has gone back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Back {
    /// It goes forward.
    #[default]
    Not,
    /// It is at the step where it turned, of which some orders may never have begun.
    At(Place),
    /// It is at a step before that: all of its orders have begun.
    Before,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Wish {
    node: NodeIx,
    desired: Desired,
    /// Whether the desired state is being re-applied.
    reasserting: bool,
    /// How often it was re-applied without success so far.
    attempts: u8,
}

impl Targets {
    /// Returns how far the run has come with an order.
    pub fn progress(&self, order: Order) -> Progress {
        match self.find(order.target()) {
            Ok(place) if self.steps[place].1 == order => self.steps[place].2,
            Ok(_) | Err(_) => Progress::Idle,
        }
    }

    /// Notes how far the run has come with an order.
    pub(super) fn set(&mut self, order: Order, progress: Progress) {
        match self.find(order.target()) {
            Ok(place) if progress == Progress::Idle => drop(self.steps.remove(place)),
            Ok(place) => self.steps[place] = (order.target(), order, progress),
            Err(_) if progress == Progress::Idle => {}
            Err(place) => self.steps.insert(place, (order.target(), order, progress)),
        }
    }

    /// Lists the orders in flight, each by what it is; what is being re-applied among them.
    pub fn in_flight(&self) -> impl Iterator<Item = Order> + '_ {
        let steps =
            self.steps.iter().filter(|(.., progress)| *progress == Progress::InFlight).map(|(_, order, _)| *order);
        steps.chain(self.wishes.iter().filter(|wish| wish.reasserting).map(Wish::reassert))
    }

    /// Tells whether an order of the plan is in flight.
    pub fn has_step_in_flight(&self) -> bool {
        self.steps.iter().any(|(.., progress)| *progress == Progress::InFlight)
    }

    /// Tells whether an order in flight changes a resource.
    pub fn is_changing(&self, target: Target) -> bool {
        self.in_flight().any(|order| order.changes(target))
    }

    /// Lists the orders whose outcome nobody knows, those in flight included.
    pub fn unsettled(&self) -> impl Iterator<Item = Order> + '_ {
        let open = |progress: &Progress| matches!(progress, Progress::InFlight | Progress::Unknown { .. });
        self.steps.iter().filter(move |(.., progress)| open(progress)).map(|(_, order, _)| *order)
    }

    /// Lists the orders of the step at hand that did not happen, or of which nobody knows whether they did.
    pub(super) fn failed(&self) -> impl Iterator<Item = Order> + '_ {
        let failed = |progress: &Progress| matches!(progress, Progress::NotDone { .. } | Progress::Unknown { .. });
        self.steps.iter().filter(move |(.., progress)| failed(progress)).map(|(_, order, _)| *order)
    }

    /// Returns what the run desires of a node's traffic.
    pub fn desired(&self, node: NodeIx) -> Desired {
        self.wish(node).map_or(Desired::Unchanged, |wish| wish.desired)
    }

    pub(super) fn desire(&mut self, node: NodeIx, desired: Desired) {
        self.with_wish(node, |wish| wish.desired = desired);
    }

    /// Returns how often a node's traffic was re-applied without success so far.
    pub(super) fn reassert_attempts(&self, node: NodeIx) -> u8 {
        self.wish(node).map_or(0, |wish| wish.attempts)
    }

    /// Tells whether any node's traffic is being re-applied.
    pub(super) fn is_reasserting(&self) -> bool {
        self.wishes.iter().any(|wish| wish.reasserting)
    }

    pub(super) fn begin_reassert(&mut self, node: NodeIx) {
        self.with_wish(node, |wish| wish.reasserting = true);
    }

    /// Ends a re-application: what the balancers say next tells whether it is needed once more.
    pub(super) fn end_reassert(&mut self, node: NodeIx, done: bool) {
        self.with_wish(node, |wish| {
            wish.attempts = if done { 0 } else { wish.attempts.saturating_add(1) };
            wish.reasserting = false;
        });
    }

    /// Tells whether a balancer instance has lost what this run desires of a node. What is being changed has not been lost, nor
    /// what may have been, which is looked up, nor what cannot be seen.
    pub fn is_lost(&self, state: &ClusterState, node: NodeIx) -> bool {
        self.wish(node).is_some_and(|wish| self.has_lost(state, wish))
    }

    /// Lists the nodes of which a balancer instance has lost what this run desires.
    pub fn lost<'a>(&'a self, state: &'a ClusterState) -> impl Iterator<Item = NodeIx> + 'a {
        self.wishes.iter().filter(|wish| self.has_lost(state, wish)).map(|wish| wish.node)
    }

    /// Returns the last quiet state of a cluster of which a balancer has lost the runtime state: what is lost, or being
    /// re-applied, as the run desires it.
    pub(crate) fn last_quiet(&self, state: &ClusterState) -> ClusterState {
        let mut quiet = state.clone();
        for wish in self.wishes.iter().filter(|wish| wish.reasserting || self.has_lost(state, wish)) {
            match wish.desired {
                Desired::Out => quiet.set_traffic_everywhere(wish.node, |_| Traffic::Out),
                Desired::Admitted => quiet.set_traffic_everywhere(wish.node, MemberState::admitted),
                Desired::Unchanged => {}
            }
        }
        quiet
    }

    fn has_lost(&self, state: &ClusterState, wish: &Wish) -> bool {
        // A node that is on its way out once more after it was re-applied is not out yet.
        let again = wish.attempts > 0;
        let lost = |traffic: Traffic| match (wish.desired, traffic) {
            (Desired::Unchanged, _) | (_, Traffic::Unknown | Traffic::Gone) => false,
            (Desired::Out, Traffic::In | Traffic::Backup | Traffic::Down) => true,
            (Desired::Out, Traffic::Draining { .. }) => again,
            (Desired::Out, Traffic::Out) => false,
            (Desired::Admitted, Traffic::Out | Traffic::Draining { .. }) => true,
            (Desired::Admitted, Traffic::In | Traffic::Backup | Traffic::Down) => false,
        };
        let any_lost = state.members(wish.node).iter().any(|member| lost(member.traffic));
        any_lost && !wish.reasserting && !self.is_moving(wish.node)
    }

    /// Tells whether a node's traffic is being changed, or nobody knows what became of the change.
    fn is_moving(&self, node: NodeIx) -> bool {
        let is_open = |progress: &Progress| matches!(progress, Progress::InFlight | Progress::Unknown { .. });
        self.find(Target::Traffic(node)).is_ok_and(|place| {
            let (_, order, progress) = &self.steps[place];
            is_open(progress) && order.changes(Target::Traffic(node))
        })
    }

    /// Notes that an order of the plan has begun: a rollback takes back what was begun, and nothing else.
    pub(super) fn record(&mut self, place: Place, order: Order) {
        if self.begun_at != place {
            self.begun.clear();
            (self.begun_at, self.all_begun) = (place, false);
        }
        if let Err(at) = self.begun.binary_search(&order)
            && !self.all_begun
        {
            self.begun.insert(at, order);
        }
    }

    fn has_begun(&self, place: Place, order: Order) -> bool {
        self.begun_at == place && (self.all_begun || self.begun.binary_search(&order).is_ok())
    }

    /// Tells whether any order of a step has begun.
    pub(super) fn has_begun_any(&self, place: Place) -> bool {
        self.begun_at == place && (self.all_begun || !self.begun.is_empty())
    }

    /// Tells whether an order of a step that is compensated had begun.
    pub(super) fn is_recorded(&self, place: Place, order: Order) -> bool {
        match self.back {
            Back::At(turned) if turned == place => self.has_begun(place, order),
            Back::Not | Back::At(_) | Back::Before => true,
        }
    }

    /// Forgets of what had begun all that no decision depends on: outside of its step, once all `orders` of the step have
    /// begun, and when the run does not go back any more.
    pub(crate) fn forget_recorded(&mut self, cursor: Cursor, mut orders: impl Iterator<Item = Order>) {
        let place = (cursor.stage, cursor.step);
        let here = self.begun_at == place;
        let all = here && (self.all_begun || orders.all(|order| self.has_begun(place, order)));
        let (kept, back) = match (cursor.mode, self.back) {
            (Mode::Forward, back) => (here, back),
            (Mode::Compensating | Mode::Withdrawing, Back::At(turned)) if turned == place && !all => (here, self.back),
            (Mode::Compensating | Mode::Withdrawing, Back::At(turned)) if turned == place => (false, Back::Before),
            (Mode::Compensating | Mode::Withdrawing, back) => (false, back),
            (Mode::Reacting | Mode::Ended(_), _) => (false, Back::Not),
        };
        (self.back, self.all_begun) = (back, kept && all);
        if !kept || all {
            self.begun.clear();
        }
        if !kept {
            self.begun_at = Place::default();
        }
    }

    /// Tells whether the run was going back.
    pub(crate) fn goes_back(&self) -> bool {
        self.back != Back::Not
    }

    /// Goes forward from a step on. What was taken back begins anew.
    pub(super) fn go_forward(&mut self) {
        if self.goes_back() {
            self.begun.clear();
            self.all_begun = false;
        }
        self.back = Back::Not;
    }

    /// Goes back, to a step: the first is the one at which the run turns.
    pub(super) fn go_back(&mut self, to: Place) {
        self.back = match self.back {
            Back::Not => Back::At(to),
            Back::At(turned) if turned == to => self.back,
            Back::At(_) | Back::Before => Back::Before,
        };
        if self.back == Back::Before {
            self.begun.clear();
        }
    }

    /// Begins another step: no target has come anywhere with it yet, but those in flight.
    pub(super) fn reset(&mut self) {
        self.steps.retain(|(.., progress)| *progress == Progress::InFlight);
    }

    /// The same, and what nobody knows of is still looked for.
    pub(super) fn reset_what_is_known(&mut self) {
        self.steps.retain(|(.., progress)| matches!(progress, Progress::InFlight | Progress::Unknown { .. }));
    }

    /// Lets what did not happen be tried again.
    pub(super) fn retry(&mut self) {
        self.steps.retain(|(.., progress)| !matches!(progress, Progress::NotDone { .. }));
    }

    /// Lets what did not happen be tried again, and what nobody could find out be looked at again.
    pub(super) fn retry_all(&mut self) {
        self.retry();
        for (.., progress) in &mut self.steps {
            if let Progress::Unknown { looks } = progress {
                *looks = 0;
            }
        }
    }

    /// Marks as unknown what was in flight when its controller died.
    pub(super) fn mark_unknown(&mut self) {
        for (.., progress) in &mut self.steps {
            if *progress == Progress::InFlight {
                *progress = Progress::Unknown { looks: 0 };
            }
        }
        for wish in self.wishes.iter_mut().filter(|wish| wish.reasserting) {
            // What was being re-applied may have been re-applied in part.
            wish.attempts = wish.attempts.saturating_add(1);
            wish.reasserting = false;
        }
    }

    /// Forgets that admissions were desired where that is the configured state: nothing tells then whether the run said so too.
    pub(crate) fn forget_configured(&mut self, configured: impl Fn(NodeIx) -> bool) {
        for index in 0..self.wishes.len() {
            let wish = self.wishes[index];
            let moving = wish.reasserting || self.is_moving(wish.node);
            if wish.desired == Desired::Admitted && !moving && configured(wish.node) {
                self.wishes[index].desired = Desired::Unchanged;
            }
        }
        self.wishes.retain(|wish| !wish.is_idle());
    }

    /// Hashes what concerns a node, without saying which node it is.
    pub(crate) fn hash_node(&self, node: NodeIx, hasher: &mut impl Hasher) {
        for (_, order, progress) in self.steps.iter().filter(|(_, order, _)| order.node() == Some(node)) {
            (order.action(), progress).hash(hasher);
        }
        if let Some(Wish { node: _, desired, reasserting, attempts }) = self.wish(node) {
            (desired, reasserting, attempts).hash(hasher);
        }
    }

    fn find(&self, target: Target) -> Result<usize, usize> {
        self.steps.binary_search_by_key(&target, |(known, ..)| *known)
    }

    fn wish(&self, node: NodeIx) -> Option<&Wish> {
        self.wishes.binary_search_by_key(&node, |wish| wish.node).ok().map(|place| &self.wishes[place])
    }

    fn with_wish(&mut self, node: NodeIx, change: impl FnOnce(&mut Wish)) {
        let place = self.wishes.binary_search_by_key(&node, |wish| wish.node);
        let mut wish = place.map_or_else(|_| Wish::of(node), |place| self.wishes[place]);
        change(&mut wish);
        match place {
            Ok(place) if wish.is_idle() => drop(self.wishes.remove(place)),
            Ok(place) => self.wishes[place] = wish,
            Err(_) if wish.is_idle() => {}
            Err(place) => self.wishes.insert(place, wish),
        }
    }
}

impl Wish {
    fn of(node: NodeIx) -> Self {
        Self { node, desired: Desired::Unchanged, reasserting: false, attempts: 0 }
    }

    fn is_idle(&self) -> bool {
        *self == Self::of(self.node)
    }

    fn reassert(&self) -> Order {
        TrafficAction::Reassert { admitted: self.desired == Desired::Admitted }.on(self.node)
    }
}
