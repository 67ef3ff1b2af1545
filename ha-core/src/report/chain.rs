use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AskedFor, RunReport};
use crate::plan::Digest;
use crate::record::{Entry, Mode, OutcomeKind, Record, RunId};
use crate::state::Facts;
use crate::topology::Topology;

/// What was recorded of a run, with the hash that binds it to all before it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChainedRecord {
    /// Its number in the run, from 0 on.
    pub sequence: u64,
    /// The lease epoch of its writer.
    pub epoch: u64,
    /// When it was written.
    pub at_ms: u64,
    /// Its kind, as the journal names it: `intent`.
    pub kind: String,
    /// What it says, for people.
    pub message: String,
    /// SHA-256 over the hash before it, a line feed, and the entry as JSON without white space and with sorted keys. Before the first
    /// one is the SHA-256 of the run's name.
    pub hash: Digest,
}

impl ChainedRecord {
    /// Tells whether it is a turn of the run that a reader looks for: not a step, and neither its beginning nor its end.
    pub fn is_turn(&self) -> bool {
        !matches!(self.kind.as_str(), "opened" | "intent" | "outcome" | "closed")
    }
}

/// The first record of a report that a journal does not have as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The journal has another entry there, or another one before it that this report does not show; or another version of the
    /// library made the report, and wrote entries otherwise.
    #[error(
        "entry {sequence} is not what it was when the report was made, all before it are: the journal was changed, the report is \
         of another run, or another version of the library made it"
    )]
    Differs {
        /// The first that differs.
        sequence: u64,
    },
    /// The journal ends before it.
    #[error("the journal ends before entry {sequence}, which the report has: entries were removed")]
    Missing {
        /// The first that is missing.
        sequence: u64,
    },
    /// The report has no records to hold a journal against.
    #[error("the report has no records: nothing can be held against it, make another one of the journal")]
    NoRecords,
}

impl RunReport {
    /// Returns the hash of the last record: it binds all that was recorded. Written into a ticket, it lets anybody find out later
    /// whether the journal was changed.
    pub fn last_hash(&self) -> Option<&Digest> {
        self.records.last().map(|record| &record.hash)
    }

    /// Holds the entries of a journal against the hashes of this report. Entries after the report's last one are no difference: a run
    /// may have been resumed since.
    ///
    /// The hashes are over entries as this version of the library reads them: verify with the version that made the report, which
    /// is its [`library`](Self::library).
    ///
    /// # Errors
    /// The first record that is not what it was, or that the report has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use ha_core::journal::{Journal, JournalError};
    /// use ha_core::report::RunReport;
    ///
    /// /// Prints whether a report that was kept is still what the journal says.
    /// async fn audit(kept: &RunReport, journal: &dyn Journal) -> Result<(), JournalError> {
    ///     match kept.verify(&journal.read(&kept.run).await?) {
    ///         Ok(()) => println!("{} records as they were", kept.records.len()),
    ///         Err(first) => println!("{first}"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn verify(&self, entries: &[Entry]) -> Result<(), ChainError> {
        if self.records.is_empty() {
            return Err(ChainError::NoRecords);
        }
        let mut last = Digest::of(self.run.as_str().as_bytes());
        let mut entries = entries.iter();
        for known in &self.records {
            let sequence = known.sequence;
            last = next(&last, entries.next().ok_or(ChainError::Missing { sequence })?);
            if last != known.hash {
                return Err(ChainError::Differs { sequence });
            }
        }
        Ok(())
    }
}

/// Makes the links of a chain, one after the other.
#[derive(Debug)]
pub(super) struct Chain {
    last: Digest,
    /// What the plan of the last entry speaks of.
    facts: Facts,
}

impl Chain {
    pub(super) fn begin(run: &RunId, facts: &Facts) -> Self {
        Self { last: Digest::of(run.as_str().as_bytes()), facts: facts.clone() }
    }

