use std::fmt;

use super::{Draft, Result, refuse};

/// Tells whether the value of a parameter is not printed.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["password", "passwd", "pwd", "passphrase", "secret", "token", "apikey", "credential"];
    let whole = ["user", "username", "uid", "init", "initsql", "cipher"];
    parts.iter().any(|part| name.contains(part)) || whole.contains(&name.as_str())
}

/// A parameter of a URL; its `Debug` prints `***` for the value of a secret.
#[derive(Clone, Eq, PartialEq)]
pub struct Parameter {
    name: String,
    value: String,
}

impl Parameter {
    pub(super) fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// Returns its name, decoded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its value, decoded; also that of a secret, for the driver alone.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Tells whether the value is a user, password, token or the like, which is not printed.
    pub fn is_secret(&self) -> bool {
        is_secret(&self.name)
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.is_secret() { "***" } else { &self.value };
        write!(f, "{}={value}", self.name)
    }
}

/// Finds a parameter, whatever the case of its name.
pub(super) fn find<'a>(parameters: &'a [Parameter], name: &str) -> Option<&'a str> {
    parameters.iter().find(|other| other.name.eq_ignore_ascii_case(name)).map(Parameter::value)
}

/// Replaces `%41`; what is no such sequence, or no UTF-8 then, stays.
pub(super) fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.extend(u8::try_from(16 * high + low));
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.into())
}

/// Reads as Java's `URLDecoder`: `+` is a blank, too.
pub(super) fn form_decoded(text: &str) -> String {
    decoded(&text.replace('+', " "))
}

impl<'a> Draft<'a> {
    /// Takes a parameter; hides its value where it is a secret.
    fn parameter_of(&mut self, part: &'a str, decode: fn(&str) -> String) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = decode(name.trim());
        if is_secret(&name) {
            self.hide(value);
        }
        if !name.is_empty() {
            self.parameters.push(Parameter::new(name, decode(value)));
        }
    }

    /// Takes `?a=b&c=d`, or nothing.
    pub(super) fn query(&mut self, rest: &'a str, decode: fn(&str) -> String) -> Result<()> {
        self.parameters_from(rest);
        match rest.strip_prefix('?') {
            Some(query) => {
                for part in query.split('&') {
                    if part.split('=').next().is_some_and(|name| name.contains('@')) {
                        return refuse(
                            "an @ behind the ?: write such signs of a user or password as %40, and ? as %3F",
                        );
                    }
                    self.parameter_of(part, decode);
                }
            }
            None if rest.is_empty() => {}
            None => return refuse("something behind the database that is no ?parameter=value"),
        }
        Ok(())
    }

    /// Takes `;a=b;c=d`; with `\;` a semicolon of the value (H2).
    pub(super) fn properties(&mut self, rest: &'a str, has_escapes: bool) -> Result<()> {
        self.parameters_from(rest);
        let Some(mut rest) = rest.strip_prefix(';') else {
            return if rest.is_empty() {
                Ok(())
            } else {
                refuse("something behind the database that is no ;property=value")
            };
        };
        let unescape: fn(&str) -> String = |text| text.replace("\\;", ";");
        let plain: fn(&str) -> String = |text| text.into();
        loop {
            let end = semicolon(rest, has_escapes);
            let (part, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            self.parameter_of(part, if has_escapes { unescape } else { plain });
            match after.strip_prefix(';') {
                Some(after) => rest = after,
                None => return Ok(()),
            }
        }
    }

    /// Takes `;a=b;c={d;}}}`, as SQL Server's driver has it: `}}` in braces is one.
    pub(super) fn braced_properties(&mut self, rest: &'a str) -> Result<()> {
        self.parameters_from(rest);
        let mut rest = rest;
        while let Some(after) = rest.strip_prefix(';') {
            let end = after.find([';', '=']).unwrap_or(after.len());
            let (name, behind) = after.split_at_checked(end).unwrap_or((after, ""));
            let Some(value) = behind.strip_prefix('=') else {
                if !name.trim().is_empty() {
                    return refuse("a property without a value: write ;property=value");
                }
                rest = behind;
                continue;
            };
            let name = name.trim();
            let (part, text, behind) = match value.strip_prefix('{') {
                Some(inside) => {
                    let Some(end) = closing_brace(inside) else {
                        return refuse("the brace { of a property's value is not closed: add }");
                    };
                    let (text, behind) = inside.split_at_checked(end).unwrap_or((inside, ""));
                    let part = value.get(..end + 2).unwrap_or(value);
                    (part, text.replace("}}", "}"), behind.get(1..).unwrap_or_default())
                }
                None => {
                    let end = value.find(';').unwrap_or(value.len());
                    let (part, behind) = value.split_at_checked(end).unwrap_or((value, ""));
                    (part, part.to_string(), behind)
                }
            };
            if is_secret(name) {
                self.hide(part);
            }
            self.parameters.push(Parameter::new(name, text));
            rest = behind;
        }
        if rest.is_empty() { Ok(()) } else { refuse("something behind a property's } that is no ;property=value") }
    }
}

/// Finds the next `;`, or the end.
fn semicolon(text: &str, has_escapes: bool) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b';' if !is_escaped => return at,
            b'\\' if has_escapes && !is_escaped => is_escaped = true,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// Finds the `}` that is not doubled.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == b'}')?;
        if bytes.get(at + 1) != Some(&b'}') {
            return Some(at);
        }
        at += 2;
    }
}
