use memchr::{memchr, memchr2};

use super::Malformed;

/// Walks over the fields of a line with RFC 4180 quotes, which a field keeps; both the header and the rows of `show stat`
/// end with a comma. A line that does not is cut off, and its last field cannot be trusted.
pub(super) fn fields(line: &str) -> impl Iterator<Item = Result<&str, Malformed>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = match end(rest) {
            Some(end) => rest.split_at_checked(end).ok_or("a field of show stat is cut in a character"),
            None => Err("a line of show stat is cut off, or a quote in it is not closed"),
        };
        let (field, after) = match cut {
            Ok(cut) => cut,
            Err(words) => {
                rest = "";
                return Some(Err(Malformed(words.into())));
            }
        };
        rest = after.get(1..).unwrap_or_default();
        Some(Ok(field))
    })
}

/// Returns where the comma behind the first field is.
fn end(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    if bytes.first() != Some(&b'"') {
        // A quote inside a field that does not begin with one is none of HAProxy's.
        return memchr2(b',', b'"', bytes).filter(|at| bytes[*at] == b',');
    }
    let mut at = 1;
    loop {
        at += memchr(b'"', &bytes[at..])? + 1;
        match bytes.get(at) {
            Some(b'"') => at += 1,
            Some(b',') => return Some(at),
            Some(_) | None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<&str>, Malformed> {
        fields(line).collect()
    }

    #[test]
    fn a_line_is_split_at_its_commas_and_not_at_those_in_quotes() {
        for (line, expected) in [
            ("", vec![]),
            (",", vec![""]),
            ("a,,b,", vec!["a", "", "b"]),
            ("a,\"b, \"\"c\"\"\",d,", vec!["a", "\"b, \"\"c\"\"\"", "d"]),
            ("\"\",\"\"\"\",", vec!["\"\"", "\"\"\"\""]),
            ("ä,\"ö,ü\",", vec!["ä", "\"ö,ü\""]),
        ] {
            assert_eq!(split(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_cut_line_or_a_stray_quote_is_an_error() {
        for line in ["a", "a,b", "\"a", "\"a,", "\"a\"", "\"a\"\",", "\"a\"b,", "a\"b,", "a,b\"c\","] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
