//! scopegate

pub mod authenticate;
pub mod authorize;
pub mod config;
pub mod respond;
pub mod route;
