use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::component::Lines;
use super::{Diagnostic, Name, Permille, Setting};

/// Collects everything that is wrong in one text.
pub(crate) struct Findings<'t> {
    text: &'t str,
    found: RefCell<Vec<Diagnostic>>,
    /// Keys that are there under a misspelt name: that they are missing follows from that.
    misspelt: RefCell<Vec<String>>,
}

impl<'t> Findings<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default(), misspelt: RefCell::default() }
    }

    /// Remembers that a key was meant by another one.
    fn meant(&self, key: String) {
        self.found.borrow_mut().retain(|found| found.message != MISSING || !is_under(&found.key, &key));
        self.misspelt.borrow_mut().push(key);
    }

    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub(crate) fn add(&self, line: usize, key: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) {
        let found = Diagnostic::new(line, key, message, fix);
        let follows = |key: &String| found.message == MISSING && is_under(&found.key, key);
        if !self.misspelt.borrow().iter().any(follows) {
            self.found.borrow_mut().push(found);
        }
    }

    /// Returns what was read, or refuses it with everything that was found, in the order of the lines.
    pub(crate) fn into_result<T>(self, read: Option<T>) -> Result<T, Vec<Diagnostic>> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| diagnostic.line);
        match read {
            Some(read) if found.is_empty() => Ok(read),
            Some(_) | None => Err(found),
        }
    }

    /// Tells whether something was found under a key, as `node`, `node[1]` or `node[1].capacity`: what is checked of it
    /// afterwards would only follow from that.
    pub(crate) fn has(&self, key: &str) -> bool {
        let misspelt = self.misspelt.borrow().iter().any(|misspelt| is_under(misspelt, key));
        misspelt || self.found.borrow().iter().any(|found| is_under(&found.key, key))
    }
}

