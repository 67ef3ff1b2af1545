use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ha_core::topology::{Component, Reported, SettingErrors, Settings};

use crate::migrator::MigratorBuilder;
use crate::script::{LoadError, LoadOptions, Placeholders, Scripts};
use crate::secret::redact;
use crate::{Connect, Limits, MigrateBackend, MigrateError, Migrator, OldRelease, Policy, SecretRef};

/// Which database, which scripts, and how careful: the settings of a `[database]`.
///
/// # Examples
///
/// ```
/// use ha_migrate::MigrateConfig;
///
/// let config = MigrateConfig::new("jdbc:postgresql://db.example/wso2am", "/etc/ha/scripts");
/// assert_eq!(config.prefix, "ha_migration");
/// ```
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct MigrateConfig {
    /// The JDBC URL, as the servers' datasource has it.
    pub url: String,
    /// The user of the migrations; it may change definitions. Default the URL's.
    pub user: Option<String>,
    /// Where its password is read from. Default the URL's, or none.
    pub password: Option<SecretRef>,
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// Values of `${name}` in the scripts.
    pub placeholders: Vec<(String, String)>,
    /// The beginning of the names of the history's tables. Default `ha_migration`.
    pub prefix: String,
    /// The highest version of the old release's scripts; default none: all scripts belong to the upgrade.
    pub base_version: Option<String>,
    /// How long is waited, and what may be done to others.
    pub policy: Policy,
    /// The limits of sessions.
    pub limits: Limits,
    /// How the sessions of old releases are told.
    pub old_sessions: Vec<OldRelease>,
    /// Adds applied scripts to `flyway_schema_history` too. Default no.
    pub mirror_flyway: bool,
    /// The JDBC URL of an empty database of the same product, for an upgrade whose scripts break the release in use: the database is
    /// cloned there. Default none: it cannot be cloned. `user` and `password` are for both; without them, each URL's own count. The
    /// crate's documentation says what the user may do in both.
    pub clone_url: Option<String>,
    /// The folder of the client programs that copy a database: `pg_dump` and the like. Default none: they are on the path.
    pub clone_tools: Option<PathBuf>,
}

impl fmt::Debug for MigrateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs and the values of placeholders may hold passwords.
        let placeholders: Vec<&str> = self.placeholders.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("MigrateConfig")
            .field("url", &redact(&self.url))
            .field("user", &self.user)
            .field("password", &self.password)
            .field("scripts", &self.scripts)
            .field("placeholders", &placeholders)
            .field("clone_url", &self.clone_url.as_deref().map(redact))
            .finish_non_exhaustive()
    }
}

