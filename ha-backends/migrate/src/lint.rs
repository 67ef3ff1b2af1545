//! Availability rules for migration scripts.
