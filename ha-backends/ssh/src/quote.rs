/// Refuses text that no POSIX shell can hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} holds a NUL byte: no command, path or variable can")]
pub(crate) struct HoldsNul(String);

/// Quotes one word for a POSIX shell. The result stands for exactly this text in every script.
pub(crate) fn quote(word: &str) -> Result<String, HoldsNul> {
    if word.contains('\0') {
        return Err(HoldsNul(word.into()));
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('\'');
    for letter in word.chars() {
        match letter {
            // A quote ends the quoted part, is escaped, and begins the next one.
            '\'' => quoted.push_str(r"'\''"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

/// Quotes an argument vector.
pub(crate) fn quote_all<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<String, HoldsNul> {
    let quoted: Result<Vec<String>, HoldsNul> = words.into_iter().map(quote).collect();
    Ok(quoted?.join(" "))
}

/// Tells whether a text can be the name of a command's variable. What begins with `ha_` is the runner's own.
pub(crate) fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    !name.starts_with("ha_")
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn through_sh(word: &str) -> Vec<u8> {
        let script = format!("printf %s {}", quote(word).unwrap());
        Command::new("/bin/sh").arg("-c").arg(script).output().unwrap().stdout
    }

    #[test]
    fn a_word_with_quotes_is_one_word() {
        assert_eq!(quote("it's").unwrap(), r"'it'\''s'");
        assert_eq!(quote("").unwrap(), "''");
        assert_eq!(quote_all(["a b", "$HOME"]).unwrap(), "'a b' '$HOME'");
        assert!(quote("a\0b").is_err());
    }

    #[test]
    fn a_variable_has_a_plain_name() {
        assert!(["A", "_x1", "HA_NODE"].into_iter().all(is_variable));
        assert!(["", "1A", "A-B", "A=B", "A B", "Ä", "A\n", "ha_d"].into_iter().all(|name| !is_variable(name)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_word_comes_back_from_the_shell_as_it_was(word in "[^\0]{0,40}") {
            prop_assert_eq!(through_sh(&word), word.as_bytes());
        }
    }
}