impl MigrateConfig {
    /// Names a database and its scripts.
    pub fn new(url: impl Into<String>, scripts: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            user: None,
            password: None,
            scripts: scripts.into(),
            placeholders: Vec::new(),
            prefix: "ha_migration".into(),
            base_version: None,
            policy: Policy::default(),
            limits: Limits::default(),
            old_sessions: Vec::new(),
            mirror_flyway: false,
            clone_url: None,
            clone_tools: None,
        }
    }

    /// Reads the settings that the table of the crate's documentation lists.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let (url, scripts) = (settings.required_text("url"), settings.absolute_path("scripts"));
        let (user, password) = (settings.text("user"), password(&mut settings));
        let (prefix, base) = (settings.text("prefix"), settings.text("base_version"));
        let placeholders = settings.list("placeholders");
        let old = settings.list("old_sessions");
        let (policy, limits) = (policy(&mut settings), limits(&mut settings));
        let mirror = settings.flag("mirror_flyway");
        let (clone_url, clone_tools) = (settings.text("clone_url"), settings.optional_path("clone_tools"));
        let read = (|| {
            let mut config = Self::new(url?, scripts?);
            if !config.url.starts_with("jdbc:") {
                return Err(settings.wrong("url", "give a JDBC URL, as the datasource of the servers has it"));
            }
            (config.user, config.password, config.base_version) = (user?, password?, base?);
            config.prefix = prefix?.unwrap_or(config.prefix);
            for text in placeholders? {
                let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                    return Err(settings.wrong("placeholders", format!("{text:?}: give name=value")));
                };
                config.placeholders.push((name.into(), value.into()));
            }
            for text in old? {
                let Some(release) = old_release(&text) else {
                    let what = format!(
                        "{text:?}: give a release and at least one of user=, application= and database=, as \"4.2.0 user=wso2\""
                    );
                    return Err(settings.wrong("old_sessions", what));
                };
                config.old_sessions.push(release);
            }
            (config.policy, config.limits) = (policy?, limits?);
            config.mirror_flyway = mirror?.unwrap_or(false);
            (config.clone_url, config.clone_tools) = (clone_url?, clone_tools?);
            Ok(config)
        })();
        settings.finish(read)
    }

    /// Loads the scripts of its folder. Blocks.
    ///
    /// # Errors
    /// [`LoadError`] with all that is wrong.
    pub fn load(&self) -> Result<Scripts, LoadError> {
        let mut placeholders = Placeholders::new();
        for (name, value) in &self.placeholders {
            placeholders = placeholders.with(name, value);
        }
        Scripts::from_dir(&self.scripts, &LoadOptions::new().with_placeholders(placeholders))
    }

    /// Makes the backend, for a connection to the database of its URL with its limits.
    ///
    /// # Errors
    /// [`MigrateError`] as of [`MigratorBuilder::build`].
    pub fn backend(&self, connect: Arc<dyn Connect>, scripts: Scripts) -> Result<MigrateBackend, MigrateError> {
        let backend = MigrateBackend::new(self.builder(connect, scripts).build()?);
        Ok(match &self.base_version {
            Some(version) => backend.with_base_version(version),
            None => backend,
        })
    }

    /// Begins to build a migrator with its settings: to be told what it does, as an example.
    pub fn builder(&self, connect: Arc<dyn Connect>, scripts: Scripts) -> MigratorBuilder {
        let builder = Migrator::builder(connect, scripts)
            .with_prefix(&self.prefix)
            .with_policy(self.policy.clone())
            .with_mirror_flyway(self.mirror_flyway);
        self.old_sessions.iter().fold(builder, |builder, old| builder.with_old_release(old.clone()))
    }
}

pub(crate) fn password(settings: &mut Settings<'_>) -> Result<Option<SecretRef>, Reported> {
    let (env, file) = (settings.text("password_env"), settings.optional_path("password_file"));
    let command = settings.optional_argv("password_command");
    let (env, file, command) = (env?, file?, command?);
    let given = [env.is_some(), file.is_some(), !command.is_empty()].into_iter().filter(|given| *given).count();
    if given > 1 {
        return Err(settings.wrong("password_env", "give one of password_env, password_file and password_command"));
    }
    Ok(match (env, file) {
        (Some(env), _) => Some(SecretRef::Env(env)),
        (None, Some(file)) => Some(SecretRef::File(file)),
        (None, None) if !command.is_empty() => Some(SecretRef::Command(command)),
        (None, None) => None,
    })
}

fn policy(settings: &mut Settings<'_>) -> Result<Policy, Reported> {
    let default = Policy::default();
    let deadline = settings.duration("deadline", default.deadline);
    let lock = settings.duration("lock_deadline", default.lock_deadline);
    let retry = settings.duration("retry_deadline", default.retry_deadline);
    let connect = settings.duration("connect_deadline", default.connect_deadline);
    // A text that is missing is no limit: never.
    let terminate = settings.duration("terminate_after", Duration::MAX);
    let (out_of_order, import) = (settings.flag("out_of_order"), settings.flag("import_flyway"));
    let loses_rows = settings.flag("undo_loses_rows");
    let terminate = terminate?;
    Ok(default
        .clone()
        .with_deadline(deadline?)
        .with_lock_deadline(lock?)
        .with_retry_deadline(retry?)
        .with_connect_deadline(connect?)
        .with_terminate_after((terminate != Duration::MAX).then_some(terminate))
        .with_out_of_order(out_of_order?.unwrap_or(default.out_of_order))
        .with_import_flyway(import?.unwrap_or(default.import_flyway))
        .with_undo_loses_rows(loses_rows?.unwrap_or(default.undo_loses_rows)))
}

