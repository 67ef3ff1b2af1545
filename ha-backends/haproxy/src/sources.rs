//! The files that a configuration consists of, read as HAProxy reads them: in their order, as one text.

use std::io;
use std::path::{Path, PathBuf};

/// A configuration, and which of its lines are of which file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sources {
    pub(crate) text: String,
    /// Each file with the number of the line before its first.
    files: Vec<(usize, PathBuf)>,
}

impl Sources {
    /// Reads files in their order, and of a folder its `*.cfg` in the order of their names, as `-f` does.
    ///
    /// # Errors
    /// The path that cannot be read, and why.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let mut sources = Self::default();
        for path in paths {
            let at = |error| (path.clone(), error);
            if !path.is_dir() {
                sources.push(path).map_err(at)?;
                continue;
            }
            let is_config = |file: &PathBuf| {
                let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                !hidden && file.extension().is_some_and(|extension| extension == "cfg") && file.is_file()
            };
            let entries = std::fs::read_dir(path).map_err(at)?.collect::<Result<Vec<_>, _>>().map_err(at)?;
            let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(is_config).collect();
            files.sort();
            for file in files {
                sources.push(&file).map_err(|error| (file.clone(), error))?;
            }
        }
        Ok(sources)
    }

    fn push(&mut self, path: &Path) -> io::Result<()> {
        let bytes = std::fs::read(path)?;
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.files.push((self.text.matches('\n').count(), path.to_path_buf()));
        self.text.push_str(&String::from_utf8_lossy(&bytes));
        Ok(())
    }

    /// Names where a line is: its file, and the number that it has there. Line 0 is the whole of it.
    pub(crate) fn place(&self, line: usize) -> (String, usize) {
        let file = self.files.iter().rev().find(|(before, _)| *before < line);
        match file {
            Some((before, path)) => (path.display().to_string(), line - before),
            None => (self.names(), 0),
        }
    }

    /// Names all files.
    pub(crate) fn names(&self) -> String {
        let names: Vec<String> = self.files.iter().map(|(_, path)| path.display().to_string()).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_named_by_its_own_file_and_folders_are_read_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let (first, folder) = (dir.path().join("haproxy.cfg"), dir.path().join("conf.d"));
        std::fs::create_dir(&folder).unwrap();
        write("haproxy.cfg", "global\n  maxconn 7");
        write("conf.d/20-b.cfg", "backend b\n");
        write("conf.d/10-a.cfg", "backend a\n  mode http\n");
        for other in ["conf.d/readme.txt", "conf.d/.hidden.cfg"] {
            write(other, "backend never\n");
        }
        let sources = Sources::read(&[first.clone(), folder.clone()]).unwrap();
        assert_eq!(sources.text, "global\n  maxconn 7\nbackend a\n  mode http\nbackend b\n");
        let place = |line| sources.place(line);
        assert_eq!(place(2), (first.display().to_string(), 2));
        assert_eq!(place(4), (folder.join("10-a.cfg").display().to_string(), 2));
        assert_eq!(place(5), (folder.join("20-b.cfg").display().to_string(), 1));
        assert_eq!(place(0).1, 0);
        // Of many, whatever the order in which the file system has them.
        for number in (10..60).rev() {
            write(&format!("conf.d/{number}.cfg"), &format!("# {number}\n"));
        }
        let numbers: Vec<String> = Sources::read(&[folder]).unwrap().text.lines().map(String::from).collect();
        let numbers: Vec<&String> = numbers.iter().filter(|line| line.starts_with('#')).collect();
        assert!(numbers.len() == 50 && numbers.is_sorted(), "{numbers:?}");
        let missing = Sources::read(&[dir.path().join("nothing.cfg")]).unwrap_err();
        assert_eq!((missing.0, missing.1.kind()), (dir.path().join("nothing.cfg"), io::ErrorKind::NotFound));
    }
}
