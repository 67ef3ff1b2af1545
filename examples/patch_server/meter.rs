//! What a way of patching costs: time, CPU and memory of a child and of all that it starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use examples::Fallible;

/// How often a way's memory and CPU time are read.
const METER_INTERVAL: Duration = Duration::from_millis(250);

/// What one way of patching took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Of the controller and all that it started.
    pub(crate) cpu: Duration,
    /// Of the controller alone, by its own clock at its end; of the script, to a hundredth of a second.
    pub(crate) own_cpu: Duration,
    /// The most that the controller itself held in memory, and it with all that it started, in KiB.
    pub(crate) own_peak: u64,
    pub(crate) tree_peak: u64,
}

/// Measures a child: from before it is started until after it was waited for.
pub(crate) struct Meter {
    began: Instant,
    /// Counts what is killed and never waited for as well, as masters of ssh are. Without one, what was seen is counted.
    group: Option<CpuGroup>,
    cpu: Duration,
    /// The most that was seen: memory alone, memory with all, CPU ticks alone, CPU ticks with all: what is killed at the
    /// end is never waited for.
    peaks: Arc<[AtomicU64; 4]>,
    done: Arc<AtomicBool>,
}

impl Meter {
    pub(crate) fn begin() -> Fallible<Self> {
        let group = CpuGroup::make();
        Ok(Self { began: Instant::now(), group, cpu: cpu_of_children()?, peaks: Arc::default(), done: Arc::default() })
    }

    /// Looks now and then at the memory and the CPU time of the process and of all that it started. Rarely: the kernel
    /// counts the pages of a process at each look, and either way of patching shares the CPUs with that.
    pub(crate) fn watch(&self, pid: Option<u32>) -> Fallible<()> {
        let (peaks, done) = (self.peaks.clone(), self.done.clone());
        let Some(pid) = pid else { return Ok(()) };
        if let Some(group) = &self.group {
            group.enter(pid)?;
        }
        std::thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                let own = pss(pid);
                peaks[0].fetch_max(own, Ordering::SeqCst);
                let cpu = |pid: u32, first: usize| ticks(&format!("/proc/{pid}/stat"), first).unwrap_or(0);
                peaks[2].fetch_max(cpu(pid, 11), Ordering::SeqCst);
                let all = descendants(pid).into_iter().chain([pid]).map(|pid| cpu(pid, 11) + cpu(pid, 13)).sum();
                peaks[3].fetch_max(all, Ordering::SeqCst);
                peaks[1].fetch_max(descendants(pid).into_iter().map(pss).sum::<u64>() + own, Ordering::SeqCst);
                std::thread::sleep(METER_INTERVAL);
            }
        });
        Ok(())
    }

    pub(crate) fn end(self) -> Fallible<Cost> {
        let wall = self.began.elapsed();
        self.done.store(true, Ordering::SeqCst);
        let cpu = cpu_of_children()?.saturating_sub(self.cpu);
        let [own_peak, tree_peak, own, all] = [0, 1, 2, 3].map(|kind: usize| self.peaks[kind].load(Ordering::SeqCst));
        let cpu = cpu.max(Duration::from_millis(all * TICK_MS));
        let cpu = self.group.as_ref().and_then(CpuGroup::used).unwrap_or(cpu);
        Ok(Cost { wall, cpu, own_cpu: Duration::from_millis(own * TICK_MS), own_peak, tree_peak })
    }
}

/// The CPU time of all children that were waited for, and of theirs.
fn cpu_of_children() -> Fallible<Duration> {
    let ticks = ticks("/proc/self/stat", 13).ok_or("/proc/self/stat is odd")?;
    Ok(Duration::from_millis(ticks * TICK_MS))
}

/// Linux counts CPU time for users in hundredths of a second, whatever its own clock does.
const TICK_MS: u64 = 10;

/// Adds user and system time, which are at `first` and behind it after the name.
fn ticks(stat: &str, first: usize) -> Option<u64> {
    let text = std::fs::read_to_string(stat).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(first);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn pss(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn descendants(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_tasks: String =
        tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect();
    let text = if of_tasks.is_empty() { text } else { of_tasks };
    let children: Vec<u32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    children.iter().copied().chain(children.iter().flat_map(|child| descendants(*child))).collect()
}

impl Cost {
    pub(crate) fn to_json(self) -> serde_json::Value {
        serde_json::json!({
            "wall_ms": self.wall.as_millis(), "cpu_ms": self.cpu.as_millis(), "own_cpu_ms": self.own_cpu.as_millis(),
            "own_peak_kib": self.own_peak, "tree_peak_kib": self.tree_peak,
        })
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, cpu, own_cpu) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64(), self.own_cpu.as_secs_f64());
        let (own, tree) = (self.own_peak / 1024, self.tree_peak / 1024);
        write!(f, "{wall:.2} s wall; CPU {own_cpu:.2} s, {cpu:.2} s with all its processes; ")?;
        write!(f, "memory {own} MiB, {tree} MiB with all its processes")
    }
}

/// A control group of its own that counts CPU time.
struct CpuGroup {
    folder: PathBuf,
    /// The file that has the time, and the unit's nanoseconds.
    usage: (&'static str, u64),
}

impl CpuGroup {
    /// Makes one; `None` where this user may not.
    fn make() -> Option<Self> {
        let name = format!("patch-server-{}-{:?}", std::process::id(), std::thread::current().id());
        let name: String = name.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').collect();
        // Version 1 counts in a hierarchy of its own, version 2 in each group.
        let places = [("/sys/fs/cgroup/cpuacct", ("cpuacct.usage", 1)), ("/sys/fs/cgroup", ("cpu.stat", 1_000))];
        places.into_iter().find_map(|(root, usage)| {
            let group = Self { folder: Path::new(root).join(&name), usage };
            std::fs::create_dir(&group.folder).ok()?;
            // Dropped again, and with it the folder, where it is no group that counts.
            group.used().is_some().then_some(group)
        })
    }

    fn enter(&self, pid: u32) -> std::io::Result<()> {
        std::fs::write(self.folder.join("cgroup.procs"), pid.to_string())
    }

    fn used(&self) -> Option<Duration> {
        let (file, nanos) = self.usage;
        let text = std::fs::read_to_string(self.folder.join(file)).ok()?;
        let number = text.lines().find_map(|line| line.trim_start_matches("usage_usec ").trim().parse::<u64>().ok())?;
        Some(Duration::from_nanos(number.saturating_mul(nanos)))
    }
}

impl Drop for CpuGroup {
    fn drop(&mut self) {
        // What still runs in it goes back to the group above.
        let procs = std::fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            if let Some(parent) = self.folder.parent() {
                let _ = std::fs::write(parent.join("cgroup.procs"), pid);
            }
        }
        let _ = std::fs::remove_dir(&self.folder);
    }
}
