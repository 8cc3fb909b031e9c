//! Containers that a client cannot fill without bound or flood with collisions.

pub mod bounded_cache;
pub mod seeded_hash;
