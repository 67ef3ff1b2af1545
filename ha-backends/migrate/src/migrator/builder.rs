use std::sync::Arc;

use super::prepare::unit;
use super::{Migrator, Observer, OldRelease};
use crate::history::Tables;
use crate::machine::{Policy, Unit, UnitKind, baseline_version, compare_versions};
use crate::script::Scripts;
use crate::{Connect, Dialect, MigrateError};

/// Builds a [`Migrator`].
#[derive(Debug)]
pub struct MigratorBuilder {
    connect: Arc<dyn Connect>,
    scripts: Scripts,
    prefix: String,
    policy: Policy,
    owner: Option<String>,
    old: Vec<OldRelease>,
    observer: Option<Arc<dyn Observer>>,
    mirror_flyway: bool,
}

impl Migrator {
    /// Begins to build one for a database and its scripts.
    pub fn builder(connect: Arc<dyn Connect>, scripts: Scripts) -> MigratorBuilder {
        MigratorBuilder {
            connect,
            scripts,
            prefix: "ha_migration".into(),
            policy: Policy::default(),
            owner: None,
            old: Vec::new(),
            observer: None,
            mirror_flyway: false,
        }
    }
}

impl MigratorBuilder {
    /// Names the history's tables `<prefix>_history`, `<prefix>_step` and `<prefix>_lock`. Default `ha_migration`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long is waited, and what may be done to others.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets who the history says has applied scripts. Default `ha-migrate` and the process id.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Says how the sessions of an old release are told: a contraction is refused while one of them is connected.
    #[must_use]
    pub fn with_old_release(mut self, old: OldRelease) -> Self {
        self.old.push(old);
        self
    }

    /// Is told what happens, as it happens.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Adds each applied script to `flyway_schema_history` too. Default no.
    #[must_use]
    pub fn with_mirror_flyway(mut self, mirror: bool) -> Self {
        self.mirror_flyway = mirror;
        self
    }

    /// Cuts and classifies the scripts.
    ///
    /// # Errors
    /// [`MigrateError::Script`] for a script that cannot be run; [`MigrateError::Unsupported`] for a prefix or an old release
    /// that says nothing.
    pub fn build(self) -> Result<Migrator, MigrateError> {
        let dialect = self.connect.dialect();
        let tables =
            Tables::new(dialect, &self.prefix).map_err(|error| MigrateError::Unsupported(error.to_string()))?;
        for old in &self.old {
            let says = old.user.is_some() || old.application.is_some() || old.database.is_some();
            if !says || dialect == Dialect::Sqlite {
                let what = if says { "SQLite does not tell sessions" } else { "give user, application or database" };
                return Err(MigrateError::Unsupported(format!("sessions of release {}: {what}", old.release)));
            }
        }
        let (mut units, mut undo_scripts) = (Vec::new(), Vec::new());
        for script in self.scripts.iter() {
            units.push(unit(dialect, script)?);
        }
        for script in self.scripts.undos() {
            undo_scripts.push(unit(dialect, script)?);
        }
        units.sort_by(order);
        let twice = units.windows(2).find_map(|pair| match pair {
            [first, second] if order(first, second).is_eq() => Some((first, second)),
            _ => None,
        });
        if let Some((first, second)) = twice {
            let what = format!("has the same version and phase as {}", first.script);
            return Err(MigrateError::Script { script: second.script.clone(), line: 0, what });
        }
        let owner = self.owner.unwrap_or_else(|| format!("ha-migrate {}", std::process::id()));
        Ok(Migrator {
            connect: self.connect,
            scripts: Arc::new(self.scripts),
            units: units.into(),
            undo_scripts,
            tables,
            policy: self.policy,
            applied_by: owner.chars().take(150).collect(),
            owner: owner.chars().take(150).collect(),
            old: self.old,
            observer: self.observer,
            mirror_flyway: self.mirror_flyway,
        })
    }
}

/// Baselines and versioned ones by version and phase, then repeatable ones by name.
fn order(first: &Unit, second: &Unit) -> std::cmp::Ordering {
    fn number(unit: &Unit) -> &str {
        baseline_version(&unit.key.version).unwrap_or(&unit.key.version)
    }
    let late = |unit: &Unit| unit.kind == UnitKind::Repeatable;
    late(first)
        .cmp(&late(second))
        .then_with(|| match first.kind {
            UnitKind::Repeatable => first.key.version.cmp(&second.key.version),
            UnitKind::Versioned | UnitKind::Undo | UnitKind::Baseline => {
                compare_versions(number(first), number(second))
            }
        })
        .then_with(|| (first.kind != UnitKind::Baseline).cmp(&(second.kind != UnitKind::Baseline)))
        .then(first.key.phase.cmp(&second.key.phase))
}
