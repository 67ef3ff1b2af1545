//! A page of the handbook with places that are written by this test.

use std::path::PathBuf;
use std::{env, fs};

/// One page, and what it should say.
pub(crate) struct Page {
    file: PathBuf,
    text: String,
    shown: usize,
}

impl Page {
    /// Reads a page.
    pub(crate) fn of(name: &str) -> Self {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ha-core/src/manual").join(name);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { file, text, shown: 0 }
    }

    /// Puts a diagram where `<!-- generated: name -->` is.
    pub(crate) fn show(&mut self, name: &str, diagram: &str) {
        self.say(name, &format!("```mermaid\n{diagram}```\n"));
    }

    /// Puts a text there: between the marker and its end.
    pub(crate) fn say(&mut self, name: &str, text: &str) {
        let (begin, end) = (format!("<!-- generated: {name} -->\n"), "<!-- end of generated -->");
        let (before, rest) =
            self.text.split_once(&begin).unwrap_or_else(|| panic!("{}: no {begin}", self.file.display()));
        let after = rest.find(end).unwrap_or_else(|| panic!("{}: {begin} does not end", self.file.display()));
        self.text = format!("{before}{begin}\n{text}\n{}", &rest[after..]);
        self.shown += 1;
    }

    /// Compares the page with what it should say, or rewrites it where `UPDATE_DIAGRAMS` is set.
    pub(crate) fn compare(self) {
        assert_eq!(self.text.matches("<!-- generated: ").count(), self.shown, "a place that nothing is drawn for");
        if env::var_os("UPDATE_DIAGRAMS").is_some() {
            fs::write(&self.file, &self.text).unwrap();
        }
        assert!(
            fs::read_to_string(&self.file).unwrap() == self.text,
            "{} does not show what the code does; after a change that is meant: \
             UPDATE_DIAGRAMS=1 cargo test -p ha-testkit --test diagrams",
            self.file.display()
        );
    }
}
