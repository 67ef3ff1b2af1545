use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use examples::Fallible;
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

/// How one run ended.
pub(crate) struct Ran {
    /// Its name, as the ledger has it.
    pub(crate) run: String,
    pub(crate) procedure: String,
    pub(crate) is_all_new: bool,
    /// The longest window, used and declared.
    pub(crate) window_ms: Option<(u64, u64)>,
    pub(crate) in_window: bool,
    pub(crate) took_ms: u64,
}

/// How all that is done on a cluster ended.
pub(crate) struct Ended {
    /// The example says so itself: it looks at more than requests.
    pub(crate) good: bool,
    pub(crate) runs: Vec<Ran>,
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
        let log = folder.join("printed.txt");
        let printed = std::fs::File::create(&log)?;
        let mut example = Command::new(self.program()?);
        example.args(self.options).arg("--out").arg(&folder).env("HA_LEDGER", ledger).stdin(Stdio::null());
        if let Some(requests) = requests {
            example.args(["--requests", &requests.to_string()]);
        }
        let status = example.stdout(printed.try_clone()?).stderr(printed).kill_on_drop(true).status().await?;
        if status.code() == Some(2) {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("{} could not be set up: {}", self.line(), text.trim()).into());
        }
        let report: Value = serde_json::from_slice(&std::fs::read(folder.join("report.json"))?)?;
        let mut runs = Vec::new();
        for key in ["run", "runs", "drill", "outage", "site_loss", "rejoin", "fail_back"] {
            match &report[key] {
                Value::Array(several) => runs.extend(several.iter().filter_map(Ran::read)),
                one => runs.extend(Ran::read(one)),
            }
        }
        let good = status.success() && !runs.is_empty();
        Ok(Ended { good, runs, log })
    }
}

impl Ran {
    /// Reads the report of a run; `None` where it is none.
    fn read(report: &Value) -> Option<Self> {
        let windows = report["windows"].as_array().into_iter().flatten();
        let windows: Vec<(u64, u64)> =
            windows.filter_map(|window| Some((window["used_ms"].as_u64()?, window["at_most_ms"].as_u64()?))).collect();
        Some(Self {
            run: report["run"].as_str()?.into(),
            procedure: report["procedure"].as_str()?.into(),
            is_all_new: report["end"] == "all-new" && report["open"].as_array().is_some_and(Vec::is_empty),
            window_ms: windows.iter().copied().max_by_key(|(used, _)| *used),
            in_window: windows.iter().all(|(used, at_most)| used <= at_most),
            took_ms: report["took_ms"].as_u64()?,
        })
    }
}

/// Builds what is not there yet, as this program was built.
pub(crate) async fn build(clusters: &[&Cluster]) -> Fallible<()> {
    let mut missing = Vec::new();
    for cluster in clusters {
        if !cluster.program()?.is_file() {
            missing.extend(["--example", cluster.example]);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let own = std::env::current_exe()?;
    let is_release = own.parent().and_then(Path::parent).and_then(Path::file_name) == Some(OsStr::new("release"));
    let profile = if is_release { &["--release"][..] } else { &[] };
    // `cargo run` says which cargo it is.
    let Some(cargo) = std::env::var_os("CARGO") else {
        let line = [&["cargo", "build"][..], profile, &missing].concat().join(" ");
        return Err(format!("the examples are not built beside this program: {line}").into());
    };
    let built =
        Command::new(cargo).args(["build", "--package", "examples"]).args(profile).args(missing).status().await?;
    if built.success() { Ok(()) } else { Err(format!("the examples could not be built: {built}").into()) }
}
