//! A tool that carries a plan out as it is written: it knows no law, no model and no rollback. What it does to the world,
//! with nothing lost and with each failure domain lost at each moment, shows whether a plan is harmful.

use std::collections::BTreeMap;

use ha_core::action::{
    CloneAction, ExposureAction, FilesAction, Order, SchemaAction, ServerAction, TrafficAction, WorkAction,
};
use ha_core::backend::Admin;
use ha_core::plan::Plan;
use ha_core::record::End;
use ha_core::state::{CloneStage, Copies, Route, Schema, ServerDomain, Source, Sync, Work, WriterEpoch};
use tokio::time::Instant;

use super::watch::{look, short_after_loss};
use crate::world::model::{FakeNode, Inner, Life};
use crate::world::{Shape, World};

/// Lists the harm that a plan does to a cluster of this shape. Call it inside a tokio runtime.
///
/// # Examples
///
/// ```
/// use ha_core::plan::{Draft, Plan};
/// use ha_testkit::simulate::harm_of;
/// use ha_testkit::world::Shape;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let shape = Shape::active_passive();
/// let world = shape.world().unwrap();
/// let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
/// assert!(harm_of(&shape, planned.plan()).is_empty());
/// // Without its first step, the take-out, requests meet a stopped server.
/// let mut draft = Draft::from(planned.plan().clone());
/// draft.stages.iter_mut().for_each(|stage| stage.steps.retain(|step| step.action.name() != "take out"));
/// assert!(!harm_of(&shape, &Plan::from(draft)).is_empty());
/// # });
/// ```
pub fn harm_of(shape: &Shape, plan: &Plan) -> Vec<String> {
    let Ok(world) = shape.world() else { return vec!["no cluster".into()] };
    let before = remains(&world);
    let mut harm = Vec::new();
    let stages = plan.stages().iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
    let orders: Vec<Order> = stages.flat_map(|(stage, step)| stage.orders(step.action)).collect();
    for (number, order) in orders.iter().enumerate() {
        let done = carry_out(&world, plan, *order);
        let at = format!("after step {} ({})", number + 1, order.message(world.topology(), plan.facts()));
        if let Err(refused) = done {
            harm.push(format!("{at}: {refused}"));
            break;
        }
        harm.extend(done.into_iter().flatten().map(|what| format!("{at}: {what}")));
        harm.extend(look(&world).into_iter().map(|what| format!("{at}: {what}")));
        harm.extend(unusable(&world).map(|what| format!("{at}: {what}")));
        harm.extend(when_lost(&world).map(|what| format!("{at}: {what}")));
    }
    harm.extend(left_behind(&world, plan, &before));
    harm
}

/// Loses each failure domain in turn, lets every reserve in, and asks whether what is left carries what is required.
fn when_lost(world: &World) -> Option<String> {
    let topology = world.topology();
    for domain in topology.domains() {
        let copy = world.copied();
        for node in topology.nodes_of(domain) {
            copy.lose(topology.node(node).name.as_str());
        }
        let mut inner = copy.truth();
        let reserves: Vec<String> = inner
            .nodes
            .iter()
            .filter(|(_, node)| node.is_ready() && node.is_tested() && node.domain == ServerDomain::Production)
            .map(|(name, _)| name.clone())
            .collect();
        for member in inner.balancers.values_mut().flatten() {
            if reserves.contains(&member.node) {
                member.admin = Admin::Ready;
            }
        }
        drop(inner);
        if let Some(short) = short_after_loss(&copy) {
            return Some(format!("if {} is lost, {short}", topology.domain_name(domain)));
        }
    }
    None
}

/// Finds a server that takes requests and cannot answer them well, or two that may not serve side by side.
fn unusable(world: &World) -> Option<String> {
    let inner = world.truth();
    let shared = (world.topology().files().is_some(), world.topology().database().is_some());
    for (name, members) in &inner.balancers {
        for member in members.iter().filter(|member| member.admin == Admin::Ready) {
            let node = inner.nodes.get(&member.node)?;
            if node.is_ready() && !node.answers_well(shared, &inner) {
                return Some(format!("{} takes requests on {name} and cannot answer them", member.node));
            }
        }
    }
    None
}

