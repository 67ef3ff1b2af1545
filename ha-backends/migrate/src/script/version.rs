use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// A version of a script: numbers of any size, with `.` or `_` between them. Zeros at the end do not count: 1 is 1.0.
///
/// # Examples
/// ```
/// use ha_migrate::script::Version;
///
/// let version: Version = "1_10".parse()?;
/// assert_eq!(version.to_string(), "1.10");
/// assert!(version > "1.9".parse()?);
/// assert_eq!("1".parse::<Version>()?, "1.0".parse()?);
/// # Ok::<(), ha_migrate::script::VersionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Version {
    /// As it is written, with dots.
    text: String,
    /// The numbers without leading zeros, and without the zeros at the end.
    numbers: Vec<String>,
}

/// A text that is no version.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not a version: write numbers with . or _ between them, such as 1.2")]
pub struct VersionError {
    /// The text.
    pub text: String,
}

impl Version {
    /// Returns its numbers, without the zeros at the end.
    pub fn numbers(&self) -> impl Iterator<Item = &str> {
        self.numbers.iter().map(String::as_str)
    }

    /// Tells whether a number is left out between this version and the next one: 1 and 3, or 1.1 and 1.3. Numbers of 8 digits
    /// and more are dates.
    pub(super) fn has_gap_before(&self, next: &Self) -> bool {
        let number = |version: &Self, at: usize| -> Option<u64> {
            let text = version.numbers.get(at).map_or("0", String::as_str);
            (text.len() < 8).then(|| text.parse().ok()).flatten()
        };
        let differs = (0..self.numbers.len().max(next.numbers.len())).find(|at| number(self, *at) != number(next, *at));
        match differs.map(|at| (number(self, at), number(next, at))) {
            Some((Some(this), Some(next))) => next > this + 1,
            Some((None, _) | (_, None)) | None => false,
        }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = text.split(['.', '_']).collect();
        if !parts.iter().all(is_number) {
            return Err(VersionError { text: text.into() });
        }
        let mut numbers: Vec<String> = parts
            .iter()
            .map(|part| part.trim_start_matches('0'))
            .map(|part| if part.is_empty() { "0".into() } else { part.into() })
            .collect();
        while numbers.last().is_some_and(|last| last == "0") {
            numbers.pop();
        }
        Ok(Self { text: parts.join("."), numbers })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.numbers.hash(state);
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |number: &String| (number.len(), number.clone());
        // No number ends the shorter list: 1 is before 1.0.1.
        self.numbers.iter().map(number).cmp(other.numbers.iter().map(number))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let ascending =
            ["0", "0.0.1", "1", "1.0.1", "1.1", "1_2", "1.9", "1.10", "2", "10", "20240101", "99999999999999999999999"];
        for (first, second) in ascending.iter().zip(ascending.iter().skip(1)) {
            assert!(version(first) < version(second), "{first} < {second}");
        }
        for (one, same) in [("1", "1.0"), ("1_2", "1.2.0.0"), ("001.02", "1.2"), ("0", "0.0")] {
            assert_eq!(version(one), version(same));
            assert_eq!(version(one).cmp(&version(same)), Ordering::Equal);
        }
    }

    #[test]
    fn what_has_no_numbers_is_no_version() {
        for text in ["", ".", "1.", "_1", "1..2", "1__2", "a", "1a", "1 2", "-1", "١"] {
            assert_eq!(text.parse::<Version>(), Err(VersionError { text: text.into() }));
        }
    }

    #[test]
    fn a_number_that_is_left_out_is_a_gap() {
        for (one, next, gap) in [
            ("1", "2", false),
            ("1", "3", true),
            ("1.1", "1.3", true),
            ("1", "1.2", true),
            ("1", "1.1", false),
            ("1.7", "2", false),
            ("1.7", "3", true),
            ("20240101", "20240201", false),
        ] {
            assert_eq!(version(one).has_gap_before(&version(next)), gap, "{one} {next}");
        }
    }

    proptest! {
        #[test]
        fn numbers_order_as_numbers(one in any::<u64>(), other in any::<u64>()) {
            prop_assert_eq!(version(&one.to_string()).cmp(&version(&other.to_string())), one.cmp(&other));
        }

        #[test]
        fn any_text_is_a_version_or_refused(text in "[0-9._a]{0,12}") {
            if let Ok(read) = text.parse::<Version>() {
                prop_assert_eq!(&version(&read.to_string()), &read);
            }
        }
    }
}
