//! What the client and the upstream are told.

mod answers;
mod challenge;
pub mod reason;
pub mod rejection;

pub use answers::Answers;
pub use challenge::{ChallengeDetails, Schemes};
pub use reason::{ErrorClass, Reason};
pub use rejection::{Answer, Rejection};
