//! Requests close to one that no operation matches: what the client may have meant.

use scopegate::exchange::Request;
use scopegate::policy::Policy;
use scopegate::route::{Lookup, canonicalize};

use crate::catalog::operation_name;

/// Where the same request would match but for its trailing slash or its host.
pub fn nearby(request: &Request<'_>, host: Option<&str>, policy: &Policy) -> Option<String> {
    let text = std::str::from_utf8(request.path).ok()?.split('?').next()?;
    let slashed = match text.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{text}/"),
    };
    let matches = |path: &str, host: Option<&str>| {
        let path = canonicalize(path.as_bytes()).ok()?;
        match policy.operations.find(host, &path, request.method, request.headers) {
            Lookup::Matched { operation, .. } => policy.catalog.operation(operation),
            Lookup::Unmatched | Lookup::MethodNotMapped { .. } | Lookup::Header { .. } => None,
        }
    };
    if let Some(operation) = matches(&slashed, host) {
        let name = operation_name(policy, operation);
        return Some(format!("`{name}` matches {slashed}: a trailing slash counts"));
    }
    let hosts = policy.routes.iter().flat_map(|route| &route.hosts).map(ToString::to_string);
    for other in hosts.filter(|host| !host.contains('{')) {
        if let Some(operation) = matches(text, Some(&other)) {
            return Some(format!("`{}` matches with the host {other}", operation_name(policy, operation)));
        }
    }
    None
}

/// The methods by which the same path would match.
pub fn methods_here<'p>(request: &Request<'_>, host: Option<&str>, policy: &'p Policy) -> Vec<&'p str> {
    let Ok(path) = canonicalize(request.path) else { return Vec::new() };
    let all = policy.routes.iter().filter_map(|route| route.methods.as_ref()).flatten();
    let mut methods: Vec<&str> = all.map(|name| &**name).collect();
    methods.sort_unstable();
    methods.dedup();
    methods.retain(|method| match policy.operations.find(host, &path, method.as_bytes(), request.headers) {
        Lookup::Matched { .. } | Lookup::Header { .. } => true,
        Lookup::Unmatched | Lookup::MethodNotMapped { .. } => false,
    });
    methods
}
