use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use examples::Fallible;
use ha_core::report::RunReport;
use serde_json::Value;
use tokio::process::Command;

/// A cluster with what is done on it: an example with its options.
pub(crate) struct Cluster {
    example: &'static str,
    options: &'static [&'static str],
}

const fn cluster(example: &'static str, options: &'static [&'static str]) -> Cluster {
    Cluster { example, options }
}

/// All of them.
pub(crate) const CLUSTERS: [Cluster; 10] = [
    cluster("patch_server", &["--pair", "--reload"]),
    cluster("patch_server", &["--ssh"]),
    cluster("update_service", &["--pair", "--ssh"]),
    cluster("add_service", &["--pair", "--ssh"]),
    cluster("upgrade_version", &["--postgres", "--pair", "--ssh"]),
    cluster("upgrade_version", &["--postgres", "--pair", "--ssh", "--breaking", "--window"]),
    cluster("lose_node", &["--pair", "--ssh"]),
    cluster("lose_node", &["--pair", "--ssh", "--active-active"]),
    cluster("grow_cluster", &["--pair"]),
    cluster("lose_site", &["--real"]),
];

/// How all that is done on a cluster ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// The example says so itself: it looks at more than requests.
    pub(crate) good: bool,
    /// Whether it could not be set up.
    pub(crate) not_set_up: bool,
    pub(crate) runs: Vec<RunReport>,
    /// How many requests its load has sent.
    pub(crate) sent: u64,
    /// What it printed.
    pub(crate) log: PathBuf,
}

impl Cluster {
    pub(crate) fn line(&self) -> String {
        std::iter::once(self.example).chain(self.options.iter().copied()).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn needs_root(&self) -> bool {
        self.options.contains(&"--ssh") || self.options.contains(&"--real")
    }

    /// Returns where its program is: beside this one.
    fn program(&self) -> Fallible<PathBuf> {
        Ok(std::env::current_exe()?.with_file_name(self.example))
    }

    /// Runs it to its end, with its requests in the ledger and a folder of its own in `out`.
    pub(crate) async fn run(&self, out: &Path, ledger: &Path, requests: Option<u64>) -> Fallible<Ended> {
        let folder = out.join(self.line().replace(' ', "_"));
        std::fs::create_dir_all(&folder)?;
        let (log, written) = (folder.join("printed.txt"), folder.join("report.json"));
        forget(&written)?;
        let printed = std::fs::File::create(&log)?;
        let mut example = Command::new(self.program()?);
        example.args(self.options).arg("--out").arg(&folder).env("HA_LEDGER", ledger).stdin(Stdio::null());
        if let Some(requests) = requests {
            example.args(["--requests", &requests.to_string()]);
        }
        let status = example.stdout(printed.try_clone()?).stderr(printed).kill_on_drop(true).status().await?;
        let ended = Ended { not_set_up: status.code() == Some(2), log, ..Ended::default() };
        let report = match std::fs::read(&written) {
            Ok(report) => report,
            // It was broken off.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ended),
            Err(error) => return Err(error.into()),
        };
        Ok(match read(&report) {
            Ok((runs, sent)) => Ended { good: status.success() && !runs.is_empty(), runs, sent, ..ended },
            Err(error) => {
                println!("{}: {error}", written.display());
                ended
            }
        })
    }
}

/// Reads the reports of all runs, and how many requests were sent. What lacks something is not passed over.
fn read(report: &[u8]) -> Fallible<(Vec<RunReport>, u64)> {
    let report: Value = serde_json::from_slice(report)?;
    let mut runs = Vec::new();
    for key in ["run", "runs", "drill", "outage", "site_loss", "rejoin", "fail_back"] {
        match &report[key] {
            Value::Null => {}
            Value::Array(several) => runs.extend(several.clone()),
            one => runs.push(one.clone()),
        }
    }
    let runs = runs.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?;
    Ok((runs, report["load"]["sent"].as_u64().ok_or("it does not say how many requests were sent")?))
}

/// Removes what an earlier run has left.
pub(crate) fn forget(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Builds the examples as this program was built: what is not there yet and, in release, what is older than its sources too.
pub(crate) async fn build(clusters: &[&Cluster]) -> Fallible<()> {
    let own = std::env::current_exe()?;
    let is_release = own.parent().and_then(Path::parent).and_then(Path::file_name) == Some(OsStr::new("release"));
    // `cargo run` says which cargo it is.
    let cargo = std::env::var_os("CARGO");
    let mut missing = Vec::new();
    for cluster in clusters {
        if (is_release && cargo.is_some()) || !cluster.program()?.is_file() {
            missing.extend(["--example", cluster.example]);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let profile = if is_release { &["--release"][..] } else { &[] };
    let Some(cargo) = cargo else {
        let line = [&["cargo", "build"][..], profile, &missing].concat().join(" ");
        return Err(format!("the examples are not built beside this program: {line}").into());
    };
    let built =
        Command::new(cargo).args(["build", "--package", "examples"]).args(profile).args(missing).status().await?;
    if built.success() { Ok(()) } else { Err(format!("the examples could not be built: {built}").into()) }
}
