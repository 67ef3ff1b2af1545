use std::fs;
use std::io;
use std::path::PathBuf;

use ha_core::backend::{Applied, ErrorKind};
use ha_core::topology::Name;
use tokio::sync::watch;

use super::routes::replace;
use super::servers::Refusal;
use crate::wire::LedTo;

/// Which site the front leads its clients to: in force, and in the file that it is read from at a start. A change is written first.
///
/// The file has one line: `led` and a site, `held` and the site to which they were led before, or `nowhere`.
#[derive(Debug)]
pub(super) struct Sites {
    file: PathBuf,
    to: LedTo,
    /// Where clients were led before they were held.
    before: Option<Name>,
    /// Counts the changes: what waits looks again.
    changes: watch::Sender<u64>,
}

impl Sites {
    /// Reads the file; one that is not there leads to the first of the sites.
    pub(super) fn of(file: PathBuf, sites: &[Name]) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", file.display()));
        let (to, before) = match fs::read_to_string(&file) {
            Ok(text) => parse(&text).map_err(invalid)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let first = sites.first().ok_or_else(|| invalid("a front needs a pool for each site".into()))?;
                (LedTo::Site(first.clone()), None)
            }
            Err(error) => return Err(error),
        };
        if let LedTo::Site(site) = &to
            && !sites.contains(site)
        {
            return Err(invalid(format!("there is no pool {site}")));
        }
        let sites = Self { file, to, before, changes: watch::Sender::new(0) };
        replace(&sites.file, &sites.text())?;
        Ok(sites)
    }

    pub(super) fn to(&self) -> &LedTo {
        &self.to
    }

    /// Returns what changes when clients are led elsewhere.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns where clients are led, where after a restart, and where they were before they were held.
    pub(super) fn read(&self) -> Result<(LedTo, LedTo, Option<Name>), Refusal> {
        let text = fs::read_to_string(&self.file).map_err(|error| self.refused(error.to_string()))?;
        let (written, _) = parse(&text).map_err(|what| self.refused(what))?;
        Ok((self.to.clone(), written, self.before.clone()))
    }

    /// Leads clients elsewhere: in the file first, then in force.
    pub(super) fn lead(&mut self, to: &LedTo) -> Result<Applied, Refusal> {
        let (now, written, _) = self.read()?;
        if now == *to && written == *to {
            return Ok(Applied::AlreadySo);
        }
        let before = match (&now, to) {
            (_, LedTo::Site(_) | LedTo::Nowhere) => None,
            (LedTo::Site(site), LedTo::Held) => Some(site.clone()),
            (LedTo::Held | LedTo::Nowhere, LedTo::Held) => self.before.clone(),
        };
        let after = Self { file: self.file.clone(), to: to.clone(), before, changes: self.changes.clone() };
        replace(&self.file, &after.text()).map_err(|error| self.refused(error.to_string()))?;
        *self = after;
        self.changes.send_modify(|changes| *changes += 1);
        Ok(Applied::Applied)
    }

    fn text(&self) -> String {
        match (&self.to, &self.before) {
            (LedTo::Site(site), _) => format!("led {site}\n"),
            (LedTo::Held, Some(before)) => format!("held {before}\n"),
            (LedTo::Held, None) => "held\n".into(),
            (LedTo::Nowhere, _) => "nowhere\n".into(),
        }
    }

    fn refused(&self, what: String) -> Refusal {
        (ErrorKind::Denied, format!("the sites file {}: {what}", self.file.display()))
    }
}

fn parse(text: &str) -> Result<(LedTo, Option<Name>), String> {
    let wrong = || format!("{:?} says not where clients are led: give led and a site, held or nowhere", text.trim());
    let name = |word: &str| Name::new(word).map_err(|error| error.to_string());
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["led", site] => Ok((LedTo::Site(name(site)?), None)),
        ["held"] => Ok((LedTo::Held, None)),
        ["held", before] => Ok((LedTo::Held, Some(name(before)?))),
        ["nowhere"] => Ok((LedTo::Nowhere, None)),
        [..] => Err(wrong()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_say_where_clients_are_led_is_refused() {
        let site = |name: &str| Name::new(name).unwrap();
        assert_eq!(parse("led south\n"), Ok((LedTo::Site(site("south")), None)));
        assert_eq!(parse("held north"), Ok((LedTo::Held, Some(site("north")))));
        assert_eq!((parse("held"), parse("nowhere\n")), (Ok((LedTo::Held, None)), Ok((LedTo::Nowhere, None))));
        for wrong in
            ["", "\n", "led", "south", "led north south", "led a;b", "nowhere north", "held a b", "led south\nheld"]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