    pub(super) fn link(&mut self, topology: &Topology, entry: &Entry, at_ms: u64) -> ChainedRecord {
        if let Record::Opened { plan } | Record::Replanned { plan } = &entry.record {
            self.facts = plan.facts.clone();
        }
        self.last = next(&self.last, entry);
        ChainedRecord {
            sequence: entry.sequence,
            epoch: entry.epoch.number(),
            at_ms,
            kind: kind(&entry.record).into(),
            message: self.message(topology, &entry.record),
            hash: self.last.clone(),
        }
    }

    fn message(&self, topology: &Topology, record: &Record) -> String {
        match record {
            Record::Opened { plan } => {
                let (digest, goal) = (plan.digest(), plan.goal_message());
                let to = if goal.is_empty() { "" } else { " to " };
                format!(
                    "plan {}: {} {}{to}{goal}, {} steps",
                    digest.short(),
                    plan.procedure,
                    plan.cluster,
                    plan.steps()
                )
            }
            Record::TakenOver { owner, .. } => format!("{owner} has taken the run over"),
            Record::Turned { message, .. } => message.clone(),
            Record::Intent { order, at } => {
                let why = match at.mode {
                    Mode::Forward | Mode::Ended(_) => "",
                    Mode::Compensating => "rollback: ",
                    Mode::Reacting => "reaction: ",
                    Mode::Withdrawing => "taken back: ",
                };
                format!("{why}{}", order.message(topology, &self.facts))
            }
            Record::Outcome { order, result, evidence } => {
                let result = outcome(*result);
                format!("{}, {result}: {evidence}", order.message(topology, &self.facts))
            }
            Record::DomainLost { domain } => format!("failure domain {} is lost", topology.domain_name(*domain)),
            Record::Replanned { plan } => {
                let what = if plan.goes_back() { "to go back" } else { "to finish the change" };
                format!("planned anew {what}: plan {}, {} steps", plan.digest().short(), plan.steps())
            }
            Record::Requested { request, refused, .. } => AskedFor::new(request, refused.as_deref()).to_string(),
            Record::ApprovalAsked { approval } => {
                format!("waits for an approval at step {}.{}", approval.stage + 1, approval.step + 1)
            }
            Record::Continued { message } => message.clone(),
            Record::Closed { end, open } if open.is_empty() => format!("ended: {end}"),
            Record::Closed { end, open } => format!("ended: {end}; still open: {}", open.join(", ")),
        }
    }
}

/// Says what came of a step.
pub(super) fn outcome(kind: OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::Done => "done",
        OutcomeKind::NotDone => "not done",
        OutcomeKind::Unknown => "unknown",
    }
}

/// Names the kind of a record as its JSON does.
fn kind(record: &Record) -> &'static str {
    match record {
        Record::Opened { .. } => "opened",
        Record::TakenOver { .. } => "taken-over",
        Record::Turned { .. } => "turned",
        Record::Intent { .. } => "intent",
        Record::Outcome { .. } => "outcome",
        Record::DomainLost { .. } => "domain-lost",
        Record::Replanned { .. } => "replanned",
        Record::Requested { .. } => "requested",
        Record::ApprovalAsked { .. } => "approval-asked",
        Record::Continued { .. } => "continued",
        Record::Closed { .. } => "closed",
    }
}

/// Returns the hash of an entry that follows one with the hash `before`.
fn next(before: &Digest, entry: &Entry) -> Digest {
    let mut text = format!("{before}\n");
    // An entry is numbers, texts and maps with keys that are texts: writing it as JSON cannot fail.
    write_canonical(&serde_json::to_value(entry).unwrap_or_default(), &mut text);
    Digest::of(text.as_bytes())
}

/// Writes JSON without white space and with sorted keys, in whatever order this build of `serde_json` keeps them.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (number, (key, value)) in fields.into_iter().enumerate() {
                let comma = if number == 0 { "" } else { "," };
                let _ = write!(text, "{comma}{}:", Value::from(key.as_str()));
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_canonical_form_has_sorted_keys_and_no_white_space() {
        let mut text = String::new();
        write_canonical(&json!({"b": [1, null, "x\n"], "a": {"d": true, "c": -2}}), &mut text);
        assert_eq!(text, r#"{"a":{"c":-2,"d":true},"b":[1,null,"x\n"]}"#);
    }
}
