use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs of the ssh lab and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 8] = [
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
];
/// What only some hosts need.
const FOR_SOME: [(&str, &str); 1] = [("systemctl", "systemd")];

/// Refuses a system on which the ssh lab cannot work, with all that is missing and how to get it.
pub(super) fn check() -> io::Result<()> {
    check_with(rustix::process::geteuid().is_root(), &dirs())
}

/// Finds a program of [`PROGRAMS`] or [`FOR_SOME`].
pub(super) fn program(name: &str) -> io::Result<String> {
    find(name, &dirs()).map(|path| path.display().to_string()).ok_or_else(|| missing(&[name]))
}

/// Runs a program to its end and returns what it printed; an error has what it complained of.
pub(super) fn run(name: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program(name)?).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{name} {}: {}", arguments.join(" "), said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn check_with(root: bool, dirs: &[PathBuf]) -> io::Result<()> {
    if !root {
        let text =
            "the ssh lab needs root for its namespaces: run the tests as root, or in a container with --privileged";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let absent: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).filter(|name| find(name, dirs).is_none()).collect();
    if absent.is_empty() { Ok(()) } else { Err(missing(&absent)) }
}

fn missing(names: &[&str]) -> io::Error {
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .chain(&FOR_SOME)
        .filter(|(name, _)| names.contains(name))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    let text = format!(
        "the ssh lab needs programs that are not installed: {}: apt-get install {}",
        names.join(", "),
        packages.join(" ")
    );
    io::Error::new(io::ErrorKind::NotFound, text)
}

fn dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).chain(beside).collect()
}

fn find(name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    dirs.iter().map(|dir| dir.join(name)).find(|file: &PathBuf| Path::is_file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_package_that_has_it() {
        let error = check_with(true, &[]).unwrap_err().to_string();
        for word in ["sshd", "unshare", "apt-get install openssh-server openssh-client iproute2 nftables util-linux"] {
            assert!(error.contains(word), "{word} is not in: {error}");
        }
    }

    #[test]
    fn without_root_the_lab_says_so_and_does_not_skip() {
        let error = check_with(false, &dirs()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("needs root"), "{error}");
    }
}
