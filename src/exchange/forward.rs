//! How the headers of a request that passes are changed before the upstream sees them.

use std::borrow::Cow;

use super::facts::Facts;
use super::request::Request;
use crate::credential::{Credential, PlaceRef, without_cookie, without_query_parameter};
use crate::http::headers::values;
use crate::policy::{ForwardedValue, Policy};

/// How the headers of a forwarded request are changed.
pub trait HeaderEdits {
    /// Removes every header of this name, lower case.
    fn remove(&mut self, name: &[u8]);
    /// Sets a header, in place of all of its name.
    fn set(&mut self, name: &str, value: &[u8]);
    /// Adds a header.
    fn add(&mut self, name: &str, value: &[u8]);
}

/// A request that passes.
#[derive(Debug)]
pub struct Forward {
    /// What was learned about it.
    pub facts: Facts,
    /// The body that replaces the request's.
    pub body: Option<Vec<u8>>,
    pub(super) credential: Option<CredentialPlace>,
    /// Headers that tell of a certificate and are of nobody who may.
    pub(super) unfounded: Vec<&'static str>,
    /// What the client is to get as `DPoP-Nonce` with the upstream's response (RFC 9449 sections 8.2 and 9).
    pub next_nonce: Option<Box<str>>,
}

/// Where the credential stood, for its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// In the header of this name.
    Header(Cow<'static, str>),
    /// In the cookie of this name.
    Cookie(Box<str>),
    /// In the query parameter of this name.
    Parameter(Box<str>),
}

impl CredentialPlace {
    pub(super) fn of(credential: &Credential<'_>) -> Self {
        match credential.place {
            // The usual place. Copying its name would be the only allocation for a request whose token is
            // cached.
            PlaceRef::Header("authorization") => Self::Header(Cow::Borrowed("authorization")),
            PlaceRef::Header(name) => Self::Header(Cow::Owned(name.to_owned())),
            PlaceRef::Cookie(name) => Self::Cookie(name.into()),
            PlaceRef::Parameter(name) => Self::Parameter(name.into()),
        }
    }

    /// The place.
    pub fn as_ref(&self) -> PlaceRef<'_> {
        match self {
            Self::Header(name) => PlaceRef::Header(name),
            Self::Cookie(name) => PlaceRef::Cookie(name),
            Self::Parameter(name) => PlaceRef::Parameter(name),
        }
    }
}

impl Forward {
    /// Changes the request's headers to what the upstream may see: removes headers by which a client could
    /// pose as the filter, removes the credential unless it is forwarded, and adds the configured headers.
    pub fn edit(&self, request: &Request<'_>, policy: &Policy, edits: &mut dyn HeaderEdits) {
        for (name, _) in request.headers {
            if policy.forward.guarded.removes(name) {
                edits.remove(name);
            }
        }
        if let Some(body) = &self.body {
            // A chunked body has none and needs none.
            if values(request.headers, "content-length").next().is_some() {
                edits.set("content-length", body.len().to_string().as_bytes());
            }
        }
        self.unfounded.iter().for_each(|name| edits.remove(name.as_bytes()));
        if self.credential.is_some() && policy.takes_proofs {
            // Whoever sees it without its token could still learn the client's key from it.
            if values(request.headers, "dpop").next().is_some() {
                edits.remove(b"dpop");
            }
        }
        match &self.credential {
            None => {}
            Some(CredentialPlace::Header(name)) => edits.remove(name.as_bytes()),
            Some(CredentialPlace::Cookie(name)) => {
                let kept: Vec<Vec<u8>> = values(request.headers, "cookie")
                    .filter_map(|value| without_cookie(value, &[name]))
                    .collect();
                edits.remove(b"cookie");
                kept.iter().for_each(|value| edits.add("cookie", value));
            }
            Some(CredentialPlace::Parameter(name)) => {
                edits.set(":path", &without_query_parameter(request.path, &[name]));
            }
        }
        let operation = self.facts.operation.and_then(|id| policy.catalog.operation(id));
        let told = self.facts.standing.as_deref().and_then(|standing| standing.forwarded.as_deref().ok());
        // Every header of these names was removed above, so adding one sets it, and costs the host less.
        for (place, header) in policy.forward.headers.iter().enumerate() {
            let value = match &header.value {
                ForwardedValue::Suite => operation
                    .and_then(|operation| policy.catalog.suite(operation.suite))
                    .map(|suite| &*suite.name),
                ForwardedValue::Operation => operation.map(|operation| &*operation.name),
                ForwardedValue::Tenant
                | ForwardedValue::Client
                | ForwardedValue::Subject
                | ForwardedValue::Scopes
                | ForwardedValue::Permissions
                | ForwardedValue::Issuer
                | ForwardedValue::Claim(_) => {
                    told.and_then(|values| values.get(place)).and_then(|value| value.as_deref())
                }
            };
            if let Some(value) = value {
                edits.add(&header.name, value.as_bytes());
            }
        }
    }
}
