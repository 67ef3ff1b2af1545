use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::header::Header;
use super::{Checksums, LoadError, Phase, Placeholders, Problem, ProblemKind, Script, ScriptKind, ScriptName, Version};
use crate::split::decode;

/// How scripts are loaded.
///
/// # Examples
/// ```
/// use ha_migrate::script::{LoadOptions, Placeholders};
///
/// let options = LoadOptions::new().with_placeholders(Placeholders::new().with("schema", "orders")).with_limit(1 << 20);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The placeholders; `${name}` without values by default.
    pub placeholders: Placeholders,
    /// The largest file that is read, in bytes; 64 MiB by default.
    pub limit: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { placeholders: Placeholders::default(), limit: 64 << 20 }
    }
}

impl LoadOptions {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the placeholders.
    #[must_use]
    pub fn with_placeholders(mut self, placeholders: Placeholders) -> Self {
        self.placeholders = placeholders;
        self
    }

    /// Sets the largest file that is read, in bytes.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }
}

/// Something worth knowing about scripts that can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// A version is left out between two scripts.
    Gap {
        /// The version before the gap.
        after: Version,
        /// The version behind it.
        before: Version,
    },
    /// A step of WSO2's has no script for the database, and is left out, as WSO2's own client does.
    NoFileForDialect {
        /// The step's folder.
        folder: String,
        /// The files that are there.
        found: Vec<String>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { after, before } => write!(f, "no script between version {after} and {before}"),
            Self::NoFileForDialect { folder, found } => {
                write!(f, "{folder} has no script for this database, only {}", found.join(", "))
            }
        }
    }
}

/// The scripts of one database, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scripts {
    scripts: Vec<Script>,
    undos: Vec<Script>,
    notes: Vec<Note>,
}

impl Scripts {
    /// Loads the scripts of a folder and the folders in it. Files that do not end with `.sql` are passed over. Blocks.
    ///
    /// # Errors
    /// [`LoadError`] with all that is wrong: names, duplicate versions, encodings, sizes, headers, placeholders.
    pub fn from_dir(dir: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
        walk(dir, "", 0, options, &mut found, &mut problems);
        Self::build(found, options, problems)
    }

    /// Loads scripts from memory: names, which may have folders, and texts.
    ///
    /// # Errors
    /// As [`Scripts::from_dir`].
    ///
    /// # Examples
    /// ```
    /// use ha_migrate::script::{LoadOptions, Phase, Scripts};
    ///
    /// let scripts = Scripts::from_memory(
    ///     [("V2__drop.sql", "-- ha:phase contract\nDROP TABLE t;"), ("V1__add.sql", "CREATE TABLE t (a int);")],
    ///     &LoadOptions::new(),
    /// )?;
    /// let order: Vec<_> = scripts.iter().map(|script| (script.description.as_str(), script.phase)).collect();
    /// assert_eq!(order, [("add", Phase::Expand), ("drop", Phase::Contract)]);
    /// # Ok::<(), ha_migrate::script::LoadError>(())
    /// ```
    pub fn from_memory<N: Into<String>, T: Into<String>>(
        files: impl IntoIterator<Item = (N, T)>,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, text) in files {
            let (name, text) = (name.into(), text.into());
            if text.len() as u64 > options.limit {
                let kind = ProblemKind::TooLarge { bytes: text.len() as u64, limit: options.limit };
                problems.push(Problem::new(&name, None, kind));
            } else if found.insert(name.clone(), text.into_bytes()).is_some() {
                problems.push(Problem::new(
                    &name,
                    None,
                    ProblemKind::Io("the name is given twice: rename one of the two".into()),
                ));
            }
        }
        Self::build(found, options, problems)
    }

    /// Returns the scripts in the order they run: baselines and versioned ones by version, then repeatable ones by description.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Script> + ExactSizeIterator {
        self.scripts.iter()
    }

    /// Returns the script that takes a version back.
    pub fn undo(&self, version: &Version) -> Option<&Script> {
        self.undos.iter().find(|script| script.kind.version() == Some(version))
    }

    /// Returns the undo scripts by version.
    pub fn undos(&self) -> impl DoubleEndedIterator<Item = &Script> + ExactSizeIterator {
        self.undos.iter()
    }

    /// Returns what is worth knowing about them.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn build(
        files: BTreeMap<String, Vec<u8>>,
        options: &LoadOptions,
        mut problems: Vec<Problem>,
    ) -> Result<Self, LoadError> {
        let mut scripts = Vec::new();
        for (file, bytes) in files {
            let name = ScriptName::parse(file.rsplit('/').next().unwrap_or(&file));
            match name {
                Ok(ScriptName { kind, description }) => {
                    scripts.extend(read(file, kind, description, &bytes, options, &mut problems));
                }
                Err(error) => problems.push(Problem::new(&file, None, ProblemKind::Name(error))),
            }
        }
        check(&scripts, &mut problems);
        if !problems.is_empty() {
            problems.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
            return Err(LoadError { problems });
        }
        let is_undo = |script: &Script| matches!(script.kind, ScriptKind::Undo(_));
        let (mut undos, mut scripts): (Vec<_>, Vec<_>) = scripts.into_iter().partition(is_undo);
        undos.sort_by(|one, other| one.kind.version().cmp(&other.kind.version()));
        // Repeatable ones, which have no version, are last.
        let rank = |script: &Script| (script.kind.version().is_none(), script.kind.letter());
        scripts.sort_by(|one, other| {
            let by_version = rank(one).0.cmp(&rank(other).0).then(one.kind.version().cmp(&other.kind.version()));
            by_version.then(rank(one).1.cmp(&rank(other).1)).then(one.description.cmp(&other.description))
        });
        let notes = gaps(&scripts);
        Ok(Self { scripts, undos, notes })
    }
}

