use super::Malformed;

/// Splits a line with RFC 4180 quotes; both the header and the rows of `show stat` end with a comma.
pub(super) fn split(line: &str) -> Result<Vec<String>, Malformed> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    if quoted {
        return Err(Malformed("a quote of show stat is not closed".into()));
    }
    // A row ends with a comma; one that does not is cut off, and its last field cannot be trusted.
    if !field.is_empty() {
        return Err(Malformed("a line of show stat is cut off".into()));
    }
    Ok(fields)
}