fn limits(settings: &mut Settings<'_>) -> Result<Limits, Reported> {
    let default = Limits::default();
    let lock = settings.duration("lock_timeout", default.lock);
    let statement = settings.duration("statement_timeout", default.statement);
    Ok(default.with_lock(lock?).with_statement(statement?))
}

/// Reads `release key=value ...`.
fn old_release(text: &str) -> Option<OldRelease> {
    let mut words = text.split_whitespace();
    let mut release = OldRelease::new(words.next()?);
    let mut told = false;
    for word in words {
        release = match word.split_once('=')? {
            ("user", user) => release.with_user(user),
            ("application", application) => release.with_application(application),
            ("database", database) => release.with_database(database),
            _ => return None,
        };
        told = true;
    }
    told.then_some(release)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_core::topology::{Name, Setting};

    fn component(settings: &[(&str, Setting)]) -> Component {
        let mut component = Component::new(Name::new("migrate").unwrap());
        for (key, value) in settings {
            component.settings.insert((*key).into(), value.clone());
        }
        component
    }

    fn text(value: &str) -> Setting {
        Setting::Text(value.into())
    }

    #[test]
    fn every_setting_is_read() {
        let config = MigrateConfig::from_component(&component(&[
            ("url", text("jdbc:postgresql://db/wso2am")),
            ("scripts", text("/etc/ha/scripts")),
            ("user", text("migrator")),
            ("password_env", text("DB_PASSWORD")),
            ("base_version", text("4.2")),
            ("placeholders", Setting::List(vec!["schema=am".into()])),
            ("old_sessions", Setting::List(vec!["4.2.0 user=wso2 application=am42".into()])),
            ("deadline", text("5m")),
            ("terminate_after", text("30s")),
            ("lock_timeout", text("80ms")),
            ("mirror_flyway", Setting::Flag(true)),
        ]))
        .unwrap();
        assert_eq!(config.password, Some(SecretRef::Env("DB_PASSWORD".into())));
        assert_eq!(config.old_sessions, [OldRelease::new("4.2.0").with_user("wso2").with_application("am42")]);
        assert_eq!(config.policy.deadline, Duration::from_secs(300));
        assert_eq!(config.policy.terminate_after, Some(Duration::from_secs(30)));
        assert_eq!(config.limits.lock, Duration::from_millis(80));
        assert_eq!(config.placeholders, [("schema".to_owned(), "am".to_owned())]);
        assert!(config.mirror_flyway);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let url = ("url", text("jdbc:mariadb://db/x"));
        let scripts = ("scripts", text("/s"));
        for (settings, key) in [
            (vec![scripts.clone()], "url"),
            (vec![url.clone()], "scripts"),
            (vec![("url", text("postgresql://db/x")), scripts.clone()], "url"),
            (vec![url.clone(), scripts.clone(), ("old_sessions", Setting::List(vec!["4.2".into()]))], "old_sessions"),
            (
                vec![url.clone(), scripts.clone(), ("old_sessions", Setting::List(vec!["4 pid=1".into()]))],
                "old_sessions",
            ),
            (vec![url.clone(), scripts.clone(), ("placeholders", Setting::List(vec!["=x".into()]))], "placeholders"),
            (
                vec![url.clone(), scripts.clone(), ("password_env", text("A")), ("password_file", text("/p"))],
                "password_env",
            ),
            (vec![url, scripts, ("colour", text("blue"))], "colour"),
        ] {
            let refused = MigrateConfig::from_component(&component(&settings)).unwrap_err();
            assert_eq!(refused.errors()[0].key(), key, "{refused}");
        }
    }
}
