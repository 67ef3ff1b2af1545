//! Every order of answers, to a depth: what must never happen does not.

use std::time::Duration;

use ha_core::backend::ContractPermit;

use super::{Capabilities, Command, Goal, How, IndexState, Input, Key, Machine, Policy, Print, Unit, UnitKind};
use crate::history::{History, HistoryRow, RowState, StepRow};
use crate::script::Phase;
use crate::{DbError, DbErrorKind, Dialect, MigrateError, SessionId};

const DEPTH: usize = 8;

fn unit(dialect: Dialect, version: &str, phase: Phase, statements: &[&str]) -> Unit {
    let key = Key { version: version.into(), phase };
    let statements = statements.iter().enumerate().map(|(line, text)| ((*text).into(), line + 1)).collect();
    Unit::plan(dialect, key, UnitKind::Versioned, &format!("V{version}.sql"), statements, true).unwrap()
}

/// A world to explore: scripts, goal, what the history holds, and whether old sessions can be told.
struct World {
    dialect: Dialect,
    units: Vec<Unit>,
    permit: bool,
    history: History,
    looks: bool,
}

impl World {
    fn new(dialect: Dialect, units: Vec<Unit>) -> Self {
        Self { dialect, units, permit: false, history: History::default(), looks: false }
    }

    fn machine(&self) -> Machine {
        let permit = self.permit.then(|| ContractPermit::by_person("me", "gone", vec![]));
        let policy = Policy::default();
        let goal = Goal::Migrate { to: Phase::Contract, permit };
        Machine::new(self.units.clone().into(), goal, policy, self.looks, 7, Duration::ZERO)
    }
}

/// What a command can be answered.
fn answers(world: &World, command: &Command) -> Vec<Input> {
    let failed = |kind| Input::Failed { error: DbError::new(kind, "no"), step: None };
    let seen = |definition: &str| Print::Seen { definition: definition.into(), identity: None };
    let mut answers = match command {
        Command::Connect => {
            return vec![
                Input::Connected(SessionId { number: 1, began: String::new() }),
                failed(DbErrorKind::Unreachable),
            ];
        }
        Command::Identify => {
            vec![Input::Identified(Capabilities { dialect: world.dialect, atomic_ddl: true })]
        }
        Command::TryLock => vec![Input::Locked, Input::LockHeld { holder: None, recorded: true }],
        Command::BumpEpoch => vec![Input::EpochBumped(3), Input::Fenced { seen: 9 }],
        Command::ReadHistory => vec![Input::History(world.history.clone())],
        Command::LookForDrift => {
            let (object, script, version) = ("a".into(), "V1.sql".into(), "1".into());
            let drift = super::Finding::Drift { object, script, version, line: 1, gone: false };
            vec![Input::Drift(Vec::new()), Input::Drift(vec![drift])]
        }
        Command::LookAtOrphan(_) => vec![Input::Orphan { alive: false }, Input::Orphan { alive: true }],
        Command::LookAtOldSessions | Command::LookAtBlockers { .. } => {
            vec![Input::Sessions(Vec::new()), Input::Sessions(vec![blocker()])]
        }
        Command::Fingerprint(at) => {
            let count = world.units[at.unit].steps[at.step].observable().count();
            vec![
                Input::Prints(vec![Print::Absent; count]),
                Input::Prints((0..count).map(|_| seen("a")).collect()),
                Input::Prints((0..count).map(|index| if index == 0 { seen("a") } else { Print::Absent }).collect()),
                Input::Prints(vec![Print::Hidden; count]),
            ]
        }
        Command::LookAtIndex(_) => vec![
            Input::Index(IndexState::Absent),
            Input::Index(IndexState::Valid),
            Input::Index(IndexState::Invalid),
            Input::Index(IndexState::Building),
        ],
        Command::LookAtEngines(_) => vec![Input::Transactional(true), Input::Transactional(false)],
        Command::RunScript { .. } | Command::RunWithRow(_) => {
            vec![Input::Done { rows: 1 }, Input::Fenced { seen: 9 }, failed(DbErrorKind::LockTimeout), Input::Raced]
        }
        Command::Run(_) => {
            vec![Input::Done { rows: 1 }, failed(DbErrorKind::LockTimeout), failed(DbErrorKind::Duplicate)]
        }
        Command::Begin { .. } | Command::Finish { .. } | Command::Withdraw { .. } | Command::Record { .. } => {
            vec![Input::Done { rows: 0 }, Input::Fenced { seen: 9 }, Input::Switched]
        }
        Command::Batch { .. } => {
            let batch = |more| Input::Batch { rows: 5, more, took: Duration::ZERO, lag: Duration::ZERO };
            vec![batch(true), batch(false), Input::Fenced { seen: 9 }]
        }
        Command::CountLeft { .. } => vec![Input::Left(0), Input::Left(3)],
        Command::Terminate(_)
        | Command::CreateTables
        | Command::Import(_)
        | Command::DropIndex(_)
        | Command::Abort { .. }
        | Command::Rewind { .. } => vec![Input::Done { rows: 0 }],
    };
    answers.push(failed(DbErrorKind::ConnectionLost));
    answers.push(failed(DbErrorKind::Refused));
    answers.push(Input::DeadlinePassed);
    answers
}

