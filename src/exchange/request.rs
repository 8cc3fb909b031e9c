//! A request as the exchange reads it: the pseudo-headers found once, the rest looked up where it is needed.

use crate::headers::Headers;

/// The parts of a request that decisions are made from. A request may lack any of them: what is absent fails where it
/// is needed.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// All headers, pseudo-headers included, names in lower case.
    pub headers: &'r dyn Headers,
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
    pub fn new(headers: &'r dyn Headers) -> Self {
        let mut request =
            Self { headers, method: b"", path: b"", authority: b"", scheme: b"", is_grpc: false };
        for (name, value) in (0..).map_while(|index| headers.at(index)) {
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

    /// Whether it is a CORS preflight request: `OPTIONS` with `Origin` and `Access-Control-Request-Method` (Fetch
    /// standard, section 3.2.2), neither of them empty.
    pub fn is_cors_preflight(&self) -> bool {
        let has = |wanted: &[u8]| {
            (0..)
                .map_while(|index| self.headers.at(index))
                .any(|(name, value)| name == wanted && !value.is_empty())
        };
        self.method == b"OPTIONS" && has(b"origin") && has(b"access-control-request-method")
    }
}

/// `application/grpc`, with a suffix such as `+proto` or parameters, as gRPC over HTTP/2 defines it. gRPC-Web is
/// translated by a filter of its own and answered as HTTP.
fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
