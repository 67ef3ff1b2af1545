//! The file that HAProxy loads a map from when it starts: what a restart brings.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The entries of a map file in their order: of each line the first word, and what follows it.
pub(crate) fn parse(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(entry).map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Reads a line as HAProxy does: blanks around it, and what begins with `#`, are no entry.
fn entry(line: &str) -> Option<(&str, &str)> {
    let blank = [' ', '\t'];
    let line = line.trim_start_matches(blank).trim_end_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    Some(line.split_once(blank).map_or((line, ""), |(key, value)| (key, value.trim_matches(blank))))
}

/// Returns the text with a key at a value, at its end, or without the key; every other line stays as it is.
pub(crate) fn edited(text: &str, key: &str, to: Option<&str>) -> String {
    let others = text.lines().filter(|line| entry(line).is_none_or(|(known, _)| known != key));
    let mut next = others.fold(String::new(), |next, line| next + line + "\n");
    if let Some(value) = to {
        next.push_str(&format!("{key} {value}\n"));
    }
    next
}

/// Reads the file.
pub(crate) fn read(map: &Path) -> io::Result<String> {
    fs::read_to_string(map)
}

/// Brings a key of the file to a value, or takes it away, whole or not at all: written beside it, then renamed. Whoever else
/// does the same meanwhile is waited for as long as `wait`.
pub(crate) fn set(map: &Path, key: &str, to: Option<&str>, wait: Duration) -> io::Result<()> {
    // A link stays one.
    let map = fs::canonicalize(map)?;
    let dir = map.parent().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let folder = File::open(dir)?;
    lock(&folder, dir, wait)?;
    let text = fs::read_to_string(&map)?;
    let next = edited(&text, key, to);
    if next == text {
        return Ok(());
    }
    let beside = beside(&map);
    let mut file = File::create(&beside)?;
    let written = (|| {
        file.set_permissions(fs::metadata(&map)?.permissions())?;
        file.write_all(next.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &map)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    // The lock ends with the folder's handle.
    folder.sync_all()
}

/// Keeps the folder for this process until its handle is closed.
fn lock(folder: &File, dir: &Path, wait: Duration) -> io::Result<()> {
    let until = Instant::now() + wait;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::WouldBlock) => {
                let what = format!("another process has locked {} for {wait:?}: let it end", dir.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        }
    }
}

fn beside(map: &Path) -> PathBuf {
    let mut name = map.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    map.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);
    const FILE: &str = "# services\n\n/old legacy\n  /stock\t esb \n/orders/v1 esb\n";

    #[test]
    fn lines_are_read_as_haproxy_reads_them() {
        let read: Vec<String> = parse(FILE).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(read, ["/old=legacy", "/stock=esb", "/orders/v1=esb"]);
        assert_eq!(parse("\r \r"), [], "as with an end of line behind it");
        assert_eq!(parse("/only\n#/no esb\n /a b c \r\n"), [("/only".into(), "".into()), ("/a".into(), "b c".into())]);
    }

    #[test]
    fn an_edit_leaves_every_other_line_as_it_is() {
        let with = edited(FILE, "/orders", Some("esb"));
        assert_eq!(with, format!("{FILE}/orders esb\n"));
        assert_eq!(edited(&with, "/orders", None), FILE);
        assert_eq!(edited(&with, "/orders", Some("esb")), with);
        assert_eq!(edited("/a esb", "/b", Some("esb")), "/a esb\n/b esb\n");
        assert_eq!(edited("/a esb\n /a legacy\n/b esb\n", "/a", None), "/b esb\n");
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (map, link) = (dir.path().join("services.map"), dir.path().join("link.map"));
        fs::write(&map, FILE).unwrap();
        fs::set_permissions(&map, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&map, &link).unwrap();
        set(&link, "/orders", Some("esb"), WAIT).unwrap();
        assert!(read(&map).unwrap().ends_with("/orders esb\n") && link.is_symlink());
        assert_eq!(fs::metadata(&map).unwrap().permissions().mode() & 0o777, 0o640);
        set(&map, "/orders", None, WAIT).unwrap();
        assert_eq!(read(&map).unwrap(), FILE);
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(set(&dir.path().join("none"), "/a", None, WAIT).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn of_many_at_once_none_loses_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let map = dir.path().join("services.map");
        fs::write(&map, "").unwrap();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let map = &map;
                scope.spawn(move || set(map, &format!("/{number}"), Some("esb"), WAIT).unwrap());
            }
        });
        assert_eq!(parse(&read(&map).unwrap()).len(), 16);
    }

    #[test]
    fn a_folder_that_somebody_keeps_locked_is_waited_for_no_longer_than_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let map = dir.path().join("services.map");
        fs::write(&map, FILE).unwrap();
        let other = File::open(dir.path()).unwrap();
        other.lock().unwrap();
        let late = set(&map, "/new", Some("esb"), Duration::from_millis(20)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "{late}");
        assert!(late.to_string().contains("let it end"), "{late}");
        assert_eq!(fs::read_to_string(&map).unwrap(), FILE);
        other.unlock().unwrap();
        set(&map, "/new", Some("esb"), Duration::from_millis(20)).unwrap();
    }
}
