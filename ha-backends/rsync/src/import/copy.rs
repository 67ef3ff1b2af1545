use super::field::{Field, Piece};
use super::shell::{Part, Script, Word};

/// A call of rsync, its arguments sorted out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Copy {
    pub(super) rsh: Option<Field>,
    pub(super) excludes: Vec<Field>,
    /// The options that the other fields do not hold.
    pub(super) options: Vec<String>,
    /// Those of the options that change what is copied or how.
    pub(super) odd: Vec<String>,
    pub(super) deletes: bool,
    pub(super) max_delete: Option<Field>,
    pub(super) timeout: Option<Field>,
    pub(super) delays_updates: bool,
    pub(super) is_dry: bool,
    /// The sources, and the destination behind them.
    pub(super) ends: Vec<Field>,
    /// What is no option and no end, as it is written.
    pub(super) unclear: Option<String>,
}

/// Options that take a value, which may be the next word.
const WITH_VALUE: &str = "address backup-dir block-size bwlimit cc checksum-choice checksum-seed chmod chown compare-dest \
    compress-choice compress-level contimeout copy-as copy-dest debug exclude exclude-from files-from filter groupmap iconv \
    include include-from info link-dest log-file log-file-format max-alloc max-delete max-size min-size modify-window \
    only-write-batch out-format outbuf partial-dir password-file port protocol read-batch remote-option rsh rsync-path \
    skip-compress sockopts stop-after stop-at suffix temp-dir timeout usermap write-batch zc zl";

/// Options that change nothing about what comes to be there.
const USUAL: &str = "archive recursive links perms times group owner devices specials verbose quiet human-readable progress stats \
    itemize-changes info out-format log-file log-file-format compress compress-level partial checksum whole-file blocking-io \
    contimeout no-motd delay-updates numeric-ids old-compress new-compress outbuf";

const USUAL_LETTERS: &str = "arlptgoDvqhizPcWes";

impl Copy {
    /// Reads the arguments, without the name.
    pub(super) fn parse(arguments: &[Field]) -> Self {
        let (mut copy, mut rest) = (Self::default(), arguments.iter());
        let mut only_ends = false;
        while let Some(field) = rest.next() {
            let shown = field.shown();
            if only_ends || !shown.starts_with('-') || shown == "-" {
                copy.ends.push(field.clone());
            } else if shown == "--" {
                only_ends = true;
            } else if let Some(long) = shown.strip_prefix("--") {
                if !long
                    .split('=')
                    .next()
                    .is_some_and(|name| name.chars().all(|char| char.is_ascii_alphanumeric() || char == '-'))
                {
                    copy.unclear.get_or_insert(shown.clone());
                }
                let (name, value) = match long.split_once('=') {
                    Some((name, _)) => (name, Some(behind(field, name.len() + 3))),
                    None if is_in(WITH_VALUE, long) => (long, rest.next().cloned()),
                    None => (long, None),
                };
                copy.long(name, value, &shown);
            } else {
                copy.short(field, &shown, &mut rest);
            }
        }
        copy
    }

    fn long(&mut self, name: &str, value: Option<Field>, shown: &str) {
        match name {
            "rsh" => self.rsh = value,
            "exclude" => self.excludes.extend(value),
            "max-delete" => self.max_delete = value,
            "timeout" => self.timeout = value,
            "dry-run" | "list-only" => self.is_dry = true,
            "delete" | "del" | "delete-before" | "delete-during" | "delete-delay" | "delete-after" => {
                self.deletes = true
            }
            _ => {
                self.deletes |= name == "delete-excluded";
                self.delays_updates |= name == "delay-updates";
                let text = match value {
                    Some(value) if !shown.contains('=') => format!("{shown}={}", value.shown()),
                    Some(_) | None => shown.to_string(),
                };
                if !is_in(USUAL, name) {
                    self.odd.push(text.clone());
                }
                self.options.push(text);
            }
        }
    }

