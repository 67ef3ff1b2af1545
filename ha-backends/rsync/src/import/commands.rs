use super::field::Field;

/// A lock that a command takes with `flock`.
#[derive(Clone, Debug)]
pub(super) struct Flock {
    /// The file, or the number of a descriptor.
    pub(super) file: Field,
    /// Whether it is waited for.
    pub(super) waits: bool,
}

/// What a command starts.
#[derive(Debug)]
pub(super) enum Inner {
    /// Another command: under a time limit, or a lock.
    Command { fields: Vec<Field>, timed: bool, lock: Option<Flock> },
    /// A text that a shell reads, under a lock perhaps.
    Text { text: Field, lock: Option<Flock> },
    /// A file that a shell reads; the rest are its arguments.
    Script { shell: String, fields: Vec<Field> },
    /// A file whose commands come here.
    Sourced { fields: Vec<Field> },
    /// Itself.
    Plain,
}

/// Commands that copy nothing and start nothing.
const HARMLESS: &str = "[ [[ : awk basename break cat cd chgrp chmod chown continue cp curl cut date declare df dirname du echo \
    exec exit export false find dotlockfile grep egrep head hostname id inotifywait kill let ln local lockfile lockfile-create lockfile-remove logger ls mail mailx mkdir mktemp mount mountpoint mv nc \
    ping popd printf ps pgrep pidof pushd pwd read readlink readonly return rm rmdir sed sendmail set shift sleep sort ssh stat \
    sync tail tee test touch tr trap true type typeset ulimit umask umount uname uniq unset wait wc which whoami";

pub(super) fn is_harmless(name: &str) -> bool {
    HARMLESS.split_ascii_whitespace().any(|known| known == name)
}

/// Tells whether a name is that of a shell.
pub(super) fn is_shell(name: &str) -> bool {
    is_plain_shell(name) || ["bash", "ksh", "mksh", "zsh"].contains(&name)
}

/// Tells whether a shell knows only what every shell knows.
pub(super) fn is_plain_shell(name: &str) -> bool {
    ["sh", "dash", "ash"].contains(&name)
}

/// Returns the last part of the first word.
pub(super) fn name(fields: &[Field]) -> Option<String> {
    let text = fields.first()?.text()?;
    text.rsplit('/').next().map(String::from)
}

/// Returns what a command starts, one wrapper at a time.
pub(super) fn inner(fields: &[Field]) -> Inner {
    let Some(name) = name(fields) else { return Inner::Plain };
    let rest = &fields[1..];
    let command = |fields: &[Field]| Inner::Command { fields: fields.to_vec(), timed: false, lock: None };
    let inner = match name.as_str() {
        "sudo" | "doas" => command(behind_options(rest, "ugCph")),
        "nice" => command(behind_options(rest, "n")),
        "ionice" => command(behind_options(rest, "cn")),
        "nohup" | "setsid" | "command" | "builtin" | "chronic" | "time" | "exec" => command(behind_options(rest, "a")),
        "env" => {
            let rest = behind_options(rest, "uC");
            let is_value = |field: &&Field| field.shown().contains('=');
            command(&rest[rest.iter().take_while(is_value).count()..])
        }
        "timeout" => {
            let fields = behind_options(rest, "ks").get(1..).unwrap_or_default().to_vec();
            Inner::Command { fields, timed: true, lock: None }
        }
        "run-one" => Inner::Command {
            fields: rest.to_vec(),
            timed: false,
            lock: Some(Flock { file: Field::of("run-one"), waits: false }),
        },
        "flock" => flock(rest),
        "su" | "runuser" => match option(rest, "-c") {
            Some(text) => Inner::Text { text, lock: None },
            None => return Inner::Plain,
        },
        "source" | "." => return Inner::Sourced { fields: rest.to_vec() },
        shell if is_shell(shell) => return shell_call(shell, rest),
        _ => return Inner::Plain,
    };
    match inner {
        Inner::Command { fields, lock: None, .. } if fields.is_empty() => Inner::Plain,
        Inner::Command { .. } | Inner::Text { .. } | Inner::Script { .. } | Inner::Sourced { .. } | Inner::Plain => {
            inner
        }
    }
}

