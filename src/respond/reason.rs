//! The closed set of reasons for which a request is refused, and what each means on the wire.

/// Why a request is refused. The names are stable: clients, dashboards and alert rules read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each variant is its wire name in camel case; `Reason::meaning` says what it means"
)]
pub enum Reason {
    PathAmbiguous,
    CredentialAmbiguous,
    CredentialMalformed,
    HeaderMissing,
    HeaderAmbiguous,
    HeaderMalformed,
    TlsRequired,
    HostMalformed,
    CredentialMissing,
    TokenMalformed,
    TokenTooLarge,
    TokenTypeNotAccepted,
    AlgorithmNotAllowed,
    IssuerUnknown,
    KeyNotFound,
    SignatureInvalid,
    TokenExpired,
    TokenNotYetValid,
    TokenTooOld,
    AudienceMismatch,
    ClaimMissing,
    ClaimMalformed,
    TokenInactive,
    IntrospectionNotConfigured,
    TenantMissing,
    TenantUnknown,
    TenantAmbiguous,
    TenantMismatch,
    IssuerNotAllowedForTenant,
    ApplicationNotRegistered,
    SenderConstraintFailed,
    TokenRevoked,
    ProofMissing,
    ProofInvalid,
    ProofReplayed,
    AuthenticationInsufficient,
    OperationNotMapped,
    MethodNotMapped,
    SuiteNotAvailable,
    ScopeAbsentFromIntrospection,
    NoScopesInToken,
    ScopeOfOtherTenant,
    ScopeNameMismatch,
    ScopeNotDeclared,
    ScopeNotAssignedToApplication,
    ScopeNotAssociatedWithSuite,
    ScopeNotGranted,
    KeysUnavailable,
    IntrospectionUnavailable,
    IntrospectionOverloaded,
}

/// What a refusal looks like to the client: the HTTP status and the `error` code that go with a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// 400 `invalid_request` (RFC 6750 section 3.1).
    InvalidRequest,
    /// 401 without an error code: no token came (RFC 6750 section 3.1).
    NoCredential,
    /// 401 `invalid_token` (RFC 6750 section 3.1).
    InvalidToken,
    /// 401 `invalid_dpop_proof` (RFC 9449 section 7.1), or `use_dpop_nonce` (section 9) where the rejection says so.
    InvalidProof,
    /// 401 `insufficient_user_authentication` (RFC 9470 section 3).
    InsufficientAuthentication,
    /// 403 `insufficient_scope` (RFC 6750 section 3.1).
    InsufficientScope,
    /// 503 `temporarily_unavailable` (RFC 6749 section 4.1.2.1): the issuer's fault, never the client's.
    TemporarilyUnavailable,
}

impl ErrorClass {
    /// The HTTP status code.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::NoCredential
            | Self::InvalidToken
            | Self::InvalidProof
            | Self::InsufficientAuthentication => 401,
            Self::InsufficientScope => 403,
            Self::TemporarilyUnavailable => 503,
        }
    }

    /// The `error` code of body and challenge; none where no token came (RFC 6750 section 3.1).
    pub fn error(self) -> Option<&'static str> {
        match self {
            Self::NoCredential => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InvalidProof => Some("invalid_dpop_proof"),
            Self::InsufficientAuthentication => Some("insufficient_user_authentication"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::TemporarilyUnavailable => Some("temporarily_unavailable"),
        }
    }

    /// The gRPC status code that stands for the HTTP status in a gRPC answer.
    pub fn grpc_status(self) -> i32 {
        match self {
            Self::InvalidRequest => 3, // INVALID_ARGUMENT
            Self::NoCredential
            | Self::InvalidToken
            | Self::InvalidProof
            | Self::InsufficientAuthentication => 16, // UNAUTHENTICATED
            Self::InsufficientScope => 7, // PERMISSION_DENIED
            Self::TemporarilyUnavailable => 14, // UNAVAILABLE
        }
    }
}

