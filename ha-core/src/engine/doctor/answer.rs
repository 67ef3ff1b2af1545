//! Reads what the programs of a host print.

use std::collections::BTreeMap;

/// The space on the file system of a server's home.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Disk {
    pub(super) mount: String,
    pub(super) total_kib: u64,
    pub(super) free_kib: u64,
}

/// Reads the answer of `df -Pk .`. Names of file systems and mounts may have spaces: figures are found by the percentage.
pub(super) fn disk(answer: &str) -> Option<Disk> {
    let words: Vec<&str> = answer.lines().nth(1)?.split_whitespace().collect();
    let is_percent = |word: &&str| word.strip_suffix('%').is_some_and(|number| number.parse::<u8>().is_ok());
    let at = words.iter().position(is_percent).filter(|at| *at >= 3)?;
    let (total_kib, free_kib) = (words[at - 3].parse().ok()?, words[at - 1].parse().ok()?);
    Some(Disk { mount: words[at + 1..].join(" "), total_kib, free_kib })
}

/// Reads the major version from the answer of `java -version`: 8 of `1.8.0_402`, 17 of `17.0.12`.
pub(super) fn java(answer: &str) -> Option<u16> {
    let version = answer.lines().find_map(|line| line.split_once(" version \"")).map(|(_, rest)| rest)?;
    let version = version.strip_prefix("1.").unwrap_or(version);
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

/// Reads the answer of `sha256sum`: the digest of each file that could be read. It is only ever compared.
pub(super) fn digests(answer: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (digest, file) = line.strip_prefix('\\').unwrap_or(line).split_once(' ')?;
        let file = file.strip_prefix([' ', '*'])?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| (file.to_string(), digest.to_string()))
    };
    answer.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_is_read_whatever_its_names_are() {
        let header = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        let of =
            |line: &str| disk(&format!("{header}{line}\n")).map(|disk| (disk.mount, disk.total_kib, disk.free_kib));
        assert_eq!(of("/dev/sda1 1000 750 250 75% /srv"), Some(("/srv".into(), 1000, 250)));
        assert_eq!(of("nas:/a b 1000 750 250 75% /mnt/c d"), Some(("/mnt/c d".into(), 1000, 250)));
        assert_eq!(of("tmpfs 0 0 0 - /run"), None);
        assert_eq!((disk(""), disk(header), of("df: no file")), (None, None, None));
    }

    #[test]
    fn a_java_of_any_age_tells_its_major_version() {
        for (answer, major) in [
            ("openjdk version \"17.0.12\" 2024-07-16\nOpenJDK Runtime", Some(17)),
            ("java version \"1.8.0_402\"", Some(8)),
            ("Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"21\" 2023-09-19", Some(21)),
            ("openjdk version \"22-ea\"", Some(22)),
            ("bash: java: command not found", None),
            ("", None),
        ] {
            assert_eq!(java(answer), major, "{answer}");
        }
    }

    #[test]
    fn only_a_digest_is_read_as_one() {
        let digest = "a".repeat(64);
        let answer = format!("{digest}  conf/a b.jks\n\\{digest} *x\nsha256sum: c: No such file\nabc  d\n");
        assert_eq!(digests(&answer).into_keys().collect::<Vec<_>>(), ["conf/a b.jks", "x"]);
    }
}
