use std::net::{IpAddr, SocketAddr};

use ha_core::backend::{Admin, MemberRef, Weight};
use ha_core::topology::Name;

use super::{Malformed, Table, table};

/// One server's line of `show servers state`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ServerState {
    pub(crate) backend: String,
    pub(crate) name: String,
    pub(crate) id: u32,
    admin_bits: u32,
    operational: u32,
    check_bits: u32,
    pub(crate) weight: Weight,
    pub(crate) configured_weight: Weight,
    pub(crate) address: Option<SocketAddr>,
}

impl ServerState {
    /// In maintenance by 0x01 (forced), 0x02 (inherited) or 0x20 (no address); draining by 0x08 or 0x10 (inherited);
    /// 0x04 and 0x40 mean nothing here.
    pub(crate) fn admin(&self) -> Admin {
        if self.admin_bits & 0x23 != 0 {
            Admin::Maint
        } else if self.admin_bits & 0x18 != 0 {
            Admin::Drain
        } else {
            Admin::Ready
        }
    }

    /// It takes requests where it runs (2) or starts slowly (1); 0 is stopped, 3 is stopping.
    pub(crate) fn takes_requests(&self) -> bool {
        matches!(self.operational, 1 | 2)
    }

    /// Checks are configured by 0x02 of the check's state, also while they are paused.
    pub(crate) fn checked(&self) -> bool {
        self.check_bits & 0x02 != 0
    }
}

/// Reads the servers of a pool.
pub(crate) fn parse_states(answer: &str, pool: &Name) -> Result<Vec<ServerState>, Malformed> {
    read(answer, Some(pool), |_| true)
}

/// Reads the servers of all pools.
pub(crate) fn parse_all_states(answer: &str) -> Result<Vec<ServerState>, Malformed> {
    read(answer, None, |_| true)
}

/// Reads one server of a pool that may have thousands: the lines of the others are passed over.
pub(crate) fn parse_state(answer: &str, member: &MemberRef) -> Result<Option<ServerState>, Malformed> {
    let servers = read(answer, Some(&member.pool), |name| name == member.member.as_str())?;
    Ok(servers.into_iter().next())
}

fn read(answer: &str, pool: Option<&Name>, wanted: impl Fn(&str) -> bool) -> Result<Vec<ServerState>, Malformed> {
    let found = table(answer, "\n# be_id")?;
    let Table { before, mut lines, .. } =
        found.ok_or_else(|| Malformed("the answer has no show servers state".into()))?;
    let version = before.lines().last().unwrap_or_default();
    if version != "1" {
        return Err(Malformed(format!("show servers state is version {version:?}, 1 is known")));
    }
    let header: Vec<&str> = lines.next().unwrap_or_default().trim_start_matches("# ").split(' ').collect();
    let column = |name: &str| {
        let place = header.iter().position(|column| *column == name);
        place.ok_or_else(|| Malformed(format!("show servers state has no column {name}")))
    };
    let (backend, name, id, bits) =
        (column("be_name")?, column("srv_name")?, column("srv_id")?, column("srv_admin_state")?);
    let (weight, configured, check) = (column("srv_uweight")?, column("srv_iweight")?, column("srv_check_state")?);
    let (address, port, operational) = (column("srv_addr")?, column("srv_port")?, column("srv_op_state")?);
    let mut servers = Vec::new();
    for line in lines {
        if line.split(' ').nth(name).is_some_and(|name| !wanted(name)) {
            continue;
        }
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.len() < header.len() {
            return Err(Malformed("a line of show servers state is cut off".into()));
        }
        if pool.is_some_and(|pool| fields[backend] != pool.as_str()) {
            continue;
        }
        let number = |at: usize| {
            let wrong = || Malformed(format!("{:?} in show servers state is no number", fields[at]));
            fields[at].parse::<u32>().map_err(|_| wrong())
        };
        let weight_at = |at: usize| Ok(Weight::new(u16::try_from(number(at)?).unwrap_or(u16::MAX)));
        servers.push(ServerState {
            backend: fields[backend].to_string(),
            name: fields[name].to_string(),
            id: number(id)?,
            admin_bits: number(bits)?,
            operational: number(operational)?,
            check_bits: number(check)?,
            weight: weight_at(weight)?,
            configured_weight: weight_at(configured)?,
            // A unix socket has no address, and a name that is not resolved has none or 0.0.0.0.
            address: fields[address]
                .parse::<IpAddr>()
                .ok()
                .filter(|address| !address.is_unspecified())
                .zip(fields[port].parse().ok())
                .map(SocketAddr::from),
        });
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\n1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
        srv_iweight srv_check_state srv_port\n4 be 1 s1 127.0.0.1 2 0 50 100 6 8280\n\
        4 be 2 s2 127.0.0.1 0 5 1 1 14 8281\n5 other 1 s1 127.0.0.1 0 5 1 1 0 9\n\nName: HAProxy\n";

    fn read(answer: &str) -> Result<Vec<ServerState>, Malformed> {
        parse_states(answer, &Name::new("be").unwrap())
    }

    #[test]
    fn one_server_is_read_as_among_all() {
        let one = |pool: &str, name: &str| {
            parse_state(ANSWER, &MemberRef::new(Name::new(pool).unwrap(), Name::new(name).unwrap())).unwrap()
        };
        assert_eq!(one("be", "s2"), read(ANSWER).unwrap().into_iter().nth(1));
        assert_eq!((one("be", "s3"), one("nobody", "s1")), (None, None));
        assert_eq!(one("other", "s1").map(|state| state.admin()), Some(Admin::Maint));
    }

    #[test]
    fn the_servers_of_the_pool_are_read_and_no_others() {
        let servers = read(ANSWER).unwrap();
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["s1", "s2"]);
        assert_eq!((servers[0].weight, servers[0].configured_weight), (Weight::new(50), Weight::new(100)));
        assert_eq!(servers[0].address, Some(([127, 0, 0, 1], 8280).into()));
        assert_eq!((servers[0].admin(), servers[1].admin()), (Admin::Ready, Admin::Maint));
        assert!(servers[1].checked(), "paused checks are checks");
    }

    #[test]
    fn the_bits_decide_and_the_meaningless_ones_do_not() {
        for (bits, admin) in [
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
            let answer = ANSWER.replace(" 2 0 50 100 ", &format!(" 2 {bits} 50 100 "));
            assert_eq!(read(&answer).unwrap()[0].admin(), admin, "{bits:#x}");
        }
    }

    #[test]
    fn another_version_a_missing_column_and_a_cut_line_are_errors() {
        assert!(read(&ANSWER.replacen("\n1\n", "\n2\n", 1)).is_err());
        assert!(read("").is_err());
        for column in ["srv_name", "srv_id", "srv_admin_state", "srv_uweight", "srv_check_state", "srv_port"] {
            assert!(read(&ANSWER.replace(column, "something")).is_err(), "{column}");
        }
        assert!(read(&ANSWER.replace(" 6 8280", "")).is_err());
        for cut in 0..ANSWER.find("\n\nName").unwrap() + 2 {
            assert!(read(&ANSWER[..cut]).is_err(), "a list without {}", &ANSWER[cut..]);
        }
    }
}
