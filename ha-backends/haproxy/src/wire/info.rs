use std::time::Duration;

use super::Malformed;

/// What `show info` tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Info {
    pub(crate) pid: u64,
    pub(crate) version: String,
    pub(crate) uptime: Duration,
    pub(crate) stopping: bool,
}

pub(crate) fn parse_info(answer: &str) -> Result<Info, Malformed> {
    let [mut pid, mut version, mut uptime, mut stopping] = [None; 4];
    // A line without its end is cut off, and so may be its number.
    for line in answer.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let place = match name {
            "Pid" => &mut pid,
            "Version" => &mut version,
            "Uptime_sec" => &mut uptime,
            "Stopping" => &mut stopping,
            _ => continue,
        };
        place.get_or_insert(value.trim());
    }
    let number = |name, value| {
        let text = required(name, value)?;
        text.parse::<u64>().map_err(|_| Malformed(format!("the {name} of show info is {text:?}, not a number")))
    };
    Ok(Info {
        pid: number("Pid", pid)?,
        version: required("Version", version)?.to_string(),
        uptime: Duration::from_secs(number("Uptime_sec", uptime)?),
        stopping: number("Stopping", stopping)? != 0,
    })
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Malformed> {
    value.ok_or_else(|| Malformed(format!("show info has no {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\nName: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 8902\nUptime_sec: 71\nStopping: 0\n\n";

    #[test]
    fn a_process_is_known_by_its_pid_and_age() {
        let info = parse_info(ANSWER).unwrap();
        let expected =
            Info { pid: 8902, version: "2.6.12-1+deb12u4".into(), uptime: Duration::from_secs(71), stopping: false };
        assert_eq!(info, expected);
        assert!(parse_info(&ANSWER.replace("Stopping: 0", "Stopping: 1")).unwrap().stopping);
    }

    #[test]
    fn a_cut_answer_never_tells_another_pid() {
        let turned = "\nVersion: 2.6\nUptime_sec: 71\nStopping: 0\nPid: 8902\n\n";
        for cut in 0..turned.len() {
            assert!(parse_info(&turned[..cut]).map_or(8902, |info| info.pid) == 8902, "{cut}");
        }
    }

    #[test]
    fn a_missing_field_is_an_error_and_never_zero() {
        for name in ["Version", "Pid", "Uptime_sec", "Stopping"] {
            assert!(parse_info(&ANSWER.replace(&format!("{name}:"), "Other:")).is_err(), "{name}");
        }
        assert!(parse_info(&ANSWER.replace("8902", "many")).is_err());
    }
}
