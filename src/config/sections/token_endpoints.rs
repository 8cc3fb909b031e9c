//! `token_endpoints`: where token requests are guarded.

use super::providers::Providers;
use super::terms::{http_token, scope_token};
use crate::config::kind::{ErrorKind, WarningKind};
use crate::config::reader::Cursor;
use crate::route::path::canonicalize;
use crate::token_endpoint::{
    DEFAULT_GRANT_TYPES, DEFAULT_PASSED_SCOPES, OnUnregisteredScope, TokenEndpoint, folded,
};

/// Reads `token_endpoints`. `has_applications`: whether any tenant registers clients.
pub fn read(
    cursor: Option<&Cursor<'_>>,
    providers: &Providers<'_>,
    has_applications: bool,
) -> Vec<TokenEndpoint> {
    let mut endpoints: Vec<TokenEndpoint> = Vec::new();
    for item in cursor.and_then(Cursor::items).into_iter().flatten() {
        let Some(endpoint) = token_endpoint(&item, providers) else { continue };
        let taken = endpoints.iter().filter(|known| known.path == endpoint.path);
        for method in
            taken.flat_map(|known| &known.methods).filter(|method| endpoint.methods.contains(method))
        {
            item.error(
                ErrorKind::Repeated,
                format_args!("`{method}` at `{}` is guarded twice", endpoint.path),
            );
        }
        let is_alike =
            |known: &&TokenEndpoint| known.path != endpoint.path && known.folded_path == endpoint.folded_path;
        if let Some(known) = endpoints.iter().find(is_alike) {
            item.error(
                ErrorKind::Unguarded,
                format_args!(
                    "a server may take `{}` for `{}`, which is guarded too; spell both alike",
                    endpoint.path, known.path
                ),
            );
        }
        endpoints.push(endpoint);
    }
    if let Some(cursor) = cursor.filter(|_| !endpoints.is_empty() && !has_applications) {
        cursor.warning(
            WarningKind::Unusable,
            "no tenant registers applications, so every token request is refused",
        );
    }
    endpoints
}

fn token_endpoint(cursor: &Cursor<'_>, providers: &Providers<'_>) -> Option<TokenEndpoint> {
    let fields = cursor.map(&[
        "path",
        "methods",
        "on_unregistered_scope",
        "grant_types",
        "passed_scopes",
        "provider",
    ])?;
    let path = fields.required("path").and_then(|path| exact_path(&path));
    let methods = match fields.optional("methods") {
        None => Some(vec!["POST".into()]),
        Some(methods) => methods.list_of(true, http_token),
    };
    let on_unregistered_scope = match fields.optional("on_unregistered_scope") {
        None => Some(OnUnregisteredScope::Reject),
        Some(choice) => {
            choice.choice(&[("reject", OnUnregisteredScope::Reject), ("narrow", OnUnregisteredScope::Narrow)])
        }
    };
    let grant_types = match fields.optional("grant_types") {
        None => Some(DEFAULT_GRANT_TYPES.map(Box::from).to_vec()),
        Some(grants) => grants.strings(true),
    };
    let passed_scopes = match fields.optional("passed_scopes") {
        None => Some(DEFAULT_PASSED_SCOPES.map(Box::from).to_vec()),
        Some(scopes) => scopes.list_of(false, scope_token),
    };
    let provider = fields.optional("provider").map(|provider| providers.reference(&provider));
    let path = path?;
    Some(TokenEndpoint {
        folded_path: folded(&path).into(),
        path,
        methods: methods?.into(),
        on_unregistered_scope: on_unregistered_scope?,
        grant_types: grant_types?.into(),
        passed_scopes: passed_scopes?.into(),
        provider: match provider {
            None => None,
            Some(provider) => Some(provider?),
        },
    })
}

/// A path as requests are compared with it: canonical, without a query.
fn exact_path(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let text = cursor.string()?;
    if text.contains(['?', '{', '*']) {
        cursor.error(
            ErrorKind::OutOfBounds,
            format_args!("`{text}` is not an exact path: it holds a `?`, a `{{` or a `*`"),
        );
        return None;
    }
    match canonicalize(text.as_bytes()) {
        Ok(path) => Some(path.path().into()),
        Err(cause) => {
            cursor.error(
                ErrorKind::NeverPasses,
                format_args!("no request can have the path `{text}`: {cause}"),
            );
            None
        }
    }
}
