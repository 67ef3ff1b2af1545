//! The script `ha-step` over tools that end as the real ones do: WSO2's update tool, and Puppet.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ha_core::topology::{ToolEnd, UpdateTool, update_tool};

/// Ends with the codes of the file `codes`, one each time; `hang 3` runs until the file `go` is there, whatever it is sent.
const TOOL: &str = r#"#!/bin/sh
echo "tool $*" >>said
code=$(head -n 1 codes)
sed -i 1d codes
case "$code" in hang*)
    trap '' HUP INT TERM
    while [ ! -e go ]; do sleep 0.02; done ;;
esac
exit "${code#hang }"
"#;

/// An agent that refuses to run while it is disabled. With the file `stuck` it cannot be enabled.
const PUPPET: &str = r#"#!/bin/sh
echo "puppet $*" >>said
case "$1 $2" in
"config print") echo "$PWD/disabled.lock" ;;
"agent --disable") echo "$3" >disabled.lock ;;
"agent --enable") [ ! -e stuck ] || exit 1; rm -f disabled.lock ;;
*) [ ! -e disabled.lock ] || exit 1; exec ./tool "$@" ;;
esac
"#;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("ha-step", UpdateTool::SCRIPT), ("tool", TOOL), ("puppet", PUPPET)] {
            let path = home.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn has(&self, file: &str) -> bool {
        self.path().join(file).exists()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    fn end_with(&self, codes: &[&str]) {
        self.write("codes", &(codes.join("\n") + "\n"));
    }

    fn begin(&self, argv: &[String]) -> Child {
        self.command(argv).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self, argv: &[String]) -> Command {
        // The tools of the profiles stand in this folder here.
        let here = |word: &String| match word.as_str() {
            "bin/wso2update_linux" => "./tool".to_string(),
            "puppet" => "./puppet".into(),
            other => other.to_string(),
        };
        let argv: Vec<String> = argv.iter().map(here).collect();
        let mut command = Command::new(self.path().join(&argv[0]));
        command.args(&argv[1..]).current_dir(self.path()).env("HA_RELEASE", "12");
        command
    }

    fn run(&self, argv: &[String]) -> Output {
        self.command(argv).output().unwrap()
    }

    fn code(&self, argv: &[String]) -> i32 {
        self.run(argv).status.code().unwrap()
    }

    /// What was called since the last time.
    fn said(&self) -> Vec<String> {
        let said = fs::read_to_string(self.path().join("said")).unwrap_or_default();
        let _ = fs::remove_file(self.path().join("said"));
        said.lines().map(String::from).collect()
    }

    fn wait_for(&self, word: &str) {
        let began = Instant::now();
        let said = || fs::read_to_string(self.path().join("said")).unwrap_or_default();
        while !said().contains(word) {
            assert!(began.elapsed() < Duration::from_secs(20), "{word} was never called");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn tool(profile: &str) -> &'static UpdateTool {
    update_tool(profile).unwrap()
}

#[test]
fn the_script_reads_every_exit_code_as_the_data_says() {
    for profile in ["wso2-mi-4", "puppet"] {
        let tool = tool(profile);
        for code in [0_u8, 1, 2, 3, 4, 6, 127] {
            let home = Home::new();
            home.end_with(&[code.to_string().as_str(); 4]);
            let (ended, said) = (home.code(&tool.apply("./ha-step")), home.said());
            let runs = said.iter().filter(|line| line.starts_with("tool")).count();
            let expected = match tool.read(code) {
                ToolEnd::Done => (0, 1),
                ToolEnd::Again => (1, 3),
                ToolEnd::Held => (5, 1),
                ToolEnd::Undone => (4, 1),
                ToolEnd::Failed => (1, 1),
            };
            assert_eq!((ended, runs), expected, "{profile} {code}: {said:?}");
        }
    }
}

#[test]
fn a_tool_that_has_replaced_itself_is_run_again_with_the_release_of_the_change() {
    let home = Home::new();
    home.end_with(&["2", "0"]);
    assert_eq!(home.code(&tool("wso2-mi-4").apply("./ha-step")), 0);
    assert_eq!(home.said(), ["tool --level 12", "tool --level 12"]);
}

#[test]
fn conflicts_hold_the_update_on_its_node_until_a_person_resolves_or_reverts_it() {
    let (home, tool) = (Home::new(), tool("wso2-mi-4"));
    let (apply, resume, restore) =
        (tool.apply("./ha-step"), tool.resume("./ha-step").unwrap(), tool.restore("./ha-step").unwrap());
    home.end_with(&["3", "0"]);
    assert_eq!((home.code(&apply), home.has(".ha-step.held")), (5, true));
    home.said();
    let again = home.run(&apply);
    assert_eq!((again.status.code(), home.said().len()), (Some(5), 0), "nothing is run over conflicts");
    assert!(told(&again).contains("resolve it, then resume or revert"));
    assert_eq!((home.code(&resume), home.has(".ha-step.held")), (0, false));
    assert_eq!(home.said(), ["tool --continue"]);

    home.end_with(&["3", "4"]);
    assert_eq!(home.code(&apply), 5);
    assert_eq!((home.code(&restore), home.has(".ha-step.held")), (0, false), "undone is what a restore asks for");
    assert_eq!(home.said().last().map(String::as_str), Some("tool --revert"));
}

#[test]
fn puppets_own_runs_are_held_as_a_loan_that_is_repaid_whatever_the_run_ends_with() {
    let (home, apply) = (Home::new(), tool("puppet").apply("./ha-step"));
    for (code, ended) in [("0", 0), ("2", 0), ("4", 1), ("6", 1), ("1", 1)] {
        home.end_with(&[code]);
        assert_eq!(home.code(&apply), ended, "{code}");
        assert!(!home.has("disabled.lock") && !home.has(".ha-step.loan"), "{code}");
        let said = home.said();
        assert!(said[1].starts_with("puppet agent --disable the change to 12 (ha-step "), "{said:?}");
        assert_eq!(said.last().map(String::as_str), Some("puppet agent --enable"), "{said:?}");
    }
}

#[test]
fn an_agent_that_somebody_else_has_disabled_is_left_alone() {
    let (home, apply) = (Home::new(), tool("puppet").apply("./ha-step"));
    home.write("disabled.lock", "J. Doe looks for a leak");
    let refused = home.run(&apply);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("J. Doe looks for a leak"));
    assert_eq!(home.said(), ["puppet config print agent_disabled_lockfile"]);
    assert!(home.has("disabled.lock") && !home.has(".ha-step.loan"));
}

#[test]
fn a_loan_that_is_long_repaid_lifts_no_hold_of_another_person() {
    let (home, apply) = (Home::new(), tool("puppet").apply("./ha-step"));
    home.write(".ha-step.loan", "(ha-step 1764500000-77)\n");
    home.write("disabled.lock", "J. Doe looks for a leak");
    let refused = home.run(&apply);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("J. Doe looks for a leak"), "{refused:?}");
    assert!(home.has("disabled.lock") && !home.has(".ha-step.loan"));
    assert_eq!(home.said(), ["puppet config print agent_disabled_lockfile"]);

    // The same while the agent itself runs, which needs it to be enabled.
    fs::remove_file(home.path().join("disabled.lock")).unwrap();
    home.end_with(&["hang 0"]);
    let running = home.begin(&apply);
    home.wait_for("tool agent");
    home.write("disabled.lock", "J. Doe looks for a leak");
    home.write("go", "");
    let ended = running.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "the tool's work is done: {ended:?}");
    assert!(told(&ended).contains("J. Doe looks for a leak"), "{ended:?}");
    assert!(home.has("disabled.lock") && !home.has(".ha-step.loan"));
}

