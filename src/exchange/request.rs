//! A request's headers, with the pseudo-headers found once. All others are looked up where they are needed.

use crate::http::headers::{Headers, single_value, values};

/// What decisions read from a request. A pseudo-header that is absent is empty, and fails the step that needs
/// it.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// All headers, pseudo-headers included, names in lower case.
    pub headers: Headers<'r>,
    /// `:method`.
    pub method: &'r [u8],
    /// `:path`, with the query.
    pub path: &'r [u8],
    /// `:authority`.
    pub authority: &'r [u8],
    /// `:scheme`.
    pub scheme: &'r [u8],
    /// Whether it is a gRPC request, which is answered by a gRPC status.
    pub is_grpc: bool,
}

impl<'r> Request<'r> {
    /// Finds the pseudo-headers in `headers`.
    pub fn new(headers: Headers<'r>) -> Self {
        let mut request =
            Self { headers, method: b"", path: b"", authority: b"", scheme: b"", is_grpc: false };
        for &(name, value) in headers {
            match name {
                b":method" => request.method = value,
                b":path" => request.path = value,
                b":authority" => request.authority = value,
                b":scheme" => request.scheme = value,
                b"content-type" => request.is_grpc = is_grpc(value),
                _ => {}
            }
        }
        request
    }

    /// Whether the client connects by TLS: `:scheme` is `https`, and `x-forwarded-proto` does not contradict
    /// it.
    ///
    /// An HTTP/2 client may claim any `:scheme` on any connection; a proxy at the edge sets
    /// `x-forwarded-proto` from the connection. The header alone proves nothing: there may be no proxy that
    /// sets it.
    pub fn is_secure(&self) -> bool {
        let is_https = |scheme: &[u8]| scheme.eq_ignore_ascii_case(b"https");
        let is_contradicted = match single_value(self.headers, "x-forwarded-proto") {
            Ok(None) => false,
            Ok(Some(forwarded)) => !is_https(forwarded.as_bytes()),
            Err(_) => true,
        };
        is_https(self.scheme) && !is_contradicted
    }

    /// Whether it is a CORS preflight request: `OPTIONS` with `Origin` and `Access-Control-Request-Method`
    /// (Fetch standard, section 3.2.2), neither of them empty.
    pub fn is_cors_preflight(&self) -> bool {
        let has = |wanted| values(self.headers, wanted).any(|value| !value.is_empty());
        self.method == b"OPTIONS" && has("origin") && has("access-control-request-method")
    }
}

/// `application/grpc`, with a suffix such as `+proto` or parameters, as gRPC over HTTP/2 defines it. gRPC-Web
/// is translated by another filter and answered as HTTP.
fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::borrowed;

    #[test]
    fn a_scheme_is_believed_unless_the_proxy_in_front_says_otherwise() {
        let is_secure = |headers: &[(&str, &str)]| Request::new(&borrowed(headers)).is_secure();
        let forwarded = |value| is_secure(&[(":scheme", "https"), ("x-forwarded-proto", value)]);
        assert!(is_secure(&[(":scheme", "https")]));
        assert!(is_secure(&[(":scheme", "HTTPS")]));
        assert!(forwarded("https"));
        for other in ["http", "", "https, http", "https,https", "httpss", "wss"] {
            assert!(!forwarded(other), "{other}");
        }
        assert!(!is_secure(&[]));
        assert!(!is_secure(&[(":scheme", "http"), ("x-forwarded-proto", "https")]));
        assert!(!is_secure(&[("x-forwarded-proto", "https")]));
        let twice = [(":scheme", "https"), ("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")];
        assert!(!is_secure(&twice));
    }

    #[test]
    fn grpc_is_told_by_the_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(value.as_bytes()), expected, "{value}");
        }
    }
}