    fn short<'f>(&mut self, field: &Field, shown: &str, rest: &mut impl Iterator<Item = &'f Field>) {
        let mut letters = String::from("-");
        let known = match field.pieces.first() {
            Some(Piece::Text(text)) => text.len(),
            Some(Piece::Loop { .. } | Piece::Output(_) | Piece::Unknown(_)) | None => 0,
        };
        for (at, letter) in shown.char_indices().skip(1) {
            if at >= known {
                self.unclear.get_or_insert(shown.into());
                break;
            }
            let after = at + letter.len_utf8();
            if "eBTfM@".contains(letter) {
                let value = if after < shown.len() { Some(behind(field, after)) } else { rest.next().cloned() };
                match letter {
                    'e' => self.rsh = value,
                    _ => {
                        let text = format!("-{letter} {}", value.map(|value| value.shown()).unwrap_or_default());
                        self.odd.push(text.clone());
                        self.options.push(text);
                    }
                }
                break;
            }
            self.is_dry |= letter == 'n';
            if !USUAL_LETTERS.contains(letter) && letter != 'n' {
                self.odd.push(format!("-{letter}"));
            }
            letters.push(letter);
        }
        if letters.len() > 1 {
            self.options.push(letters);
        }
    }

    /// Returns the words of the remote shell; `None` where one of them is not known.
    pub(super) fn rsh_words(field: &Field) -> Option<Vec<String>> {
        let script = Script::parse(&field.text()?, 1, false);
        let [command] = script.commands.as_slice() else { return None };
        let is_plain = command.assigns.is_empty() && command.redirects.is_empty() && script.unclear.is_empty();
        let text = |part: &Part| match part {
            Part::Text { text, .. } => Some(text.clone()),
            Part::Variable { .. } | Part::Output { .. } | Part::Other(_) => None,
        };
        let word = |word: &Word| word.parts.iter().map(text).collect::<Option<String>>();
        if is_plain { command.words.iter().map(word).collect() } else { None }
    }
}

fn is_in(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == name)
}

/// Returns what is behind the first bytes of a field; these are text.
fn behind(field: &Field, mut bytes: usize) -> Field {
    let mut pieces = Vec::new();
    for piece in &field.pieces {
        match piece {
            Piece::Text(text) if bytes > 0 => {
                let cut = bytes.min(text.len());
                bytes -= cut;
                match text.get(cut..) {
                    Some("") => {}
                    Some(rest) => pieces.push(Piece::Text(rest.into())),
                    None => pieces.push(Piece::Unknown(text.clone())),
                }
            }
            piece => pieces.push(piece.clone()),
        }
    }
    Field { pieces, is_pattern: field.is_pattern }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(words: &[&str]) -> Copy {
        Copy::parse(&words.iter().map(|word| Field::of(word)).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_sorted_out() {
        let ssh = "ssh -i /k -o 'A b'";
        for words in [
            &["--delete", "-arve", ssh, "/a/", "h:/b"] as &[&str],
            &["-arv", &format!("-e{ssh}"), "--delete-after", "/a/", "h:/b"],
            &["-arv", "--rsh", ssh, "--del", "--", "/a/", "h:/b"],
            &["-arv", &format!("--rsh={ssh}"), "/a/", "h:/b", "--delete"],
        ] {
            let copy = copy(words);
            let rsh = copy.rsh.as_ref().and_then(Copy::rsh_words).unwrap();
            assert_eq!(rsh, ["ssh", "-i", "/k", "-o", "A b"], "{words:?}");
            assert_eq!((copy.deletes, copy.ends.len(), copy.options), (true, 2, vec!["-arv".to_string()]), "{words:?}");
        }
    }

    #[test]
    fn values_are_kept_and_odd_options_told() {
        let copy = copy(&[
            "-aun",
            "--exclude",
            "/a",
            "--exclude=b",
            "--max-delete=5",
            "--timeout",
            "30",
            "--bwlimit=9",
            "-f",
            "- x",
            "s/",
            "d",
        ]);
        assert_eq!(copy.excludes.iter().map(Field::shown).collect::<Vec<_>>(), ["/a", "b"]);
        assert_eq!(copy.odd, ["-u", "--bwlimit=9", "-f - x"]);
        assert_eq!((copy.max_delete.unwrap().shown(), copy.timeout.unwrap().shown()), ("5".into(), "30".into()));
        assert!(copy.is_dry && !copy.deletes);
    }
}
