use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256; printed and read as 64 hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the digest of a text as it is.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or(InvalidDigest)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// A text that is no SHA-256 in hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct InvalidDigest;

/// The checksums of a script's text.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Checksums {
    /// Flyway's: the CRC-32 of the lines without their ends, signed. Blank lines and a moved line end do not change it.
    pub flyway: i32,
    /// The SHA-256 of the text without byte order mark, with `\n` at the line ends: the one that is trusted.
    pub sha256: Digest,
    /// The SHA-256 of the lines without blanks at their ends, and without blank lines at the end of the text.
    pub loose: Digest,
    /// Short sums of the lines, in at most 2,048 groups, so that an edit can be located later: `group size:sums`.
    pub lines: String,
}

/// The checksums that were recorded when a script was applied, as far as there are any.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Recorded {
    /// [`Checksums::flyway`].
    pub flyway: Option<i32>,
    /// [`Checksums::sha256`].
    pub sha256: Option<Digest>,
    /// [`Checksums::loose`].
    pub loose: Option<Digest>,
    /// [`Checksums::lines`].
    pub lines: Option<String>,
}

/// What happened to a script since it was recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Nothing that counts; line ends may differ.
    None,
    /// Only blanks at line ends, or blank lines at the end: worth a note.
    BlanksOnly,
    /// Its text was edited.
    Edited {
        /// The lines of the new text among which the first difference is, from 1; of one line where the script has less than 2,048.
        /// `None` where no sums were recorded.
        first: Option<RangeInclusive<usize>>,
    },
}

const MOST_GROUPS: usize = 2048;

impl Checksums {
    /// Computes the checksums of a text.
    ///
    /// # Examples
    /// ```
    /// use ha_migrate::script::Checksums;
    ///
    /// let unix = Checksums::of("SELECT 1;\nSELECT 2;\n");
    /// let dos = Checksums::of("\u{feff}SELECT 1;\r\nSELECT 2;\r\n");
    /// assert_eq!(unix, dos);
    /// ```
    pub fn of(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (mut crc, mut sha256, mut loose) = (crc32fast::Hasher::new(), Sha256::new(), Sha256::new());
        let mut blank_lines = 0_usize;
        let mut count = 0_usize;
        for line in lines(text) {
            crc.update(line.as_bytes());
            if count > 0 {
                sha256.update(b"\n");
            }
            sha256.update(line.as_bytes());
            let line = trimmed(line);
            if line.is_empty() {
                blank_lines += 1;
            } else {
                (0..std::mem::take(&mut blank_lines)).for_each(|_| loose.update(b"\n"));
                loose.update(line.as_bytes());
                loose.update(b"\n");
            }
            count += 1;
        }
        let group = count.div_ceil(MOST_GROUPS).max(1);
        Self {
            flyway: crc.finalize().cast_signed(),
            sha256: Digest(sha256.finalize().into()),
            loose: Digest(loose.finalize().into()),
            lines: sums(text, group),
        }
    }

    /// Tells what happened to a text since its checksums were recorded. The strongest that was recorded decides.
    pub fn change(&self, recorded: &Recorded, text: &str) -> Change {
        let same = match (recorded.sha256, recorded.flyway) {
            (Some(sha256), _) => sha256 == self.sha256,
            (None, Some(flyway)) => flyway == self.flyway,
            (None, None) => true,
        };
        if same {
            return Change::None;
        }
        if recorded.loose == Some(self.loose) {
            return Change::BlanksOnly;
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Change::Edited { first: recorded.lines.as_deref().and_then(|lines| first_difference(lines, text)) }
    }
}

impl Recorded {
    /// Records all checksums.
    pub fn of(checksums: &Checksums) -> Self {
        Self {
            flyway: Some(checksums.flyway),
            sha256: Some(checksums.sha256),
            loose: Some(checksums.loose),
            lines: Some(checksums.lines.clone()),
        }
    }

    /// Records the checksum of a row of `flyway_schema_history`.
    pub fn flyway(checksum: i32) -> Self {
        Self { flyway: Some(checksum), ..Self::default() }
    }

    /// Records the SHA-256 and the two sums that tell what an edit changed.
    pub fn new(sha256: Digest, loose: Digest, lines: impl Into<String>) -> Self {
        Self { flyway: None, sha256: Some(sha256), loose: Some(loose), lines: Some(lines.into()) }
    }
}

/// Splits at `\n`, `\r\n` and `\r`.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = text.find(['\n', '\r']) else { return rest.take() };
        let (line, end) = text.split_at_checked(at)?;
        rest = end.strip_prefix("\r\n").or_else(|| end.get(1..));
        Some(line)
    })
}

fn trimmed(line: &str) -> &str {
    line.trim_end_matches([' ', '\t'])
}

/// Sums up the lines in groups of this size, up to the last line that is not blank.
fn sums(text: &str, group: usize) -> String {
    let mut sums = format!("{group}:");
    let (mut crc, mut in_group) = (crc32fast::Hasher::new(), 0);
    for line in lines(text.trim_end_matches([' ', '\t', '\r', '\n'])) {
        crc.update(trimmed(line).as_bytes());
        crc.update(b"\n");
        in_group += 1;
        if in_group == group {
            let _ = write!(sums, "{:04x}", std::mem::take(&mut crc).finalize() & 0xffff);
            in_group = 0;
        }
    }
    if in_group > 0 {
        let _ = write!(sums, "{:04x}", crc.finalize() & 0xffff);
    }
    sums
}

