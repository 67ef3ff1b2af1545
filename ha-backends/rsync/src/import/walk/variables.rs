use super::super::field::{Piece, assigned};
use super::super::shell::{Command, Join, Section, Word, assignment};
use super::super::trace::AroundKind;
use super::Walker;

/// A variable that a branch sets.
pub(super) struct Branched {
    branch: (usize, Section),
    name: String,
    /// Its value before.
    before: Option<Vec<Piece>>,
}

impl Walker<'_> {
    /// Forgets what was set in branches that end.
    pub(super) fn leave_branches(&mut self) {
        let left = self.branched.extract_if(.., |branched| !self.path.contains(&branched.branch));
        for Branched { name, before, .. } in left {
            let value = self.variables.entry(name).or_default();
            if before.as_ref() != Some(value) {
                *value = vec![Piece::Unknown("a variable that a branch sets".into())];
            }
        }
    }

    pub(super) fn assign(&mut self, command: &Command) {
        let kind = |(block, _): &(usize, Section)| &self.trace.blocks[*block].kind;
        let in_choice = self.path.iter().any(|entry| matches!(kind(entry), AroundKind::Choice));
        let may_be = in_choice || matches!(command.before, Join::And | Join::Or);
        let is_branch = |entry: &&(usize, Section)| {
            matches!(kind(entry), AroundKind::Branch | AroundKind::Loop { .. }) && entry.1 != Section::Condition
        };
        let branch = self.path.iter().rev().find(is_branch).copied();
        for (name, word) in assigns(command) {
            let value = assigned(&word, &self.variables);
            let before = self.variables.get(&name).cloned();
            let is_same = before.as_ref() == Some(&value);
            let value = if may_be && !is_same { vec![Piece::Unknown(format!("${name}"))] } else { value };
            if let Some(branch) = branch.filter(|_| !is_same) {
                self.branched.push(Branched { branch, name: name.clone(), before });
            }
            self.variables.insert(name, value);
        }
    }
}

pub(super) fn is_declaration(command: &Command) -> bool {
    let name = command.words.first().and_then(Word::plain).unwrap_or_default();
    ["export", "local", "readonly", "declare", "typeset"].contains(&name)
}

/// Lists what a command gives to variables.
pub(super) fn assigns(command: &Command) -> Vec<(String, Word)> {
    let words: &[Word] = if is_declaration(command) { &command.words } else { &[] };
    let declared = words.iter().filter_map(assignment);
    let own = if command.words.is_empty() { command.assigns.as_slice() } else { &[] };
    own.iter().cloned().chain(declared).collect()
}
