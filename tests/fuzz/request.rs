//! What a client sends beside its token.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use scopegate::respond::Reason;
use scopegate::route::path::canonicalize;
use scopegate::route::pattern::normalize_host;
use scopegate::token_endpoint::Form;
use serde_json::json;

use crate::gateway::{Call, Gateway, Outcome, provider};
use crate::tokens::{configuration, good};

/// A canonical path is a fixed point, and has nothing in it that two readers may read differently.
pub fn path(bytes: &[u8]) {
    let Ok(found) = canonicalize(bytes) else { return };
    let canonical = found.path();
    let again = canonicalize(canonical.as_bytes()).expect("a canonical path is none that is refused");
    assert_eq!(again.path(), canonical);
    assert!(canonical.starts_with('/') && !canonical.contains("//"), "{canonical}");
    assert!(!canonical.contains(['\\', ';', '#', '?']), "{canonical}");
    assert!(!canonical.split('/').any(|segment| matches!(segment, "." | "..")), "{canonical}");
    let decoded: Vec<u8> = percent_decode(canonical.as_bytes()).collect();
    let segments = |path: &[u8]| path.iter().filter(|octet| **octet == b'/').count();
    assert_eq!(segments(&decoded), segments(canonical.as_bytes()), "{canonical}");
}

/// A normalized host is a fixed point in lower case.
pub fn host(bytes: &[u8]) {
    let Some(host) = normalize_host(bytes) else { return };
    assert_eq!(normalize_host(host.as_bytes()).as_deref(), Some(&*host));
    assert!(!host.bytes().any(|octet| octet.is_ascii_uppercase() || octet.is_ascii_control()), "{host:?}");
}

/// A request passes only with one token in all places together, and the upstream sees none of it. The input is lines:
/// the query, the cookie, then values of `authorization` and `x-token` in turn; `TOKEN` stands for the good token.
pub fn credential_places(bytes: &[u8]) {
    let places = json!({
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}, {"name": "x-token"}],
        "from_cookies": ["session"], "from_params": ["access_token"],
    });
    thread_local! {
        static TOKEN: String = good();
    }
    let token = TOKEN.with(String::clone);
    let gateway = Gateway::new(&configuration(json!({"corp": provider(places)})));
    let mut lines = bytes.split(|octet| *octet == b'\n').map(|line| with_token(line, &token));
    let query = lines.next().unwrap_or_default();
    let mut call = Call::get("/").with(":path", [b"/orders?", &*query].concat());
    let cookie = lines.next().unwrap_or_default();
    if !cookie.is_empty() {
        call = call.header("cookie", cookie);
    }
    for (line, name) in lines.zip(["authorization", "x-token"].into_iter().cycle()).take(4) {
        if !line.is_empty() {
            call = call.header(name, line);
        }
    }
    if let Outcome::Passed(passed) = gateway.call(&call) {
        // Sent on by the upstream, it is a request without a token.
        let again = gateway.call(&Call { headers: passed.headers });
        assert_eq!(again.refusal(), Some(Reason::CredentialMissing), "{again:?}");
    }
}

fn with_token(line: &[u8], token: &str) -> Vec<u8> {
    match String::from_utf8_lossy(line) {
        Cow::Borrowed(text) => text.replace("TOKEN", token).into_bytes(),
        Cow::Owned(_) => line.to_vec(),
    }
}

/// A form says to the filter what it says to others, and one whose scopes are narrowed differs in its scopes alone.
pub fn form(bytes: &[u8]) {
    let Ok(form) = Form::parse(bytes) else { return };
    let pairs = |bytes: &[u8]| -> Vec<(String, String)> {
        form_urlencoded::parse(bytes).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    };
    let all = pairs(bytes);
    for name in ["scope", "client_id", "grant_type", "refresh_token", "client_assertion"] {
        let theirs: Vec<&str> = all
            .iter()
            .filter(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
            .collect();
        let ours: Vec<&str> = form.values(name).collect();
        assert_eq!(ours, theirs, "{name}");
    }
    let narrowed = pairs(&form.with("scope", "billing:read x"));
    let others = |pairs: &[(String, String)]| -> Vec<(String, String)> {
        pairs.iter().filter(|(name, _)| name != "scope").cloned().collect()
    };
    assert_eq!(others(&narrowed), others(&all));
    let scopes: Vec<&(String, String)> = narrowed.iter().filter(|(name, _)| name == "scope").collect();
    assert!(matches!(scopes[..], [(_, value)] if value == "billing:read x"), "{scopes:?}");
}
