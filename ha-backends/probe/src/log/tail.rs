use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Follows a log file from call to call. Only whole lines count.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    line: String,
    start_line: Option<String>,
    place: Option<Place>,
    found: Option<String>,
}

/// Up to where the file has been read. No file has inode 0: such a place stands for a file that was not there.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    device: u64,
    inode: u64,
    offset: u64,
    /// The place is inside a line that does not count.
    inside: bool,
}

/// What a look has seen.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// The last line that counts.
    Line(String),
    Nothing,
    /// So many bytes are left for the next look.
    Behind(u64),
    Absent,
}

/// What one look reads at most; longer lines do not count.
const READ_LIMIT: u64 = 1024 * 1024;
/// What is kept of a line.
const LINE_LIMIT: usize = 4096;

impl Tail {
    pub(super) fn new(path: PathBuf, line: String, start_line: Option<String>) -> Self {
        Self { path, line, start_line, place: None, found: None }
    }

    /// Tells whether it has neither looked nor marked yet.
    pub(super) fn is_new(&self) -> bool {
        self.place.is_none()
    }

    /// Forgets what was found: only lines that begin from now on count.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        let place = match self.open()? {
            Some((mut file, place, length)) => Place { inside: is_inside(&mut file, length)?, offset: length, ..place },
            None => Place::default(),
        };
        (self.place, self.found) = (Some(place), None);
        Ok(())
    }

    /// Reads on, 1 MiB at most. A first look begins 1 MiB before the end.
    pub(super) fn look(&mut self) -> io::Result<Seen> {
        let Some((mut file, begin, length)) = self.open()? else { return Ok(Seen::Absent) };
        let mut place = match self.place {
            Some(place) if (place.device, place.inode) != (begin.device, begin.inode) => begin,
            Some(place) if place.offset > length => {
                // Truncated: by a rotation in place, or by a start. The line that was found may be of another process.
                self.found = None;
                begin
            }
            Some(place) => place,
            None => {
                let offset = length.saturating_sub(READ_LIMIT);
                Place { inside: is_inside(&mut file, offset)?, offset, ..begin }
            }
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(place.offset))?;
        file.take(READ_LIMIT).read_to_end(&mut bytes)?;
        let read = bytes.len() as u64;
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            if !std::mem::take(&mut place.inside) {
                self.judge(line);
            }
            rest = after;
        }
        let open = rest.len() as u64;
        if open == READ_LIMIT {
            (place.offset, place.inside) = (place.offset + read, true);
        } else {
            place.offset += read - open;
        }
        self.place = Some(place);
        let left = length.saturating_sub(place.offset + if open == READ_LIMIT { 0 } else { open });
        Ok(match &self.found {
            _ if left > 0 => Seen::Behind(left),
            Some(line) => Seen::Line(line.clone()),
            None => Seen::Nothing,
        })
    }

    fn judge(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if text.contains(&self.line) {
            self.found = Some(text.trim_end().chars().take(LINE_LIMIT).collect());
        } else if self.start_line.as_ref().is_some_and(|start| text.contains(start)) {
            self.found = None;
        }
    }

    /// Opens the file: where it begins, and its length.
    fn open(&self) -> io::Result<Option<(File, Place, u64)>> {
        // Opening a pipe would wait for its other end.
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !there.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let is = file.metadata()?;
        Ok(Some((file, Place { device: is.dev(), inode: is.ino(), ..Place::default() }, is.len())))
    }
}

