//! What goes over the admin socket: commands out, tables in. No I/O.

mod csv;
mod info;
mod map;
mod master;
mod stat;
mod state;

pub(crate) use info::parse_info;
pub(crate) use map::{add_map, del_map, parse_map, put_map, show_map};
pub(crate) use master::{is_gone, parse_proc};
pub(crate) use stat::{PoolRow, Stat, parse_stats};
pub(crate) use state::{ServerState, parse_all_states, parse_state, parse_states};

use std::fmt;

use ha_core::backend::{AddMember, Admin, MemberRef, Weight};
use ha_core::state::MemberKind;
use ha_core::topology::Name;
use memchr::memmem;

/// An answer that does not have the form that this backend knows.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) String);

/// Says that the answer is an error in HAProxy's own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refused(pub(crate) String);

pub(crate) const INFO: &str = "show info";
pub(crate) const PROC: &str = "show proc";
/// Asks whether requests can be held, and what `ha-hold.lua` answers.
pub(crate) const HOLDS: &str = "show ha-hold";
pub(crate) const CAN_HOLD: &str = "ha-hold 1";

/// Asks for the administrative state of every server of a pool.
pub(crate) fn states(pool: &Name) -> String {
    format!("show servers state {pool}")
}

/// Asks for the administrative state of every server of every pool.
pub(crate) const ALL_STATES: &str = "show servers state";

/// Which proxies `show stat` is asked about. It takes the first proxy of a name, and a frontend may have a backend's: then all
/// of them are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope<'p> {
    Named(&'p Name),
    All,
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(pool) => pool.fmt(f),
            Self::All => f.write_str("-1"),
        }
    }
}

/// Asks for the figures of every server of a pool, and of the pool itself; 2 is "backend", 4 is "server".
pub(crate) fn pool_stats(scope: Scope<'_>) -> String {
    format!("show stat {scope} 6 -1")
}

/// Asks for the figures of one server: the narrowest question that tells whether it is idle.
pub(crate) fn server_stat(scope: Scope<'_>, server_id: u32) -> String {
    format!("show stat {scope} 4 {server_id}")
}

/// Asks for the figures of the pool itself.
pub(crate) fn backend_stat(scope: Scope<'_>) -> String {
    format!("show stat {scope} 2 -1")
}

/// Asks an older worker, over the master socket, for the figures of every server of a pool.
pub(crate) fn worker_stats(pid: u64, scope: Scope<'_>) -> String {
    format!("@!{pid} show stat {scope} 4 -1")
}

/// Asks an older worker for the figures of a pool and its servers, over the master socket.
pub(crate) fn worker_pool_stats(pid: u64, scope: Scope<'_>) -> String {
    to_worker(pid, &pool_stats(scope))
}

/// Gives an older worker a command, over the master socket.
pub(crate) fn to_worker(pid: u64, command: &str) -> String {
    format!("@!{pid} {command}")
}

pub(crate) fn set_state(member: &MemberRef, admin: Admin) -> String {
    let state = match admin {
        Admin::Ready => "ready",
        Admin::Drain => "drain",
        Admin::Maint => "maint",
    };
    format!("set server {member} state {state}")
}

/// Lets a server take from the pool's queue, by setting its `maxconn` to what it is. Measured on 2.4 to 3.2: a server that
/// was made ready from drain, or whose weight was 0, takes none of the requests that wait there until then; 3.4 does not need
/// it. `None` before 2.4.2, where the command can stop HAProxy for good ("prevent deadlock when using 'set maxconn server'",
/// fixed in June 2021) and nothing else wakes a server (measured on 2.4.0).
pub(crate) fn wake(member: &MemberRef, slots: u64, version: &str) -> Option<String> {
    (!is_before(version, [2, 4, 2])).then(|| format!("set maxconn server {member} {slots}"))
}

/// Compares HAProxy's version with one of major, minor and patch number; what cannot be read is new.
pub(crate) fn is_before(version: &str, than: [u32; 3]) -> bool {
    let numbers = version.split(['.', '-']).map(|word| word.parse::<u32>().ok());
    let numbers: Vec<u32> = numbers.map_while(|number| number).take(3).collect();
    numbers.len() >= 2 && numbers[..] < than[..]
}