fn flock(given: &[Field]) -> Inner {
    let rest = behind_options(given, "wE");
    let Some((file, inner)) = rest.split_first() else { return Inner::Plain };
    let options: Vec<String> = given[..given.len() - rest.len()].iter().map(Field::shown).collect();
    let has = |letter: char, long: &str| {
        let short = |text: &&String| text.starts_with('-') && !text.starts_with("--") && text.contains(letter);
        options.iter().any(|text| text == long) || options.iter().any(|text| short(&text))
    };
    let keeps_away = !has('s', "--shared") && !has('u', "--unlock");
    let waits = !has('n', "--nonblock") && !has('n', "--nb") && !has('w', "--timeout");
    let lock = keeps_away.then(|| Flock { file: file.clone(), waits });
    match option(inner, "-c") {
        Some(text) => Inner::Text { text, lock },
        None if inner.is_empty() && lock.is_none() => {
            Inner::Command { fields: vec![Field::of(":")], timed: false, lock }
        }
        None => Inner::Command { fields: inner.to_vec(), timed: false, lock },
    }
}

fn shell_call(shell: &str, rest: &[Field]) -> Inner {
    let options: Vec<String> =
        rest.iter().map_while(|field| field.text().filter(|text| text.starts_with('-'))).collect();
    let fields = rest[options.len()..].to_vec();
    let takes_text = options.iter().any(|text| !text.starts_with("--") && text.contains('c'));
    match fields.first() {
        Some(text) if takes_text => Inner::Text { text: text.clone(), lock: None },
        Some(_) => Inner::Script { shell: shell.into(), fields },
        None => Inner::Plain,
    }
}

fn option(fields: &[Field], name: &str) -> Option<Field> {
    let at = fields.iter().position(|field| field.text().as_deref() == Some(name))?;
    fields.get(at + 1).cloned()
}

/// Tells whether ssh is told to read no input (`-n`).
pub(super) fn ssh_reads_nothing(fields: &[Field]) -> bool {
    const WITH_VALUE: &str = "BbcDEeFIiJLlmOopQRSWw";
    let mut words = fields.iter().skip(1).map(Field::shown);
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else { return false };
        let value = letters.find(|letter| WITH_VALUE.contains(letter));
        if letters[..value.unwrap_or(letters.len())].contains('n') {
            return true;
        }
        if value == Some(letters.len() - 1) {
            words.next();
        }
    }
    false
}

/// Passes over options; those of `with_value` take the next word, where theirs is not in the same one.
fn behind_options<'f>(mut fields: &'f [Field], with_value: &str) -> &'f [Field] {
    while let Some((first, rest)) = fields.split_first() {
        let Some(text) = first.text().filter(|text| text.len() > 1 && text.starts_with('-')) else { break };
        fields = rest;
        if text == "--" {
            break;
        }
        let takes = !text.starts_with("--") && text.ends_with(|letter| with_value.contains(letter));
        if takes {
            fields = fields.get(1..).unwrap_or_default();
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut fields: Vec<Field> = text.split(' ').map(Field::of).collect();
        let mut out = String::new();
        loop {
            let show = |fields: &[Field]| fields.iter().map(Field::shown).collect::<Vec<_>>().join(" ");
            match inner(&fields) {
                Inner::Command { fields: rest, timed, lock } => {
                    out += if timed { "T " } else { "" };
                    out += &lock.map_or(String::new(), |lock| format!("L:{} ", lock.file.shown()));
                    fields = rest;
                }
                Inner::Text { text, lock } => {
                    out += &lock.map_or(String::new(), |lock| format!("L:{} ", lock.file.shown()));
                    return out + "text " + &text.shown();
                }
                Inner::Script { shell, fields } => return format!("{out}{shell} script {}", show(&fields)),
                Inner::Sourced { fields } => return format!("{out}sourced {}", show(&fields)),
                Inner::Plain => return out + &show(&fields),
            }
        }
    }

    #[test]
    fn wrappers_are_taken_off() {
        let cases = [
            ("rsync -a x y", "rsync -a x y"),
            ("sudo -n -u wso2 nice -n 10 ionice -c2 -n7 rsync x", "rsync x"),
            ("timeout -k 5 60 rsync x", "T rsync x"),
            ("timeout --foreground 60s /opt/a.sh", "T /opt/a.sh"),
            ("/usr/bin/flock -n /l /opt/a.sh b", "L:/l /opt/a.sh b"),
            ("flock -xn -w 5 9", "L:9 "),
            ("flock -s -n /l a", "a"),
            ("flock -u 9", ":"),
            ("flock /l -c text", "L:/l text text"),
            ("env -i A=b rsync x", "rsync x"),
            ("/bin/bash -l a.sh b", "bash script a.sh b"),
            ("sh -ec text", "text text"),
            ("su - wso2 -c text", "text text"),
            (". /x", "sourced /x"),
            ("exec", "exec"),
            ("run-one a", "L:run-one a"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
