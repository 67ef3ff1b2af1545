#![doc = include_str!("../README.md")]

mod holder;
mod requests;
mod schema;
mod store;

pub use store::SqliteStore;
