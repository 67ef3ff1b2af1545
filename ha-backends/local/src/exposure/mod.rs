mod command;
mod routes;

pub use command::{CommandExposure, CommandExposureConfig};
pub use routes::LocalExposure;
