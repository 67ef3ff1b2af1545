//! The handbook is whole: each of its pages is a module and in the list of pages, and what it has of `hactl` is what `hactl` has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

fn manual() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual")
}

#[test]
fn each_page_is_a_module_and_in_the_list_of_pages() {
    let (modules, mut pages) = (fs::read_to_string(manual().join("mod.rs")).unwrap(), 0);
    for entry in fs::read_dir(manual()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(page) = file.strip_suffix(".md") else { continue };
        pages += 1;
        let module = format!("#[doc = include_str!(\"{file}\")]\npub mod {page} {{}}\n");
        assert!(modules.contains(&module), "{file} is no module");
        assert!(modules.contains(&format!("//! | [`{page}`] | ")), "{file} is not in the list of pages");
    }
    assert_eq!(pages, 16);
}

#[test]
fn every_exit_code_of_hactl_is_on_the_page_for_three_in_the_morning() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hactl/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let page = fs::read_to_string(manual().join("three_in_the_morning.md")).unwrap();
    // `| 8 | `needs-operator` | a run is not at its end ... |`
    let codes = readme.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (code, class) = (cells.next()?, cells.next()?);
        code.parse::<u8>().ok().map(|code| format!("| {code} | {class} |"))
    });
    let codes: Vec<String> = codes.collect();
    assert!(codes.len() > 15, "only {codes:?} were found in the README of hactl");
    for code in codes {
        assert!(page.contains(&format!("\n{code}")), "three_in_the_morning.md has no line {code}");
    }
}
