use super::Phase;
use crate::split::Statement;

/// A rule of the lint that a script allows to be broken, with the reason.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Allow {
    /// The rule's id, such as `HA005`.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// The line of the comment, from 1.
    pub line: usize,
}

/// A comment `-- ha:` that says nothing that is known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct HeaderError {
    /// The line of the comment, from 1.
    pub line: usize,
    /// What is wrong, and the fix.
    pub what: String,
}

/// What the comments at the top of a script say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) phase: Option<Phase>,
    pub(crate) no_transaction: bool,
    pub(crate) allows: Vec<Allow>,
}

/// One comment.
enum Said {
    Phase(Phase),
    NoTransaction,
    Allow(Allow),
    /// `ha:backfill` and `ha:verify`: read where the backfill is prepared.
    Backfill,
}

const WORDS: [&str; 5] = ["allow", "backfill", "no-transaction", "phase", "verify"];

impl Header {
    /// Reads the comments before the first statement; and all that is wrong in them.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<HeaderError>> {
        let (mut header, mut errors) = (Self::default(), Vec::new());
        let mut in_comment = false;
        for (number, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
            let line = line.trim();
            if in_comment || line.starts_with("/*") {
                let Some((_, behind)) = line.split_once("*/") else {
                    in_comment = true;
                    continue;
                };
                in_comment = false;
                if behind.trim().is_empty() {
                    continue;
                }
                break;
            }
            if !(line.is_empty() || line.starts_with("--") || line.starts_with("//") || line.starts_with('#')) {
                break;
            }
            match said(line, number) {
                Some(Ok(Said::Phase(phase))) => match header.phase.replace(phase) {
                    Some(other) if other != phase => {
                        let what = format!("ha:phase {phase} contradicts ha:phase {other} above: keep one of the two");
                        errors.push(HeaderError { line: number, what });
                    }
                    Some(_) | None => {}
                },
                Some(Ok(Said::NoTransaction)) => header.no_transaction = true,
                Some(Ok(Said::Backfill)) => {}
                Some(Ok(Said::Allow(allow))) => header.allows.push(allow),
                Some(Err(error)) => errors.push(error),
                None => {}
            }
        }
        if errors.is_empty() { Ok(header) } else { Err(errors) }
    }
}

/// Reads the `-- ha:allow` comments directly above a statement, without a blank line between. What is above the first statement of
/// a script is its header, which counts for all of it: none are returned there.
///
/// # Errors
/// [`HeaderError`] for a comment `-- ha:` between two statements that would have no effect: another word than `ha:allow`, a rule
/// without a reason, an `ha:allow` behind a statement, or with a blank line below it.
pub fn statement_allows(statement: &Statement<'_>) -> Result<Vec<Allow>, HeaderError> {
    let above = statement.above;
    let is_header = statement.offset == above.len();
    if is_header || !above.contains("--") {
        return Ok(Vec::new());
    }
    let first = statement.line.saturating_sub(above.matches('\n').count());
    let lines: Vec<(usize, &str)> = (first..).zip(above.split('\n').map(str::trim)).collect();
    let is_blank = |(number, line): &&(usize, &str)| line.is_empty() && *number < statement.line;
    let last_blank = lines.iter().rfind(is_blank).map_or(first, |(number, _)| *number);
    let mut allows = Vec::new();
    for (line, text) in lines {
        let refuse = |what: &str| Err(HeaderError { line, what: what.into() });
        match said(text, line) {
            // The first line is that of the terminator before.
            Some(Ok(Said::Allow(_))) if line <= last_blank.max(first) => {
                return refuse("ha:allow with no statement in the next lines: move it directly above its statement");
            }
            Some(Ok(Said::Allow(allow))) => allows.push(allow),
            Some(Ok(Said::Backfill)) => {}
            Some(Ok(Said::Phase(_) | Said::NoTransaction)) => {
                return refuse("only ha:allow can be said of one statement: move this to the top of the script");
            }
            Some(Err(error)) => return Err(error),
            None => {}
        }
    }
    Ok(allows)
}

/// Reads a comment line that begins with `-- ha:`.
fn said(line: &str, number: usize) -> Option<Result<Said, HeaderError>> {
    let comment = line.strip_prefix("--")?.trim_start();
    let (ha, text) = comment.split_at_checked(3)?;
    if !ha.eq_ignore_ascii_case("ha:") {
        return None;
    }
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Some(read(word, rest.trim(), number).map_err(|what| HeaderError { line: number, what }))
}

fn read(word: &str, rest: &str, line: usize) -> Result<Said, String> {
    match word {
        "phase" => match Phase::from_name(rest) {
            Some(phase) => Ok(Said::Phase(phase)),
            None => {
                let names = Phase::ALL.map(|phase| phase.to_string());
                let meant = nearest(rest, names.iter().map(String::as_str));
                Err(format!("ha:phase {rest:?} is no phase: write expand, backfill or contract{meant}"))
            }
        },
        "backfill" | "verify" => Ok(Said::Backfill),
        "no-transaction" if rest.is_empty() => Ok(Said::NoTransaction),
        "no-transaction" => Err("ha:no-transaction has nothing behind it: put the reason on a line of its own".into()),
        "allow" => {
            let (rule, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let digits = rule.strip_prefix("HA").unwrap_or_default();
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("ha:allow {rule:?} names no rule: write its id, such as HA005, and the reason"));
            }
            if reason.trim().is_empty() {
                return Err(format!("ha:allow {rule} has no reason: write why it is safe behind it"));
            }
            Ok(Said::Allow(Allow { rule: rule.into(), reason: reason.trim().into(), line }))
        }
        word => {
            let meant = nearest(word, WORDS.into_iter());
            Err(format!(
                "ha:{word} is not known: write ha:phase, ha:allow, ha:backfill, ha:verify or ha:no-transaction{meant}"
            ))
        }
    }
}