fn blocker() -> crate::migrator::Blocker {
    crate::migrator::Blocker::of(SessionId { number: 5, began: String::new() }, "old")
}

/// One step of a path: the command, and how it was answered.
type Path = Vec<(Command, Input)>;

#[derive(Default)]
struct Explored {
    paths: u64,
    ends: u64,
    dirty: u64,
}

/// Goes on with a machine at its next command.
fn explore(world: &World, machine: &Machine, now: Duration, depth: usize, path: &mut Path, seen: &mut Explored) {
    let (mut machine, mut now) = (machine.clone(), now);
    let mut command = machine.poll_command(now);
    // Waits are waited out.
    for _ in 0..4 {
        if command.is_some() || machine.outcome().is_some() {
            break;
        }
        now = machine.poll_timeout().unwrap();
        machine.handle(now, Input::Tick);
        command = machine.poll_command(now);
    }
    let Some(command) = command else {
        assert!(machine.outcome().is_some(), "neither a command nor an end: {path:?}");
        seen.ends += 1;
        if matches!(machine.outcome(), Some(Err(MigrateError::Dirty(_)))) {
            seen.dirty += 1;
        }
        return;
    };
    allowed(world, &command, path);
    if depth == 0 {
        seen.paths += 1;
        return;
    }
    for answer in answers(world, &command) {
        let mut next = machine.clone();
        next.handle(now, answer.clone());
        path.push((command.clone(), answer));
        explore(world, &next, now, depth - 1, path, seen);
        path.pop();
    }
}

/// What must never happen, asked of each command with all that came before it.
fn allowed(world: &World, command: &Command, path: &Path) {
    let fenced =
        path.iter().any(|(_, answer)| matches!(answer, Input::Fenced { .. } | Input::Switched | Input::DeadlinePassed));
    assert!(!fenced, "{command:?} after the end: {path:?}");
    let since_connect = path.iter().rposition(|(command, _)| *command == Command::Connect).unwrap_or(0);
    let session = &path[since_connect.min(path.len())..];
    if command.writes() && !matches!(command, Command::Terminate(_)) {
        let locked = session.iter().any(|(_, answer)| *answer == Input::Locked);
        assert!(locked, "{command:?} without the lock of this session: {path:?}");
    }
    let unit = match command {
        Command::RunScript { unit, .. } => Some(*unit),
        Command::Run(at) | Command::RunWithRow(at) | Command::Begin { at, .. } => Some(at.unit),
        _ => None,
    };
    if unit.is_some_and(|unit| world.units[unit].key.phase == Phase::Contract) {
        assert!(world.permit, "{command:?} without a permit: {path:?}");
        let looked = session.iter().rev().find(|(command, _)| *command == Command::LookAtOldSessions);
        let none = looked.is_some_and(|(_, answer)| *answer == Input::Sessions(Vec::new()));
        assert!(!world.looks || none, "{command:?} beside an old session: {path:?}");
    }
    if let Command::Run(at) = command {
        let begun = session.iter().rev().find_map(|(command, answer)| match command {
            Command::Begin { at: begun, .. } if begun == at => Some(matches!(answer, Input::Done { .. })),
            _ => None,
        });
        let plain = world.units[at.unit].steps[at.step].manner == super::Manner::Plain;
        assert!(plain || begun == Some(true), "{command:?} without its journal row: {path:?}");
    }
    if let Command::Finish { at, how: How::Found, post } = command {
        let step = &world.units[at.unit].steps[at.step];
        let row = world.history.steps.iter().find(|row| row.begun).unwrap();
        let changed = post.iter().zip(&row.pre).all(|(now, before)| now.changed_since(before) == Some(true));
        let valid = session.iter().rev().any(|(_, answer)| *answer == Input::Index(IndexState::Valid));
        let index = step.concurrent_index().is_some();
        assert!(if index { valid } else { changed && !post.is_empty() }, "a guess: {command:?}: {path:?}");
    }
    if let Command::Withdraw { at, .. } = command
        && world.history.steps.iter().any(|row| row.begun)
        && !session.iter().any(|(command, _)| matches!(command, Command::Begin { .. }))
    {
        let row = world.history.steps.iter().find(|row| row.begun).unwrap();
        let proof = session.iter().rev().find_map(|(_, answer)| match answer {
            Input::Prints(now) => {
                let same = now.iter().zip(&row.pre).all(|(now, before)| now.changed_since(before) == Some(false));
                Some(same)
            }
            Input::Index(state) => Some(*state == IndexState::Absent),
            _ => None,
        });
        let again = world.units[at.unit].steps[at.step].begins(&["VACUUM"]);
        assert!(again || proof == Some(true), "a guess: {at:?}: {path:?}");
    }
}

