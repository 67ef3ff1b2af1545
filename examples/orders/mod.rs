//! Servers whose every order is a row of one database: what two releases of them read and write, the scripts between the two, and a
//! window in which the database refuses writes.

mod database;
mod scripts;
mod serve;
mod window;

pub use database::{Database, Kind, NEW, OLD, ROWS};
pub use scripts::{write_base, write_upgrade};
pub use serve::{Orders, serve};
pub use window::{Judged, SCRIPT, Window, now_ms};