/// Carries one order out at once. `Err` when even this tool cannot go on.
fn carry_out(world: &World, plan: &Plan, order: Order) -> Result<Option<String>, String> {
    let mut inner = world.truth();
    inner.lives += 1;
    let life = inner.lives;
    let Some(node) = order.node() else {
        match order {
            Order::Schema(SchemaAction::Migrate { to }) => inner.schema = to,
            Order::Clone(CloneAction(step)) => {
                inner.copies.copies().on(step).map_err(|rejected| rejected.to_string())?;
                inner.copies.part(step, false);
            }
            Order::Exposure(action) => {
                drop(inner);
                let Some(service) = &plan.facts().service else { return Err("no service is named".into()) };
                let to = (action == ExposureAction::Expose).then(|| service.route.value.as_str());
                world.set_routes(service.route.key.as_str(), to);
            }
            _ => return Err(format!("{} is not known", order.name())),
        }
        return Ok(None);
    };
    let name = world.topology().node(node).name.as_str();
    let admitted = is_admitted(&inner, name);
    let Some(node) = inner.nodes.get_mut(name) else { return Err(format!("there is no {name}")) };
    match order {
        Order::Server(at) => serve(node, at.action, plan, (life, admitted)),
        Order::Traffic(at) => {
            match at.action {
                TrafficAction::TakeOut | TrafficAction::Reassert { admitted: false } => {
                    set_members(&mut inner, name, Admin::Maint);
                }
                TrafficAction::Admit | TrafficAction::Reassert { admitted: true } => {
                    set_members(&mut inner, name, Admin::Ready);
                }
                TrafficAction::StandBy if node.is_ready() => {}
                TrafficAction::StandBy => return Err("there is no server to stand by".into()),
                _ => return Err(format!("{} is not known", order.name())),
            }
            Ok(None)
        }
        Order::Work(at) => {
            match (at.action, node.work) {
                (WorkAction::Quiesce, Work::On) => node.work = Work::Off,
                (WorkAction::Resume, Work::Off) => node.work = Work::On,
                _ => {}
            }
            Ok(None)
        }
        Order::Files(at) => {
            match at.action {
                FilesAction::Hold => node.sync = if node.sync == Sync::None { Sync::None } else { Sync::Held },
                FilesAction::Release => {
                    node.sync = if node.sync == Sync::None { Sync::None } else { Sync::Active };
                    return Ok(copy(&mut inner));
                }
                FilesAction::HandWriter | FilesAction::TakeWriter => hand_writer(&mut inner, name),
                FilesAction::Deploy { to } => {
                    node.generation = plan.facts().generations.get(to).cloned();
                    return Ok(copy(&mut inner));
                }
                _ => return Err(format!("{} is not known", order.name())),
            }
            Ok(None)
        }
        _ => Err(format!("{} is not known", order.name())),
    }
}

fn serve(
    node: &mut FakeNode,
    action: ServerAction,
    plan: &Plan,
    (life, admitted): (u64, bool),
) -> Result<Option<String>, String> {
    match action {
        ServerAction::Stop => {
            let harm = stopped(node, admitted);
            node.process = None;
            return Ok(harm);
        }
        ServerAction::Apply { to } | ServerAction::Restore { to } => {
            node.installed = plan.facts().releases.name(to).into();
            node.on_clone = plan.facts().on_clone() == Some(to);
            if node.process.is_some() {
                // Its files change under it: what it answers from now on nobody has tested.
                node.passed = None;
            }
        }
        ServerAction::Start | ServerAction::StartInTest => {
            if node.process.is_none() {
                node.process = Some(Life { number: life, release: node.installed.clone(), ready_at: Instant::now() });
                let production = action == ServerAction::Start;
                node.domain = if production { ServerDomain::Production } else { ServerDomain::Test };
            }
        }
        ServerAction::Gate if node.is_ready() => node.pass_test(),
        ServerAction::Gate => return Err("there is no server to test".into()),
        ServerAction::Soak => {}
        _ => return Err("what is done to the server is not known".into()),
    }
    Ok(None)
}

fn stopped(node: &FakeNode, admitted: bool) -> Option<String> {
    if node.is_ready() && admitted {
        return Some("requests in flight were cut".into());
    }
    (node.is_ready() && node.work == Work::On).then(|| "pulled work in progress was cut".into())
}

fn is_admitted(inner: &Inner, name: &str) -> bool {
    inner.balancers.values().flatten().any(|member| member.node == name && member.admin != Admin::Maint)
}

fn set_members(inner: &mut Inner, name: &str, admin: Admin) {
    for member in inner.balancers.values_mut().flatten().filter(|member| member.node == name) {
        member.admin = admin;
    }
}

/// Copies what the writer has over every open sync, at once and whoever takes requests meanwhile.
fn copy(inner: &mut Inner) -> Option<String> {
    let writer = inner.nodes.values().find(|node| node.writer > WriterEpoch::default())?;
    let (set, tested) = (writer.generation.clone(), writer.is_tested());
    let mut harm = None;
    let admitted: Vec<String> = inner.nodes.keys().filter(|name| is_admitted(inner, name)).cloned().collect();
    for (name, node) in &mut inner.nodes {
        if node.sync != Sync::Active || node.generation == set {
            continue;
        }
        if admitted.contains(name) {
            harm = Some(format!("files were copied to {name}, which takes requests"));
        } else if !tested {
            harm = Some(format!("untested files were copied to {name}"));
        }
        node.generation = set.clone();
    }
    harm
}

