//! scopegate

pub mod authenticate;
pub mod authorize;
pub mod bounded_cache;
pub mod config;
pub mod respond;
pub mod route;
