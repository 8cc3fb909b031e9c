//! What the client and the upstream are told.

pub mod reason;

pub use reason::{ErrorClass, Reason};
