use super::{Malformed, table};

/// One worker of a master, as `show proc` lists it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Worker {
    pub(crate) pid: u64,
    /// Whether it only finishes what it has.
    pub(crate) old: bool,
}

/// Reads the workers of `show proc`, current and old; programs and the master itself are left out.
pub(crate) fn parse_proc(answer: &str) -> Result<Vec<Worker>, Malformed> {
    let list = table(answer, "\n#<PID>")?;
    let list = list.ok_or_else(|| Malformed("show proc has no header: is this the master socket?".into()))?;
    let (mut workers, mut section) = (Vec::new(), "");
    for line in list.lines.map(str::trim) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name.trim();
            continue;
        }
        let old = match section {
            "workers" => false,
            "old workers" => true,
            _ => continue,
        };
        let Some(first) = line.split_whitespace().next() else { continue };
        let pid = first.parse().map_err(|_| Malformed(format!("{first:?} of show proc is no process id")))?;
        workers.push(Worker { pid, old });
    }
    if !workers.iter().any(|worker| !worker.old) {
        return Err(Malformed("show proc lists no current worker".into()));
    }
    Ok(workers)
}

/// Tells whether the master says that a worker is not there any more.
pub(crate) fn is_gone(answer: &str) -> bool {
    answer.trim_start().starts_with("Can't find the target PID")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_SIX: &str = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
        8899            master          1 [failed: 0]   0d00h00m09s     2.6.12\n\
        # workers\n8950            worker          0               0d00h00m01s     2.6.12\n\
        # old workers\n8902            worker          1               0d00h00m09s     2.6.12\n\
        # programs\n9001            prog            0               0d00h00m09s     -\n\n";

    #[test]
    fn current_and_old_workers_are_told_apart_and_programs_left_out() {
        let workers = parse_proc(TWO_SIX).unwrap();
        assert_eq!(workers, [Worker { pid: 8950, old: false }, Worker { pid: 8902, old: true }]);
    }

    #[test]
    fn what_is_no_list_of_workers_is_an_error_and_never_an_empty_list() {
        for answer in
            ["", "\n", "Unknown command", "#<PID> <type>\n# workers\n\n", "#<PID> <type>\n# workers\nx worker\n\n"]
        {
            assert!(parse_proc(answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_cut_list_is_an_error_and_never_one_without_an_old_worker() {
        for cut in 0..TWO_SIX.len() {
            assert!(parse_proc(&TWO_SIX[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_worker_that_is_gone_is_told_from_one_that_answers() {
        assert!(is_gone("Can't find the target PID matching the prefix '@!99999'\n"));
        assert!(!is_gone("# pxname,svname,\nbe,s1,\n"));
    }
}
