//! The changes of sites: the corrected orders, and those that part the data or lose requests.

use std::time::Duration;

use ha_core::action::{Action, SiteAction};
use ha_core::engine::RunError;
use ha_core::law::Invariant;
use ha_core::plan::{Draft, Plan, Stage};
use ha_core::procedure::{DrillRequest, FailBackRequest, SiteLossRequest};
use ha_core::topology::SiteRole;
use tokio::time::sleep;

use super::{Case, Expected, Planned, case, planned_by, world};
use crate::world::{Shape, World};

/// Makes the cases of two sites.
pub(super) async fn cases() -> Result<Vec<Case>, RunError> {
    let shape = Shape::active_active(2, 1000).with_sites(SiteRole::Warm);
    let mut cases = Vec::new();
    let loss = planned_by(&shape, &loss_request(), |world| world.lose_site("north")).await?;
    cases.push(case(
        "loss of a site, promoted before it is fenced",
        &loss,
        reordered(&loss.plan, |stages| stages.swap(0, 1)),
        Expected::Refused(Invariant::OneSite, "site south"),
    ));
    let early = reordered(&loss.plan, |stages| {
        let open = place(stages, |action| matches!(action, SiteAction::Open { .. }));
        let open = stages.remove(open);
        stages.insert(2, open);
    });
    cases.push(case(
        "loss of a site, consumers led before a server runs",
        &loss,
        early,
        Expected::Refused(Invariant::Settled, "site south"),
    ));
    cases.push(case("loss of a site", &loss, loss.plan.clone(), Expected::Proven));
    let back = planned_back(&shape).await?;
    let at_once = without(&back.plan, |action| matches!(action, SiteAction::Hold { .. }));
    cases.push(case(
        "way back to a site, the database changes over under requests in progress",
        &back,
        at_once,
        Expected::Refused(Invariant::Order, "site south"),
    ));
    let both = without(&back.plan, |action| matches!(action, SiteAction::Demote { .. }));
    cases.push(case(
        "way back to a site, the other still takes writes",
        &back,
        both,
        Expected::Refused(Invariant::OneSite, "site north"),
    ));
    let stale = without(&back.plan, |action| {
        matches!(action, SiteAction::Follow { .. })
            && back.world.topology().site(action.site()).name.as_str() == "north"
    });
    cases.push(case(
        "way back to a site, which never followed the other",
        &back,
        stale,
        Expected::Refused(Invariant::OneSite, "site north"),
    ));
    cases.push(case("way back to a site", &back, back.plan.clone(), Expected::Proven));
    let drill = planned_by(&shape, &DrillRequest::of("south"), |_| {}).await?;
    cases.push(case("drill of a site", &drill, drill.plan.clone(), Expected::Proven));
    Ok(cases)
}

fn loss_request() -> SiteLossRequest {
    SiteLossRequest::of("north").with_window_accepted_by("nobody in particular")
}

/// Loses a site, replaces it, brings it back and plans the way back.
async fn planned_back(shape: &Shape) -> Result<Planned, RunError> {
    let world: World = world(shape)?;
    let engine = world.engine();
    world.lose_site("north");
    sleep(Duration::from_secs(1)).await;
    let loss = engine.plan(&loss_request()).await?;
    engine.run("site-loss".into(), loss).await?.wait().await?;
    world.restore_site("north");
    sleep(Duration::from_secs(1)).await;
    let request = FailBackRequest::to("north").with_discarded_by("nobody in particular");
    let plan = engine.plan(&request).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

fn reordered(plan: &Plan, change: impl FnOnce(&mut Vec<Stage>)) -> Plan {
    let mut draft = Draft::from(plan.clone());
    change(&mut draft.stages);
    Plan::from(draft)
}

/// Leaves steps out.
fn without(plan: &Plan, left_out: impl Fn(SiteAction) -> bool) -> Plan {
    reordered(plan, |stages| {
        for stage in stages.iter_mut() {
            stage.steps.retain(|step| !matches!(step.action, Action::Site(action) if left_out(action)));
        }
        stages.retain(|stage| !stage.steps.is_empty());
    })
}

fn place(stages: &[Stage], is: impl Fn(SiteAction) -> bool) -> usize {
    let has = |stage: &Stage| stage.steps.iter().any(|step| matches!(step.action, Action::Site(action) if is(action)));
    stages.iter().position(has).unwrap_or(0)
}
