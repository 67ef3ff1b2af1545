//! What goes over the admin socket: commands out, tables in. No I/O.

use ha_core::backend::{Admin, Health, MemberRef, Quiescence};
use ha_core::state::RowKind;

/// An answer that does not have the form that this backend knows.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) String);

/// Says that the answer is an error in HAProxy's own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refused(pub(crate) String);

pub(crate) const INFO: &str = "show info";

pub(crate) fn servers_state(member: &MemberRef) -> String {
    format!("show servers state {}", member.pool)
}

/// Asks for the figures of one server; type 4 is "server".
pub(crate) fn stat(member: &MemberRef, server_id: u32) -> String {
    format!("show stat {} 4 {server_id}", member.pool)
}

pub(crate) fn set_state(member: &MemberRef, admin: Admin) -> String {
    let state = match admin {
        Admin::Ready => "ready",
        Admin::Drain => "drain",
        Admin::Maint => "maint",
    };
    format!("set server {member} state {state}")
}

/// Reads the answer to a changing command: an empty one is success, all else is HAProxy's refusal.
pub(crate) fn changed(answer: &str) -> Result<(), Refused> {
    match answer.trim() {
        "" => Ok(()),
        words => Err(Refused(without_severity(words).to_string())),
    }
}

/// Tells whether a reading command was answered with an error, by its severity prefix.
pub(crate) fn refused(answer: &str) -> Option<Refused> {
    let words = answer.trim();
    if !words.starts_with('[') && !KNOWN_REFUSALS.iter().any(|refusal| words.starts_with(refusal)) {
        return None;
    }
    Some(Refused(without_severity(words).to_string()))
}

const KNOWN_REFUSALS: [&str; 4] = ["Permission denied", "Unknown command", "Can't find", "No such"];

fn without_severity(words: &str) -> &str {
    let rest = words.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    match rest {
        Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        Some(_) | None => words,
    }
}

/// What `show info` tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Info {
    pub(crate) pid: u64,
    pub(crate) version: String,
}

pub(crate) fn parse_info(answer: &str) -> Result<Info, Malformed> {
    let field = |name: &str| {
        let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.ok_or_else(|| Malformed(format!("show info has no {name}")))
    };
    let pid = field("Pid")?.trim().parse().map_err(|_| Malformed("the Pid of show info is no number".into()))?;
    Ok(Info { pid, version: field("Version")?.trim().to_string() })
}

/// One server's line of `show servers state`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ServerState {
    pub(crate) id: u32,
    pub(crate) admin_bits: u32,
}

impl ServerState {
    /// In maintenance by 0x01 (forced), 0x02 (inherited) or 0x20 (no address); 0x04 and 0x40 mean nothing here.
    pub(crate) fn admin(self) -> Admin {
        if self.admin_bits & 0x23 != 0 {
            Admin::Maint
        } else if self.admin_bits & 0x18 != 0 {
            Admin::Drain
        } else {
            Admin::Ready
        }
    }
}

/// Finds a server in `show servers state`; `Ok(None)` when the backend has no such server.
pub(crate) fn parse_servers_state(answer: &str, server: &str) -> Result<Option<ServerState>, Malformed> {
    let mut lines = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.next() {
        Some("1") => {}
        other => return Err(Malformed(format!("show servers state begins with {other:?}, version 1 is known"))),
    }
    let header = lines.next().and_then(|line| line.strip_prefix("# "));
    let header: Vec<&str> = header.map(|line| line.split(' ').collect()).unwrap_or_default();
    let column = |name: &str| {
        let place = header.iter().position(|column| *column == name);
        place.ok_or_else(|| Malformed(format!("show servers state has no column {name}")))
    };
    let (name, id, bits) = (column("srv_name")?, column("srv_id")?, column("srv_admin_state")?);
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.len() < header.len() {
            return Err(Malformed("a line of show servers state is cut off".into()));
        }
        if fields[name] == server {
            let number = |field: &str| {
                field.parse().map_err(|_| Malformed(format!("{field:?} in show servers state is no number")))
            };
            return Ok(Some(ServerState { id: number(fields[id])?, admin_bits: number(fields[bits])? }));
        }
    }
    Ok(None)
}

