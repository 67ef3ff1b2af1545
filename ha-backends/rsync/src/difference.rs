/// One thing that a transfer would change on a reader.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// It is deleted there.
    Deleted(String),
    /// It is made there.
    Made(String),
    /// Its content or its mode changes there.
    Changed(String),
}

/// What a transfer would change on a reader, as rsync's dry run lists it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// What would change, in rsync's order. A byte of a name that is not printable is written as `\#ooo`, in octal.
    pub changes: Vec<Change>,
}

impl Difference {
    /// Reads what `rsync --dry-run --itemize-changes` prints. A line that is none of its own is left out.
    pub fn parse(text: &str) -> Self {
        Self { changes: text.lines().filter_map(change).collect() }
    }

    /// Tells whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Counts what would be deleted.
    pub fn deletions(&self) -> usize {
        self.changes.iter().filter(|change| matches!(change, Change::Deleted(_))).count()
    }
}

fn change(line: &str) -> Option<Change> {
    if let Some(name) = line.strip_prefix("*deleting ") {
        return Some(Change::Deleted(name.trim_start().into()));
    }
    let (flags, name) = line.split_once(' ')?;
    let mut letters = flags.chars();
    let (how, what) = (letters.next()?, letters.next()?);
    if !"<>ch.".contains(how) || !"fdLDS".contains(what) || flags.len() < 9 || name.is_empty() {
        return None;
    }
    let is_new = letters.next() == Some('+');
    Some(if is_new { Change::Made(name.into()) } else { Change::Changed(name.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_dry_run_has_one_meaning() {
        let text = "*deleting   old/x y.xml\n>f+++++++++ new.xml\n<f.st...... a b.xml\n.d..t...... ./\ncd+++++++++ sub/\n\
                    cL+++++++++ link -> new.xml\n.f...p..... mode.sh\nsending incremental file list\n\n>f\n*deleting\n";
        let name = |name: &str| name.to_string();
        assert_eq!(
            Difference::parse(text).changes,
            [
                Change::Deleted(name("old/x y.xml")),
                Change::Made(name("new.xml")),
                Change::Changed(name("a b.xml")),
                Change::Changed(name("./")),
                Change::Made(name("sub/")),
                Change::Made(name("link -> new.xml")),
                Change::Changed(name("mode.sh")),
            ]
        );
        assert_eq!(Difference::parse(text).deletions(), 1);
        assert!(Difference::parse("sent 1 bytes\n").is_empty());
    }
}
