//! The tables of mutants: which text of which file is replaced by what.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// One mutant: one change of one source file.
pub(crate) struct Mutant {
    /// The table that it is listed in: the part of the crate that it changes.
    pub(crate) table: &'static str,
    /// The file, below `src`.
    pub(crate) file: String,
    original: String,
    mutated: String,
    /// Why it means the same as the original; `None` where a test has to notice it.
    pub(crate) equal: Option<String>,
}

/// The tables, in the order of the crate's arrows.
const TABLES: [(&str, &str); 5] = [
    ("law", include_str!("law.txt")),
    ("action", include_str!("action.txt")),
    ("decide", include_str!("decide.txt")),
    ("fold", include_str!("fold.txt")),
    ("safety", include_str!("safety.txt")),
];

/// Reads all tables. In each, `@ FILE` begins a mutant, lines with `-` are the original, lines with `+` what replaces it, and
/// a line with `=` says why the two mean the same. Other lines are for people.
pub(crate) fn mutants() -> Vec<Mutant> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for (table, text) in TABLES {
        for line in text.lines() {
            if let Some(file) = line.strip_prefix("@ ") {
                let (original, mutated) = (String::new(), String::new());
                mutants.push(Mutant { table, file: file.into(), original, mutated, equal: None });
                continue;
            }
            let part = line.get(1..).unwrap_or_default();
            match (line.chars().next(), mutants.last_mut()) {
                (Some('-'), Some(mutant)) => mutant.original += part,
                (Some('+'), Some(mutant)) => mutant.mutated += part,
                (Some('='), Some(mutant)) => mutant.equal = Some(part.trim().into()),
                _ => {}
            }
        }
    }
    mutants
}

impl Mutant {
    /// Tells whether it is in a list of tables and files; everything is in an empty one.
    pub(crate) fn is_any_of(&self, list: &str) -> bool {
        list.split(',').any(|what| self.table == what || self.file.contains(what))
    }

    /// Makes the change in a source tree, and returns the unchanged text.
    pub(crate) fn apply(&self, crate_dir: &Path) -> Result<String, String> {
        let path = crate_dir.join("src").join(&self.file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let place = self.place(&text)?;
        let changed = format!("{}{}{}", &text[..place.start], self.mutated.trim(), &text[place.end..]);
        fs::write(&path, changed).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(text)
    }

    /// Takes the change back.
    pub(crate) fn revert(&self, crate_dir: &Path, text: &str) -> Result<(), String> {
        let path = crate_dir.join("src").join(&self.file);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Finds the one place of the original in a text; how the text is broken into lines does not matter.
    pub(crate) fn place(&self, text: &str) -> Result<Range<usize>, String> {
        let (packed, places) = without_spaces(text);
        let (original, _) = without_spaces(&self.original);
        let found: Vec<usize> = packed.match_indices(&original).map(|(at, _)| at).collect();
        match found[..] {
            [at] if !original.is_empty() => {
                let last = original.chars().next_back().map_or(1, char::len_utf8);
                Ok(places[at]..places[at + original.len() - last] + last)
            }
            _ => Err(format!("{self}: the original is there {} times, not once", found.len())),
        }
    }
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (original, mutated) = (words(&self.original), words(&self.mutated));
        write!(f, "{}: `{original}` as `{mutated}`", self.file)
    }
}

/// Returns a text without its white space, and where each byte of that was.
fn without_spaces(text: &str) -> (String, Vec<usize>) {
    let mut places = Vec::new();
    let mut packed = String::new();
    for (at, char) in text.char_indices().filter(|(_, char)| !char.is_whitespace()) {
        packed.push(char);
        places.extend(at..at + char.len_utf8());
    }
    (packed, places)
}
