use super::super::{Limits, SessionRole};
use super::millis;

/// The first message of a session.
pub(super) struct Settings {
    /// With what not every system can do.
    pub(super) all: String,
    /// Without.
    pub(super) required: String,
}

/// Writes the settings of a role for a server of a major version. The last statement tells the session and whether the
/// server is a standby.
pub(super) fn of(role: SessionRole, limits: &Limits, version: u32, search_path: Option<&str>) -> Settings {
    let mut set = format!(
        "SET lock_timeout = {}; SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}; ",
        millis(limits.lock),
        millis(limits.of_statement(role)),
        millis(limits.idle_in_transaction),
    );
    if version >= 14 {
        set += &format!("SET idle_session_timeout = {}; ", millis(limits.idle));
    }
    match role {
        SessionRole::Migrator => {}
        SessionRole::Reader => set += "SET default_transaction_read_only = on; ",
    }
    if let Some(schemas) = search_path {
        set += &format!("SELECT set_config('search_path', '{}', false); ", schemas.replace('\'', "''"));
    }
    let tell = "SELECT pg_backend_pid(), \
        (SELECT to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') \
         FROM pg_stat_activity WHERE pid = pg_backend_pid()), pg_is_in_recovery()";
    let check = match version {
        14.. => format!("SET client_connection_check_interval = {}; ", millis(limits.client_check)),
        0..=13 => String::new(),
    };
    Settings { all: format!("{set}{check}{tell}"), required: format!("{set}{tell}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_is_only_told_what_its_version_knows() {
        let limits = Limits::default();
        let old = of(SessionRole::Migrator, &limits, 13, None);
        assert!(!old.all.contains("client_connection_check_interval"), "{}", old.all);
        assert!(!old.all.contains("idle_session_timeout"), "{}", old.all);
        let new = of(SessionRole::Migrator, &limits, 14, None);
        assert!(new.all.contains("SET client_connection_check_interval = 250;"), "{}", new.all);
        assert!(!new.required.contains("client_connection_check_interval"), "{}", new.required);
        assert!(new.required.contains("SET idle_session_timeout = 600000;"), "{}", new.required);
    }

    #[test]
    fn a_limit_is_never_rounded_down_to_none() {
        let limits = Limits::default().with_lock(Duration::from_micros(1)).with_statement(Duration::MAX);
        let settings = of(SessionRole::Migrator, &limits, 15, None);
        assert!(settings.all.contains("SET lock_timeout = 1;"), "{}", settings.all);
        assert!(settings.all.contains("SET statement_timeout = 2147483647;"), "{}", settings.all);
    }

    #[test]
    fn a_schema_with_a_quote_stays_text() {
        let settings = of(SessionRole::Reader, &Limits::default(), 15, Some("a', false); DROP TABLE t; --"));
        assert!(settings.all.contains("'a'', false); DROP TABLE t; --'"), "{}", settings.all);
    }
}