/// A machine that has read an empty or given history.
fn ready(world: &World) -> (Machine, Path) {
    let (mut machine, mut path) = (world.machine(), Vec::new());
    for answer in [
        Input::Connected(SessionId { number: 1, began: String::new() }),
        Input::Identified(Capabilities { dialect: world.dialect, atomic_ddl: true }),
        Input::Locked,
        Input::Done { rows: 0 },
        Input::EpochBumped(2),
    ] {
        let command = machine.poll_command(Duration::ZERO).unwrap();
        machine.handle(Duration::ZERO, answer.clone());
        path.push((command, answer));
    }
    (machine, path)
}

fn worlds() -> Vec<World> {
    let maria = |version: &str, phase, statements: &[&str]| unit(Dialect::MariaDb, version, phase, statements);
    let postgres = |version: &str, phase, statements: &[&str]| unit(Dialect::Postgres, version, phase, statements);
    let ddl = || maria("1", Phase::Expand, &["CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "SET @a = 1"]);
    let drop = || maria("2", Phase::Contract, &["DROP TABLE a, b"]);
    let mut worlds = Vec::new();
    for permit in [false, true] {
        for looks in [false, true] {
            worlds.push(World { permit, looks, ..World::new(Dialect::MariaDb, vec![drop()]) });
            let contract = postgres("2", Phase::Contract, &["DROP TABLE a"]);
            worlds.push(World { permit, looks, ..World::new(Dialect::Postgres, vec![contract]) });
        }
    }
    worlds.push(World { permit: true, ..World::new(Dialect::MariaDb, vec![ddl(), drop()]) });
    worlds.push(World::new(Dialect::Postgres, vec![postgres("1", Phase::Expand, &["ALTER TABLE a ADD b int"])]));
    worlds.push(World::new(
        Dialect::Postgres,
        vec![postgres("1", Phase::Expand, &["CREATE INDEX CONCURRENTLY i ON a (b)", "UPDATE a SET b = 1"])],
    ));
    worlds.push(World::new(
        Dialect::Sqlite,
        vec![unit(Dialect::Sqlite, "1", Phase::Expand, &["CREATE TABLE a (id int)"])],
    ));
    // Of each kind of statement, one that was under way when its migrator died.
    for (dialect, statement, pre) in [
        (Dialect::MariaDb, "CREATE TABLE a (id int)", "absent"),
        (Dialect::MariaDb, "ALTER TABLE a ADD b int", "d=a"),
        (Dialect::MariaDb, "DROP TABLE a, b", "d=a d=b"),
        (Dialect::MariaDb, "INSERT INTO a VALUES (1)", ""),
        (Dialect::MariaDb, "CALL p()", ""),
        (Dialect::Postgres, "CREATE INDEX CONCURRENTLY i ON a (b)", ""),
        (Dialect::Postgres, "VACUUM a", ""),
    ] {
        let unit = unit(dialect, "1", Phase::Expand, &[statement, "SELECT 1"]);
        let row = StepRow {
            key: unit.key.clone(),
            number: 0,
            sha256: unit.steps[0].sha256.clone(),
            line: 1,
            begun: true,
            pre: Print::split(pre),
            session: SessionId { number: 77, began: "then".into() },
            cursor: None,
            rows_done: 0,
        };
        let history = History { steps: vec![row], ..History::default() };
        worlds.push(World { history, ..World::new(dialect, vec![unit]) });
    }
    worlds
}

#[test]
fn no_order_of_answers_leads_to_a_write_after_a_fence_a_contraction_without_permit_or_a_guess() {
    let mut seen = Explored::default();
    for world in worlds() {
        explore(&world, &world.machine(), Duration::ZERO, DEPTH, &mut Vec::new(), &mut seen);
        let (machine, mut path) = ready(&world);
        explore(&world, &machine, Duration::ZERO, DEPTH, &mut path, &mut seen);
    }
    println!("{} paths of {DEPTH} answers, {} ends, {} held for a person", seen.paths, seen.ends, seen.dirty);
    assert!(seen.ends > 1_000 && seen.dirty > 100, "the model explores");
}

#[test]
fn what_is_applied_is_not_run_again() {
    let unit = unit(Dialect::MariaDb, "1", Phase::Expand, &["CREATE TABLE a (id int)"]);
    let row = HistoryRow {
        rank: 1,
        key: unit.key.clone(),
        kind: "V".into(),
        description: String::new(),
        script: unit.script.clone(),
        sha256: unit.sha256.clone(),
        crc32: None,
        lines: String::new(),
        statements: unit.statement_hashes(),
        state: RowState::Success,
        finished_at: String::new(),
    };
    let history = History { rows: vec![row], ..History::default() };
    let world = World { history: history.clone(), ..World::new(Dialect::MariaDb, vec![unit]) };
    let (mut machine, _) = ready(&world);
    assert_eq!(machine.poll_command(Duration::ZERO), Some(Command::ReadHistory));
    machine.handle(Duration::ZERO, Input::History(history));
    assert_eq!(machine.poll_command(Duration::ZERO), None);
    assert!(matches!(machine.outcome(), Some(Ok(summary)) if summary.applied.is_empty()));
}
