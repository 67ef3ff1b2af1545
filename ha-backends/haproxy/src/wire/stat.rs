use std::str::Lines;

use ha_core::backend::{Admin, Counters, Health, Quiescence};
use ha_core::state::MemberKind;
use ha_core::topology::Name;

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
    /// How many requests it takes at once (`maxconn`); `None` for as many as there are.
    pub(crate) slots: Option<u64>,
    check: Option<Check>,
    agent: Option<Check>,
}

/// The pool's own line of `show stat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PoolRow {
    /// Whether its clients are bound to servers by a cookie. Stick tables do not show here.
    pub(crate) cookie: bool,
    /// The requests that wait for any of its servers.
    pub(crate) queued: u64,
    /// The requests that it has, whether they have a server yet or not.
    pub(crate) sessions: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Check {
    ok: bool,
    /// An agent that says neither up nor down, but `ready`, `drain` or `maint`.
    administers: bool,
    health: u64,
    rise: u64,
    fall: u64,
}

impl Check {
    fn is_full(&self) -> bool {
        self.health.saturating_add(1) >= self.rise.saturating_add(self.fall)
    }
}

impl Stat {
    /// Tells whether HAProxy asks it how it is, by a check of its own or by an agent.
    pub(crate) fn is_checked(&self, state: &ServerState) -> bool {
        state.checked() || self.agent.is_some()
    }

    /// Tells whether somebody else decides its administrative state: a server that it tracks, or an agent that holds it out.
    /// What is set here then has no effect, or only until the agent is asked again.
    pub(crate) fn is_inherited(&self, state: &ServerState) -> bool {
        let by_agent = self.agent.as_ref().is_some_and(|agent| agent.administers);
        self.tracks || (by_agent && state.admin() != Admin::Ready)
    }

    /// Judges by the figures of check and agent, since the status text hides a failing check in DRAIN, and by the
    /// operational state: an agent, a tracked server or a `disable-on-404` stops a server whose own check passes.
    pub(crate) fn health(&self, state: &ServerState) -> Health {
        let passes = |check: &Option<Check>| check.as_ref().is_none_or(|check| check.ok && check.is_full());
        match &self.check {
            _ if state.admin() == Admin::Maint => Health::Paused,
            Some(check) if !state.takes_requests() && check.ok && !check.is_full() => Health::Rising,
            Some(_) | None if !state.takes_requests() => Health::Down,
            None if !self.is_checked(state) => Health::Unchecked,
            // A server that is checked and has no figures yet was not asked yet.
            None if state.checked() => Health::UpInPart,
            check if passes(check) && passes(&self.agent) => Health::Up,
            Some(_) | None => Health::UpInPart,
        }
    }
}

/// Reads the lines of `show stat` by the names of its columns: the servers of a backend, and its own line where that was
/// asked for. Lines of other proxies are passed over: one of another kind may have the backend's name.
pub(crate) fn parse_stats(answer: &str, pool: &Name) -> Result<(Vec<Stat>, Option<PoolRow>), Malformed> {
    let (mut servers, mut own) = (Vec::new(), None);
    let (mut rest, mut tables) = (answer, 0);
    while let Some(found) = table(rest, "\n# pxname,")? {
        read_table(found.lines, pool, &mut servers, &mut own)?;
        (rest, tables) = (found.after, tables + 1);
    }
    if tables == 0 { Err(Malformed("the answer has no show stat".into())) } else { Ok((servers, own)) }
}

/// The columns that are read, of more than a hundred; in the order of [`NAMES`].
#[derive(Clone, Copy)]
enum Column {
    Proxy,
    Server,
    Cookie,
    Backup,
    Tracked,
    Sessions,
    Queued,
    Slots,
    Total,
    ConnectErrors,
    AnswerErrors,
    Answers5xx,
    CheckStatus,
    CheckHealth,
    CheckRise,
    CheckFall,
    AgentStatus,
    AgentHealth,
    AgentRise,
    AgentFall,
    Idle,
    PrivateIdle,
    Used,
}

