#![doc = include_str!("../README.md")]

mod holder;
mod schema;
mod store;

pub use store::SqliteStore;
