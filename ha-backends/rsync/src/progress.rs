/// How far a copy to one reader is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Progress {
    /// Files that are copied.
    pub(crate) files: u64,
    /// Files that will be, as the dry run before has counted them.
    pub(crate) of: u64,
    /// Bytes of the files' contents that are copied.
    pub(crate) bytes: u64,
}

impl Progress {
    /// Reads what `ha-files progress` prints: `of N`, and the last record of `--info=progress2`; `None` before the first one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let of = text.lines().find_map(|line| line.strip_prefix("of ")?.trim().parse().ok())?;
        let record = text.lines().rfind(|line| line.contains("(xfr#"))?;
        let bytes = record.split_whitespace().next()?.parse().ok()?;
        let (_, files) = record.split_once("(xfr#")?;
        let files = files.split(',').next()?.parse().ok()?;
        Some(Self { files, of, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_record_tells_how_far_it_is() {
        let record = "      6,553  12%   6.25MB/s    0:00:01 (xfr#3, to-chk=7/12)";
        let plain = record.replace("6,553", "6553");
        let at = |text: &str| Progress::parse(text);
        assert_eq!(at(&format!("of 10\n{plain}\n")), Some(Progress { files: 3, of: 10, bytes: 6553 }));
        for none in
            ["", "of 10\n", &plain, "of ten\n", &format!("of 1\n{record}"), "of 1\n 5 (xfr#", "of 1\n 5 (xfr#x, "]
        {
            assert_eq!(at(none), None, "{none:?}");
        }
    }
}
