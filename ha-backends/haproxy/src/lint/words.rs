use std::iter::Peekable;
use std::str::Chars;
use std::time::Duration;

/// One line that says something: its words, as HAProxy cuts them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// From 1 on.
    pub(super) number: usize,
    /// Starts with `no` or `default`: what follows goes back to off. HAProxy takes it for options only.
    pub(super) off: bool,
    /// Never empty.
    pub(super) words: Vec<String>,
}

impl Line {
    /// Returns the word at `index`, or an empty one.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    pub(super) fn starts_with(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(a, b)| a == b)
    }

    /// Returns the word behind `keyword`.
    pub(super) fn after(&self, keyword: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == keyword)?;
        self.words.get(at + 1).map(String::as_str)
    }
}

/// Cuts a configuration into lines; empty ones, comments and the directives of conditional blocks are left out.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line> {
    text.split('\n').zip(1..).filter_map(|(line, number)| {
        let mut words = words(line);
        let off = words.len() > 1 && ["no", "default"].contains(&words[0].as_str());
        if off {
            words.remove(0);
        }
        let says = words.first().is_some_and(|word| !word.starts_with('.'));
        says.then_some(Line { number, off, words })
    })
}

/// Returns the line of the first conditional block.
pub(super) fn first_condition(text: &str) -> Option<usize> {
    let is_condition = |line: &str| line.split_ascii_whitespace().next() == Some(".if");
    text.split('\n').position(is_condition).map(|index| index + 1)
}

/// Cuts one line: white space parts words, `#` starts a comment wherever it stands, quotes may sit inside a word.
/// Environment variables stay as they are. An open quote ends with the line (HAProxy refuses such a file).
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('"' | '\'', None) => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            ('"' | '\'', Some(open)) if open == char => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().push(escaped(&mut chars)),
            ('#', None) => break,
            (' ' | '\t' | '\r' | '\u{b}' | '\u{c}', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// Reads what follows a backslash. What is no escape leaves the backslash, and what follows it, as they are.
fn escaped(chars: &mut Peekable<Chars<'_>>) -> char {
    let plain = match chars.peek() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('x') => {
            let mut ahead = chars.clone().skip(1).map(|char| char.to_digit(16));
            let (Some(Some(high)), Some(Some(low))) = (ahead.next(), ahead.next()) else { return '\\' };
            let Some(char) = char::from_u32(high * 16 + low) else { return '\\' };
            chars.nth(2);
            return char;
        }
        Some(char @ (' ' | '\t' | '\\' | '#' | '\'' | '"' | '$')) => *char,
        Some(_) | None => return '\\',
    };
    chars.next();
    plain
}

/// Reads a time: a whole number with `us`, `ms`, `s`, `m`, `h` or `d`; milliseconds without.
pub(super) fn time(word: &str) -> Option<Duration> {
    let digits = word.find(|char: char| !char.is_ascii_digit()).unwrap_or(word.len());
    let (number, unit) = word.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "" | "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        _ => None,
    }
}

/// Writes a time as it is written in the file.
pub(super) fn show(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_haproxy_cuts_them() {
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("   # all comment", &[]),
            ("  server a 127.0.0.1:1 check#eck", &["server", "a", "127.0.0.1:1", "check"]),
            (r#"ser"ver" 'a' ch"ec"k"#, &["server", "a", "check"]),
            (r"a\ b \# \\ \'", &["a b", "#", "\\", "'"]),
            (r#""a # b" 'c " d' "e ' f""#, &["a # b", "c \" d", "e ' f"]),
            (r#"'\n' "\"" a\x62"#, &["\\n", "\"", "ab"]),
            (r"\xzz \x \q \", &["\\xzz", "\\x", "\\q", "\\"]),
            ("a \"\" ''\r", &["a", "", ""]),
            ("\"open # quote", &["open # quote"]),
            ("bind \"${HOST}:80\"", &["bind", "${HOST}:80"]),
            (r"\x6", &["\\x6"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_keep_their_numbers_and_leave_conditions_out() {
        let found: Vec<_> = lines("a\n\n.if defined(X)\n no option b\ndefault x\nno\n").collect();
        let shown: Vec<_> = found.iter().map(|line| (line.number, line.off, line.words.join(" "))).collect();
        assert_eq!(
            shown,
            [(1, false, "a".into()), (4, true, "option b".into()), (5, true, "x".into()), (6, false, "no".into())]
        );
    }

    #[test]
    fn times_have_haproxys_units() {
        for (word, ms) in [("5", 5), ("5000us", 5), ("5ms", 5), ("5s", 5000), ("1m", 60_000), ("1d", 86_400_000)] {
            assert_eq!(time(word), Some(Duration::from_millis(ms)), "{word}");
        }
        for word in ["", "s", "5x", "1.5s", "-1", "99999999999999999999s", "18446744073709551615d", "é"] {
            assert_eq!(time(word), None, "{word}");
        }
        assert_eq!((show(Duration::from_secs(60)), show(Duration::from_millis(1500))), ("60s".into(), "1500ms".into()));
    }
}
