use std::time::Duration;

use examples::{Fallible, Show};
use ha_lab::load::RunningLoad;
use tokio::time::sleep;

use super::cluster::Cluster;

/// A patch, as `hactl` reads it.
const PATCH: &str = r#"procedure = "patch"
release = "4.2.1"
apply = ["bin/patch.sh", "apply"]
restore = ["bin/patch.sh", "restore"]

[[facts]]
release = "4.2.1"
beside = ["4.2.0"]
"#;

/// Leaves the cluster to a person, under load.
pub(crate) async fn run(cluster: &Cluster, show: &Show, load: &RunningLoad) -> Fallible<()> {
    let folder = cluster.folder();
    std::fs::write(folder.join("patch.toml"), PATCH)?;
    show.line("it is yours; in another terminal, where target/release/hactl is in the PATH:");
    for line in [
        format!("  cd {}", folder.display()),
        "  hactl init --from lb1/haproxy.cfg --cluster drafted.toml   # what can be read there; cluster.toml is whole, drafted.toml is to read"
            .into(),
        "  hactl doctor; hactl plan patch.toml; hactl run patch.toml; hactl report --html report.html".into(),
        "the doctor is right that all of it is on one machine. For the next patch raise release in patch.toml, and name in beside what".into(),
        "runs; with `touch esb1/fail-patch` the patch of that server fails, and all goes back. `--yes` answers where nobody can be asked.".into(),
        "Enter ends it, and removes this folder with all that is in it.".into(),
    ] {
        show.line(&line);
    }
    let mut entered = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    loop {
        tokio::select! {
            read = &mut entered => {
                read??;
                return Ok(());
            }
            () = sleep(Duration::from_millis(200)) => show.tick(&load.snapshot()),
        }
    }
}
