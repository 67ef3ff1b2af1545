//! A schema that commands change: the suite on scripts that keep a database as plain files, whose truth is in the files; and what
//! each exit code means.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ha_core::backend::{Applied, ContractPermit, Database, Effect, ErrorKind, Migrate, ObserveDatabase};
use ha_core::state::{LeaseEpoch, Schema};
use ha_core::topology::{Component, Name, Setting};
use ha_local::{CommandDatabase, CommandDatabaseConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::database::{DatabaseAbility, DatabaseFixture, DatabaseSubject, ScriptPhase, Waiting};
use tempfile::TempDir;

/// A database in four files: `state`, `columns`, `rows` (id, amount, total) and `marks`. Its first argument is what waits.
const MIGRATE: &str = r#"#!/bin/sh
set -e
waiting=$1
[ ! -e lost ] || { echo "the database does not answer" >&2; exit 1; }
put() { echo "$2" >"$1.new.$$"; mv "$1.new.$$" "$1"; }
state=$(cat state)
ran() { [ "$state" != base ] && [ "$state" != expanding ]; }
if [ "$waiting" = edited ] && ran && [ "$2" != show ]; then echo "the expansion is another one" >&2; exit 3; fi
case $2 in
show) echo "$state"; exit 0 ;;
review)
    case $waiting in
    split | edited) if [ "$state" = contracted ]; then echo nothing; else echo splittable; fi ;;
    additive) if ran; then echo nothing; else echo expand-only; fi ;;
    breaking) echo needs-window ;;
    nothing) echo nothing ;;
    esac
    echo "digest-$waiting"
    [ "$waiting" != breaking ] || echo "it renames amount"
    exit 0 ;;
esac
while [ -e held ]; do sleep 0.02; done
fails() { [ ! -e "fail-$1" ] || { echo "the statement fails" >&2; exit 1; }; }
case $2 in
expand)
    put state expanding; fails expand
    put columns "id amount total"; echo expand >>marks; put state expanded ;;
backfill)
    fails backfill
    if [ "$waiting" != additive ]; then
        awk '{ print $1, $2, $2 }' rows >rows.new; mv rows.new rows; echo backfill >>marks
    fi
    put state backfilled ;;
contract)
    [ -n "$HA_GONE" ] || { echo "nobody is gone" >&2; exit 3; }
    put state contracting; fails contract
    put columns "id total"; echo contract >>marks; put state contracted ;;
esac
"#;

struct Files;

struct Scripts {
    dir: TempDir,
    waiting: Mutex<Waiting>,
    database: Arc<CommandDatabase>,
}

fn named(phase: ScriptPhase) -> &'static str {
    match phase {
        ScriptPhase::Expand => "expand",
        ScriptPhase::Backfill => "backfill",
        ScriptPhase::Contract => "contract",
    }
}

fn value(home: &Path, waiting: Waiting) -> CommandDatabase {
    let word = format!("{waiting:?}").to_lowercase();
    let argv = |verb: &str| vec!["./migrate.sh".to_string(), word.clone(), verb.into()];
    let config = CommandDatabaseConfig::new(home, argv("show"), argv("review"), argv("expand"));
    CommandDatabase::new(config.with_backfill(argv("backfill")).with_contract(argv("contract")))
}

impl Scripts {
    fn read(&self, file: &str) -> Result<String, Breach> {
        Ok(fs::read_to_string(self.dir.path().join(file))?)
    }

