use std::str::Lines;

use ha_core::backend::{Admin, Counters, Health, Quiescence};
use ha_core::state::MemberKind;

use super::{Malformed, ServerState, csv, table};

/// One server's line of `show stat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Stat {
    pub(crate) server: String,
    pub(crate) row: MemberKind,
    pub(crate) quiescence: Quiescence,
    pub(crate) counters: Counters,
    /// Whether it has no checks of its own, but those of another server.
    pub(crate) tracks: bool,
    check: Option<Check>,
}

/// The pool's own line of `show stat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PoolRow {
    /// Whether its clients are bound to servers by a cookie. Stick tables do not show here.
    pub(crate) cookie: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Check {
    ok: bool,
    health: u64,
    rise: u64,
    fall: u64,
}

impl Stat {
    /// Judges by the figures of the check: the status text hides a failing check in DRAIN.
    pub(crate) fn health(&self, state: &ServerState) -> Health {
        let full = |check: &Check| check.health.saturating_add(1) >= check.rise.saturating_add(check.fall);
        match &self.check {
            _ if state.admin() == Admin::Maint => Health::Paused,
            None if !state.checked() => Health::Unchecked,
            Some(check) if check.ok && full(check) => Health::Up,
            Some(_) | None if state.takes_requests() => Health::UpInPart,
            Some(check) if check.ok => Health::Rising,
            Some(_) | None => Health::Down,
        }
    }
}

/// Reads the lines of `show stat` by the names of its columns: the servers, and the pool's own where it was asked for.
pub(crate) fn parse_stats(answer: &str) -> Result<(Vec<Stat>, Option<PoolRow>), Malformed> {
    let (mut servers, mut pool) = (Vec::new(), None);
    let (mut rest, mut tables) = (answer, 0);
    while let Some(found) = table(rest, "\n# pxname,")? {
        read_table(found.lines, &mut servers, &mut pool)?;
        (rest, tables) = (found.after, tables + 1);
    }
    if tables == 0 { Err(Malformed("the answer has no show stat".into())) } else { Ok((servers, pool)) }
}

/// The columns that are read, of more than a hundred; in the order of [`NAMES`].
#[derive(Clone, Copy)]
enum Column {
    Server,
    Cookie,
    Backup,
    Tracked,
    Sessions,
    Queued,
    Total,
    ConnectErrors,
    AnswerErrors,
    Answers5xx,
    CheckStatus,
    CheckHealth,
    CheckRise,
    CheckFall,
    Idle,
    PrivateIdle,
    Used,
}

const NAMES: [&str; 17] = [
    "svname",
    "cookie",
    "bck",
    "tracked",
    "scur",
    "qcur",
    "stot",
    "econ",
    "eresp",
    "hrsp_5xx",
    "check_status",
    "check_health",
    "check_rise",
    "check_fall",
    "srv_icur",
    "priv_idle_cur",
    "used_conn_cur",
];

/// One line of the table: what stands in the columns that are read.
struct Row<'a>([Option<&'a str>; NAMES.len()]);

impl<'a> Row<'a> {
    /// Reads a line; `places` says for each of its fields which column it is, if that is read.
    fn read(line: &'a str, places: &[Option<usize>]) -> Result<Self, Malformed> {
        let mut row = Self([None; NAMES.len()]);
        let mut places = places.iter();
        for field in csv::fields(line) {
            let field = field?;
            if let Some(Some(column)) = places.next() {
                row.0[*column] = Some(field);
            }
        }
        Ok(row)
    }

    fn get(&self, column: Column) -> Option<&'a str> {
        self.0[column as usize]
    }

    fn text(&self, column: Column) -> Result<&'a str, Malformed> {
        self.get(column).ok_or_else(|| Malformed(format!("show stat has no {}", NAMES[column as usize])))
    }

    fn number(&self, column: Column) -> Result<u64, Malformed> {
        let text = self.text(column)?;
        let wrong = |_| Malformed(format!("{} of show stat is {text:?}, not a number", NAMES[column as usize]));
        text.parse().map_err(wrong)
    }

    /// Empty where a server of this kind never has any: TCP servers have no answers to count.
    fn counted(&self, column: Column) -> Result<u64, Malformed> {
        if self.text(column)?.is_empty() { Ok(0) } else { self.number(column) }
    }
}

