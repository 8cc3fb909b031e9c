//! An issuer's whole story: what the configuration says of it, its keys, its answers about tokens, who waits for
//! them, and what the workers of one proxy tell each other.

pub mod calls;
pub mod introspection;
pub mod keys;
pub mod peers;
pub mod provider;
pub mod state;

pub use state::{ActivePolicy, AnswerNow, IntrospectionOutcome, IssuerCall, KeysNow, WaiterId, Worker};