fn hand_writer(inner: &mut Inner, to: &str) {
    let epoch = inner.nodes.values().map(|node| node.seen_writer).max().unwrap_or_default().next();
    for node in inner.nodes.values_mut().filter(|node| node.writer > WriterEpoch::default()) {
        (node.writer, node.sync) = (WriterEpoch::default(), Sync::Held);
    }
    for node in inner.nodes.values_mut() {
        node.seen_writer = epoch;
    }
    if let Some(next) = inner.nodes.get_mut(to) {
        (next.writer, next.sync) = (epoch, Sync::None);
    }
}

/// What has to be after a run as it was before: who is admitted, who runs, what is held, what works.
#[derive(Debug, Eq, PartialEq)]
struct Remains {
    admitted: usize,
    running: usize,
    held: usize,
    working: usize,
    writers: usize,
}

fn remains(world: &World) -> Remains {
    let inner = world.truth();
    let of = |holds: &dyn Fn(&FakeNode) -> bool| inner.nodes.values().filter(|node| holds(node)).count();
    Remains {
        admitted: inner.nodes.keys().filter(|name| is_admitted(&inner, name)).count(),
        running: of(&|node| node.is_ready() && node.domain == ServerDomain::Production),
        held: of(&|node| node.sync == Sync::Held),
        working: of(&|node| node.work == Work::On),
        writers: of(&|node| node.writer > WriterEpoch::default()),
    }
}

fn left_behind(world: &World, plan: &Plan, before: &Remains) -> Vec<String> {
    let mut harm = Vec::new();
    let after = remains(world);
    if after != *before {
        harm.push(format!("left behind: {after:?}, it was {before:?}"));
    }
    let inner = world.truth();
    for (_, member) in world.topology().members() {
        let Some(node) = inner.nodes.get(member.name.as_str()) else { continue };
        let release = plan.goal().release.map(|release| plan.facts().releases.name(release));
        if release.is_some_and(|release| node.process.as_ref().is_none_or(|life| life.release != release)) {
            harm.push(format!("{} does not run the new release", member.name));
        }
        let generation = plan.goal().generation.and_then(|generation| plan.facts().generations.get(generation));
        if generation.is_some() && node.generation.as_ref() != generation {
            harm.push(format!("{} does not have the new files", member.name));
        }
        if !node.is_tested() {
            harm.push(format!("{} has not passed its test", member.name));
        }
    }
    let copies = inner.copies.copies();
    if plan.facts().on_clone().is_some() {
        if copies != Copies::new(Source::Frozen, CloneStage::Open) {
            harm.push(copies.to_string());
        }
    } else if plan.goal().schema.is_some_and(|schema: Schema| schema != inner.schema) {
        harm.push(format!("the schema is {}", inner.schema));
    }
    drop(inner);
    if plan.goal().exposure.is_some_and(|exposure| exposure != world.route()) {
        harm.push(format!("the route of the service is {}", world.route()));
    }
    harm
}

/// How a world was before a run, to be compared with how the run says that it ended.
#[derive(Debug)]
pub(super) struct Before {
    remains: Remains,
    releases: BTreeMap<String, Option<String>>,
    route: Route,
}

impl Before {
    pub(super) fn of(world: &World) -> Self {
        Self { remains: remains(world), releases: releases(world), route: world.route() }
    }

    /// Lists what is not as a run's end says: all new, or all old.
    pub(super) fn untrue(&self, world: &World, plan: &Plan, end: End) -> Vec<String> {
        match end {
            End::AllNew => left_behind(world, plan, &self.remains),
            End::AllOld => {
                let mut untrue = Vec::new();
                let (after, now) = (remains(world), releases(world));
                if after != self.remains {
                    untrue.push(format!("left behind: {after:?}, it was {:?}", self.remains));
                }
                if now != self.releases {
                    untrue.push(format!("releases are {now:?}, they were {:?}", self.releases));
                }
                if !world.copies().is_single() {
                    untrue.push(world.copies().to_string());
                }
                if world.route() != self.route {
                    untrue.push(format!("the route of the service is {}, it was {}", world.route(), self.route));
                }
                untrue
            }
            End::NeedsOperator(_) => Vec::new(),
        }
    }
}

/// Returns which release serves on each node.
fn releases(world: &World) -> BTreeMap<String, Option<String>> {
    let inner = world.truth();
    let of = |node: &FakeNode| node.process.as_ref().map(|life| life.release.clone());
    inner.nodes.iter().map(|(name, node)| (name.clone(), of(node))).collect()
}