/// Names the word that was probably meant.
fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> String {
    let word = word.to_lowercase();
    let meant = words
        .map(|known| (distance(&word, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .min_by_key(|(distance, _)| *distance);
    meant.map(|(_, known)| format!("; did you mean {known}?")).unwrap_or_default()
}

/// Counts the letters to change, add or leave out. Long words are far from all.
fn distance(one: &str, other: &str) -> usize {
    if one.len() > 32 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in (1..).zip(one.chars()) {
        let mut next = vec![number];
        for ((diagonal, above), known) in row.iter().zip(row.iter().skip(1)).zip(&other) {
            let left = next.last().copied().unwrap_or(number);
            next.push((diagonal + usize::from(letter != *known)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Dialect;
    use crate::split::split;

    fn allow(rule: &str, reason: &str, line: usize) -> Allow {
        Allow { rule: rule.into(), reason: reason.into(), line }
    }

    #[test]
    fn the_header_is_all_comments_before_the_first_statement() {
        let text = "\u{feff}/*\n * Copyright; -- ha:phase backfill\n */\r\n-- ha:phase contract\r\n\n--ha:allow HA005  no old node  \n# note\n// x\n\
            -- HA:no-transaction\nDROP TABLE t;\n-- ha:phase expand\n";
        let header = Header::parse(text).unwrap();
        let expected = Header {
            phase: Some(Phase::Contract),
            no_transaction: true,
            allows: vec![allow("HA005", "no old node", 6)],
        };
        assert_eq!(header, expected);
        for text in ["", "DROP TABLE t; -- ha:phase x", "/* a */ b\n-- ha:phase x", "-- haha: phase", "-- ha phase x"] {
            assert_eq!(Header::parse(text), Ok(Header::default()), "{text}");
        }
    }

    #[test]
    fn all_that_is_wrong_in_a_header_is_told_with_its_line_and_the_fix() {
        let text = "-- ha:fase expand\n-- ha:phase expnd\n-- ha:allow HA005\n-- ha:allow five because\n-- ha:no-transaction yes\n\
            -- ha:phase contract\n-- ha:phase expand\n-- ha:\n";
        let errors = Header::parse(text).unwrap_err();
        let says = ["mean phase?", "mean expand?", "no reason", "HA005", "own", "contradicts", "not known"];
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 7, 8]);
        for (error, says) in errors.iter().zip(says) {
            assert!(error.what.contains(says), "{error} has no {says:?}");
        }
    }

    #[test]
    fn an_allow_directly_above_a_statement_is_its_own() {
        let text = "-- ha:allow HA001 of all\nSELECT 1;\n-- ha:allow HA011 few rows\r\n-- why\n  -- ha:allow HA012 empty\nUPDATE t;\n\n\
            -- ha:allow HA005 gone\n DROP TABLE t; SELECT 2;";
        let statements = split(Dialect::Postgres, text).unwrap();
        let found: Vec<_> = statements.iter().map(statement_allows).collect();
        assert_eq!(found[0], Ok(vec![]));
        assert_eq!(found[1], Ok(vec![allow("HA011", "few rows", 3), allow("HA012", "empty", 5)]));
        assert_eq!(found[2], Ok(vec![allow("HA005", "gone", 8)]));
        assert_eq!(found[3], Ok(vec![]));
        for (between, line, says) in [
            (" -- ha:allow HA001 behind\n", 2, "directly above"),
            ("\n-- ha:allow HA001 far away\n\n", 3, "directly above"),
            ("\n-- ha:allow HA001\n", 3, "no reason"),
            ("\n\n-- ha:phase expand\n\n", 4, "top of the script"),
            ("\n-- ha:no-transaction\n", 3, "top of the script"),
            ("\n-- ha:alow HA001 x\n", 3, "mean allow?"),
        ] {
            let text = format!("-- a\nSELECT 1;{between}SELECT 2");
            let error = statement_allows(&split(Dialect::Postgres, &text).unwrap()[1]).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.what.contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_header_or_an_error_with_a_line_of_it(text in "(-- ha:|phase |allow |HA005 |expand|x|é|\n|/\\*|\\*/| |--){0,30}") {
            if let Err(errors) = Header::parse(&text) {
                let last = text.lines().count();
                prop_assert!(!errors.is_empty() && errors.iter().all(|error| (1..=last).contains(&error.line)));
            }
            for statement in split(Dialect::Postgres, &text).unwrap_or_default() {
                if let Ok(allows) = statement_allows(&statement) {
                    let lines: Vec<&str> = text.lines().collect();
                    prop_assert!(allows.iter().all(|allow| lines[allow.line - 1].contains(&allow.rule)));
                }
            }
        }
    }
}
