//! The program in the README is the one of the crate that is built outside of the workspace, and the options that it names are run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

const README: &str = include_str!("../../README.md");

#[test]
fn the_program_in_the_readme_is_the_one_of_the_embedding_crate() {
    let program = include_str!("../embed/src/main.rs");
    let shown = README.split("```rust,no_run\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, program);
}

/// The tests of each example that has a section in the README.
const TESTS: [(&str, &str); 9] = [
    ("patch_server", include_str!("patch_server.rs")),
    ("update_service", include_str!("update_service.rs")),
    ("add_service", include_str!("add_service.rs")),
    ("upgrade_version", include_str!("upgrade_version.rs")),
    ("lose_node", include_str!("lose_node.rs")),
    ("lose_site", include_str!("lose_site.rs")),
    ("grow_cluster", include_str!("grow_cluster.rs")),
    ("tomcat", include_str!("tomcat.rs")),
    ("all_procedures", include_str!("all_procedures.rs")),
];

/// What `./test.sh --long` alone runs.
const LONG: [(&str, &str); 2] = [("lose_site", "--real"), ("tomcat", "--ssh")];

/// Returns the sections about examples: the name and the text of each.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = README.split("```sh\ncargo run --release --example ").skip(1);
    sections.map(|section| section.split("```sh").next().unwrap().split_once('\n').unwrap())
}

fn options(section: &'static str) -> BTreeSet<&'static str> {
    let words = section.split(|char: char| !char.is_ascii_alphanumeric() && char != '-');
    words.filter(|word| word.starts_with("--") && word.len() > 2).collect()
}

/// Each option that a section of the README names is run by a test of that example, or by a long job.
#[test]
fn each_option_of_the_readme_is_run() {
    let names: Vec<&str> = sections().map(|(name, _)| name).collect();
    assert_eq!(names, TESTS.map(|(name, _)| name));
    let mut unrun = Vec::new();
    for ((name, section), (_, tests)) in sections().zip(TESTS) {
        let options = options(section);
        assert!(!options.is_empty(), "{name}");
        let run = tests.split("#[test]").filter(|test| !test.contains("#[ignore")).flat_map(str::lines);
        let run: String = run.filter(|line| !line.contains("refused")).collect();
        unrun.extend(options.into_iter().filter(|option| !run.contains(&format!("\"{option}\""))).map(|it| (name, it)));
    }
    assert_eq!(unrun, LONG);
    let jobs: Vec<&str> = include_str!("../../test.sh").split("say \"long: ").skip(1).collect();
    for (name, option) in LONG {
        let runs = |job: &&str| job.contains(&format!("release/examples/{name} ")) && job.contains(option);
        assert!(jobs.iter().any(runs), "{name} {option}");
    }
}
