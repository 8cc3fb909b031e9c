//! From `:path`, host, method and headers to the operation called.
//!
//! 1. [`path`]: the canonical form of the path; what a proxy and an upstream may read differently is refused.
//! 2. [`pattern`]: the paths and hosts of the configuration.
//! 3. [`index`]: the most specific operation, or the reason why there is none.

pub mod index;
pub mod path;
pub mod pattern;

pub use index::{Conflict, HeaderMatcher, Lookup, OperationIndex, Route, RouteEvidence};
pub use path::{RequestPath, canonicalize};
pub use pattern::{HostPattern, PathPattern, PathPatternError, Segment, normalize_host};