pub(crate) fn set_weight(member: &MemberRef, weight: Weight) -> String {
    format!("set server {member} weight {weight}")
}

pub(crate) fn close_sessions(member: &MemberRef) -> String {
    format!("shutdown sessions server {member}")
}

pub(crate) fn add_server(request: &AddMember) -> String {
    let backup = if request.kind == MemberKind::Backup { " backup" } else { "" };
    let check =
        request.check_every.map_or_else(String::new, |every| format!(" check inter {}ms", every.as_millis().max(1)));
    format!("add server {} {} weight {}{backup}{check}", request.member, request.address, request.weight)
}

/// Lets the checks of an added server begin.
pub(crate) fn enable_health(member: &MemberRef) -> String {
    format!("enable health {member}")
}

pub(crate) fn del_server(member: &MemberRef) -> String {
    format!("del server {member}")
}

/// Reads the answer to a changing command: an empty one is success, and so are two notices; all else is HAProxy's refusal.
pub(crate) fn changed(answer: &str) -> Result<(), Refused> {
    match without_severity(answer.trim()) {
        "" | "New server registered." | "Server deleted." => Ok(()),
        words => Err(Refused(words.to_string())),
    }
}

/// Reads the answer to a changing command that `show servers state` was asked behind, in the same line. Whether that table is
/// whole is for its reader.
pub(crate) fn changed_before_states(answer: &str) -> Result<(), Refused> {
    // Its own answer is empty where it went well. Whatever else may be wrong then, it is not that nothing was changed.
    if answer.starts_with("\n\n") {
        return Ok(());
    }
    // A table begins with a line that says its version.
    let version = answer.split_once("\n1\n").map(|(before, _)| before).or_else(|| answer.strip_suffix("\n1"));
    changed(version.unwrap_or(answer))
}

/// Tells whether a reading command was answered with an error, by its words or the severity in front of them.
pub(crate) fn refused(answer: &str) -> Option<Refused> {
    let words = answer.lines().map(str::trim_start).find(|line| {
        // Looked at first: a pool may have thousands of lines.
        let may_be = line.starts_with(['[', 'P', 'T', 'U', 'C', 'N']);
        let known = || KNOWN_REFUSALS.iter().any(|refusal| line.starts_with(refusal));
        may_be && (without_severity(line).len() < line.len() || known())
    })?;
    Some(Refused(without_severity(words.trim_end()).to_string()))
}

const KNOWN_REFUSALS: [&str; 6] = [
    "Permission denied",
    "This command is restricted",
    "Unknown command",
    "Unknown map identifier",
    "Can't find",
    "No such",
];

fn without_severity(words: &str) -> &str {
    let rest = words.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    match rest {
        Some((digits, rest)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        Some(_) | None => words,
    }
}

/// One table in an answer to several commands.
struct Table<'a> {
    before: &'a str,
    /// Its header and its lines.
    lines: std::str::Lines<'a>,
    after: &'a str,
}

