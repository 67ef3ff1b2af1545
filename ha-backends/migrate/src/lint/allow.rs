//! Comments that allow a rule: `-- ha:allow HA006 the table has ten rows`.

use super::{Finding, LintInput, Rule, Severity};

/// The mark of such a comment.
const MARK: &str = "ha:allow";

/// The comments of one script.
#[derive(Debug, Default)]
pub(super) struct Allows {
    /// For the whole script.
    header: Vec<(Rule, String)>,
    /// By the line of the statement below them.
    statements: Vec<(usize, Rule, String)>,
    /// Comments that allow nothing.
    pub(super) faults: Vec<Finding>,
}

impl Allows {
    pub(super) fn read(input: &LintInput<'_>) -> Self {
        let mut allows = Self::default();
        if !input.source.contains(MARK) {
            return allows;
        }
        let lines: Vec<&str> = input.source.lines().collect();
        let first = input.statements.first().map_or(usize::MAX, |statement| statement.line);
        // directly above a statement, but not inside the one before it
        let mut end_before = 0;
        let mut taken = Vec::new();
        for statement in &input.statements {
            let mut at = statement.line.saturating_sub(1);
            while at > end_before
                && let Some(comment) = lines.get(at - 1).and_then(|line| comment(line))
            {
                if let Some(allow) = comment.trim_start().strip_prefix(MARK) {
                    taken.push(at);
                    if let Some((rule, reason)) = allows.parse(input, at, allow) {
                        allows.statements.push((statement.line, rule, reason));
                    }
                }
                at -= 1;
            }
            end_before = statement.line + statement.text.matches('\n').count();
        }
        // the header: comments above the first statement
        for (at, line) in lines.iter().enumerate().map(|(at, line)| (at + 1, line)).take_while(|(at, _)| *at < first) {
            let Some(comment) = comment(line) else { continue };
            if let Some(allow) = comment.trim_start().strip_prefix(MARK)
                && !taken.contains(&at)
                && let Some(header) = allows.parse(input, at, allow)
            {
                allows.header.push(header);
            }
        }
        allows
    }

    /// The reason why a rule is allowed for the statement of a line.
    pub(super) fn reason(&self, rule: Rule, line: usize) -> Option<&str> {
        let statement = self.statements.iter().find(|(at, allowed, _)| *at == line && *allowed == rule);
        let header = || self.header.iter().find(|(allowed, _)| *allowed == rule).map(|(_, reason)| reason.as_str());
        statement.map(|(_, _, reason)| reason.as_str()).or_else(header)
    }

    fn parse(&mut self, input: &LintInput<'_>, line: usize, allow: &str) -> Option<(Rule, String)> {
        let (id, reason) = allow.trim().split_once(char::is_whitespace).unwrap_or((allow.trim(), ""));
        let Some(rule) = Rule::by_id(id) else {
            let what = format!("ha:allow names {id:?}, which is no rule; write `-- ha:allow HA006 reason`");
            self.faults.push(Finding::new(Rule::Opaque, Severity::Error, input.file, line, what));
            return None;
        };
        if reason.trim().is_empty() {
            let what = format!("ha:allow {rule} gives no reason and allows nothing; write why it is safe here");
            self.faults.push(Finding::new(rule, Severity::Error, input.file, line, what));
            return None;
        }
        Some((rule, reason.trim().to_owned()))
    }
}

/// The text of a line that is a comment alone.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim();
    line.strip_prefix("--").or_else(|| line.strip_prefix('#'))
}
