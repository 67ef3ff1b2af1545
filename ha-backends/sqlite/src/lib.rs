#![doc = include_str!("../README.md")]

mod schema;
mod store;

pub use store::SqliteStore;