fn first_difference(recorded: &str, text: &str) -> Option<RangeInclusive<usize>> {
    let (group, old) = recorded.split_once(':')?;
    let group: usize = group.parse().ok().filter(|group| *group > 0)?;
    let new = sums(text, group);
    let (_, new) = new.split_once(':')?;
    let same = old.as_bytes().chunks(4).zip(new.as_bytes().chunks(4)).take_while(|(old, new)| old == new).count();
    let first = same.checked_mul(group)?;
    Some(first.checked_add(1)?..=first.checked_add(group)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flyways_checksum_is_the_crc_of_the_lines_without_their_ends() {
        for (text, crc) in [
            ("", 0),
            ("\u{feff}", 0),
            ("\n\r\n\r", 0),
            ("123456789", -873_187_034),
            ("\u{feff}1234\r\n5678\n\n9\r", -873_187_034),
            ("12345678\n9\n", -873_187_034),
        ] {
            assert_eq!(Checksums::of(text).flyway, crc, "{text:?}");
        }
    }

    #[test]
    fn the_sha_256_is_of_the_text_with_plain_line_ends() {
        let text = "a\n\nb\n";
        for same in [text, "\u{feff}a\n\nb\n", "a\r\n\r\nb\r\n", "a\r\rb\r"] {
            assert_eq!(Checksums::of(same).sha256, Digest::of(text), "{same:?}");
        }
        for other in ["a\nb\n", "a\n\nb", "a \n\nb\n"] {
            assert_ne!(Checksums::of(other).sha256, Digest::of(text), "{other:?}");
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Checksums::of("").sha256.to_string(), empty);
        assert_eq!(empty.parse::<Digest>(), Ok(Checksums::of("").sha256));
        assert_eq!("e3".parse::<Digest>(), Err(InvalidDigest));
    }

    #[test]
    fn line_ends_alone_are_no_change_blanks_a_note_and_an_edit_is_located() {
        let old = "CREATE TABLE t (\n  a int,\n  b int\n);\n";
        let recorded = Recorded::of(&Checksums::of(old));
        let change = |new: &str| Checksums::of(new).change(&recorded, new);
        let edited = |line| Change::Edited { first: Some(line..=line) };
        assert_eq!(change(&old.replace('\n', "\r\n")), Change::None);
        assert_eq!(change(&format!("\u{feff}{old}")), Change::None);
        assert_eq!(change("CREATE TABLE t (\n  a int,  \n  b int\t\n);"), Change::BlanksOnly);
        assert_eq!(change(&format!("{old}\n \n")), Change::BlanksOnly);
        assert_eq!(change("CREATE TABLE t (\n  a int,\n  b bigint\n);\n"), edited(3));
        assert_eq!(change(&format!("{old}DROP TABLE t;")), edited(5));
        assert_eq!(change("CREATE TABLE t (\n"), edited(2));
        assert_eq!(change(""), edited(1));
        assert_eq!(change(&format!("\r\n{old}")), edited(1));
    }

    #[test]
    fn flyways_row_alone_decides_where_nothing_else_was_recorded() {
        let recorded = Recorded::flyway(Checksums::of("a\nb").flyway);
        assert_eq!(Checksums::of("ab").change(&recorded, "ab"), Change::None);
        assert_eq!(Checksums::of("ac").change(&recorded, "ac"), Change::Edited { first: None });
        assert_eq!(Checksums::of("ac").change(&Recorded::default(), "ac"), Change::None);
    }

    #[test]
    fn a_long_script_is_located_within_a_group_of_lines() {
        let old: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
        let checksums = Checksums::of(&old);
        assert!(checksums.lines.len() < 9_000);
        let new = old.replace("line 7000\n", "line x\n");
        let Change::Edited { first: Some(lines) } = Checksums::of(&new).change(&Recorded::of(&checksums), &new) else {
            panic!("not located")
        };
        assert!(lines.contains(&7001) && lines.clone().count() < 6, "{lines:?}");
    }

    proptest! {
        #[test]
        fn line_ends_never_change_a_checksum(lines in prop::collection::vec("[a-c é]{0,4}", 0..12)) {
            let unix = Checksums::of(&lines.join("\n"));
            prop_assert_eq!(&unix, &Checksums::of(&lines.join("\r\n")));
            prop_assert_eq!(&unix, &Checksums::of(&lines.join("\r")));
            prop_assert_eq!(unix.flyway, crc32fast::hash(lines.concat().as_bytes()).cast_signed());
        }

        #[test]
        fn the_line_of_an_edit_is_named(lines in prop::collection::vec("[a-c]{1,4}", 1..40), at in any::<prop::sample::Index>()) {
            let at = at.index(lines.len());
            let old = Recorded::of(&Checksums::of(&lines.join("\n")));
            let mut edited = lines;
            edited[at].push('z');
            let text = edited.join("\n");
            prop_assert_eq!(Checksums::of(&text).change(&old, &text), Change::Edited { first: Some(at + 1..=at + 1) });
        }

        #[test]
        fn any_recorded_sums_are_read_or_passed_over(lines in "[0-9a-f:é]{0,20}", text in "(?s).{0,40}") {
            let recorded = Recorded { sha256: Some(Digest::of("another")), lines: Some(lines), ..Recorded::default() };
            let is_edited = matches!(Checksums::of(&text).change(&recorded, &text), Change::Edited { .. });
            prop_assert!(is_edited);
        }
    }
}
