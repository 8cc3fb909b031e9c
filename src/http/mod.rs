//! What HTTP itself defines: headers, their encoding for the host, and searches in both.

pub mod header_pairs;
pub mod headers;
pub mod percent;
pub(crate) mod search;
