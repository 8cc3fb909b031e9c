//! Takes a credential out of what the upstream gets to see.

use super::places::split_pair;
use crate::http::headers::trim;
use crate::http::percent;

/// `cookie_header` without the cookies of these names, the rest byte for byte; `None` where nothing is left.
pub fn without_cookie(cookie_header: &[u8], names: &[impl AsRef<str>]) -> Option<Vec<u8>> {
    let is_listed = |pair: &[u8]| {
        let name = trim(split_pair(pair).0);
        names.iter().any(|listed| listed.as_ref().as_bytes() == name)
    };
    let kept: Vec<&[u8]> =
        cookie_header.split(|byte| *byte == b';').filter(|pair| !is_listed(pair)).collect();
    let kept = kept.join(&b';');
    // The space after the separator of a first pair that is gone.
    let kept = if cookie_header.starts_with(&kept) { kept } else { kept.trim_ascii_start().to_vec() };
    kept.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != b';').then_some(kept)
}

/// `path_and_query` without the query parameters of these names (compared after decoding), the rest byte for byte.
/// The `?` goes with the last parameter.
pub fn without_query_parameter(path_and_query: &[u8], names: &[impl AsRef<str>]) -> Vec<u8> {
    let mut parts = path_and_query.splitn(2, |byte| *byte == b'?');
    let (Some(path), Some(query)) = (parts.next(), parts.next()) else {
        return path_and_query.to_vec();
    };
    let is_listed = |pair: &[u8]| {
        let name = split_pair(pair).0;
        names.iter().any(|listed| percent::is_form_name(name, listed.as_ref()))
    };
    let pairs = query.split(|byte| *byte == b'&');
    let kept: Vec<&[u8]> = pairs.clone().filter(|pair| !is_listed(pair)).collect();
    if kept.is_empty() {
        return path.to_vec();
    }
    let mut rest = Vec::with_capacity(path_and_query.len());
    rest.extend_from_slice(path);
    rest.push(b'?');
    rest.extend_from_slice(&kept.join(&b'&'));
    rest
}
