//! WSO2's layouts: one file a database in each folder.

use std::fs;
use std::path::Path;

use super::load::{read, read_file};
use super::{LoadError, LoadOptions, Note, Problem, ProblemKind, Script, ScriptKind, Version};
use crate::Dialect;

/// Which of WSO2's script files are taken.
///
/// # Examples
/// ```
/// use ha_migrate::{Dialect, script::Wso2Layout};
///
/// let layout = Wso2Layout::new(Dialect::MySql);
/// let files = ["h2.sql", "mysql.sql", "mysql5.7.sql", "mysql_cluster.sql"];
/// assert_eq!(layout.choose(files), Some("mysql5.7.sql"));
/// assert_eq!(layout.with_cluster().choose(files), Some("mysql_cluster.sql"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Wso2Layout {
    /// The database.
    pub dialect: Dialect,
    /// Takes the scripts of MySQL Cluster (NDB) and Oracle RAC; not by default.
    pub cluster: bool,
    /// The version that is installed; its own scripts are not taken. All by default.
    pub from: Option<Version>,
    /// The last version whose scripts are taken. All by default.
    pub to: Option<Version>,
}

/// The script of one schema in one step of an upgrade.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Wso2Step {
    /// The product version whose folder it is in; `5.0.0-SP1` is 5.0.0.1.
    pub version: Version,
    /// The step's number.
    pub step: u32,
    /// The schema: identity, um, consent, uma ... They may be in different databases.
    pub schema: String,
    /// Its script. Its version is the product's, filled up to four numbers, and the step's number.
    pub script: Script,
}

/// The steps of an upgrade in their order: version, step, schema.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Wso2Steps {
    /// The steps.
    pub steps: Vec<Wso2Step>,
    /// The steps that have no script for the database.
    pub notes: Vec<Note>,
}

