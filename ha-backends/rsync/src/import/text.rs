use super::finding::{Finding, Place, Rule};

/// A file of text.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) name: String,
    /// Empty where it is too long.
    pub(super) text: String,
    is_too_long: bool,
}

/// Longer files are no crontabs, scripts or lists.
const LONGEST: usize = 1 << 20;

impl Text {
    /// Reads bytes; what is not UTF-8 is replaced.
    pub(super) fn new(name: &str, bytes: &[u8]) -> Self {
        let is_too_long = bytes.len() > LONGEST;
        let bytes = if is_too_long { &[] } else { bytes };
        Self { name: name.into(), text: String::from_utf8_lossy(bytes).into_owned(), is_too_long }
    }

    pub(super) fn at(&self, line: usize) -> Place {
        Place::new(&self.name, line)
    }

    /// Lists the lines with their numbers, without their ends.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Tells whether a path leads to it: by the whole path, or by the last part where one of the two has no folder that is known.
    pub(super) fn is_at(&self, path: &str) -> bool {
        let base = |path: &str| path.rsplit('/').next().map(String::from);
        let is_whole = |path: &str| path.starts_with('/') && !path.contains('$');
        if is_whole(path) && is_whole(&self.name) {
            return self.name == path;
        }
        base(path).is_some_and(|last| !last.is_empty() && !last.contains('$') && Some(last) == base(&self.name))
    }

    pub(super) fn check(&self, findings: &mut Vec<Finding>) {
        if self.is_too_long {
            let what = format!("the file is longer than {LONGEST} bytes, and was not read");
            findings.push(Finding::new(Rule::NotUnderstood, &self.at(0), what));
        }
        let is_odd = |char: char| char == '\u{fffd}' || (char.is_control() && !['\t', '\r', '\n'].contains(&char));
        if let Some((line, _)) = self.lines().find(|(_, line)| line.contains(is_odd)) {
            findings.push(Finding::new(Rule::NotText, &self.at(line), "the line has bytes that are no text"));
        }
        let ends = |line: &str| line.ends_with('\r');
        if let Some((line, _)) = (1..).zip(self.text.split('\n')).find(|(_, line)| ends(line)) {
            let what = "the line ends with a carriage return: it becomes a part of the last word";
            findings.push(Finding::new(Rule::CarriageReturn, &self.at(line), what));
        }
    }
}