/// Tells whether this offset is inside a line.
fn is_inside(file: &mut File, offset: u64) -> io::Result<bool> {
    let Some(before) = offset.checked_sub(1) else { return Ok(false) };
    let mut byte = [0_u8; 1];
    file.seek(SeekFrom::Start(before))?;
    Ok(file.read(&mut byte)? == 1 && byte != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    struct Log {
        dir: tempfile::TempDir,
        tail: Tail,
    }

    impl Log {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let tail = Tail::new(dir.path().join("log"), "started".into(), Some("booting".into()));
            Self { dir, tail }
        }

        fn write(&self, text: &str) {
            let path = self.dir.path().join("log");
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn line(&mut self) -> Option<String> {
            match self.tail.look().unwrap() {
                Seen::Line(line) => Some(line),
                Seen::Nothing | Seen::Behind(_) | Seen::Absent => None,
            }
        }
    }

    #[test]
    fn lines_before_the_mark_do_not_count_even_when_they_end_after_it() {
        let mut log = Log::new();
        log.write("started 1.0\nhalf of a line: ");
        assert_eq!(log.line().unwrap(), "started 1.0");
        log.tail.mark().unwrap();
        assert_eq!(log.line(), None);
        log.write("started 1.1\nmore\n");
        assert_eq!(log.line(), None);
        log.write("started 2.0");
        assert_eq!(log.line(), None, "the line has not ended");
        log.write(".1\n");
        assert_eq!(log.line().unwrap(), "started 2.0.1");
        assert_eq!(log.line().unwrap(), "started 2.0.1", "it stays found");
    }

    #[test]
    fn a_start_forgets_the_line_of_the_process_before() {
        let mut log = Log::new();
        log.write("started 1.0\n");
        assert!(log.line().is_some());
        log.write("booting\n");
        assert_eq!(log.line(), None);
        log.write("started 2.0\n");
        assert_eq!(log.line().unwrap(), "started 2.0");
    }

    #[test]
    fn a_rotated_log_is_read_from_its_begin() {
        let mut log = Log::new();
        log.write("some lines\nof another life\n");
        log.tail.mark().unwrap();
        std::fs::rename(log.dir.path().join("log"), log.dir.path().join("log.1")).unwrap();
        assert_eq!(log.tail.look().unwrap(), Seen::Absent);
        log.write("started 2.0\n");
        assert_eq!(log.line().unwrap(), "started 2.0");
        std::fs::rename(log.dir.path().join("log"), log.dir.path().join("log.1")).unwrap();
        log.write("a day later\n");
        assert_eq!(log.line().unwrap(), "started 2.0", "another file is no other process");
    }

    #[test]
    fn a_truncated_log_is_read_from_its_begin_and_forgets() {
        let mut log = Log::new();
        log.write("some line that is rather long\nstarted 1.0\n");
        assert!(log.line().is_some());
        std::fs::write(log.dir.path().join("log"), "").unwrap();
        assert_eq!(log.line(), None);
        log.write("started 2.0\n");
        assert_eq!(log.line().unwrap(), "started 2.0");
    }

    #[test]
    fn a_file_that_was_not_there_at_the_mark_is_read_from_its_begin() {
        let mut log = Log::new();
        log.tail.mark().unwrap();
        assert_eq!(log.tail.look().unwrap(), Seen::Absent);
        log.write("started 1.0\n");
        assert_eq!(log.line().unwrap(), "started 1.0");
    }

    #[test]
    fn one_look_reads_no_more_than_a_mebibyte_and_the_next_reads_on() {
        let mut log = Log::new();
        log.tail.mark().unwrap();
        let noise = "x".repeat(99) + "\n";
        log.write(&noise.repeat(25_000));
        log.write("started 1.0\n");
        for _ in 0..2 {
            assert!(matches!(log.tail.look().unwrap(), Seen::Behind(_)));
        }
        assert_eq!(log.line().unwrap(), "started 1.0");
        log.write(&"started".repeat(400_000));
        log.write("\n");
        while matches!(log.tail.look().unwrap(), Seen::Behind(_)) {}
        assert_eq!(log.line().unwrap(), "started 1.0", "a line without an end does not count");
    }

    #[test]
    fn a_first_look_begins_a_mebibyte_before_the_end() {
        let mut log = Log::new();
        log.write("started 0.9\n");
        log.write(&"y".repeat(1024 * 1024 + 7));
        log.write("started 1.0\nstarted 1.1\n");
        assert_eq!(log.line().unwrap(), "started 1.1");
        let mut log = Log::new();
        log.write("started 0.9\n");
        log.write(&("y".repeat(1024 * 1024) + "\n"));
        assert_eq!(log.line(), None);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Tail::new(dir.path().into(), "started".into(), None).look().is_err());
    }
}
