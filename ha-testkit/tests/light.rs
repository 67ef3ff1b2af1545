//! ha-testkit starts no process, and its users build nothing of what a lab needs.

#[test]
fn the_testkit_depends_on_no_crate_of_the_lab() {
    let manifest = include_str!("../Cargo.toml");
    for crate_of_a_lab in ["ha-lab", "hdrhistogram", "hyper", "rustix", "tempfile", "\"process\""] {
        assert!(
            !manifest.contains(crate_of_a_lab),
            "ha-testkit/Cargo.toml names {crate_of_a_lab}: it belongs to ha-lab"
        );
    }
}