fn read_table(mut lines: Lines<'_>, servers: &mut Vec<Stat>, pool: &mut Option<PoolRow>) -> Result<(), Malformed> {
    let (mut places, mut met) = (Vec::with_capacity(144), [false; NAMES.len()]);
    for name in csv::fields(lines.next().unwrap_or_default().trim_start_matches("# ")) {
        let name = name?;
        let column = NAMES.iter().position(|read| *read == name);
        // Of two columns with one name the first counts.
        places.push(column.filter(|column| !std::mem::replace(&mut met[*column], true)));
    }
    for line in lines {
        let row = Row::read(line, &places)?;
        match row.text(Column::Server)? {
            "BACKEND" => {
                // Only shown to level operator and above; without the column nothing is known, and nothing is claimed.
                let shown = met[Column::Cookie as usize];
                *pool = Some(PoolRow { cookie: shown && !row.text(Column::Cookie)?.is_empty() });
            }
            "FRONTEND" => {}
            server => servers.push(read_server(server, &row, &met)?),
        }
    }
    Ok(())
}

fn read_server(server: &str, row: &Row<'_>, met: &[bool; NAMES.len()]) -> Result<Stat, Malformed> {
    let has = |column: Column| met[column as usize];
    // Columns that came with a later version: 3.3 shows the idle connections that belong to one client.
    let private = if has(Column::PrivateIdle) { row.number(Column::PrivateIdle)? } else { 0 };
    let idle = row.number(Column::Idle)?.saturating_add(private);
    let status = row.text(Column::CheckStatus)?;
    let check = if status.is_empty() {
        None
    } else {
        let ok = status.trim_start_matches("* ").ends_with("OK");
        let (rise, fall) = (row.number(Column::CheckRise)?, row.number(Column::CheckFall)?);
        Some(Check { ok, health: row.number(Column::CheckHealth)?, rise, fall })
    };
    let failed = [Column::ConnectErrors, Column::AnswerErrors, Column::Answers5xx];
    let mut errors = 0_u64;
    for column in failed {
        errors = errors.saturating_add(row.counted(column)?);
    }
    let (sessions, queued) = (row.number(Column::Sessions)?, row.number(Column::Queued)?);
    Ok(Stat {
        server: server.to_string(),
        row: if row.number(Column::Backup)? == 1 { MemberKind::Backup } else { MemberKind::Primary },
        quiescence: Quiescence::new(sessions, queued, row.number(Column::Used)?, idle),
        counters: Counters::new(row.number(Column::Total)?, errors),
        tracks: has(Column::Tracked) && !row.text(Column::Tracked)?.is_empty(),
        check,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# pxname,svname,qcur,scur,stot,econ,eresp,hrsp_5xx,bck,tracked,check_status,last_chk,\
        check_health,check_rise,check_fall,srv_icur,used_conn_cur,";
    const ROW: &str = "be,s1,0,3,900,1,2,4,1,,L7OK,\"Bad, \"\"very\"\" bad; #thing\",4,2,3,5,2,";

    fn one(answer: &str) -> Result<Stat, Malformed> {
        parse_stats(answer).map(|(servers, _)| servers.into_iter().next().unwrap())
    }

    #[test]
    fn figures_are_found_by_name_whatever_the_order_of_the_columns() {
        let stat = one(&format!("{HEADER}\n{ROW}\n\n")).unwrap();
        assert_eq!(stat.quiescence, Quiescence::new(3, 0, 2, 5));
        assert_eq!((stat.row, stat.health(&state(2, 0, 6))), (MemberKind::Backup, Health::Up));
        assert_eq!(stat.counters, Counters::new(900, 7));
        let turned = "# pxname,used_conn_cur,srv_icur,scur,qcur,bck,stot,econ,eresp,hrsp_5xx,check_status,new,svname,";
        let stat = one(&format!("\n{turned}\nbe,2,5,3,0,0,9,0,0,0,,x,s1,\n\n")).unwrap();
        assert_eq!((stat.quiescence, stat.row), (Quiescence::new(3, 0, 2, 5), MemberKind::Primary));
    }

    #[test]
    fn private_idle_connections_count_where_they_are_shown() {
        let header = HEADER.replace("srv_icur,", "srv_icur,priv_idle_cur,");
        let row = ROW.replace("4,2,3,5,2,", "4,2,3,5,4,2,");
        assert_eq!(one(&format!("{header}\n{row}\n\n")).unwrap().quiescence, Quiescence::new(3, 0, 2, 9));
    }

    #[test]
    fn the_servers_of_two_tables_and_the_pools_own_row_are_read_together() {
        let pool = "# pxname,svname,cookie,\nbe,BACKEND,SRV,\n";
        let answer = format!("\n1\n# be_id\n\n{HEADER}\n{ROW}\n\n{pool}\nName: HAProxy\nPid: 1\n\n");
        let (servers, pool) = parse_stats(&answer).unwrap();
        assert_eq!((servers.len(), pool), (1, Some(PoolRow { cookie: true })));
    }

    #[test]
    fn a_missing_figure_is_an_error_and_never_zero() {
        for column in
            ["scur", "qcur", "used_conn_cur", "srv_icur", "bck", "check_status", "check_health", "svname", "stot"]
        {
            let header = HEADER.replace(&format!(",{column},"), ",something,");
            assert!(one_or_none(&format!("{header}\n{ROW}\n\n")).is_err(), "{column}");
        }
        let empty = ROW.replacen("s1,0,3,", "s1,0,,", 1);
        assert!(one_or_none(&format!("{HEADER}\n{empty}\n\n")).is_err());
    }

    fn one_or_none(answer: &str) -> Result<(), Malformed> {
        parse_stats(answer).map(|_| ())
    }

    #[test]
    fn a_cut_answer_is_an_error_and_never_one_that_leaves_a_server_out() {
        let answer = format!("{HEADER}\n{}\n{ROW}\n\n", ROW.replace("s1", "s0"));
        for cut in 0..answer.len() {
            assert!(parse_stats(&answer[..cut]).is_err(), "{cut}");
        }
    }

    /// A server's line of `show servers state` with these bits.
    fn state(operational: u32, admin: u32, check: u32) -> ServerState {
        let answer = format!(
            "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
             srv_check_state srv_port\n4 be 1 s1 127.0.0.1 {operational} {admin} 1 1 {check} 8280\n\n"
        );
        let pool = ha_core::topology::Name::new("be").unwrap();
        super::super::parse_states(&answer, &pool).unwrap().remove(0)
    }

    #[test]
    fn the_words_of_a_servers_check_are_never_a_table() {
        let row = ROW.replace("#thing", "# pxname,svname,scur,");
        assert_eq!(parse_stats(&format!("{HEADER}\n{row}\n\n")).unwrap().0.len(), 1);
    }

    #[test]
    fn figures_of_a_check_that_are_too_large_are_no_panic() {
        let row = ROW.replace(",4,2,3,5,2,", &format!(",{0},{0},{0},5,2,", u64::MAX));
        assert_eq!(one(&format!("{HEADER}\n{row}\n\n")).unwrap().health(&state(2, 0, 6)), Health::Up);
    }

    #[test]
    fn health_is_what_the_checks_figures_and_the_operational_state_say_together() {
        let health = |from: &str, to: &str, state: &ServerState| {
            one(&format!("{HEADER}\n{}\n\n", ROW.replace(from, to))).unwrap().health(state)
        };
        let (up, down, drained) = (state(2, 0, 6), state(0, 0, 6), state(2, 8, 6));
        assert_eq!(health("", "", &up), Health::Up);
        assert_eq!(health("", "", &drained), Health::Up);
        assert_eq!(health("#thing\",4,", "#thing\",2,", &up), Health::UpInPart);
        assert_eq!(health("#thing\",4,", "#thing\",1,", &down), Health::Rising);
        assert_eq!(health("L7OK", "L4CON", &down), Health::Down);
        assert_eq!(health("L7OK", "L4CON", &up), Health::UpInPart);
        assert_eq!(health("L7OK", "", &state(2, 0, 0)), Health::Unchecked);
        assert_eq!(health("L7OK", "", &up), Health::UpInPart, "not checked yet");
        assert_eq!(health("L7OK", "", &state(0, 5, 14)), Health::Paused);
    }
}
