//! An issuer's whole story: what the configuration says of it, its keys, its answers about tokens, who waits for
//! them, and what the workers of one proxy tell each other.

pub mod calls;
pub mod certificate;
pub mod discovery;
pub mod dpop;
mod fault;
mod http_call;
pub mod introspection;
mod judge;
pub mod keys;
pub mod peers;
pub mod provider;
mod question;
mod signed_response;
pub mod state;

pub use fault::IssuerFault;
pub use http_call::HttpCall;
pub use judge::{Asked, IntrospectionOutcome};
pub use question::Question;
pub use signed_response::Unverified;
pub use state::{ActivePolicy, AnswerNow, IssuerCall, KeysNow, Waiter, WaiterId, Worker};
