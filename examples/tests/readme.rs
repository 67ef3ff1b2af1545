//! The program in the README is the one of the crate that is built outside of the workspace.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[test]
fn the_program_in_the_readme_is_the_one_of_the_embedding_crate() {
    let (readme, program) = (include_str!("../../README.md"), include_str!("../embed/src/main.rs"));
    let shown = readme.split("```rust,no_run\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, program);
}
