use std::borrow::Cow;

use super::Malformed;

/// Splits a line with RFC 4180 quotes; both the header and the rows of `show stat` end with a comma.
pub(super) fn split(line: &str) -> Result<Vec<Cow<'_, str>>, Malformed> {
    // Hardly any row has a quote, and this is read every few milliseconds.
    if !line.contains('"') {
        let fields = line.strip_suffix(',').ok_or_else(cut_off)?;
        return Ok(fields.split(',').map(Cow::Borrowed).collect());
    }
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(Cow::Owned(std::mem::take(&mut field))),
            other => field.push(other),
        }
    }
    if quoted {
        return Err(Malformed("a quote of show stat is not closed".into()));
    }
    if !field.is_empty() {
        return Err(cut_off());
    }
    Ok(fields)
}

/// A row ends with a comma; the last field of one that does not cannot be trusted.
fn cut_off() -> Malformed {
    Malformed("a line of show stat is cut off".into())
}
