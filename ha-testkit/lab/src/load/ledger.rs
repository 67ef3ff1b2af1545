use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::client::Served;
use super::tally::FailureKind;

/// The environment variable that names the ledger: with it every request of every open-loop load of the process is written down.
const LEDGER: &str = "HA_LEDGER";
const NO_RUN: &str = "-";

/// One request, as its client saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LedgerLine {
    /// Its id, which the servers' logs have too.
    pub id: String,
    /// The run that had begun last when it ended, as [`ledger_begins`] names it; empty before the first.
    pub run: String,
    /// The release, or set of files, that answered; empty where none did.
    pub version: String,
    /// Empty for a whole, right answer, else how it failed.
    pub failure: String,
}

/// Reads a ledger: the file that `HA_LEDGER` names, to which loads of several processes may have written. A load without the variable
/// writes none.
///
/// # Errors
/// When it cannot be read, or a line is none of a ledger.
///
/// # Examples
///
/// ```
/// use ha_lab::load::read_ledger;
///
/// let file = std::env::temp_dir().join(format!("ledger-{}.tsv", std::process::id()));
/// std::fs::write(&file, "7-0-1\tpatch\t4.2.0\t\n7-0-2\tpatch\t\treset\n")?;
/// let lines = read_ledger(&file)?;
/// assert_eq!((lines[0].version.as_str(), lines[1].failure.as_str()), ("4.2.0", "reset"));
/// # std::fs::remove_file(file)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_ledger(path: impl AsRef<Path>) -> io::Result<Vec<LedgerLine>> {
    let wrong = |line: &str| io::Error::new(io::ErrorKind::InvalidData, format!("no line of a ledger: {line:?}"));
    let parse = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, run, version, failure] = columns[..] else { return Err(wrong(line)) };
        let run = if run == NO_RUN { "" } else { run };
        let [id, run, version, failure] = [id, run, version, failure].map(String::from);
        Ok(LedgerLine { id, run, version, failure })
    };
    std::fs::read_to_string(path)?.lines().map(parse).collect()
}

/// Says which run begins: requests that end from now on are of it.
pub fn ledger_begins(run: &str) {
    *RUN.lock().unwrap_or_else(PoisonError::into_inner) = run.replace(['\t', '\n'], " ");
}

static RUN: Mutex<String> = Mutex::new(String::new());

/// The file, opened once; `None` where no ledger is kept.
static FILE: LazyLock<io::Result<Option<Mutex<File>>>> = LazyLock::new(|| open(std::env::var_os(LEDGER)));

fn open(path: Option<OsString>) -> io::Result<Option<Mutex<File>>> {
    let Some(path) = path else { return Ok(None) };
    let opened = File::options().create(true).append(true).open(&path);
    let file = opened.map_err(|error| {
        let what = format!("the ledger {} cannot be opened: {error}", Path::new(&path).display());
        io::Error::new(error.kind(), what)
    })?;
    Ok(Some(Mutex::new(file)))
}

/// Opens the ledger, where one is to be kept.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn begin() -> io::Result<()> {
    match &*FILE {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Writes down how a request ended, where a ledger is kept.
pub(super) fn note(id: &str, outcome: &Result<Served, FailureKind>) {
    let Ok(Some(file)) = &*FILE else { return };
    let run = RUN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let run = if run.is_empty() { NO_RUN } else { &run };
    let (version, failure) = match outcome {
        Ok(served) => (served.release.as_str(), String::new()),
        Err(kind) => ("", kind.to_string()),
    };
    // One write a line: those of several processes do not mix.
    let line = format!("{id}\t{run}\t{version}\t{failure}\n");
    if let Err(error) = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()) {
        eprintln!("the ledger lacks request {id}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_cannot_be_opened_is_an_error_and_none_is_asked_for_without_its_name() {
        assert!(open(None).unwrap().is_none());
        let error = open(Some("/no/such/folder/ledger.tsv".into())).unwrap_err();
        assert!(error.to_string().contains("the ledger /no/such/folder/ledger.tsv"), "{error}");
    }
}