    fn flag(&self, file: &str, there: bool) -> Result<(), Breach> {
        let path = self.dir.path().join(file);
        if there {
            fs::write(path, "")?;
        } else if path.exists() {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

#[async_trait]
impl DatabaseFixture for Files {
    fn name(&self) -> String {
        "commands that keep a database in files".into()
    }

    fn can(&self, ability: DatabaseAbility) -> bool {
        // A command that refuses says so with one exit code, which is a conflict: sessions are not told from other reasons.
        ability != DatabaseAbility::OldSessions
    }

    async fn fresh(&self) -> Result<Box<dyn DatabaseSubject>, Breach> {
        let dir = tempfile::tempdir()?;
        let script = dir.path().join("migrate.sh");
        fs::write(&script, MIGRATE)?;
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
        for (file, text) in [("state", "base\n"), ("columns", "id amount\n"), ("rows", "1 10\n2 20\n"), ("marks", "")] {
            fs::write(dir.path().join(file), text)?;
        }
        let database = Arc::new(value(dir.path(), Waiting::Split));
        Ok(Box::new(Scripts { dir, waiting: Mutex::new(Waiting::Split), database }))
    }
}

#[async_trait]
impl DatabaseSubject for Scripts {
    fn database(&self) -> Arc<dyn Database> {
        self.database.clone()
    }

    fn another(&self) -> Arc<dyn Database> {
        Arc::new(value(self.dir.path(), *self.waiting.lock().unwrap()))
    }

    async fn columns(&self) -> Result<Vec<String>, Breach> {
        Ok(self.read("columns")?.split_whitespace().map(String::from).collect())
    }

    async fn rows(&self) -> Result<u64, Breach> {
        Ok(self.read("rows")?.lines().count() as u64)
    }

    async fn unfilled(&self) -> Result<u64, Breach> {
        Ok(self.read("rows")?.lines().filter(|row| row.split(' ').count() < 3).count() as u64)
    }

    async fn applied(&self, phase: ScriptPhase) -> Result<u32, Breach> {
        let times = self.read("marks")?.lines().filter(|mark| *mark == named(phase)).count();
        u32::try_from(times).map_err(|error| Breach::new(error.to_string()))
    }

    async fn scripts(&self, waiting: Waiting) -> Result<(), Breach> {
        *self.waiting.lock().unwrap() = waiting;
        Ok(())
    }

    async fn fail(&self, phase: ScriptPhase) -> Result<(), Breach> {
        self.flag(&format!("fail-{}", named(phase)), true)
    }

    async fn mend(&self) -> Result<(), Breach> {
        ScriptPhase::ALL.into_iter().try_for_each(|phase| self.flag(&format!("fail-{}", named(phase)), false))
    }

    async fn use_old_release(&self, _connected: bool) -> Result<(), Breach> {
        Err(Breach::new("its sessions are not told from others"))
    }

    async fn lock(&self, held: bool) -> Result<(), Breach> {
        self.flag("held", held)
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.flag("lost", true)
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.flag("lost", false)
    }
}

mod commands_that_keep_a_database_in_files {
    use super::Files;

    ha_testkit::conformance!(database, Files, skips = ["fixture: old sessions"]);
}

fn sh(line: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), line.into()]
}

fn expanded() -> Migrate {
    Migrate::new(Schema::Expanded).with_deadline(Duration::from_secs(60))
}

fn contracted() -> Migrate {
    let permit = ContractPermit::by_person("m.keller", "replaced", vec!["4.1.0".into(), "4.2.0".into()]);
    Migrate::new(Schema::Contracted).with_deadline(Duration::from_secs(60)).with_permit(permit)
}

/// Prints what `state` holds, `base` without it.
const SHOW: &str = "cat state 2>/dev/null || echo base";

#[tokio::test]
async fn each_exit_code_and_output_of_an_expansion_has_its_kind_and_effect() {
    for (show, expand, kind, effect, words) in [
        ("exit 1", "true", ErrorKind::Unreachable, Effect::None, "show ended with exit code 1"),
        ("exit 3", "true", ErrorKind::Unreachable, Effect::None, "show ended with exit code 3"),
        ("true", "true", ErrorKind::Protocol, Effect::None, "show printed"),
        ("echo new", "true", ErrorKind::Protocol, Effect::None, "show printed \"new\""),
        ("yes base | head -c 2000000", "true", ErrorKind::Protocol, Effect::None, "bytes or more"),
        ("echo backfilled", "true", ErrorKind::Conflict, Effect::None, "nothing leads back to expanded"),
        ("echo base", "echo no >&2; exit 3", ErrorKind::Conflict, Effect::None, "exit code 3: no"),
        ("echo base", "exit 1", ErrorKind::Conflict, Effect::Unknown, "expand ended with exit code 1"),
        ("echo base", "kill -9 $$", ErrorKind::Conflict, Effect::Unknown, "signal 9"),
        ("echo base", "true", ErrorKind::Conflict, Effect::Unknown, "show says that the schema is base"),
        (SHOW, "echo contracted >state", ErrorKind::Conflict, Effect::Unknown, "the schema is contracted"),
        (SHOW, "echo gone >state", ErrorKind::Conflict, Effect::Unknown, "could not be read back"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = CommandDatabaseConfig::new(dir.path(), sh(show), sh("false"), sh(expand));
        let error = CommandDatabase::new(config).migrate(LeaseEpoch::new(1), expanded()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, effect), "{show} / {expand}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn each_exit_code_and_output_of_a_review_has_its_kind() {
    for (review, kind, words) in [
        ("exit 1", ErrorKind::Unreachable, "review ended with exit code 1"),
        ("echo edited >&2; exit 3", ErrorKind::Conflict, "exit code 3: edited"),
        ("kill -9 $$", ErrorKind::Unreachable, "signal 9"),
        ("true", ErrorKind::Protocol, "review printed"),
        ("echo splittable", ErrorKind::Protocol, "no digest"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = CommandDatabaseConfig::new(dir.path(), sh("echo base"), sh(review), sh("true"));
        let error = CommandDatabase::new(config).review().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, Effect::None), "{review}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn a_state_without_a_command_is_unsupported_unless_it_is_there_and_nothing_before_it_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = || CommandDatabaseConfig::new(dir.path(), sh(SHOW), sh("false"), sh("echo expanded >state"));
    let without_backfill = CommandDatabase::new(config().with_contract(sh("echo contracted >state")));
    let without_both = CommandDatabase::new(config());
    let backfilled = || Migrate::new(Schema::Backfilled).with_deadline(Duration::from_secs(60));
    for (database, request) in [
        (&without_backfill, backfilled()),
        (&without_backfill, contracted()),
        (&without_both, backfilled()),
        (&without_both, contracted()),
    ] {
        let error = database.migrate(LeaseEpoch::new(1), request).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None), "{error}");
        assert!(!dir.path().join("state").exists(), "it was expanded");
    }
    fs::write(dir.path().join("state"), "contracted").unwrap();
    let there = without_both.migrate(LeaseEpoch::new(1), contracted()).await.unwrap();
    assert_eq!(there, Applied::AlreadySo);
}

#[tokio::test]
async fn what_a_later_command_refuses_does_not_undo_that_an_earlier_one_was_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = CommandDatabaseConfig::new(dir.path(), sh(SHOW), sh("false"), sh("echo expanded >state"));
    let backfilled = Migrate::new(Schema::Backfilled).with_deadline(Duration::from_secs(60));
    for backfill in [sh("exit 3"), vec!["./no-such-program".into()]] {
        fs::write(dir.path().join("state"), "base").unwrap();
        let database = CommandDatabase::new(config.clone().with_backfill(backfill));
        let error = database.migrate(LeaseEpoch::new(1), backfilled.clone()).await.unwrap_err();
        assert_eq!(error.effect(), Effect::Unknown, "{error}");
        assert_eq!(database.schema().await.unwrap(), Schema::Expanded);
    }
}

#[tokio::test]
async fn each_command_gets_its_state_and_epoch_and_only_the_contraction_who_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let note = sh("echo \"$HA_SCHEMA $HA_EPOCH ${HA_GONE-nobody}\" >>asked; echo $HA_SCHEMA >state");
    let config = CommandDatabaseConfig::new(dir.path(), sh(SHOW), sh("false"), note.clone());
    let database = CommandDatabase::new(config.with_backfill(note.clone()).with_contract(note));
    assert_eq!(database.migrate(LeaseEpoch::new(7), contracted()).await.unwrap(), Applied::Applied);
    let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked, "expanded 7 nobody\nbackfilled 7 nobody\ncontracted 7 4.1.0 4.2.0\n");
}