fn gaps(scripts: &[Script]) -> Vec<Note> {
    let versions = || scripts.iter().filter_map(|script| script.kind.version());
    let gap = |(one, next): (&Version, &Version)| {
        one.has_gap_before(next).then(|| Note::Gap { after: one.clone(), before: next.clone() })
    };
    versions().zip(versions().skip(1)).filter_map(gap).collect()
}

/// Finds duplicates, and undo scripts of nothing.
fn check(scripts: &[Script], problems: &mut Vec<Problem>) {
    let mut versions: HashMap<(char, &Version), &str> = HashMap::new();
    let mut descriptions: HashMap<&str, &str> = HashMap::new();
    for Script { file, kind, description, .. } in scripts {
        let other = match kind.version() {
            Some(version) => versions
                .insert((kind.letter(), version), file)
                .map(|other| ProblemKind::DuplicateVersion { version: version.clone(), other: other.into() }),
            None => descriptions
                .insert(description, file)
                .map(|other| ProblemKind::DuplicateDescription { other: other.into() }),
        };
        problems.extend(other.map(|kind| Problem::new(file, None, kind)));
    }
    for Script { file, kind, .. } in scripts {
        if let ScriptKind::Undo(version) = kind
            && !versions.contains_key(&('V', version))
        {
            problems.push(Problem::new(file, None, ProblemKind::NothingToUndo { version: version.clone() }));
        }
    }
}

/// Reads one script, or tells all that is wrong with it.
pub(super) fn read(
    file: String,
    kind: ScriptKind,
    description: String,
    bytes: &[u8],
    options: &LoadOptions,
    problems: &mut Vec<Problem>,
) -> Option<Script> {
    let before = problems.len();
    let text = match decode(bytes) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(&file, Some(error.line), ProblemKind::Encoding(error)));
            return None;
        }
    };
    let header = Header::parse(text).unwrap_or_else(|errors| {
        let problem =
            |error: super::HeaderError| Problem::new(&file, Some(error.line), ProblemKind::Header(error.what));
        problems.extend(errors.into_iter().map(problem));
        Header::default()
    });
    let mut folders = file.rsplit('/').skip(1);
    let folder = folders.find_map(Phase::from_name);
    if let (Some(header), Some(folder)) = (header.phase, folder)
        && header != folder
    {
        problems.push(Problem::new(&file, None, ProblemKind::Phase { header, folder }));
    }
    let raw = text;
    let text = options.placeholders.replace(raw).unwrap_or_else(|errors| {
        let kind =
            |error: super::UnresolvedError| Problem::new(&file, Some(error.line), ProblemKind::Placeholder(error.name));
        problems.extend(errors.into_iter().map(kind));
        raw.into()
    });
    if problems.len() > before {
        return None;
    }
    let checksums = Checksums::of(if kind == ScriptKind::Repeatable { &text } else { raw });
    let phase = header.phase.or(folder).unwrap_or_default();
    let (transactional, allows, text) = (!header.no_transaction, header.allows, text.into_owned());
    Some(Script { file, kind, description, phase, transactional, allows, text, checksums })
}

/// Deeper folders are not read: a link that leads back up.
const DEEPEST: usize = 32;

fn walk(
    dir: &Path,
    below: &str,
    depth: usize,
    options: &LoadOptions,
    found: &mut BTreeMap<String, Vec<u8>>,
    problems: &mut Vec<Problem>,
) {
    let mut refuse = |file: &str, error: String| problems.push(Problem::new(file, None, ProblemKind::Io(error)));
    if depth > DEEPEST {
        return refuse(below, format!("more than {DEEPEST} folders deep: a link leads back to a folder above it"));
    }
    let entries = match fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>()) {
        Ok(entries) => entries,
        Err(error) => {
            let name = if below.is_empty() { dir.display().to_string() } else { below.to_string() };
            return refuse(&name, error.to_string());
        }
    };
    for entry in entries {
        let name = entry.file_name();
        let file = if below.is_empty() {
            name.to_string_lossy().into()
        } else {
            format!("{below}/{}", name.to_string_lossy())
        };
        let path = entry.path();
        if path.is_dir() {
            walk(&path, &file, depth + 1, options, found, problems);
        } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("sql")) && !file_is_hidden(&file) {
            match read_file(&path, options.limit) {
                Ok(bytes) => drop(found.insert(file, bytes)),
                Err(kind) => problems.push(Problem::new(&file, None, kind)),
            }
        }
    }
}

fn file_is_hidden(file: &str) -> bool {
    file.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
}

/// Reads a file up to the limit.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, ProblemKind> {
    let io = |error: io::Error| ProblemKind::Io(error.to_string());
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let mut text = Vec::new();
    if bytes <= limit {
        file.take(limit.saturating_add(1)).read_to_end(&mut text).map_err(io)?;
    }
    let bytes = bytes.max(text.len() as u64);
    if bytes > limit { Err(ProblemKind::TooLarge { bytes, limit }) } else { Ok(text) }
}
