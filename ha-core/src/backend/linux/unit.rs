use std::time::Duration;

use crate::backend::{Incarnation, ServerProcess};

/// A unit of systemd, as `systemctl show` with [`PROPERTIES`](Self::PROPERTIES) prints it.
///
/// # Examples
///
/// ```
/// use ha_core::backend::linux::UnitStatus;
///
/// let answer = "LoadState=loaded\nActiveState=active\nInvocationID=93da\nControlGroup=/esb.service\nTimeoutStopUSec=1min\n";
/// let status = UnitStatus::parse(answer).ok_or("no answer about a unit")?;
/// assert!(status.is_known && status.is_active && !status.has_failed);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnitStatus {
    /// Whether systemd knows the unit.
    pub is_known: bool,
    /// Whether something of it runs: also one that begins, ends or waits to be started again, and one that has ended
    /// and left processes in its control group (`KillMode=process`).
    pub is_active: bool,
    /// Whether its last run ended badly, and nothing of it runs.
    pub has_failed: bool,
    /// Names this run of the unit; empty where nothing runs.
    pub invocation: String,
    /// How long it may take to stop before systemd kills it; `None` for no limit.
    pub stop_budget: Option<Duration>,
}

impl UnitStatus {
    /// What `--property` is to ask for.
    pub const PROPERTIES: &str = "LoadState,ActiveState,InvocationID,ControlGroup,TimeoutStopUSec";

    /// Parses the answer, a line of `Name=value` for each property in any order; `None` when one is missing or odd.
    pub fn parse(text: &str) -> Option<Self> {
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::trim);
        let (load, active, group) = (value("LoadState")?, value("ActiveState")?, value("ControlGroup")?);
        let invocation = value("InvocationID")?;
        let has_ended = match active {
            "inactive" | "failed" => true,
            "" => return None,
            _ => false,
        };
        Some(Self {
            is_known: load != "not-found",
            is_active: !has_ended || !group.is_empty(),
            has_failed: active == "failed" && group.is_empty(),
            // Of what an ended unit has left behind only the place has a name.
            invocation: if invocation.is_empty() { group.into() } else { invocation.into() },
            stop_budget: time_span(value("TimeoutStopUSec")?)?,
        })
    }

    /// Tells whether the unit's server runs, on the boot of its machine that `boot_id` names. Its incarnation is the run of
    /// the unit: `None` when systemd does not name it.
    pub fn process(&self, boot_id: &str) -> Option<ServerProcess> {
        if !self.is_active {
            return Some(ServerProcess::Stopped);
        }
        let named = !self.invocation.is_empty() && !boot_id.trim().is_empty();
        named.then(|| ServerProcess::Running(Incarnation::new(format!("{}:{}", boot_id.trim(), self.invocation))))
    }
}

/// Reads a time span as systemd prints it, such as `1min 30s`: some time, no limit, or `None` for nonsense.
#[allow(clippy::option_option, reason = "no limit and no time span are two things")]
fn time_span(text: &str) -> Option<Option<Duration>> {
    if text == "infinity" {
        return Some(None);
    }
    let mut micros = 0_u64;
    for part in text.split_whitespace() {
        let unit = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = if part == "0" { 0 } else { part[..part.len() - unit.len()].parse().ok()? };
        let each = match unit {
            "" if part == "0" => 0,
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            "w" => 604_800_000_000,
            "month" => 2_629_800_000_000,
            "y" => 31_557_600_000_000,
            _ => return None,
        };
        micros = micros.checked_add(number.checked_mul(each)?)?;
    }
    (!text.trim().is_empty()).then_some(Some(Duration::from_micros(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(load: &str, active: &str, invocation: &str, group: &str, budget: &str) -> Option<UnitStatus> {
        UnitStatus::parse(&format!(
            "TimeoutStopUSec={budget}\nControlGroup={group}\nLoadState={load}\nActiveState={active}\nInvocationID={invocation}\n"
        ))
    }

    #[test]
    fn a_unit_runs_until_nothing_of_it_is_left() {
        let id = "93da114de01a43cabf174bfb7d04a2d8";
        let running = |life: &str| Some(ServerProcess::Running(Incarnation::new(format!("b1:{life}"))));
        for (active, invocation, group, process) in [
            ("active", id, "/esb.service", running(id)),
            ("activating", id, "", running(id)),
            ("deactivating", id, "/esb.service", running(id)),
            ("reloading", id, "/esb.service", running(id)),
            ("inactive", "", "", Some(ServerProcess::Stopped)),
            ("failed", id, "", Some(ServerProcess::Stopped)),
            ("failed", id, "/esb.service", running(id)),
            ("inactive", "", "/esb.service", running("/esb.service")),
            ("active", "", "", None),
        ] {
            let status = unit("loaded", active, invocation, group, "1min 30s").unwrap();
            assert_eq!(status.process("b1\n"), process, "{active} {group}");
            assert_eq!(status.stop_budget, Some(Duration::from_secs(90)));
        }
        assert!(!unit("not-found", "inactive", "", "", "1min 30s").unwrap().is_known);
    }

    #[test]
    fn what_is_no_answer_about_a_unit_is_not_read_as_one() {
        for odd in ["", "Failed to connect to bus: No such file or directory", "LoadState=loaded\nActiveState=active\n"]
        {
            assert_eq!(UnitStatus::parse(odd), None, "{odd:?}");
        }
        for odd in ["", "7", "7x", "s", "1min 3", "99999999999999999999s", "-7s"] {
            assert_eq!(unit("loaded", "active", "i", "", odd), None, "{odd:?}");
        }
        assert_eq!(unit("loaded", "", "i", "", "7s"), None);
    }

    #[test]
    fn a_time_span_of_systemd_has_one_meaning() {
        let of = |text| unit("loaded", "active", "i", "", text).unwrap().stop_budget;
        assert_eq!(of("infinity"), None);
        assert_eq!(of("0"), Some(Duration::ZERO));
        assert_eq!(of("1h 500ms"), Some(Duration::from_millis(3_600_500)));
        assert_eq!(of("1d 2us"), Some(Duration::from_micros(86_400_000_002)));
    }
}
