//! scopegate

pub mod authenticate;
pub mod authorize;
pub mod config;
pub mod credential;
pub mod headers;
pub mod respond;
pub mod route;