const NAMES: [&str; 23] = [
    "pxname",
    "svname",
    "cookie",
    "bck",
    "tracked",
    "scur",
    "qcur",
    "slim",
    "stot",
    "econ",
    "eresp",
    "hrsp_5xx",
    "check_status",
    "check_health",
    "check_rise",
    "check_fall",
    "agent_status",
    "agent_health",
    "agent_rise",
    "agent_fall",
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

fn read_table(
    mut lines: Lines<'_>,
    pool: &Name,
    servers: &mut Vec<Stat>,
    own: &mut Option<PoolRow>,
) -> Result<(), Malformed> {
    let (mut places, mut met) = (Vec::with_capacity(144), [false; NAMES.len()]);
    for name in csv::fields(lines.next().unwrap_or_default().trim_start_matches("# ")) {
        let name = name?;
        let column = NAMES.iter().position(|read| *read == name);
        // Of two columns with one name the first counts.
        places.push(column.filter(|column| !std::mem::replace(&mut met[*column], true)));
    }
    for line in lines {
        let row = Row::read(line, &places)?;
        if row.text(Column::Proxy)? != pool.as_str() {
            continue;
        }
        match row.text(Column::Server)? {
            "BACKEND" => {
                // Only shown to level operator and above; without the column nothing is known, and nothing is claimed.
                let shown = met[Column::Cookie as usize];
                let cookie = shown && !row.text(Column::Cookie)?.is_empty();
                let queued = if met[Column::Queued as usize] { row.number(Column::Queued)? } else { 0 };
                *own = Some(PoolRow { cookie, queued, sessions: row.number(Column::Sessions)? });
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
    let check = read_check(row, [Column::CheckStatus, Column::CheckHealth, Column::CheckRise, Column::CheckFall])?;
    let of_agent = [Column::AgentStatus, Column::AgentHealth, Column::AgentRise, Column::AgentFall];
    let agent = if has(Column::AgentStatus) { read_check(row, of_agent)? } else { None };
    let slots = if has(Column::Slots) { row.text(Column::Slots)? } else { "" };
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
        slots: if slots.is_empty() { None } else { Some(row.number(Column::Slots)?) },
        check,
        agent,
    })
}

/// Reads what a check or an agent said last; `None` where there is none, or it has not been asked since maintenance.
fn read_check(row: &Row<'_>, columns: [Column; 4]) -> Result<Option<Check>, Malformed> {
    let [status, health, rise, fall] = columns;
    let status = row.text(status)?;
    if status.is_empty() {
        return Ok(None);
    }
    // An agent that says nothing about up and down, as `drain`, is CHECKED: its health is what it said before.
    let administers = status == "CHECKED";
    let ok = status.trim_start_matches("* ").ends_with("OK") || administers;
    Ok(Some(Check { ok, administers, health: row.number(health)?, rise: row.number(rise)?, fall: row.number(fall)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# pxname,svname,qcur,scur,slim,stot,econ,eresp,hrsp_5xx,bck,tracked,check_status,last_chk,\
        check_health,check_rise,check_fall,agent_status,agent_health,agent_rise,agent_fall,srv_icur,used_conn_cur,";
    const ROW: &str = "be,s1,0,3,7,900,1,2,4,1,,L7OK,\"Bad, \"\"very\"\" bad; #thing\",4,2,3,,,,,5,2,";

    fn read(answer: &str) -> Result<(Vec<Stat>, Option<PoolRow>), Malformed> {
        parse_stats(answer, &Name::new("be").unwrap())
    }

    fn one(answer: &str) -> Result<Stat, Malformed> {
        read(answer).map(|(servers, _)| servers.into_iter().next().unwrap())
    }

    #[test]
    fn figures_are_found_by_name_whatever_the_order_of_the_columns() {
        let stat = one(&format!("{HEADER}\n{ROW}\n\n")).unwrap();
        assert_eq!(stat.quiescence, Quiescence::new(3, 0, 2, 5));
        assert_eq!((stat.row, stat.health(&state(2, 0, 6))), (MemberKind::Backup, Health::Up));
        assert_eq!(stat.counters, Counters::new(900, 7));
        assert_eq!(stat.slots, Some(7));
        let turned = "# pxname,used_conn_cur,srv_icur,scur,qcur,bck,stot,econ,eresp,hrsp_5xx,check_status,new,svname,\
            agent_status,slim,";
        let stat = one(&format!("\n{turned}\nbe,2,5,3,0,0,9,0,0,0,,x,s1,,,\n\n")).unwrap();
        assert_eq!(stat.slots, None);
        assert_eq!((stat.quiescence, stat.row), (Quiescence::new(3, 0, 2, 5), MemberKind::Primary));
    }

    #[test]
    fn private_idle_connections_count_where_they_are_shown() {
        let header = HEADER.replace("srv_icur,", "srv_icur,priv_idle_cur,");
        let row = ROW.replace(",5,2,", ",5,4,2,");
        assert_eq!(one(&format!("{header}\n{row}\n\n")).unwrap().quiescence, Quiescence::new(3, 0, 2, 9));
    }

    #[test]
    fn the_servers_of_two_tables_and_the_pools_own_row_are_read_together() {
        let pool = "# pxname,svname,cookie,qcur,scur,\nbe,BACKEND,SRV,8,9,\nother,BACKEND,,0,0,\n";
        let answer = format!("\n1\n# be_id\n\n{HEADER}\n{ROW}\n\n{pool}\nName: HAProxy\nPid: 1\n\n");
        let (servers, pool) = read(&answer).unwrap();
        assert_eq!((servers.len(), pool), (1, Some(PoolRow { cookie: true, queued: 8, sessions: 9 })));
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
        read(answer).map(|_| ())
    }

    #[test]
    fn a_cut_answer_is_an_error_and_never_one_that_leaves_a_server_out() {
        let answer = format!("{HEADER}\n{}\n{ROW}\n\n", ROW.replace("s1", "s0"));
        for cut in 0..answer.len() {
            assert!(read(&answer[..cut]).is_err(), "{cut}");
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
        assert_eq!(read(&format!("{HEADER}\n{row}\n\n")).unwrap().0.len(), 1);
    }

    #[test]
    fn figures_of_a_check_that_are_too_large_are_no_panic() {
        let row = ROW.replace(",4,2,3,,", &format!(",{0},{0},{0},,", u64::MAX));
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
        // Its own check passes, and HAProxy gives it nothing: by an agent, by `disable-on-404` (3, stopping).
        assert_eq!((health("", "", &down), health("", "", &state(3, 0, 6))), (Health::Down, Health::Down));
    }

    #[test]
    fn a_server_that_follows_a_stopped_one_is_down_though_nothing_checks_it() {
        let follows = ROW.replace("4,1,,L7OK", "4,1,checks/c2,");
        let health = |state| one(&format!("{HEADER}\n{follows}\n\n")).unwrap().health(&state);
        assert_eq!((health(state(0, 0, 0)), health(state(2, 0, 0))), (Health::Down, Health::Unchecked));
    }

    #[test]
    fn an_agent_counts_beside_the_check_and_alone() {
        let health = |check: &str, agent: &str, state: &ServerState| {
            let row = ROW.replace("L7OK", check).replace("3,,,,,5", &format!("3,{agent},5"));
            one(&format!("{HEADER}\n{row}\n\n")).unwrap().health(state)
        };
        let (up, down, alone) = (state(2, 0, 6), state(0, 0, 6), state(2, 0, 0));
        assert_eq!(health("L7OK", "L7OK,1,1,1", &up), Health::Up);
        assert_eq!(health("L7OK", "L7STS,0,1,1", &down), Health::Down);
        assert_eq!(health("L7OK", "L7STS,0,1,1", &up), Health::UpInPart);
        assert_eq!(health("", "L7OK,1,1,1", &alone), Health::Up);
        assert_eq!(health("", "CHECKED,0,1,1", &alone), Health::UpInPart);
        let held = |agent: &str, state: &ServerState| {
            one(&format!("{HEADER}\n{}\n\n", ROW.replace("3,,,,,5", &format!("3,{agent},5"))))
                .unwrap()
                .is_inherited(state)
        };
        let (drained, maintained) = (state(2, 8, 6), state(0, 1, 14));
        assert!(held("CHECKED,1,1,1", &drained) && held("CHECKED,1,1,1", &maintained));
        assert!(!held("CHECKED,1,1,1", &up) && !held("L7OK,1,1,1", &drained) && !held(",,,", &maintained));
        assert_eq!(health("", "L7STS,0,1,1", &state(0, 0, 0)), Health::Down);
    }

    #[test]
    fn the_lines_of_a_proxy_of_another_name_or_kind_are_none_of_the_backends() {
        let others = format!("{}\n{}", ROW.replace("be,s1", "other,s1"), ROW.replace("be,s1", "be,FRONTEND"));
        let (servers, pool) = read(&format!("{HEADER}\n{others}\n{ROW}\n\n")).unwrap();
        assert_eq!((servers.len(), pool), (1, None));
    }
}
