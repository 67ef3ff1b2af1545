//! One-line mutants of the judge: of the law, the actions' facets, the decision core, the fold and the explorer. Each is built
//! in a copy of the workspace, and the tests of `tests/judges` have to notice it.
//!
//! The job is long: `cargo test -p ha-core --test mutants -- --ignored --nocapture`, or `./test.sh --long`. With
//! `HA_MUTANTS=fold,sync.rs` it tries one table and one file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use table::{Mutant, mutants};

/// The share of all mutants, in percent, that has to be noticed.
const NOTICED: usize = 95;
/// How many seconds the tests may take on one mutant before it counts as noticed: a mutant may never end.
const PATIENCE: &str = "120";

#[test]
fn each_mutant_has_one_place_in_the_sources() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lost = |mutant: &Mutant| match std::fs::read_to_string(sources.join(&mutant.file)) {
        Ok(text) => mutant.place(&text).err(),
        Err(error) => Some(format!("{}: {error}", mutant.file)),
    };
    let lost: Vec<String> = mutants().iter().filter_map(lost).collect();
    assert!(lost.is_empty(), "follow the code with the tables in tests/mutants:\n{}", lost.join("\n"));
    assert!(mutants().len() >= 120, "{}", mutants().len());
}

/// What the tests say of a mutant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Noticed,
    Survived,
    DoesNotCompile,
}

#[test]
#[ignore = "a long job: one build for each mutant; ./test.sh --long runs it"]
fn the_tests_of_the_judge_notice_its_mutants() {
    let wanted = std::env::var("HA_MUTANTS").unwrap_or_default();
    let tree = copy();
    assert_eq!(judge(&tree), Verdict::Survived, "the tests of the judge fail on the unchanged sources");
    let mutants: Vec<Mutant> = mutants().into_iter().filter(|mutant| mutant.is_any_of(&wanted)).collect();
    let (mut all, mut all_noticed) = (0, 0);
    let (mut survivors, mut wrong) = (Vec::new(), Vec::new());
    for table in mutants.chunk_by(|one, next| one.table == next.table) {
        let (mut noticed, mut equal) = (0, 0);
        for mutant in table {
            let unchanged = mutant.apply(&tree.join("ha-core")).unwrap();
            let verdict = judge(&tree);
            mutant.revert(&tree.join("ha-core"), &unchanged).unwrap();
            if verdict != Verdict::Noticed {
                println!("{verdict:?}: {mutant}");
            }
            match (verdict, &mutant.equal) {
                (Verdict::Noticed, None) => noticed += 1,
                (Verdict::Survived, Some(_)) => equal += 1,
                (Verdict::Survived, None) => survivors.push(mutant.to_string()),
                (Verdict::Noticed, Some(_)) => wrong.push(format!("listed as equal, and noticed: {mutant}")),
                (Verdict::DoesNotCompile, _) => wrong.push(format!("does not compile: {mutant}")),
            }
        }
        let tried = table.iter().filter(|mutant| mutant.equal.is_none()).count();
        println!("mutants of {}: {tried} tried, {noticed} noticed; {equal} more are equal in meaning", table[0].table);
        (all, all_noticed) = (all + tried, all_noticed + noticed);
    }
    println!("mutants: {all} tried, {all_noticed} noticed");
    assert!(wrong.is_empty(), "correct the tables in tests/mutants:\n{}", wrong.join("\n"));
    let report = survivors.join("\n");
    assert!(all_noticed * 100 >= all * NOTICED, "{all_noticed} of {all} noticed; not noticed:\n{report}");
}

/// Copies the workspace below the target directory, so that the sources stay as they are.
fn copy() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("mutants");
    std::fs::create_dir_all(&tree).unwrap();
    // Times are kept, so that only what differs is built again.
    let script =
        "tar -C \"$1\" --exclude=./target --exclude=./.git --exclude=./fuzz/target -cf - . | tar -C \"$2\" -xf -";
    let copied = Command::new("sh").args(["-c", script, "copy"]).arg(workspace).arg(&tree).status().unwrap();
    assert!(copied.success(), "the workspace could not be copied to {}", tree.display());
    // What an interrupted job left built is built again.
    let root = tree.join("ha-core/src/lib.rs");
    std::fs::write(&root, std::fs::read_to_string(&root).unwrap()).unwrap();
    tree
}

/// Builds the tests of the judge, and runs them.
fn judge(tree: &Path) -> Verdict {
    let tests = |mut command: Command, what: &[&str]| {
        command.current_dir(tree).args(["test", "--quiet", "--offline", "-p", "ha-core", "--test", "judges"]);
        // Built often and run for moments: not optimized.
        command.args(["--config", "profile.dev.package.ha-core.opt-level=0", "--config", "profile.test.debug=0"]);
        command.args(["--config", "profile.dev.debug=0"]).args(what);
        command.env("CARGO_TARGET_DIR", tree.join("target")).env_remove("RUSTFLAGS");
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    if !tests(Command::new(env!("CARGO")), &["--no-run"]) {
        return Verdict::DoesNotCompile;
    }
    let mut patient = Command::new("timeout");
    patient.args([PATIENCE, env!("CARGO")]);
    if tests(patient, &[]) { Verdict::Survived } else { Verdict::Noticed }
}
