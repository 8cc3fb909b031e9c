//! What the client and the upstream are told.

pub mod reason;
pub mod rejection;

pub use reason::{ErrorClass, Reason};
pub use rejection::{Answer, Rejection};
