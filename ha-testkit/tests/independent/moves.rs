//! What can happen next at a moment: the faults, the ends of what is in flight, and what the run does by the wording of
//! DESIGN.md sections 4 and 6.

use ha_core::plan::OnFailure;

use super::model::{At, Runs};
use super::orders::{Order, What};
use super::walk::{End, Event, Fate, Next, Place, Run, Walk, Waves};
use super::wording::Rule;

/// How often a compensation is tried in all.
const COMPENSATION_ATTEMPTS: u8 = 2;

impl Walk<'_> {
    /// Everything that can come next, and what refuses the plan here.
    pub(super) fn next(&self, run: &Run) -> (Vec<Next>, Option<Rule>) {
        let mut next = Vec::new();
        if run.end.is_some() {
            return (next, None);
        }
        let orders = self.orders(run);
        if !run.fault {
            self.faults(run, &orders, &mut next);
        }
        self.flights(run, &orders, &mut next);
        let refused = self.decide(run, &orders, &mut next).err();
        (next, refused)
    }

    fn faults(&self, run: &Run, orders: &[Order], next: &mut Vec<Next>) {
        let flying: Vec<usize> = (0..orders.len()).filter(|place| is_flying(run.fates[*place])).collect();
        let at_rest = flying.is_empty();
        if at_rest && !run.asked && run.place.phase.is_none() && run.place.stage < self.plan.point_of_no_return() {
            next.push((Event::AskedBack, Run { asked: true, ..self.turned_back(run) }));
        }
        let faulty = Run { fault: true, ..run.clone() };
        for domain in 0..self.cluster.domains {
            let mut lost = faulty.clone();
            lost.state.lost = Some(domain);
            lost.floor = Some(self.floor(&lost, orders));
            for (index, node) in lost.state.nodes.iter_mut().enumerate() {
                if self.cluster.nodes[index].domain == domain {
                    (node.runs, node.warm) = (Runs::Gone, false);
                }
            }
            next.push((Event::DomainLost(domain), lost));
        }
        let floor = self.floor(run, orders);
        for balancer in 0..self.cluster.balancers {
            let mut forgot = faulty.clone();
            forgot.floor = Some(floor.clone());
            for (index, seat) in self.cluster.seats.iter().enumerate().filter(|(_, seat)| seat.balancer == balancer) {
                forgot.state.seats[index] = seat.configured;
            }
            next.push((Event::Forgets(balancer), forgot));
        }
        for place in &flying {
            let order = orders[*place];
            let mut failed = faulty.clone();
            self.not_done(&mut failed, order, *place, false);
            next.push((Event::Fails(order), failed));
            if let Some(state) = order.complete(&self.cluster, &run.state) {
                let mut happened = Run { state, ..faulty.clone() };
                self.not_done(&mut happened, order, *place, false);
                next.push((Event::HappensAndFails(order), happened));
            }
            let mut lost = faulty.clone();
            self.look(&mut lost, order, *place);
            next.push((Event::AnswerLost(order), lost));
        }
        if flying.len() > 1 {
            let mut dead = faulty;
            flying.iter().for_each(|place| self.look(&mut dead, orders[*place], *place));
            next.push((Event::Dies, dead));
        }
    }

    /// The sums of the last quiet state. What was in flight then may go on: its effects are not those of a later command.
    fn floor(&self, run: &Run, orders: &[Order]) -> super::wording::Sums {
        let ended = self.all_ended(run, orders);
        let mut floor = self.cluster.sums(&run.state).least(&self.cluster.sums(&ended));
        for (order, _) in orders.iter().zip(&run.fates).filter(|(_, fate)| is_flying(**fate)) {
            if order.what == What::Admit {
                // Whether it has happened nobody has said yet.
                let mut not = run.state.clone();
                self.cluster.nodes[order.node].seats.iter().for_each(|seat| not.seats[*seat] = At::Out);
                floor = floor.least(&self.cluster.sums(&not));
            }
            for half in order.halves(&self.cluster, &run.state).iter().chain(&order.halves(&self.cluster, &ended)) {
                floor = floor.least(&self.cluster.sums(half));
            }
        }
        floor
    }

    /// How the cluster stands once all that is in flight has ended.
    fn all_ended(&self, run: &Run, orders: &[Order]) -> super::model::State {
        let flying = orders.iter().zip(&run.fates).filter(|(_, fate)| is_flying(**fate));
        flying.fold(run.state.clone(), |state, (order, _)| order.complete(&self.cluster, &state).unwrap_or(state))
    }

    /// "Unknown is resolved by the action's probe, by looking."
    fn look(&self, run: &mut Run, order: Order, place: usize) {
        let happened = order.holds(&self.cluster, &run.state);
        match order.complete(&self.cluster, &run.state).filter(|_| happened) {
            Some(state) => (run.state, run.fates[place]) = (state, Fate::Done),
            None => self.not_done(run, order, place, true),
        }
    }

    fn not_done(&self, run: &mut Run, order: Order, place: usize, looked: bool) {
        run.fates[place] = Fate::NotDone { looked };
        if order.moves_traffic() {
            run.wishes[order.node] = None;
        }
    }

    /// What is in flight comes half-way, or to its end.
    fn flights(&self, run: &Run, orders: &[Order], next: &mut Vec<Next>) {
        let any_half = run.fates.iter().any(|fate| matches!(fate, Fate::Flying { half: true }));
        for (place, order) in orders.iter().enumerate() {
            let Fate::Flying { half } = run.fates[place] else { continue };
            if order.reaches_node() && self.cluster.is_lost(&run.state, order.node) {
                let mut never = run.clone();
                never.fates[place] = Fate::NotDone { looked: false };
                next.push((Event::NeverEnds(*order), never));
                continue;
            }
            if !half && !any_half && run.state.lost.is_none() && (!run.fault || run.floor.is_some()) {
                for state in order.halves(&self.cluster, &run.state) {
                    let mut halved = Run { state, ..run.clone() };
                    halved.fates[place] = Fate::Flying { half: true };
                    next.push((Event::HalfWay(*order), halved));
                }
            }
            if let Some(state) = order.complete(&self.cluster, &run.state) {
                let mut ended = Run { state, ..run.clone() };
                ended.fates[place] = Fate::Done;
                next.push((Event::Ends(*order), ended));
            }
        }
    }

    /// The nodes of which a balancer shows something else than the run has said; what is being moved is not among them.
    pub(super) fn to_reapply(&self, run: &Run) -> Vec<(usize, At)> {
        let orders = self.orders(run);
        let mut found = Vec::new();
        for (node, wish) in run.wishes.iter().enumerate() {
            let Some(wish) = *wish else { continue };
            let moving = orders
                .iter()
                .zip(&run.fates)
                .any(|(order, fate)| order.node == node && order.moves_traffic() && is_flying(*fate));
            let other = self.cluster.nodes[node].seats.iter().any(|seat| run.state.seats[*seat] != wish);
            if other && !moving && !self.cluster.is_lost(&run.state, node) {
                found.push((node, wish));
            }
        }
        found
    }

    /// What the run does now. `Err` where the plan cannot be gone along without a fault.
    fn decide(&self, run: &Run, orders: &[Order], next: &mut Vec<Next>) -> Result<(), Rule> {
        let flying = run.fates.iter().any(|fate| is_flying(*fate));
        let over = |end: End| (Event::Over(end), Run { end: Some(end), ..run.clone() });
        let lost = self.to_reapply(run);
        if !lost.is_empty() {
            match self.reapply(run, &lost)? {
                Some(step) => next.push(step),
                None if !flying => next.push(over(End::Operator)),
                None => {}
            }
            return Ok(());
        }
        if run.state.lost.is_some() {
            match self.secure(run, orders)? {
                Some(step) => next.push(step),
                None if !flying => next.push(over(End::Operator)),
                None => {}
            }
            return Ok(());
        }
        let idle = run.fates.iter().position(|fate| *fate == Fate::Idle);
        let waits = flying && !run.fault && self.waves == Waves::InOrder;
        if let Some(place) = idle.filter(|_| !waits) {
            match self.begin(run, orders, place) {
                Ok(step) => next.push(step),
                Err(rule) if !run.fault && !run.asked => return Err(rule),
                Err(_) if flying => {}
                Err(_) => next.push(self.give_up(run)),
            }
            return Ok(());
        }
        if flying {
            return Ok(());
        }
        let failed: Vec<bool> = run
            .fates
            .iter()
            .filter_map(|fate| if let Fate::NotDone { looked } = fate { Some(*looked) } else { None })
            .collect();
        if failed.is_empty() {
            next.push(self.go_on(run));
            return Ok(());
        }
        let attempts = match (run.place.phase, self.plan.step(run.place.stage, run.place.step)) {
            (Some(_), _) | (None, None) => COMPENSATION_ATTEMPTS,
            // What a look has shown not to have happened may be given once more.
            (None, Some(step)) if failed.iter().all(|looked| *looked) => step.attempts.max(2),
            (None, Some(step)) => step.attempts,
        };
        if run.place.attempt + 1 < attempts {
            let mut again = run.clone();
            again.place.attempt += 1;
            for fate in again.fates.iter_mut().filter(|fate| matches!(fate, Fate::NotDone { .. })) {
                *fate = Fate::Idle;
            }
            next.push((Event::Turns("it is tried again"), again));
        } else {
            next.push(self.give_up(run));
        }
        Ok(())
    }

    /// Gives one order; the same law is asked before it, with all that is in flight.
    fn begin(&self, run: &Run, orders: &[Order], place: usize) -> Result<Next, Rule> {
        let order = orders[place];
        if run.place.phase.is_some() && (self.is_undone(run, order) || is_in_test(run, order)) {
            let mut done = run.clone();
            done.fates[place] = Fate::Done;
            return Ok((Event::Ends(order), done));
        }
        if let Some(rule) = order.refused(&self.cluster, &run.state) {
            return Err(rule);
        }
        let mut begun = run.clone();
        order.begin(&self.cluster, &mut begun.state);
        begun.fates[place] = Fate::Flying { half: false };
        if let (None, Some(recorded)) = (run.place.phase, &mut begun.recorded)
            && !recorded.contains(&order.node)
        {
            recorded.push(order.node);
        }
        match order.what {
            What::TakeOut => begun.wishes[order.node] = Some(At::Out),
            What::Admit => begun.wishes[order.node] = Some(At::Admitted),
            _ => {}
        }
        order.complete(&self.cluster, &begun.state).ok_or(Rule::Order)?;
        match self.cluster.quiet(&self.all_ended(&begun, orders)).first() {
            Some(rule) => Err(*rule),
            None => Ok((Event::Begins(order), begun)),
        }
    }

    /// A compensation whose effect holds, and whose loans are repaid, is done. What is to be out has to be said to be.
    fn is_undone(&self, run: &Run, order: Order) -> bool {
        let said = order.what != What::TakeOut || run.wishes[order.node] == Some(At::Out);
        said && order.holds(&self.cluster, &run.state)
    }

    fn give_up(&self, run: &Run) -> Next {
        let step = self.plan.step(run.place.stage, run.place.step);
        let holds = step.is_some_and(|step| step.on_failure == OnFailure::Hold);
        if run.place.phase.is_some() || holds || run.place.stage >= self.plan.point_of_no_return() {
            return (Event::Over(End::Operator), Run { end: Some(End::Operator), ..run.clone() });
        }
        let withdraws = step.is_some_and(|step| step.on_failure == OnFailure::Withdraw);
        (Event::Turns("the run is rolled back"), Run { withdrawing: withdraws, ..self.turned_back(run) })
    }

    fn turned_back(&self, run: &Run) -> Run {
        self.entered(run.clone(), Place { phase: Some(0), attempt: 0, ..run.place })
    }

    fn entered(&self, mut run: Run, place: Place) -> Run {
        run.place = place;
        run.fates = vec![Fate::Idle; self.orders(&run).len()];
        run
    }

    fn go_on(&self, run: &Run) -> Next {
        let place = Place { attempt: 0, ..run.place };
        let stages = self.plan.stages();
        let steps = |stage: usize| stages.get(stage).map_or(0, |stage| stage.steps.len());
        let repaid = self.cluster.is_repaid(&run.state);
        let over = |end: End| {
            let end = if repaid { end } else { End::Operator };
            (Event::Over(end), Run { end: Some(end), ..run.clone() })
        };
        let to = |run: Run, place: Place| (Event::Turns("next step"), self.entered(run, place));
        let Some(phase) = place.phase else {
            let fresh = Run { recorded: Some(Vec::new()), ..run.clone() };
            return if place.step + 1 < steps(place.stage) {
                to(fresh, Place { step: place.step + 1, ..place })
            } else if place.stage + 1 < stages.len() {
                to(fresh, Place { stage: place.stage + 1, step: 0, ..place })
            } else {
                over(End::AllNew)
            };
        };
        if !run.fates.is_empty() {
            return to(run.clone(), Place { phase: Some(phase + 1), ..place });
        }
        let recorded = Run { recorded: None, ..run.clone() };
        let back = Place { phase: Some(0), ..place };
        if place.step > 0 {
            to(recorded, Place { step: place.step - 1, ..back })
        } else if run.withdrawing {
            (Event::Over(End::Operator), Run { end: Some(End::Operator), ..run.clone() })
        } else if place.stage > 0 {
            let stage = place.stage - 1;
            to(recorded, Place { stage, step: steps(stage).saturating_sub(1), ..back })
        } else {
            over(End::AllOld)
        }
    }
}

/// A server that runs in its test domain is not started: what started it there is taken back next.
fn is_in_test(run: &Run, order: Order) -> bool {
    let node = run.state.nodes[order.node];
    order.what == What::Start && node.in_test && node.runs != Runs::Stopped
}

pub(super) fn is_flying(fate: Fate) -> bool {
    matches!(fate, Fate::Flying { .. })
}
