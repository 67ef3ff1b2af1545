use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ha_core::backend::ErrorKind;
use ha_core::state::RouteKey;
use ha_core::topology::Name;

use super::servers::Refusal;

/// Which pool answers a path: a table in force, and the file that it is read from at a start. Every change is written first.
#[derive(Debug)]
pub(super) struct Routes {
    file: PathBuf,
    running: Vec<(RouteKey, Name)>,
}

impl Routes {
    /// Reads the file; one that is not there is an empty table.
    pub(super) fn of(file: PathBuf) -> io::Result<Self> {
        Ok(Self { running: read(&file)?, file })
    }

    /// Finds where a request for a path of a host leads: the longest key that the path begins with counts, then the host's.
    pub(super) fn pool_of(&self, host: &str, path: &str) -> Option<&Name> {
        let fits =
            |key: &str| if key.starts_with('/') { path.starts_with(key) } else { host.eq_ignore_ascii_case(key) };
        let found = self.running.iter().filter(|(key, _)| fits(key.as_str()));
        found.max_by_key(|(key, _)| (key.as_str().starts_with('/'), key.as_str().len())).map(|(_, pool)| pool)
    }

    /// Returns where a key leads in force, and where after a restart.
    pub(super) fn route(&self, key: &RouteKey) -> Result<(Option<String>, Option<String>), Refusal> {
        let written = read(&self.file).map_err(|error| refused(&self.file, &error))?;
        let of = |entries: &[(RouteKey, Name)]| {
            entries.iter().find(|(known, _)| known == key).map(|(_, pool)| pool.to_string())
        };
        Ok((of(&self.running), of(&written)))
    }

    /// Leads a key to a pool, or nowhere: in the file first, then in force. Other keys stay as they are in each.
    pub(super) fn set(&mut self, key: &RouteKey, pool: Option<&Name>) -> Result<(), Refusal> {
        let failed = |error| refused(&self.file, &error);
        let mut written = read(&self.file).map_err(failed)?;
        put(&mut written, key, pool);
        write(&self.file, &written).map_err(failed)?;
        put(&mut self.running, key, pool);
        Ok(())
    }
}

fn put(entries: &mut Vec<(RouteKey, Name)>, key: &RouteKey, pool: Option<&Name>) {
    entries.retain(|(known, _)| known != key);
    entries.extend(pool.map(|pool| (key.clone(), pool.clone())));
}

fn refused(file: &Path, error: &io::Error) -> Refusal {
    (ErrorKind::Denied, format!("the routes file {}: {error}", file.display()))
}

fn read(file: &Path) -> io::Result<Vec<(RouteKey, Name)>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    parse(&text).map_err(|(line, what)| {
        let message = format!("{} line {line}: {what}: give a key and a pool", file.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn parse(text: &str) -> Result<Vec<(RouteKey, Name)>, (usize, String)> {
    let mut entries = Vec::new();
    for (place, line) in text.lines().enumerate() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [] => {}
            [key, pool] => {
                let key = RouteKey::new(key).map_err(|error| (place + 1, error.to_string()))?;
                let pool = Name::new(pool).map_err(|error| (place + 1, error.to_string()))?;
                entries.push((key, pool));
            }
            [..] => return Err((place + 1, format!("{line:?} is no route"))),
        }
    }
    Ok(entries)
}

/// Writes the table whole or not at all.
fn write(file: &Path, entries: &[(RouteKey, Name)]) -> io::Result<()> {
    let text: String = entries.iter().map(|(key, pool)| format!("{key} {pool}\n")).collect();
    replace(file, &text)
}

/// Replaces a file whole or not at all.
pub(super) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let new = file.with_file_name(name);
    let mut written = File::create(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    match file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn the_longest_key_that_a_path_begins_with_counts_then_the_host() {
        let text = "/stock esb\n/orders legacy\n\n/orders/new esb\nshop.example.com old\n";
        let routes = Routes { file: PathBuf::new(), running: parse(text).unwrap() };
        for (host, path, pool) in [
            ("any", "/orders", Some("legacy")),
            ("any", "/orders/new/1", Some("esb")),
            ("any", "/orders2", Some("legacy")),
            ("Shop.Example.com", "/orders/new", Some("esb")),
            ("Shop.Example.com", "/", Some("old")),
            ("example.com", "/", None),
            ("any", "orders", None),
        ] {
            assert_eq!(routes.pool_of(host, path).map(Name::as_str), pool, "{host} {path}");
        }
    }

    #[test]
    fn a_line_that_is_no_route_is_refused_with_its_number() {
        for (text, line) in [("/a esb\n/b", 2), ("/a esb extra", 1), ("/a 'esb", 1), ("/a;b esb", 1)] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text:?}");
        }
    }
}
