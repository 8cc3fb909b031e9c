//! What would have to change for a refused request to pass.

use scopegate::respond::{Reason, Rejection};

/// Advice for whoever wants the request to pass, by its reason. The tenant's and the token's names are told
/// by the steps; here is who can do something about it.
pub fn remedy(rejection: &Rejection) -> String {
    let about = rejection.about.as_deref();
    let named = |what: &str| about.map_or_else(|| what.to_owned(), |name| format!("`{name}`"));
    match rejection.reason {
        Reason::PathAmbiguous => "the client has to send a path that can be read in one way only".to_owned(),
        Reason::CredentialAmbiguous => {
            "the client has to send its token once, in one place, and no other credential beside it".to_owned()
        }
        Reason::CredentialMalformed => {
            "the client has to send a token without spaces and without characters beyond RFC 6750 section 2.1"
                .to_owned()
        }
        Reason::HeaderMissing => {
            format!("the client has to send the header {} with a value that is served here", named("in question"))
        }
        Reason::HeaderAmbiguous => {
            format!("the client, or a proxy before this one, has to send the header {} once", named("in question"))
        }
        Reason::HeaderMalformed => format!("the header {} needs a value in UTF-8", named("in question")),
        Reason::HostMalformed => {
            "the client has to send an authority (`Host`) that is a host name or an address, with a port of 0 to 65535 at most"
                .to_owned()
        }
        Reason::TlsRequired => "the client has to call over https".to_owned(),
        Reason::CredentialMissing => {
            "the client has to send an access token in a place where a provider takes it from".to_owned()
        }
        Reason::TokenMalformed => {
            "the client has to send the token as the issuer gave it; a JWE, `crit` and `b64` are not accepted"
                .to_owned()
        }
        Reason::TokenTooLarge => "the issuer has to put less into the token, or `max_token_bytes` has to grow".to_owned(),
        Reason::TokenTypeNotAccepted => {
            "the client has to send an access token, not an ID, refresh or other token; `token_types` of the provider \
             says which `typ` is accepted, `required_values` what marks an access token"
                .to_owned()
        }
        Reason::AlgorithmNotAllowed => {
            "the issuer has to sign with an algorithm that `algorithms` of the provider lists".to_owned()
        }
        Reason::IssuerUnknown => {
            "a provider with exactly this `issuer` has to be configured, and to take tokens from this place".to_owned()
        }
        Reason::KeyNotFound => {
            "the issuer has to publish the key that the token's `kid` names, of a type that fits its `alg`".to_owned()
        }
        Reason::SignatureInvalid => {
            "the token has to be signed with a key of the issuer; this one was changed, or signed by somebody else"
                .to_owned()
        }
        Reason::TokenExpired => "the client has to get a new token".to_owned(),
        Reason::TokenNotYetValid => "the client has to wait, or the clocks have to agree (`clock_skew`)".to_owned(),
        Reason::TokenTooOld => "the client has to get a new token; `max_token_age` bounds its age".to_owned(),
        Reason::AudienceMismatch => {
            "the issuer has to name an audience in `aud` that the provider, the suite and the operation accept".to_owned()
        }
        Reason::ClaimMissing => format!("the issuer has to put {} into the token", named("the claim in question")),
        Reason::ClaimMalformed => {
            format!("the issuer has to give {} a usable value", named("the claim in question"))
        }
        Reason::TokenInactive => "the client has to get a new token: the issuer no longer stands by this one".to_owned(),
        Reason::IntrospectionNotConfigured => {
            "the client has to send a JWT, or exactly one provider with `introspection` has to be left by the \
             request's evidence (`default_introspection` says which, where several are)"
                .to_owned()
        }
        Reason::TenantMissing => match about {
            Some(kind) => format!("the evidence `{kind}`, which is required, has to be there"),
            None => "something in the token has to name the tenant: a claim, the issuer, an audience, or a client \
                     that is registered with one tenant"
                .to_owned(),
        },
        Reason::TenantUnknown => {
            "the token has to name a configured tenant by its id or an alias, or that tenant has to be configured"
                .to_owned()
        }
        Reason::TenantAmbiguous => {
            "the token has to name one tenant: it leaves several; among those that a claim lists (`claim_lists`) the \
             request has to name one, by a header, the path or the host"
                .to_owned()
        }
        Reason::TenantMismatch => {
            "all evidence, in the token and in the request, has to name the same tenant".to_owned()
        }
        Reason::IssuerNotAllowedForTenant => {
            "the provider has to be among the tenant's `providers`, or the token has to come from one that is".to_owned()
        }
        Reason::ApplicationNotRegistered => {
            "the client has to be registered among the tenant's `applications`, for this provider".to_owned()
        }
        Reason::SenderConstraintFailed => match about {
            Some(_) => "the client has to send a token that is bound to a key under `DPoP`, with a proof, and no other one"
                .to_owned(),
            None => {
                "the client has to call with the certificate that its token is bound to (--client-certificate-sha256)"
                    .to_owned()
            }
        },
        Reason::ProofMissing => {
            "the client has to send one header `DPoP` with a proof of the key that the token is bound to (RFC 9449)"
                .to_owned()
        }
        Reason::TokenRevoked => {
            "the client has to get a new token, unless it or its subject is revoked altogether; `revoked` of the provider \
             or the tenant lists what is"
                .to_owned()
        }
        Reason::ProofInvalid => {
            "the client has to make a proof for this very request: its method, its URL under `public_origin`, its \
             token, its time, and the gateway's nonce where there is one"
                .to_owned()
        }
        Reason::AuthenticationInsufficient => {
            let details = rejection.challenge.as_deref();
            let acr_values = details.and_then(|details| details.acr_values.as_deref());
            let max_age = details.and_then(|details| details.max_age);
            let by = acr_values.map(|values| format!(", by one of `{values}` (`acr`)")).unwrap_or_default();
            let lately = max_age.map(|age| format!(", {age} s ago at most (`auth_time`)")).unwrap_or_default();
            format!("the user has to authenticate again{by}{lately}, and the client to come with the token of that")
        }
        Reason::ProofReplayed => "the client has to make a new proof for each request".to_owned(),
        Reason::OperationNotMapped => "an operation has to be configured for this host and path".to_owned(),
        Reason::MethodNotMapped => {
            "the client has to use a method that is mapped here, or an operation has to list this one".to_owned()
        }
        Reason::SuiteNotAvailable => "the suite has to be among the tenant's `suites`".to_owned(),
        Reason::ScopeAbsentFromIntrospection => {
            "the issuer has to tell the token's scopes in `scope` of its introspection response".to_owned()
        }
        Reason::NoScopesInToken
        | Reason::ScopeOfOtherTenant
        | Reason::ScopeNameMismatch
        | Reason::ScopeNotAssociatedWithSuite
        | Reason::ScopeNotGranted => match &rejection.sufficient_scope {
            Some(scope) => format!("the token has to carry, and the application be assigned: {scope}"),
            None => "no scope that the tenant declares would do: its `scopes`, `scope_mapping` or the operation's \
                     `requires` have to change"
                .to_owned(),
        },
        Reason::ScopeNotDeclared => {
            "the tenant has to declare the scope that the token carries in its `scopes`".to_owned()
        }
        Reason::ScopeNotAssignedToApplication => {
            "the application has to be assigned the scope that its token carries, in its `scopes`".to_owned()
        }
        Reason::KeysUnavailable => "the issuer's keys have to be reachable (here: --jwks PROVIDER=FILE)".to_owned(),
        Reason::IntrospectionUnavailable => {
            "the issuer has to answer the introspection as RFC 7662 says (here: --introspection FILE)".to_owned()
        }
        Reason::IntrospectionOverloaded => "fewer requests have to wait for issuers at once".to_owned(),
    }
}
