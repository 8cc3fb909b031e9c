//! Which token a request carries, and how it is taken out of what the upstream gets to see.

mod places;
mod strip;

pub use places::{Credential, CredentialError, CredentialPlaces, PlaceRef, ProviderPlaces, ProviderSet};
pub use strip::{without_cookie, without_query_parameter};
