use std::process::ExitCode;

use ha_lab::load;
use rustix::time::{ClockId, clock_gettime};

use crate::Fallible;

/// Runs what a controller does, and prints the CPU time of this process, without its children, as the last line. It waits for
/// others most of the time: one thread costs the least.
pub fn as_controller(controlled: impl Future<Output = Fallible<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(controlled));
    if let Err(error) = &ended {
        println!("controller: {error}");
    }
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let micros = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000;
    println!("{}", serde_json::json!({ "event": "cost", "cpu_us": micros }));
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a demonstration: exit code 0 where all was as it should be, 1 where not, 2 where it could not be set up. What fails once the
/// load runs is a promise that was not kept.
pub fn demonstration(name: &str, demonstrated: impl Future<Output = Fallible<bool>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(demonstrated)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            if load::has_begun() { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
    }
}
