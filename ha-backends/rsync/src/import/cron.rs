use super::schedule::Schedule;
use super::text::Text;

/// Which form the lines of a crontab have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CrontabForm {
    /// A user's own, as `crontab -l` prints it: a time and a command.
    User,
    /// That of `/etc/crontab` and `/etc/cron.d`: a time, an account and a command.
    System,
}

impl CrontabForm {
    /// Returns the form that a file of this name has.
    pub fn of(name: &str) -> Self {
        let is_system = name == "/etc/crontab" || name.split('/').rev().skip(1).any(|folder| folder == "cron.d");
        if is_system { Self::System } else { Self::User }
    }
}

/// What starts a job.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Trigger {
    /// The clock.
    Schedule(Schedule),
    /// The start of the machine.
    Startup,
    /// A change below a path (incron).
    FileEvent {
        /// The path.
        path: String,
    },
}

/// A line that starts a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) trigger: Trigger,
    pub(super) account: Option<String>,
    /// The command as the shell gets it.
    pub(super) command: String,
    /// Whether cron ends the command at a percent sign, and gives the rest as input.
    pub(super) is_cut: bool,
    /// Whether the line is a comment.
    pub(super) is_comment: bool,
}

/// What a crontab has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Crontab {
    pub(super) entries: Vec<Entry>,
    pub(super) variables: Vec<(String, String)>,
    /// Lines that are neither a job, nor a variable, nor a comment.
    pub(super) unclear: Vec<usize>,
}

impl Crontab {
    pub(super) fn parse(text: &Text, form: CrontabForm) -> Self {
        let mut crontab = Self::default();
        for (line, text) in text.lines() {
            let trimmed = text.trim();
            if trimmed.is_empty() {
                continue;
            }
            if let Some(comment) = trimmed.strip_prefix('#') {
                // Words may be in front of what was a job: why it is held.
                let begins = comment.match_indices(char::is_whitespace).map(|(at, _)| at + 1).take(LONGEST_REASON);
                let mut parts = std::iter::once(0).chain(begins).filter_map(|at| comment.get(at..));
                crontab.entries.extend(parts.find_map(|part| entry(part.trim_start_matches('#'), form, line, true)));
            } else if let Some(entry) = entry(trimmed, form, line, false) {
                crontab.entries.push(entry);
            } else if let Some(variable) = variable(trimmed) {
                crontab.variables.push(variable);
            } else {
                crontab.unclear.push(line);
            }
        }
        crontab
    }
}

/// So many words in front of a job in a comment are read.
const LONGEST_REASON: usize = 32;

fn entry(text: &str, form: CrontabForm, line: usize, is_comment: bool) -> Option<Entry> {
    if text.starts_with('/') {
        return event(text, line, is_comment);
    }
    let (time, mut rest) = cut(text, if text.starts_with('@') { 1 } else { 5 })?;
    let trigger = if time == "@reboot" { Trigger::Startup } else { Trigger::Schedule(Schedule::parse(time)?) };
    let mut account = None;
    if form == CrontabForm::System {
        let (name, command) = cut(rest, 1)?;
        (account, rest) = (Some(name.to_string()), command);
    }
    let (command, is_cut) = unescaped(rest);
    (!command.trim().is_empty()).then_some(Entry { line, trigger, account, command, is_cut, is_comment })
}

/// Reads a line of incron: a path, the events and a command.
fn event(text: &str, line: usize, is_comment: bool) -> Option<Entry> {
    let (path, rest) = cut(text, 1)?;
    let (mask, command) = cut(rest, 1)?;
    let is_mask = |word: &str| word.split(',').all(|event| event.starts_with("IN_") || event.contains('='));
    let trigger = Trigger::FileEvent { path: path.into() };
    // What incron puts in for $@, $# and the like is not known beforehand.
    let entry = Entry { line, trigger, account: None, command: command.into(), is_cut: false, is_comment };
    is_mask(mask).then_some(entry)
}

/// Cuts so many words off; `None` where there is nothing behind them.
fn cut(text: &str, words: usize) -> Option<(&str, &str)> {
    let mut rest = text;
    for _ in 0..words {
        rest = rest.trim_start();
        rest = &rest[rest.find([' ', '\t'])?..];
    }
    let head = text[..text.len() - rest.len()].trim();
    let rest = rest.trim_start();
    (!rest.is_empty()).then_some((head, rest))
}

/// Returns what the shell gets: cron ends the command at the first `%` without a backslash.
fn unescaped(text: &str) -> (String, bool) {
    let (mut command, mut chars) = (String::new(), text.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.peek() == Some(&'%') => command.extend(chars.next()),
            '%' => return (command, true),
            char => command.push(char),
        }
    }
    (command, false)
}

fn variable(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim().trim_matches(['"', '\'']), value.trim());
    let is_name = !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    let quoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    is_name.then(|| (name.to_string(), quoted.unwrap_or(value).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str, form: CrontabForm) -> Vec<(usize, Option<String>, String, bool, bool)> {
        let crontab = Crontab::parse(&Text::new("c", text.as_bytes()), form);
        let show = |entry: Entry| (entry.line, entry.account, entry.command, entry.is_cut, entry.is_comment);
        crontab.entries.into_iter().map(show).collect()
    }

    #[test]
    fn both_forms_are_read() {
        let user = "MAILTO=ops\n\n* * * * * /opt/a.sh x\n@reboot b\n# a comment about rsync\n#*/5 * * * * c\n";
        let expected = [
            (3, None, "/opt/a.sh x".into(), false, false),
            (4, None, "b".into(), false, false),
            (6, None, "c".into(), false, true),
        ];
        assert_eq!(entries(user, CrontabForm::User), expected);
        let system = "*\t*  * * *   wso2   /opt/a.sh\n@hourly root b c\n* * * * * lonely\n";
        let expected = [
            (1, Some("wso2".into()), "/opt/a.sh".into(), false, false),
            (2, Some("root".into()), "b c".into(), false, false),
        ];
        assert_eq!(entries(system, CrontabForm::System), expected);
        assert_eq!(Crontab::parse(&Text::new("c", system.as_bytes()), CrontabForm::System).unclear, [3]);
    }

    #[test]
    fn a_percent_sign_ends_a_command_and_an_escaped_one_does_not() {
        assert_eq!(entries("* * * * * a \\%F b%in put", CrontabForm::User)[0].2, "a %F b");
        assert!(entries("* * * * * a %", CrontabForm::User)[0].3);
        assert!(!entries("* * * * * a \\%", CrontabForm::User)[0].3);
    }

    #[test]
    fn variables_and_events_are_read() {
        let text = "HOME = \"/opt/my home\"\nSHELL=/bin/bash\n/srv/x IN_CREATE,IN_MODIFY /opt/a.sh $@\nnonsense\ntwo words = x\n= x\n/x IN_CREATE,no y\n";
        let crontab = Crontab::parse(&Text::new("c", text.as_bytes()), CrontabForm::User);
        assert_eq!(crontab.variables[0], ("HOME".into(), "/opt/my home".into()));
        assert_eq!(crontab.entries[0].trigger, Trigger::FileEvent { path: "/srv/x".into() });
        assert_eq!(crontab.unclear, [4, 5, 6, 7]);
    }

    #[test]
    fn the_name_tells_the_form() {
        for (name, form) in [
            ("/etc/crontab", CrontabForm::System),
            ("/etc/cron.d/wso2", CrontabForm::System),
            ("/var/spool/cron/crontabs/wso2", CrontabForm::User),
            ("cron.d", CrontabForm::User),
        ] {
            assert_eq!(CrontabForm::of(name), form, "{name}");
        }
    }
}