/// Reads a text: syntax first, then by `read`, which gets the table of the whole file.
///
/// # Errors
/// Everything that is wrong at once, in the order of the lines.
pub(crate) fn read_toml<T>(
    text: &str,
    read: impl FnOnce(&Reader<'_, '_>, &Findings<'_>) -> Option<T>,
) -> Result<T, Vec<Diagnostic>> {
    let findings = Findings::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    // After a syntax error the rest is read as something else: that keys are there twice may follow from it.
    let is_twice = |error: &&toml::de::Error| error.message().contains("duplicate key");
    let (twice, syntax): (Vec<_>, Vec<_>) = errors.iter().partition(is_twice);
    for error in if syntax.is_empty() { twice } else { syntax } {
        let line = error.span().map_or(0, |span| findings.line(&span));
        // A key that is given twice is where the error is; elsewhere that is the rest of a line, which names nothing.
        let twice = error.span().filter(|_| is_twice(&error));
        let key = twice.and_then(|span| text.get(span)).unwrap_or_default().trim();
        // What is no number and has no quotes was meant to be a text.
        let is_bare =
            ["invalid float", "invalid integer", "missing quotes"].iter().any(|e| error.message().contains(e));
        let fix = if is_bare { "correct the TOML here: a text is in quotes" } else { "correct the TOML here" };
        findings.add(line, key, error.message(), fix);
    }
    let read = if errors.is_empty() {
        read(&Reader::new(&findings, root.get_ref(), String::new(), 0), &findings)
    } else {
        None
    };
    findings.into_result(read)
}

/// What is said of a key that has to be there.
pub(crate) const MISSING: &str = "is missing";

/// Tells whether something is a key, or under it.
fn is_under(found: &str, key: &str) -> bool {
    found.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Shows a value that cannot be used.
fn shown(value: &DeValue<'_>) -> String {
    let short = |text: &str| text.chars().take(40).collect::<String>();
    match value {
        DeValue::String(text) => format!("{:?}, a string,", short(text)),
        DeValue::Integer(number) => short(number.as_str()),
        DeValue::Float(number) => short(number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => format!("this {}", value.type_str()),
    }
}

/// Reads one table: every key is asked for by name, and what nobody asked for is an error.
pub(crate) struct Reader<'r, 't> {
    findings: &'r Findings<'t>,
    table: &'r DeTable<'t>,
    path: String,
    line: usize,
    known: RefCell<Vec<&'static str>>,
}

/// A value with its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

impl<T> At<T> {
    /// A value that was not read from a text.
    pub(crate) fn unlined(value: T) -> Self {
        Self { value, line: 0 }
    }
}

impl<'r, 't> Reader<'r, 't> {
    pub(crate) fn new(findings: &'r Findings<'t>, table: &'r DeTable<'t>, path: String, line: usize) -> Self {
        Self { findings, table, path, line, known: RefCell::new(Vec::new()) }
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn path(&self) -> String {
        self.path.clone()
    }

    pub(crate) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn wrong(&self, line: usize, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.add(line, self.key(key), message, fix);
    }

    /// Returns a raw value and remembers that its key is known.
    pub(crate) fn raw(&self, key: &'static str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.known.borrow_mut().push(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn typed<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let raw = self.raw(key)?;
        let line = self.findings.line(&raw.span());
        match read(raw.get_ref()) {
            Some(value) => Some(At { value, line }),
            None => {
                let message = format!("{} cannot be used here", shown(raw.get_ref()));
                self.wrong(line, key, message, format!("give {expected}"));
                None
            }
        }
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<At<String>> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_string))
    }

    /// Returns a list of strings.
    pub(crate) fn texts(&self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        let read = |value: &DeValue<'t>| {
            let one = |item: &Spanned<DeValue<'t>>| {
                let line = self.findings.line(&item.span());
                item.get_ref().as_str().map(|text| At { value: text.to_string(), line })
            };
            value.as_array().and_then(|items| items.iter().map(one).collect())
        };
        self.typed(key, "a list of strings", read)
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    pub(crate) fn name(&self, key: &'static str) -> Option<At<Name>> {
        let text = self.text(key)?;
        match Name::new(&text.value) {
            Ok(value) => Some(At { value, line: text.line }),
            Err(error) => {
                self.wrong(text.line, key, error.to_string(), "choose a name of these characters");
                None
            }
        }
    }

    pub(crate) fn count(&self, key: &'static str) -> Option<At<u64>> {
        let expected = "a whole number from 1 to 9223372036854775807";
        self.typed(key, expected, |value| {
            integer(value).and_then(|number| u64::try_from(number).ok()).filter(|n| *n > 0)
        })
    }

    pub(super) fn port_offset(&self, key: &'static str) -> Option<u16> {
        let read = |value: &DeValue<'t>| integer(value).and_then(|number| u16::try_from(number).ok());
        self.typed(key, "a whole number from 0 to 65535", read).map(|offset| offset.value)
    }

    pub(crate) fn share(&self, key: &'static str) -> Option<At<Permille>> {
        let read = |value: &DeValue<'t>| {
            let thousandths = match value {
                DeValue::Float(float) => thousandths(float.as_str()),
                DeValue::Integer(_) => integer(value).and_then(|number| u16::try_from(number.checked_mul(1000)?).ok()),
                DeValue::String(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => None,
            };
            thousandths.filter(|share| (1..=1000).contains(share)).map(Permille::new)
        };
        self.typed(key, "a share above 0 and up to 1.0, with at most three decimals", read)
    }

    pub(crate) fn duration(&self, key: &'static str) -> Option<At<Duration>> {
        let read = |value: &DeValue<'t>| value.as_str().and_then(duration).filter(|read| *read <= LONGEST);
        self.typed(key, "a duration as \"500ms\", \"30s\", \"5m\" or \"1h\", up to \"24h\"", read)
    }

    /// Returns a sub-table.
    pub(crate) fn table(&self, key: &'static str) -> Option<Reader<'r, 't>> {
        let raw = self.raw(key)?;
        let line = self.findings.line(&raw.span());
        let DeValue::Table(table) = raw.get_ref() else {
            let fix = format!("write a table [{}]", self.key(key));
            self.wrong(line, key, format!("this is a {}", raw.get_ref().type_str()), fix);
            return None;
        };
        Some(Reader::new(self.findings, table, self.key(key), line))
    }

    /// Returns a sub-table that has to be there.
    pub(crate) fn required_table(&self, key: &'static str) -> Option<Reader<'r, 't>> {
        self.require(key);
        self.table(key)
    }

    /// Returns the tables of an array of tables, or the one table that is written instead.
    pub(crate) fn table_or_tables(&self, key: &'static str) -> Vec<Reader<'r, 't>> {
        match self.raw(key).map(|raw| raw.get_ref()) {
            Some(DeValue::Table(_)) => self.table(key).into_iter().collect(),
            Some(_) | None => self.tables(key),
        }
    }

    /// Returns the tables of an array of tables.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Reader<'r, 't>> {
        let Some(raw) = self.raw(key) else { return Vec::new() };
        let line = self.findings.line(&raw.span());
        let fix = format!("write each as [[{}]]", self.key(key));
        let DeValue::Array(array) = raw.get_ref() else {
            self.wrong(line, key, format!("this is a {}", raw.get_ref().type_str()), fix);
            return Vec::new();
        };
        let mut readers = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let (path, line) = (format!("{}[{index}]", self.key(key)), self.findings.line(&item.span()));
            if let DeValue::Table(table) = item.get_ref() {
                readers.push(Reader::new(self.findings, table, path, line));
            } else {
                self.findings.add(line, path, format!("this is a {}", item.get_ref().type_str()), fix.clone());
            }
        }
        readers
    }

    /// Reports a key that has to be there and is not.
    pub(crate) fn require(&self, key: &'static str) {
        if !self.table.iter().any(|(name, _)| name.get_ref() == key) {
            self.wrong(self.line, key, MISSING, format!("add {key}"));
        }
    }

    /// Takes every key that nobody asked for as a setting, with its line.
    pub(super) fn settings(&self) -> (std::collections::BTreeMap<String, Setting>, Lines) {
        let mut settings = std::collections::BTreeMap::new();
        let mut lines = Lines { component: self.line, ..Lines::default() };
        for (key, value) in self.unasked() {
            match setting(value.get_ref()) {
                Some(setting) => {
                    let line = self.findings.line(&key.span());
                    lines.settings.insert(key.get_ref().to_string(), line);
                    settings.insert(key.get_ref().to_string(), setting);
                }
                None => {
                    let line = self.findings.line(&value.span());
                    let message = format!("a setting cannot be a {}", value.get_ref().type_str());
                    self.wrong(
                        line,
                        key.get_ref(),
                        message,
                        "give a string, an integer, a boolean or a list of strings",
                    );
                }
            }
        }
        (settings, lines)
    }

    /// Refuses every key that nobody asked for.
    pub(crate) fn finish(&self) {
        for (key, _) in self.unasked() {
            let line = self.findings.line(&key.span());
            let known = self.known.borrow();
            let is_free = |known: &&&str| !self.table.iter().any(|(given, _)| given.get_ref() == **known);
            let near = |known: &&&str| edit_distance(known, key.get_ref()) <= 2.min(known.len().div_ceil(3));
            let close =
                known.iter().filter(is_free).filter(near).min_by_key(|known| edit_distance(known, key.get_ref()));
            let fix = match close {
                Some(close) => {
                    self.findings.meant(self.key(close));
                    format!("did you mean {close}?")
                }
                None => format!("remove it; known here: {}", known.join(", ")),
            };
            self.wrong(line, key.get_ref(), "unknown key", fix);
        }
    }

    fn unasked(&self) -> impl Iterator<Item = (&'r Spanned<std::borrow::Cow<'t, str>>, &'r Spanned<DeValue<'t>>)> {
        let known = self.known.borrow().clone();
        self.table.iter().filter(move |(key, _)| !known.iter().any(|known| known == key.get_ref()))
    }
}

fn setting(value: &DeValue<'_>) -> Option<Setting> {
    match value {
        DeValue::String(text) => Some(Setting::Text(text.to_string())),
        DeValue::Integer(_) => integer(value).map(Setting::Integer),
        DeValue::Boolean(flag) => Some(Setting::Flag(*flag)),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.get_ref().as_str().map(str::to_string)).collect();
            texts.map(Setting::List)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Reads `0.75` as 750 without binary fractions in between.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.')?;
    if fraction.is_empty() || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u16>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

/// Longer durations are typing errors, and would overflow somewhere.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// Counts the edits between two short words.
pub(crate) fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let change = corner + usize::from(l != *r);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
