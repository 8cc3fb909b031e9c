//! Containers that a client cannot fill without bound or flood with collisions.

pub mod bounded_cache;
pub mod keyed_digest;
pub mod seeded_hash;
pub mod shared_budget;
pub mod shared_store;