#[test]
fn what_is_asked_to_end_ends_with_its_tool_and_as_its_tool_did() {
    for (code, ended, is_held) in [("0", 0, false), ("3", 5, true), ("4", 4, false), ("2", 1, false)] {
        let home = Home::new();
        home.end_with(&[&format!("hang {code}"), "0"]);
        let running = home.begin(&tool("wso2-mi-4").apply("./ha-step"));
        home.wait_for("tool --level");
        assert!(Command::new("kill").arg(running.id().to_string()).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(30));
        home.write("go", "");
        let found = running.wait_with_output().unwrap();
        assert_eq!(found.status.code(), Some(ended), "{code}: {found:?}");
        assert_eq!(home.has(".ha-step.held"), is_held, "{code}");
        assert_eq!(home.said().len(), 1, "{code}: it is not run again");
    }
}

#[test]
fn whether_it_is_held_is_read_only_once_no_other_call_runs() {
    let (home, apply) = (Home::new(), tool("wso2-mi-4").apply("./ha-step"));
    home.end_with(&["hang 3"]);
    let running = home.begin(&apply);
    home.wait_for("tool --level");
    home.write(".ha-step.held", "by the call that runs");
    let busy = home.run(&apply);
    assert_eq!(busy.status.code(), Some(1));
    assert!(told(&busy).contains("of an earlier call still runs"), "{busy:?}");
    home.write("go", "");
    assert_eq!(running.wait_with_output().unwrap().status.code(), Some(5));
}