#[tokio::test]
async fn a_command_past_its_deadline_is_ended_with_its_group_and_its_effect_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let expand = sh("sleep 60 & echo $! >child; wait");
    let mut config = CommandDatabaseConfig::new(dir.path(), sh("echo base"), sh("false"), expand);
    config.command_deadline = Duration::from_secs(1);
    let error = CommandDatabase::new(config).migrate(LeaseEpoch::new(1), expanded()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error}");
    let child = fs::read_to_string(dir.path().join("child")).unwrap();
    // Killed, it may still be on a CPU; then it is gone, or dead and not yet reaped by who inherited it.
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ") {
            break;
        }
        assert!(Instant::now() < until, "its child still runs: {stat}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn every_wrong_setting_is_named() {
    let mut component = Component::new(Name::new("command").unwrap());
    component.settings = [
        ("home".into(), Setting::Text("relative".into())),
        ("backfill".into(), Setting::Text("a line of shell".into())),
        ("command_deadline".into(), Setting::Text("soon".into())),
        ("contrct".into(), Setting::List(vec!["true".into()])),
    ]
    .into();
    let error = CommandDatabaseConfig::from_component(&component).unwrap_err().to_string();
    for key in ["home", "show", "review", "expand", "backfill", "command_deadline", "contrct"] {
        assert!(error.contains(key), "{key}: {error}");
    }
}