/// Cuts the first table out of an answer to several commands: from the line that begins with `header` (a line break is its
/// first character) to the empty line that HAProxy puts behind every table. Where that is missing the answer is cut off: a
/// missing line would read as a server, or as an old worker, that is not there.
fn table<'a>(answer: &'a str, header: &str) -> Result<Option<Table<'a>>, Malformed> {
    // The text of a pool with thousands of servers is long: memmem is many times faster over it than str::find.
    let find = |text: &str, words: &str| memmem::find(text.as_bytes(), words.as_bytes());
    let at = if answer.starts_with(header.trim_start()) { Some(0) } else { find(answer, header).map(|at| at + 1) };
    let Some((before, rest)) = at.and_then(|at| answer.split_at_checked(at)) else { return Ok(None) };
    let cut = find(rest, "\n\n").and_then(|at| Some((rest.get(..at)?, rest.get(at + 2..)?)));
    let Some((lines, after)) = cut else {
        return Err(Malformed(format!("the table that begins with {:?} is cut off", header.trim_start())));
    };
    Ok(Some(Table { before, lines: lines.lines(), after }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn member(pool: &str, name: &str) -> MemberRef {
        MemberRef::new(Name::new(pool).unwrap(), Name::new(name).unwrap())
    }

    #[test]
    fn an_empty_answer_and_two_notices_are_success_and_all_else_is_not() {
        for good in ["\n", "\n\n", "\n[6]: New server registered.\n\n", "\n[6]: Server deleted.\n"] {
            assert_eq!(changed(good), Ok(()), "{good:?}");
        }
        for bad in ["\n[3]: No such server.\n\n", "[6]: Unknown command: 'x'", "\n\nServer deleted. And more.\n"] {
            assert!(changed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_answer_to_a_change_ends_where_the_table_behind_it_begins() {
        let table = "1\n# be_id be_name\n4 be 1 s1\n\n";
        for cut in 0..table.len() {
            assert_eq!(changed_before_states(&format!("\n\n{}", &table[..cut])), Ok(()), "{cut}");
            let refused = changed_before_states(&format!("\n[3]: No such server.\n\n{}", &table[..cut]));
            assert_eq!(refused, Err(Refused("No such server.".into())), "{cut}");
        }
        // A refusal of the question behind it is none of the change.
        assert_eq!(changed_before_states("\n\n[3]: Can't find backend.\n\n"), Ok(()));
    }

    #[test]
    fn a_refusal_is_found_beside_the_answers_of_other_commands() {
        let answer = "\n[3]: No such proxy.\n\nName: HAProxy\nPid: 12\n\n";
        assert_eq!(refused(answer), Some(Refused("No such proxy.".into())));
        assert_eq!(refused("No such proxy.\n\nName: HAProxy\n\n"), Some(Refused("No such proxy.".into())));
        for refusal in KNOWN_REFUSALS {
            assert_eq!(refused(&format!("\n  {refusal}\n")), Some(Refused(refusal.into())));
        }
        assert_eq!(refused("\nName: HAProxy\ndescription: [x]: y\n"), None);
    }

    #[test]
    fn a_server_is_woken_where_the_version_survives_it() {
        let wakes = |version: &str| wake(&member("be", "s1"), 4, version);
        for version in ["2.4.0", "2.4.1", "2.4-dev19", "1.8.30"] {
            assert_eq!(wakes(version), None, "{version}");
        }
        for version in ["2.4.2", "2.4.22-f8e3218", "2.5-dev1", "2.6.12-1+deb12u4", "3.4.0", "unheard-of"] {
            assert_eq!(wakes(version).as_deref(), Some("set maxconn server be/s1 4"), "{version}");
        }
    }

    #[test]
    fn a_spare_is_added_with_all_that_its_row_needs() {
        let request = AddMember::new(member("be", "s9"), ([127, 0, 0, 1], 8280).into())
            .with_weight(Weight::new(100))
            .with_checks(Duration::from_millis(200));
        assert_eq!(add_server(&request), "add server be/s9 127.0.0.1:8280 weight 100 backup check inter 200ms");
    }

    proptest! {
        #[test]
        fn a_member_is_always_one_command_of_five_words(
            pool in "[A-Za-z0-9_.:-]{1,20}",
            server in "\\PC{0,20}|[ -~\n\0;#/]{0,20}",
        ) {
            if let Ok(name) = Name::new(&server) {
                let command = set_state(&MemberRef::new(Name::new(&pool).unwrap(), name), Admin::Maint);
                prop_assert_eq!(command.split(' ').count(), 5);
                prop_assert!(!command.contains([';', '\n', '\r', '\0', '\t', '#', '\\']));
            }
        }

        #[test]
        fn no_answer_makes_a_parser_panic(answer in "[\\[\\]#a-z_,\" 0-9\n:]{0,300}") {
            let pool = Name::new("be").unwrap();
            let _ = (parse_stats(&answer, &pool), parse_states(&answer, &pool), parse_info(&answer), parse_proc(&answer));
            let _ = (refused(&answer), changed(&answer), changed_before_states(&answer));
        }
    }
}