/// One server's line of `show stat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Stat {
    pub(crate) row: RowKind,
    pub(crate) quiescence: Quiescence,
    check: Check,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Check {
    None,
    Progress { ok: bool, health: u32, rise: u32, fall: u32 },
}

impl Stat {
    /// Judges by the figures of the check: the status text hides a failing check in DRAIN.
    pub(crate) fn health(&self, admin: Admin) -> Health {
        match (&self.check, admin) {
            (_, Admin::Maint) => Health::Paused,
            (Check::None, _) => Health::Unchecked,
            (Check::Progress { ok: true, health, rise, fall }, _) if *health + 1 >= rise + fall => Health::Up,
            (Check::Progress { ok: true, .. }, _) => Health::Rising,
            (Check::Progress { ok: false, health, rise, .. }, _) if health >= rise => Health::Rising,
            (Check::Progress { ok: false, .. }, _) => Health::Down,
        }
    }
}

/// Reads the one server line of `show stat BACKEND 4 ID`, by the names of its columns.
pub(crate) fn parse_stat(answer: &str, server: &str) -> Result<Option<Stat>, Malformed> {
    let mut lines = answer.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().and_then(|line| line.strip_prefix("# "));
    let header = split_csv(header.ok_or_else(|| Malformed("show stat has no header".into()))?)?;
    for line in lines {
        let fields = split_csv(line)?;
        let text = |name: &str| {
            let place = header.iter().position(|column| column == name);
            let field = place.and_then(|place| fields.get(place));
            field.map(String::as_str).ok_or_else(|| Malformed(format!("show stat has no {name}")))
        };
        let number = |name: &str| {
            let field = text(name)?;
            field.parse::<u64>().map_err(|_| Malformed(format!("{name} of show stat is {field:?}, not a number")))
        };
        if text("svname")? != server {
            continue;
        }
        let private = if header.iter().any(|column| column == "priv_idle_cur") { number("priv_idle_cur")? } else { 0 };
        let idle = number("srv_icur")?.saturating_add(private);
        let quiescence = Quiescence::new(number("scur")?, number("qcur")?, number("used_conn_cur")?, idle);
        let row = if number("bck")? == 1 { RowKind::Backup } else { RowKind::Primary };
        let check = if text("check_status")?.is_empty() {
            Check::None
        } else {
            let small = |name: &str| {
                u32::try_from(number(name)?).map_err(|_| Malformed(format!("{name} of show stat is out of range")))
            };
            Check::Progress {
                ok: text("check_status")?.trim_start_matches("* ").ends_with("OK"),
                health: small("check_health")?,
                rise: small("check_rise")?,
                fall: small("check_fall")?,
            }
        };
        return Ok(Some(Stat { row, quiescence, check }));
    }
    Ok(None)
}

