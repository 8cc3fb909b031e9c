//! A call to an issuer, as the host is to make it.

use std::fmt;

use super::provider::HttpUri;

/// An HTTP call to make.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// Pseudo-headers and headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl HttpCall {
    /// A `GET` of `uri`, with `tenant` at `{tenant}`.
    pub fn get(uri: &HttpUri, tenant: Option<&str>, accepted: &str) -> Self {
        let headers = vec![
            (":method", "GET".to_owned()),
            (":scheme", uri.scheme.to_string()),
            (":authority", uri.authority.to_string()),
            (":path", uri.path_for(tenant)),
            ("accept", accepted.to_owned()),
        ];
        Self { headers, body: String::new() }
    }
}

impl fmt::Debug for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both the headers and the body carry secrets.
        f.write_str("HttpCall(…)")
    }
}