impl Wso2Layout {
    /// Takes the scripts of a database.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, cluster: false, from: None, to: None }
    }

    /// Takes the scripts of MySQL Cluster (NDB) and Oracle RAC.
    #[must_use]
    pub fn with_cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Takes only the steps that lead from one version to another.
    #[must_use]
    pub fn with_versions(mut self, from: Version, to: Version) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// Chooses the file for the database: by its whole name, never by a part of it.
    pub fn choose<'a>(&self, files: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let names: &[&str] = match (self.dialect, self.cluster) {
            (Dialect::Db2, _) => &["db2"],
            (Dialect::H2, _) => &["h2"],
            (Dialect::MariaDb, false) => &["mariadb", "mysql5.7", "mysql"],
            (Dialect::MariaDb, true) => {
                &["mariadb", "mysql5.7", "mysql", "mysql-cluster-5.7", "mysql_cluster", "mysql-cluster"]
            }
            (Dialect::MySql, false) => &["mysql5.7", "mysql"],
            (Dialect::MySql, true) => &["mysql-cluster-5.7", "mysql_cluster", "mysql-cluster"],
            (Dialect::Oracle, false) => &["oracle"],
            (Dialect::Oracle, true) => &["oracle_rac"],
            // The ones for newer servers first; none older than 9.6 is in use.
            (Dialect::Postgres, _) => &["postgresql+9.6", "postgresql+9.5", "postgresql"],
            (Dialect::Sqlite, _) => &[],
            (Dialect::SqlServer, _) => &["mssql"],
        };
        let rank = |file: &str| names.iter().position(|name| file.strip_suffix(".sql") == Some(name));
        files
            .into_iter()
            .filter_map(|file| Some((rank(file)?, file)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, file)| file)
    }

    /// Loads the script that makes a schema: `<db>.sql` of a folder such as `dbscripts/identity`. Blocks.
    ///
    /// # Errors
    /// [`LoadError`]: no file for the database, or one that cannot be used.
    pub fn schema(&self, dir: &Path, version: Version, options: &LoadOptions) -> Result<Script, LoadError> {
        let mut problems = Vec::new();
        let files = list(dir, "", &mut problems, false);
        let found: Vec<String> = files.into_iter().filter(|file| file.ends_with(".sql")).collect();
        let Some(file) = self.choose(found.iter().map(String::as_str)) else {
            if problems.is_empty() {
                problems.push(Problem::new(&dir.display().to_string(), None, ProblemKind::NoFileForDialect { found }));
            }
            return Err(LoadError { problems });
        };
        let kind = ScriptKind::Baseline(version);
        let script = self.script(&dir.join(file), file.into(), kind, "schema".into(), options, &mut problems);
        script.ok_or(LoadError { problems })
    }

    /// Lists the steps of `migration-resources/<version>/dbscripts/stepN/<schema>/<db>.sql`. Blocks.
    ///
    /// # Errors
    /// [`LoadError`]: files or folders that cannot be used or read. A step without a file for the database is a note.
    pub fn steps(&self, dir: &Path, options: &LoadOptions) -> Result<Wso2Steps, LoadError> {
        let (mut out, mut problems) = (Wso2Steps::default(), Vec::new());
        for (version, name) in self.versions(dir, &mut problems) {
            let scripts = format!("{name}/dbscripts");
            if !dir.join(&scripts).is_dir() {
                continue;
            }
            let steps = list(dir, &scripts, &mut problems, true);
            let number = |name: &String| Some((name.strip_prefix("step")?.parse::<u32>().ok()?, name.clone()));
            let mut steps: Vec<(u32, String)> = steps.iter().filter_map(number).collect();
            steps.sort();
            for (step, name) in steps {
                let folder = format!("{scripts}/{name}");
                for schema in list(dir, &folder, &mut problems, true) {
                    self.step(
                        dir,
                        &format!("{folder}/{schema}"),
                        (&version, step, schema),
                        options,
                        &mut out,
                        &mut problems,
                    );
                }
            }
        }
        if problems.is_empty() { Ok(out) } else { Err(LoadError { problems }) }
    }

    /// Lists the folders of the versions that are taken, in their order.
    fn versions(&self, dir: &Path, problems: &mut Vec<Problem>) -> Vec<(Version, String)> {
        let names = list(dir, "", problems, true);
        let version = |name: String| Some((name.replace("-SP", ".").parse::<Version>().ok()?, name));
        let mut versions: Vec<(Version, String)> = names.into_iter().filter_map(version).collect();
        versions.retain(|(version, _)| {
            self.from.as_ref().is_none_or(|from| version > from) && self.to.as_ref().is_none_or(|to| version <= to)
        });
        versions.sort();
        versions
    }

    fn step(
        &self,
        dir: &Path,
        folder: &str,
        (version, step, schema): (&Version, u32, String),
        options: &LoadOptions,
        out: &mut Wso2Steps,
        problems: &mut Vec<Problem>,
    ) {
        let files = list(dir, folder, problems, false);
        let found: Vec<String> = files.into_iter().filter(|file| file.ends_with(".sql")).collect();
        let Some(file) = self.choose(found.iter().map(String::as_str)) else {
            out.notes.push(Note::NoFileForDialect { folder: folder.into(), found });
            return;
        };
        let mut numbers: Vec<&str> = version.numbers().collect();
        numbers.resize(numbers.len().max(4), "0");
        let Ok(number) = format!("{}.{step}", numbers.join(".")).parse::<Version>() else { return };
        let file = format!("{folder}/{file}");
        let description = format!("{version} step {step} {schema}");
        let script = self.script(&dir.join(&file), file, ScriptKind::Versioned(number), description, options, problems);
        let step = script.map(|script| Wso2Step { version: version.clone(), step, schema, script });
        out.steps.extend(step);
    }

    fn script(
        &self,
        path: &Path,
        file: String,
        kind: ScriptKind,
        description: String,
        options: &LoadOptions,
        problems: &mut Vec<Problem>,
    ) -> Option<Script> {
        match read_file(path, options.limit) {
            Ok(bytes) => read(file, kind, description, &bytes, options, problems),
            Err(kind) => {
                problems.push(Problem::new(&file, None, kind));
                None
            }
        }
    }
}

/// Lists the names of the folders, or of the files, that are in a folder.
fn list(dir: &Path, below: &str, problems: &mut Vec<Problem>, folders: bool) -> Vec<String> {
    let path = dir.join(below);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(Problem::new(&path.display().to_string(), None, ProblemKind::Io(error.to_string())));
            return Vec::new();
        }
    };
    let is_wanted = |entry: &fs::DirEntry| entry.path().is_dir() == folders;
    let mut names: Vec<String> =
        entries.flatten().filter(is_wanted).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