/// Splits a line with RFC 4180 quotes.
fn split_csv(line: &str) -> Result<Vec<String>, Malformed> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    if quoted {
        return Err(Malformed("a quote of show stat is not closed".into()));
    }
    // A row ends with a comma; one that does not is cut off, and its last field cannot be trusted.
    if !field.is_empty() {
        return Err(Malformed("a line of show stat is cut off".into()));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use ha_core::topology::Name;
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "# pxname,svname,qcur,scur,bck,check_status,last_chk,check_health,check_rise,check_fall,srv_icur,used_conn_cur,";
    const ROW: &str = "be,s1,0,3,1,L7OK,\"Bad, \"\"very\"\" bad; #thing\",4,2,3,5,2,";

    #[test]
    fn figures_are_found_by_name_whatever_the_order_of_the_columns() {
        let stat = parse_stat(&format!("{HEADER}\n{ROW}\n\n"), "s1").unwrap().unwrap();
        assert_eq!(stat.quiescence, Quiescence::new(3, 0, 2, 5));
        assert_eq!(stat.row, RowKind::Backup);
        assert_eq!(stat.health(Admin::Ready), Health::Up);
        let turned =
            "# srv_icur,used_conn_cur,svname,bck,check_status,scur,qcur,-,priv_idle_cur,\n5,2,s1,0,,3,0,x,4,\n";
        let stat = parse_stat(turned, "s1").unwrap().unwrap();
        assert_eq!(stat.quiescence, Quiescence::new(3, 0, 2, 9));
        assert_eq!((stat.row, stat.health(Admin::Drain)), (RowKind::Primary, Health::Unchecked));
    }

    #[test]
    fn a_missing_figure_is_an_error_and_never_zero() {
        for column in ["scur", "qcur", "used_conn_cur", "srv_icur", "bck", "check_status", "check_health", "svname"] {
            let answer = format!("{}\n{ROW}\n", HEADER.replace(column, "something"));
            assert!(parse_stat(&answer, "s1").is_err(), "{column}");
        }
        let empty = ROW.replacen("s1,0,3,", "s1,0,,", 1);
        assert!(parse_stat(&format!("{HEADER}\n{empty}\n"), "s1").is_err());
    }

    #[test]
    fn no_cut_answer_shows_an_idle_server() {
        let answer = format!("{HEADER}\n{ROW}\n");
        for cut in 0..answer.len() - 2 {
            let idle = |stat: &Stat| stat.quiescence.in_flight() == 0;
            assert!(!parse_stat(&answer[..cut], "s1").is_ok_and(|stat| stat.as_ref().is_some_and(idle)), "{cut}");
        }
    }

    #[test]
    fn the_bits_decide_and_the_meaningless_ones_do_not() {
        for (admin_bits, admin) in [
            (0x00, Admin::Ready),
            (0x01, Admin::Maint),
            (0x02, Admin::Maint),
            (0x04, Admin::Ready),
            (0x05, Admin::Maint),
            (0x08, Admin::Drain),
            (0x10, Admin::Drain),
            (0x20, Admin::Maint),
            (0x40, Admin::Ready),
        ] {
            assert_eq!(ServerState { id: 1, admin_bits }.admin(), admin, "{admin_bits:#x}");
        }
    }

    #[test]
    fn a_server_is_found_in_its_backend_or_is_not_there() {
        let state = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n\
                     4 be 1 s1 127.0.0.1 2 0 1\n4 be 2 s2 127.0.0.1 0 5 1\n\n";
        assert_eq!(parse_servers_state(state, "s2"), Ok(Some(ServerState { id: 2, admin_bits: 5 })));
        assert_eq!(parse_servers_state(state, "s3"), Ok(None));
        assert!(parse_servers_state(&state.replacen('1', "2", 1), "s1").is_err(), "another version");
        assert!(parse_servers_state("", "s1").is_err());
    }

    proptest! {
        #[test]
        fn a_member_is_always_one_command_of_five_words(pool in "[A-Za-z0-9_.:-]{1,20}", server in "\\PC{0,20}|[ -~\n\0;#/]{0,20}") {
            if let Ok(name) = Name::new(&server) {
                let command = set_state(&MemberRef::new(Name::new(&pool).unwrap(), name), Admin::Maint);
                prop_assert_eq!(command.split(' ').count(), 5);
                prop_assert!(!command.contains([';', '\n', '\r', '\0', '\t', '#', '\\']));
            }
        }

        #[test]
        fn no_answer_makes_a_parser_panic(answer in "[\\[\\]#a-z_,\" 0-9\n]{0,200}") {
            let _ = (parse_stat(&answer, "s1"), parse_servers_state(&answer, "s1"), parse_info(&answer), refused(&answer));
        }
    }
}
