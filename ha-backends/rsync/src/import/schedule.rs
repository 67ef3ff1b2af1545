use std::fmt;
use std::time::Duration;

/// When cron starts a job, as its five fields say.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use ha_rsync::import::Schedule;
///
/// let schedule = Schedule::parse("*/5 * * * mon-fri").expect("five fields");
/// assert_eq!(schedule.shortest_gap(), Duration::from_secs(300));
/// assert!(Schedule::parse("*/5 * * * someday").is_none());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule {
    text: String,
    /// A bit for each minute of an hour.
    minutes: u64,
    /// A bit for each hour of a day.
    hours: u64,
}

impl Schedule {
    /// Reads five fields, or a name as `@hourly`; `None` for what cron would not take, and for `@reboot`, which is no time.
    pub fn parse(text: &str) -> Option<Self> {
        let named = match text.trim() {
            "@every_minute" => "* * * * *",
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            fields => fields,
        };
        let mut fields = named.split_ascii_whitespace();
        let mut next = |first, last, names: &[&str]| set(fields.next()?, first, last, names);
        let (minutes, hours) = (next(0, 59, &[])?, next(0, 23, &[])?);
        next(1, 31, &[])?;
        next(1, 12, &MONTHS)?;
        next(0, 7, &DAYS)?;
        fields.next().is_none().then(|| Self { text: text.trim().into(), minutes, hours })
    }

    /// Returns it as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the shortest time between two starts, in whole minutes; a day where there is one start a day, or fewer.
    pub fn shortest_gap(&self) -> Duration {
        const DAY: u64 = 24 * 60;
        let has = |set: u64, bit: u64| set & (1 << bit) != 0;
        let starts: Vec<u64> =
            (0..DAY).filter(|minute| has(self.hours, minute / 60) && has(self.minutes, minute % 60)).collect();
        let around = starts.first().zip(starts.last()).map(|(first, last)| first + DAY - last);
        let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
        Duration::from_secs(60 * gaps.chain(around).min().unwrap_or(DAY))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Reads a field: a list of `*`, numbers and ranges, each with a step, into a bit for each number.
fn set(field: &str, first: u32, last: u32, names: &[&str]) -> Option<u64> {
    let mut bits = 0;
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, number(step).filter(|step| *step > 0)?),
            None => (item, 1),
        };
        let value = |text: &str| {
            let named = names.iter().zip(first..).find(|(name, _)| name.eq_ignore_ascii_case(text));
            named.map(|(_, value)| value).or_else(|| number(text)).filter(|value| (first..=last).contains(value))
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (value(from)?, value(to)?),
            None if range == "*" => (first, last),
            None => (value(range)?, if item.contains('/') { last } else { value(range)? }),
        };
        if from > to {
            return None;
        }
        (from..=to).step_by(usize::try_from(step).ok()?).for_each(|value| bits |= 1 << value);
    }
    Some(bits)
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_gap_is_that_of_the_fields() {
        let cases = [
            ("* * * * *", 1),
            ("*/5 * * * *", 5),
            ("0,59 * * * *", 1),
            ("0-30/15 8-18 * * 1-5", 15),
            ("7 * * * *", 60),
            ("7 */6 * * *", 360),
            ("30 2 * jan,Mar sun", 24 * 60),
            ("@hourly", 60),
            ("@daily", 24 * 60),
            ("50/5 * * * *", 5),
            ("0 23,0 * * *", 60),
        ];
        for (text, minutes) in cases {
            let schedule = Schedule::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(schedule.shortest_gap(), Duration::from_secs(60 * minutes), "{text}");
            assert_eq!(schedule.to_string(), text);
        }
    }

    #[test]
    fn what_cron_would_not_take_is_no_schedule() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "@reboot",
            "x * * * *",
            "-1 * * * *",
            "1,,2 * * * *",
            "99999999999 * * * *",
            "* * 0 * *",
            "+1 * * * *",
        ] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }
}
