//! A call to an issuer, as the host is to make it.

use std::fmt;

/// An HTTP call to make.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// Pseudo-headers and headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl fmt::Debug for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both the headers and the body carry secrets.
        f.write_str("HttpCall(…)")
    }
}
