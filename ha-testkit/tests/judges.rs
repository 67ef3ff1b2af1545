//! The judges of plans and runs compute for themselves: they may read topologies, plans and names, and call nothing of
//! what they judge.

#[test]
fn the_judges_call_neither_the_law_nor_the_effects_of_actions() {
    let judges = [
        ("golden/literal.rs", include_str!("../src/golden/literal.rs")),
        ("simulate/blind.rs", include_str!("../src/simulate/blind.rs")),
        ("simulate/excuse.rs", include_str!("../src/simulate/excuse.rs")),
        ("simulate/mutate.rs", include_str!("../src/simulate/mutate.rs")),
        ("simulate/required.rs", include_str!("../src/simulate/required.rs")),
        ("simulate/watch.rs", include_str!("../src/simulate/watch.rs")),
    ];
    for (file, text) in judges {
        // The example of how a judge is used may prove something; the judge itself does not.
        let text: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let judged =
            ["ha_core::law", "ha_core::machine", "ha_core::safety", "ha_core::engine", "owed_now(", "owed_after_loss("];
        for name in judged {
            assert!(!text.contains(name), "src/{file} uses {name}, which it judges: compute it there instead");
        }
        // Of the actions they know names, targets and values, and none of the facets that the proof rests on.
        for facet in
            [".precondition(", ".begin(", ".complete(", ".partial_effects(", ".holds(", ".inverse(", ".changes("]
        {
            assert!(!text.contains(facet), "src/{file} uses {facet}) of the actions, which it judges");
        }
    }
}
