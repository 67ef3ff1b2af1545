//! What the scripts that wait do to a release that is in use.

use ha_core::state::{SchemaChange, SchemaVerdict};
use sha2::{Digest, Sha256};

use crate::lint::{LintInput, LintReport, Policy, Verdict, lint};
use crate::machine::baseline_version;
use crate::script::{Phase, Script};
use crate::{Catalog, Finding, MigrateError, Migrator, SessionRole, read_catalog};

impl Migrator {
    /// Holds the scripts that wait against the rules, with the sizes of the catalogue: the findings, to be shown. Reads only.
    ///
    /// # Errors
    /// [`MigrateError::Database`], [`MigrateError::Deadline`], [`MigrateError::Script`].
    pub async fn lint(&self) -> Result<LintReport, MigrateError> {
        let pending = self.pending(&|_| true).await?;
        self.lint_of(&pending, &self.catalog().await?)
    }

    /// Judges how the scripts that wait, and whose version counts, can be run beside the release that is in use.
    pub(crate) async fn review(&self, counts: &(dyn Fn(&str) -> bool + Sync)) -> Result<SchemaChange, MigrateError> {
        let wrong: Vec<_> = self.status().await?.findings.into_iter().filter(Finding::is_error).collect();
        if !wrong.is_empty() {
            return Err(MigrateError::Invalid(wrong));
        }
        let pending = self.pending(counts).await?;
        let drift = if pending.is_empty() { Vec::new() } else { self.drift().await? };
        if !drift.is_empty() {
            return Err(MigrateError::Invalid(drift));
        }
        let report = self.lint_of(&pending, &self.catalog().await?)?;
        let phase_of = |file: &str| pending.iter().find(|script| script.file == file).map(|script| script.phase);
        let mut stops = Vec::new();
        for statement in &report.statements {
            let Some(phase) = phase_of(&statement.file) else { continue };
            if fits(&statement.verdict, phase) {
                continue;
            }
            let here = |file: &str, line: usize| file == statement.file && line == statement.line;
            let findings =
                report.findings.iter().filter(|found| here(&found.file, found.line) && found.allowed.is_none());
            stops.extend(
                findings
                    .filter(|found| !fits(&found.verdict, phase))
                    .map(|found| format!("{} line {}: {}: {}", found.file, found.line, found.rule, found.what)),
            );
        }
        let verdict = match pending.iter().map(|script| script.phase).max() {
            None => SchemaVerdict::Nothing,
            Some(_) if !stops.is_empty() => SchemaVerdict::NeedsWindow,
            Some(Phase::Contract) => SchemaVerdict::Splittable,
            Some(Phase::Expand | Phase::Backfill) => SchemaVerdict::ExpandOnly,
        };
        let mut digest = Sha256::new();
        digest.update(verdict.to_string());
        for script in &pending {
            digest.update(format!("\0{}\0{}\0", script.file, script.phase));
            digest.update(script.text.as_bytes());
        }
        let digest = digest.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Ok(stops.into_iter().fold(SchemaChange::new(verdict, digest), SchemaChange::with_reason))
    }

    /// The scripts that are not applied, in their order.
    async fn pending(&self, counts: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<&Script>, MigrateError> {
        let status = self.status().await?;
        let waits = |script: &&Script| {
            let known = status.scripts.iter().find(|known| known.script == script.file);
            known.is_some_and(|known| {
                !known.state.is_settled() && counts(baseline_version(&known.version).unwrap_or(&known.version))
            })
        };
        Ok(self.scripts.iter().filter(waits).collect())
    }

    async fn catalog(&self) -> Result<Catalog, MigrateError> {
        let failed = |during: &str| {
            let during = during.to_owned();
            move |error| MigrateError::Database { during, error }
        };
        let mut session = self.connect.open(SessionRole::Reader).await.map_err(failed("connect"))?;
        read_catalog(session.as_mut(), self.connect.dialect()).await.map_err(failed("read the catalogue"))
    }

    fn lint_of(&self, scripts: &[&Script], catalog: &Catalog) -> Result<LintReport, MigrateError> {
        let dialect = self.connect.dialect();
        let mut inputs = Vec::new();
        for script in scripts {
            let input = LintInput::of_script(dialect, &script.file, script.phase, &script.text);
            let input = input.map_err(|error| MigrateError::Script {
                script: script.file.clone(),
                line: error.line,
                what: error.what,
            })?;
            inputs.push(if script.transactional { input } else { input.with_transaction(false) });
        }
        Ok(lint(&inputs, catalog, &Policy::new().with_product(dialect)))
    }
}

/// Tells whether a statement can be run in its phase: beside the old release until the contraction, beside the new one from then on.
fn fits(verdict: &Verdict, phase: Phase) -> bool {
    match (verdict, phase) {
        (Verdict::Expand, _) => true,
        (Verdict::Backfill, Phase::Backfill) | (Verdict::Contract, Phase::Contract) => true,
        (
            Verdict::ExpandOnline(_) | Verdict::Backfill | Verdict::Contract | Verdict::Window | Verdict::Opaque,
            Phase::Expand | Phase::Backfill | Phase::Contract,
        ) => false,
    }
}
