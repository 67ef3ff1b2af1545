//! The diagrams of the handbook are what the code does: each is drawn anew, from the transition functions, the decision core and the
//! planner, and compared with the page that shows it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../canonical/mod.rs"]
mod canonical;
mod chart;
mod machines;
mod page;
mod procedures;
mod run;

use page::Page;

#[test]
fn the_states_in_the_handbook_are_those_of_the_code() {
    let mut page = Page::of("states.md");
    for (name, diagram) in machines::all() {
        page.show(name, &diagram);
    }
    page.compare();
}

#[tokio::test(start_paused = true)]
async fn the_procedures_in_the_handbook_are_those_of_the_planner() {
    let mut page = Page::of("procedures.md");
    let plans = canonical::plans().await;
    page.show("modes", &run::modes(&plans));
    for of in &plans {
        page.show(&format!("{} run", of.name), &procedures::run(of));
        page.say(&format!("{} facts", of.name), &procedures::facts(of));
    }
    let patch = plans.iter().find(|of| of.name == "patch").unwrap();
    // The digest changes with whatever a plan holds; the diagram does not.
    let drawn = patch.plan.to_mermaid(&patch.topology).replace(patch.plan.digest().short(), "0123456789ab");
    page.show("patch plan", &drawn);
    page.compare();
}
