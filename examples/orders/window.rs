//! A window in which the database refuses writes: what the servers need for it, and what was seen of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ha_lab::fake_carbon::CarbonHome;
use serde_json::{Value, json};

use super::{Database, Kind};
use crate::Fallible;

/// What was declared.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// For how long at most writes may be refused.
    pub at_most: Duration,
}

/// Installs a release on a server, and points it at the database that the release uses.
pub const SCRIPT: &str = "bin/upgrade.sh";
/// When a server's writes were refused, a line each.
pub(super) const REFUSED: &str = "refused.log";
/// The orders that a server has written, a line each.
pub(super) const WRITTEN: &str = "written.log";

const AT_MOST: Duration = Duration::from_secs(60);
const FILE: &str = "window";

impl Window {
    /// Declares it in the folder of a cluster, and gives each server the script that points it at the clone.
    ///
    /// # Errors
    /// What the file system says.
    pub fn declare(folder: &Path, kind: Kind, homes: &[CarbonHome]) -> Fallible<()> {
        std::fs::write(folder.join(FILE), AT_MOST.as_secs().to_string())?;
        // User and password are the server's own.
        let user = match kind {
            Kind::Sqlite => "",
            Kind::Postgres => "?user=postgres",
            Kind::MariaDb => "?user=root",
        };
        for home in homes {
            let script = home.path().join(SCRIPT);
            std::fs::write(&script, script_of(user))?;
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Reads what was declared, where something was.
    pub fn read(folder: &Path) -> Option<Self> {
        let seconds = std::fs::read_to_string(folder.join(FILE)).ok()?.parse().ok()?;
        Some(Self { at_most: Duration::from_secs(seconds) })
    }

    /// Holds what the servers have noted against the report of the run, and every order that was written against the database.
    ///
    /// # Errors
    /// What the database says.
    pub async fn judge(homes: &[CarbonHome], database: &Database, run: &Value, ended_at: u64) -> Fallible<Judged> {
        let lines = |file: &str| {
            let of = |home: &CarbonHome| std::fs::read_to_string(home.path().join(file));
            let all: Vec<String> = homes.iter().filter_map(|home| of(home).ok()).collect();
            all.iter().flat_map(|text| text.lines()).filter_map(|line| line.parse::<i64>().ok()).collect::<Vec<_>>()
        };
        let refused = lines(REFUSED);
        let (first, last) = (refused.iter().min().copied(), refused.iter().max().copied());
        let there = database.orders(run["end"] == "all-new").await?;
        let written = lines(WRITTEN);
        Ok(Judged {
            refused: refused.len(),
            span_ms: first.zip(last).map_or(0, |(first, last)| last - first),
            late: refused.iter().filter(|at| **at > i64::try_from(ended_at).unwrap_or(i64::MAX)).count(),
            written: written.len(),
            lost: written.iter().filter(|id| !there.contains(id)).count(),
            window: run["windows"][0].clone(),
        })
    }
}

/// What was seen of a window.
#[derive(Clone, Debug)]
pub struct Judged {
    /// How many writes were refused, and how long after the first the last was.
    refused: usize,
    span_ms: i64,
    /// How many of them after the run had ended.
    late: usize,
    /// How many orders were written, and how many of these are not there.
    written: usize,
    lost: usize,
    /// The window, as the run reports it.
    window: Value,
}

impl Judged {
    /// Prints it.
    pub fn print(&self) {
        println!("writes refused     {:>9} in {} ms, {} after the run", self.refused, self.span_ms, self.late);
        println!("orders written     {:>9}, {} of them lost", self.written, self.lost);
        println!("window             {:>9} ms of {} ms", self.window["used_ms"], self.window["at_most_ms"]);
    }

    /// Returns it for a report.
    pub fn to_json(&self) -> Value {
        json!({
            "refused": self.refused, "span_ms": self.span_ms, "late": self.late, "written": self.written, "lost": self.lost,
            "reported": self.window,
        })
    }

    /// Tells whether writes were refused in the window only, and the window was kept.
    pub fn is_good(&self) -> bool {
        let of = |key: &str| self.window[key].as_i64();
        let used = of("used_ms").zip(of("at_most_ms"));
        let kept = used.is_some_and(|(used, at_most)| self.span_ms <= used && used <= at_most);
        self.refused > 0 && self.late == 0 && self.lost == 0 && kept
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn script_of(user: &str) -> String {
    format!(
        r#"#!/bin/sh
# upgrade.sh apply|restore: the release, and the database that it uses.
set -e
home=$(cd "$(dirname "$0")/.." && pwd)
case "$1" in
apply)
    if [ -n "$HA_DATABASE_URL" ]; then
        [ -f "$home/database.old" ] || cp "$home/database" "$home/database.old"
        printf '%s%s' "$HA_DATABASE_URL" '{user}' > "$home/database"
    fi
    ;;
restore)
    if [ -f "$home/database.old" ]; then mv "$home/database.old" "$home/database"; fi
    ;;
esac
exec "$home/bin/patch.sh" "$1"
"#
    )
}
