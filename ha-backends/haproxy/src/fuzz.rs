//! The parsers of what HAProxy sends, for the fuzz targets alone: `fuzz/` at the root of the repository.

use ha_core::backend::{Admin, Health, Quiescence, StepError};
use ha_core::topology::Name;

use crate::transport::OpContext;
use crate::{error, map_file, wire};

/// What `show stat` tells of one server: its name, its figures, and its health as it would be judged.
pub type Figures = (String, Quiescence, Vec<Health>);

/// Reads `show stat`; also whether the pool's own row is there.
pub fn stat(answer: &str, pool: &Name) -> Option<(Vec<Figures>, bool)> {
    let (stats, own) = wire::parse_stats(answer, pool).ok()?;
    let states = server_states();
    let judged = |stat: wire::Stat| {
        let health = states.iter().map(|state| stat.health(state)).collect();
        (stat.server, stat.quiescence, health)
    };
    Some((stats.into_iter().map(judged).collect(), own.is_some()))
}

/// Every way in which a server's state changes how its figures are judged: running, stopped, drained, held out, unchecked.
fn server_states() -> Vec<wire::ServerState> {
    let mut answer = String::from(
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
         srv_check_state srv_port\n",
    );
    for (number, bits) in ["2 0 1 1 6", "0 0 1 1 6", "2 8 1 1 6", "0 5 1 1 14", "2 0 1 1 0"].into_iter().enumerate() {
        answer.push_str(&format!("4 be {number} s{number} 127.0.0.1 {bits} 8280\n"));
    }
    answer.push('\n');
    Name::new("be").ok().and_then(|pool| wire::parse_states(&answer, &pool).ok()).unwrap_or_default()
}

/// Reads `show servers state`: name, number, administrative state, and everything else in words.
pub fn states(answer: &str, pool: &Name) -> Option<Vec<(String, u32, Admin, String)>> {
    let states = wire::parse_states(answer, pool).ok()?;
    let told = |state: wire::ServerState| {
        let words = format!("{state:?} {}", state.checked());
        (state.name.clone(), state.id, state.admin(), words)
    };
    Some(states.into_iter().map(told).collect())
}

/// Reads `show info`: the pid, and everything else in words.
pub fn info(answer: &str) -> Option<(u64, String)> {
    wire::parse_info(answer).ok().map(|info| (info.pid, format!("{info:?}")))
}

/// Reads `show proc`: the pids, and which of them are old.
pub fn proc(answer: &str) -> Option<Vec<(u64, bool)>> {
    let workers = wire::parse_proc(answer).ok()?;
    Some(workers.into_iter().map(|worker| (worker.pid, worker.old)).collect())
}

/// Reads `show map`: keys and values.
pub fn map(answer: &str) -> Option<Vec<(String, String)>> {
    wire::parse_map(answer).ok()
}

/// Edits a map file: its entries before and after a key is set, and after it is taken away again.
pub fn map_file(text: &str, key: &str) -> [Vec<(String, String)>; 3] {
    let with = map_file::edited(text, key, Some("esb"));
    let without = map_file::edited(&with, key, None);
    [text, &with, &without].map(map_file::parse)
}

/// Reads the answer to a changing command: `None` for success.
pub fn changed(answer: &str) -> Option<(String, StepError)> {
    wire::changed(answer).err().map(with_error)
}

/// Reads the answer to a changing command with a table behind it: `None` for success.
pub fn changed_before_states(answer: &str) -> Option<(String, StepError)> {
    wire::changed_before_states(answer).err().map(with_error)
}

/// Reads a refusal out of the answer to reading commands.
pub fn refused(answer: &str) -> Option<(String, StepError)> {
    wire::refused(answer).map(with_error)
}

/// Tells whether the master says that a worker is gone.
pub fn is_gone(answer: &str) -> bool {
    wire::is_gone(answer)
}

fn with_error(refused: wire::Refused) -> (String, StepError) {
    let about = OpContext { operation: "set_admin", target: "be/s1" };
    let error = error::refused(about, &refused);
    (refused.0, error)
}