#[test]
fn what_could_not_be_given_back_or_written_is_told() {
    let home = Home::new();
    let mut apply = tool("puppet").apply("./ha-step");
    let at = apply.iter().position(|word| word == "--").unwrap();
    apply.splice(at + 1.., ["./tool".to_string(), "apply".into()]);
    home.write("stuck", "");
    home.end_with(&["0", "0"]);
    let ended = home.run(&apply);
    assert_eq!(ended.status.code(), Some(0), "the tool's work is done: {ended:?}");
    assert!(told(&ended).contains("could not be enabled, and stays disabled"), "{ended:?}");
    assert!(home.has("disabled.lock") && home.has(".ha-step.loan"), "the next call knows its own loan");
    fs::remove_file(home.path().join("stuck")).unwrap();
    assert_eq!(home.code(&apply), 0);
    assert!(!home.has("disabled.lock") && !home.has(".ha-step.loan"));

    let home = Home::new();
    fs::create_dir(home.path().join(".ha-step.held")).unwrap();
    home.end_with(&["3"]);
    let ended = home.run(&tool("wso2-mi-4").resume("./ha-step").unwrap());
    assert_eq!(ended.status.code(), Some(5));
    assert!(told(&ended).contains(".ha-step.held could not be written"), "{ended:?}");
}

#[test]
fn what_is_killed_in_the_middle_is_not_run_twice_and_its_loan_is_repaid_by_the_next_call() {
    let home = Home::new();
    let mut apply = tool("puppet").apply("./ha-step");
    // `puppet apply`, which runs while its agent is disabled, as any other tool does.
    let at = apply.iter().position(|word| word == "--").unwrap();
    apply.splice(at + 1.., ["./tool".to_string(), "apply".into()]);
    home.end_with(&["hang 0", "0"]);
    let mut killed = home.command(&apply).spawn().unwrap();
    home.wait_for("tool apply");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(home.has(".ha-step.loan") && home.has("disabled.lock"), "what was lent is told to the next one");

    let busy = home.run(&apply);
    assert_eq!(busy.status.code(), Some(1));
    assert!(told(&busy).contains("of an earlier call still runs"));
    assert!(home.has(".ha-step.loan") && home.has("disabled.lock"), "the agent stays held while the tool runs");
    home.write("go", "");
    let began = Instant::now();
    while home.code(&apply) != 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the tool never ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!home.has(".ha-step.loan") && !home.has("disabled.lock"));
    let runs = home.said().iter().filter(|line| *line == "tool apply").count();
    assert_eq!(runs, 2, "once before the kill, once after it");
}
