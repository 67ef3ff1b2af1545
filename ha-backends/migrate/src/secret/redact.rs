//! Takes passwords out of connection texts, whatever their grammar.

/// Words that a key with a secret value holds.
const KEYS: [&str; 7] = ["password", "passwd", "pwd", "secret", "token", "passphrase", "credential"];

/// The text with `***` for what may be a password: the user information before `@`, and the values of keys that sound like one. Hides
/// rather too much than too little.
pub(crate) fn redact(text: &str) -> String {
    values(&user(text))
}

/// `//user:password@host`, `thin:user/password@host`: all between the marks.
fn user(text: &str) -> String {
    // the last @ before the parameters: a password may hold one itself
    let end = text.find(['?', ';']).unwrap_or(text.len());
    // but a password may hold those as well: then the whole text is looked through
    let at =
        text.get(..end).and_then(|head| head.rfind('@')).or_else(|| text.rfind('@').filter(|_| text.contains("//")));
    let Some(at) = at else { return text.to_owned() };
    let head = text.get(..at).unwrap_or_default();
    let begin = match head.find("//") {
        Some(slashes) => slashes + 2,
        None => head
            .find("thin:")
            .or_else(|| head.find("oci:"))
            .and_then(|found| Some(found + head.get(found..)?.find(':')? + 1))
            .unwrap_or(0),
    };
    let (Some(before), Some(after)) = (text.get(..begin), text.get(at..)) else { return "***".into() };
    if begin == at { text.to_owned() } else { format!("{before}***{after}") }
}

/// `password=...` up to the next mark that ends a value.
fn values(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(equals) = rest.find('=') {
        let (before, after) = rest.split_at(equals);
        let after = after.get(1..).unwrap_or_default();
        let key =
            before.rsplit(['&', ';', '?', ',', '(', ':', ' ', '/']).next().unwrap_or_default().to_ascii_lowercase();
        out.push_str(before);
        out.push('=');
        if KEYS.iter().any(|secret| key.contains(secret)) {
            out.push_str("***");
            // SQL Server: a value in braces holds any mark, `}}` too
            let end = if after.starts_with('{') {
                braces(after)
            } else {
                after.find(['&', ';', ')', ',']).unwrap_or(after.len())
            };
            rest = after.get(end..).unwrap_or_default();
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Where a value in braces ends.
fn braces(text: &str) -> usize {
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('}')) {
        let end = at + found + 1;
        if !text.get(end..).is_some_and(|rest| rest.starts_with('}')) {
            return end;
        }
        at = end + 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_are_taken_out_of_every_grammar() {
        for (text, expected) in [
            (
                "jdbc:postgresql://h:5432/db?user=u&password=hunter2&ssl=true",
                "jdbc:postgresql://h:5432/db?user=u&password=***&ssl=true",
            ),
            ("jdbc:mysql://u:hunter2@h/db", "jdbc:mysql://***@h/db"),
            ("jdbc:mysql://u:hun@ter2@h/db", "jdbc:mysql://***@h/db"),
            ("jdbc:mysql://u:hun?ter2@h/db", "jdbc:mysql://***@h/db"),
            ("jdbc:oracle:thin:u/hunter2@h:1521:SID", "jdbc:oracle:thin:***@h:1521:SID"),
            ("jdbc:oracle:thin:@h:1521/SID", "jdbc:oracle:thin:@h:1521/SID"),
            ("jdbc:sqlserver://h;password={hunter2;}}a};user=u", "jdbc:sqlserver://h;password=***;user=u"),
            ("jdbc:db2://h:50000/DB:user=u;password=hunter2;", "jdbc:db2://h:50000/DB:user=u;password=***;"),
            (
                "jdbc:mysql://address=(host=h)(user=u)(password=hunter2)/db",
                "jdbc:mysql://address=(host=h)(user=u)(password=***)/db",
            ),
            ("jdbc:x://h/d?trustStorePassword=hunter2", "jdbc:x://h/d?trustStorePassword=***"),
            ("jdbc:postgresql://h/db", "jdbc:postgresql://h/db"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
