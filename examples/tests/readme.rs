//! The program in the README is the one of the crate that is built outside of the workspace.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[test]
fn the_program_in_the_readme_is_the_one_of_the_embedding_crate() {
    let (readme, program) = (include_str!("../../README.md"), include_str!("../embed/src/main.rs"));
    let shown = readme.split("```rust,no_run\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, program);
}

/// Each option that the README names is run by a test, which holds its exit code against what is said there.
#[test]
fn each_option_of_the_readme_is_run() {
    let readme = include_str!("../../README.md");
    let tests = [
        include_str!("patch_server.rs"),
        include_str!("update_service.rs"),
        include_str!("add_service.rs"),
        include_str!("upgrade_version.rs"),
        include_str!("lose_node.rs"),
        include_str!("lose_site.rs"),
        include_str!("grow_cluster.rs"),
        include_str!("tomcat.rs"),
        include_str!("all_procedures.rs"),
    ]
    .concat();
    let options: Vec<&str> = readme.split("`--").skip(1).filter_map(|rest| rest.split([' ', '`']).next()).collect();
    assert!(options.len() > 12, "{options:?}");
    let unrun: Vec<_> = options.iter().filter(|option| !tests.contains(&format!("\"--{option}\""))).collect();
    assert_eq!(unrun, Vec::<&&str>::new());
}
