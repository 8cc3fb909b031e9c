//! (being written)
pub mod principal;
pub use principal::Principal;
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(pub u16);
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath;