/// The one table: variant, wire name, class, meaning. Where several reasons hold, the first is the answer.
macro_rules! reasons {
    ($($variant:ident $name:literal $class:ident $meaning:literal;)*) => {
        impl Reason {
            /// Every reason, in the order of the table in the README.
            pub const ALL: &[Reason] = &[$(Reason::$variant),*];

            /// The stable code, as it stands in the body, in logs and in metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The status and error code that go with it.
            pub fn class(self) -> ErrorClass {
                match self { $(Self::$variant => ErrorClass::$class),* }
            }

            /// One sentence for the client's developer: what was wrong, without the tenant's or the token's data.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

reasons! {
    PathAmbiguous "path_ambiguous" InvalidRequest "the path can be read in more than one way";
    CredentialAmbiguous "credential_ambiguous" InvalidRequest "the request carries more than one access token";
    CredentialMalformed "credential_malformed" InvalidRequest "the credential is not a well-formed bearer token";
    HeaderMissing "header_missing" InvalidRequest "a required request header is missing or has a value that nothing here serves";
    HeaderAmbiguous "header_ambiguous" InvalidRequest "a request header that may have one value only has several";
    HeaderMalformed "header_malformed" InvalidRequest "a request header is empty or not UTF-8";
    TlsRequired "tls_required" InvalidRequest "this operation is served over https only";
    HostMalformed "host_malformed" InvalidRequest "the request's authority is not a host with an optional port";
    CredentialMissing "credential_missing" NoCredential "the request carries no access token";
    TokenMalformed "token_malformed" InvalidToken "the access token is not a well-formed JWT";
    TokenTooLarge "token_too_large" InvalidToken "the access token is larger than accepted here";
    TokenTypeNotAccepted "token_type_not_accepted" InvalidToken "the token is of a type that is not an access token's";
    AlgorithmNotAllowed "algorithm_not_allowed" InvalidToken "the token's signature algorithm is not allowed";
    IssuerUnknown "issuer_unknown" InvalidToken "the token's issuer is not one of the configured issuers";
    KeyNotFound "key_not_found" InvalidToken "the issuer has no key that fits the token's `kid` and `alg`";
    SignatureInvalid "signature_invalid" InvalidToken "the token's signature does not verify";
    TokenExpired "token_expired" InvalidToken "the token has expired";
    TokenNotYetValid "token_not_yet_valid" InvalidToken "the token is not valid yet";
    TokenTooOld "token_too_old" InvalidToken "the token was issued too long ago";
    AudienceMismatch "audience_mismatch" InvalidToken "the token is meant for another audience";
    ClaimMissing "claim_missing" InvalidToken "the token lacks a claim that is required";
    ClaimMalformed "claim_malformed" InvalidToken "a claim of the token has an unusable value";
    TokenInactive "token_inactive" InvalidToken "the issuer says that the token is not active";
    IntrospectionNotConfigured "introspection_not_configured" InvalidToken "the token is not a JWT and no introspection is configured for it";
    TenantMissing "tenant_missing" InvalidToken "nothing in the token, or a kind of evidence that is required, names the tenant";
    TenantUnknown "tenant_unknown" InvalidToken "the token names a tenant that is not configured";
    TenantAmbiguous "tenant_ambiguous" InvalidToken "the token leaves more than one tenant";
    TenantMismatch "tenant_mismatch" InvalidToken "the token and the request, or parts of the token, name different tenants";
    IssuerNotAllowedForTenant "issuer_not_allowed_for_tenant" InvalidToken "the token's issuer may not speak for the tenant that the token names";
    ApplicationNotRegistered "application_not_registered" InvalidToken "the token's client is not registered with the tenant";
    SenderConstraintFailed "sender_constraint_failed" InvalidToken "the token is bound to a sender that this connection does not prove";
    TokenRevoked "token_revoked" InvalidToken "the token was taken out of use here";
    ProofMissing "proof_missing" InvalidProof "the token is bound to a key and the request carries no proof of it";
    ProofInvalid "proof_invalid" InvalidProof "the proof of the key that the token is bound to does not hold";
    ProofReplayed "proof_replayed" InvalidProof "the proof came before";
    AuthenticationInsufficient "authentication_insufficient" InsufficientAuthentication "the operation asks for another or a more recent authentication of the user";
    OperationNotMapped "operation_not_mapped" InsufficientScope "no operation is mapped at this host and path";
    MethodNotMapped "method_not_mapped" InsufficientScope "no operation at this path is mapped to the method";
    SuiteNotAvailable "suite_not_available" InsufficientScope "the tenant does not have the suite that the operation belongs to";
    ScopeAbsentFromIntrospection "scope_absent_from_introspection" InsufficientScope "the issuer's introspection response does not tell the token's scopes";
    NoScopesInToken "no_scopes_in_token" InsufficientScope "the token carries no scope";
    ScopeOfOtherTenant "scope_of_other_tenant" InsufficientScope "the token carries the required scope for another tenant only";
    ScopeNameMismatch "scope_name_mismatch" InsufficientScope "the token carries a scope that differs from the required one in case or punctuation";
    ScopeNotDeclared "scope_not_declared" InsufficientScope "the tenant does not declare the required scope that the token carries";
    ScopeNotAssignedToApplication "scope_not_assigned_to_application" InsufficientScope "the application is not assigned the required scope that the token carries";
    ScopeNotAssociatedWithSuite "scope_not_associated_with_suite" InsufficientScope "none of the token's scopes belongs to the suite";
    ScopeNotGranted "scope_not_granted" InsufficientScope "the token does not carry a scope that the operation requires";
    KeysUnavailable "keys_unavailable" TemporarilyUnavailable "the issuer's keys cannot be had at the moment";
    IntrospectionUnavailable "introspection_unavailable" TemporarilyUnavailable "the issuer cannot be asked about the token at the moment";
    IntrospectionOverloaded "introspection_overloaded" TemporarilyUnavailable "too many requests are waiting for the issuer";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
