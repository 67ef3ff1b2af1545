use std::time::Duration;

use super::super::{Limits, SessionRole};

/// Writes the settings of a role for MariaDB or MySQL. `sql_mode`, `foreign_key_checks` and the rest stay as they are for
/// every client of the server.
pub(super) fn of(role: SessionRole, limits: &Limits, mariadb: bool) -> String {
    let statement = limits.of_statement(role);
    let mut set = format!(
        "SET SESSION autocommit = 1, lock_wait_timeout = {}, innodb_lock_wait_timeout = {}",
        lock(limits.lock, mariadb),
        row_lock(limits.row_lock),
    );
    if !limits.idle.is_zero() {
        set += &format!(", wait_timeout = {}", round_up(limits.idle).clamp(1, YEAR));
    }
    set += &if mariadb {
        format!(
            ", max_statement_time = {}, idle_transaction_timeout = {}",
            statement.as_secs_f64().min(31_536_000.0),
            round_up(limits.idle_in_transaction).min(YEAR)
        )
    } else {
        format!(", max_execution_time = {}", statement.as_millis().min(u128::from(u32::MAX)))
    };
    set
}

/// What a reader may do, in a statement of its own.
pub(super) const READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";

/// The longest wait that the servers know, in seconds.
const YEAR: u64 = 31_536_000;

/// Whole seconds, rounded down: others queue behind the wait. MySQL waits for one at least.
fn lock(limit: Duration, mariadb: bool) -> u64 {
    let least = u64::from(!mariadb);
    if limit.is_zero() { YEAR } else { limit.as_secs().clamp(least, YEAR) }
}

fn row_lock(limit: Duration) -> u64 {
    if limit.is_zero() { YEAR } else { round_up(limit).min(YEAR) }
}

fn round_up(limit: Duration) -> u64 {
    limit.as_secs().saturating_add(u64::from(limit.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_whole_seconds_and_none_becomes_none_by_rounding() {
        let short = Duration::from_millis(50);
        for (limits, mariadb, part) in [
            (Limits::default().with_lock(short), true, " lock_wait_timeout = 0,"),
            (Limits::default().with_lock(short), false, " lock_wait_timeout = 1,"),
            (Limits::default().with_lock(Duration::from_millis(2900)), true, " lock_wait_timeout = 2,"),
            (Limits::default().with_lock(Duration::ZERO), true, " lock_wait_timeout = 31536000,"),
            (Limits::default().with_row_lock(short), true, " innodb_lock_wait_timeout = 1,"),
            (Limits::default().with_row_lock(Duration::MAX), true, " innodb_lock_wait_timeout = 31536000,"),
            (Limits::default().with_idle(short), true, " wait_timeout = 1,"),
            (Limits::default().with_statement(short), true, " max_statement_time = 0.05,"),
            (Limits::default().with_statement(Duration::ZERO), true, " max_statement_time = 0,"),
            (Limits::default().with_statement(short), false, " max_execution_time = 50"),
            (Limits::default().with_idle_in_transaction(short), true, " idle_transaction_timeout = 1"),
        ] {
            let set = of(SessionRole::Migrator, &limits, mariadb);
            assert!(set.contains(part), "{part}: {set}");
        }
    }

    #[test]
    fn an_idle_limit_of_zero_leaves_what_the_server_has() {
        let limits = Limits::default().with_idle(Duration::ZERO);
        assert!(!of(SessionRole::Migrator, &limits, true).contains(" wait_timeout ="));
    }

    #[test]
    fn neither_server_is_told_a_setting_of_the_other() {
        let limits = Limits::default();
        assert!(!of(SessionRole::Reader, &limits, true).contains("max_execution_time"));
        let mysql = of(SessionRole::Reader, &limits, false);
        assert!(!mysql.contains("max_statement_time") && !mysql.contains("idle_transaction_timeout"), "{mysql}");
    }
}
