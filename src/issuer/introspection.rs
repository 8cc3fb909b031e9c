//! Asking an issuer about a token (RFC 7662): the request, and what an answer is taken to say.
//!
//! Only the JSON boolean `true` in `active` is active and only `false` is inactive; every other answer is the issuer's
//! fault, never the client's, and opens nothing.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fault::IssuerFault;
use super::http_call::HttpCall;
use super::provider::{ClientAuthentication, HttpUri, Introspection, SecretSource};
use super::question::Question;
use super::signed_response;
use crate::authenticate::TokenError;
use crate::authenticate::claims::Claims;
use crate::authenticate::rules::{ClaimPaths, text_or_integer};
use crate::http::percent::encode_form;
use crate::jose::json::{Value, parse_object};

/// The introspection request for a token (RFC 7662 section 2.1). `environment` looks a variable of the VM up.
///
/// # Errors
///
/// [`IssuerFault::NoSecret`] where the gateway's own secret cannot be had: nothing is sent without it.
pub fn request(
    introspection: &Introspection,
    uri: &HttpUri,
    question: Question<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<HttpCall, IssuerFault> {
    let secret = |source: &SecretSource| match source {
        SecretSource::Inline(secret) => Ok(secret.reveal().to_owned()),
        SecretSource::Environment(name) => {
            environment(name).filter(|secret| !secret.is_empty()).ok_or(IssuerFault::NoSecret)
        }
    };
    let mut body = format!("token={}&token_type_hint=access_token", encode_form(question.token));
    let authorization = match &introspection.client_authentication {
        ClientAuthentication::None => None,
        ClientAuthentication::Bearer(source) => Some(format!("Bearer {}", secret(source)?)),
        ClientAuthentication::Basic { client_id, client_secret } => {
            // Form-encoded first, then joined and encoded for Basic (RFC 6749 section 2.3.1).
            let pair = format!("{}:{}", encode_form(client_id), encode_form(&secret(client_secret)?));
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        ClientAuthentication::Post { client_id, client_secret } => {
            body.push_str("&client_id=");
            body.push_str(&encode_form(client_id));
            body.push_str("&client_secret=");
            body.push_str(&encode_form(&secret(client_secret)?));
            None
        }
    };
    let accepted =
        if introspection.signed_for.is_some() { signed_response::MEDIA_TYPE } else { "application/json" };
    let mut headers = vec![
        (":method", "POST".to_owned()),
        (":scheme", uri.scheme.to_string()),
        (":authority", uri.authority.to_string()),
        (":path", uri.path_for(question.tenant)),
        ("accept", accepted.to_owned()),
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
    ];
    headers.extend(authorization.map(|value| ("authorization", value)));
    Ok(HttpCall { headers, body })
}

/// What an introspection response says of a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The issuer says that the token is active, with these members.
    Active(Box<Claims>),
    /// The issuer says that it is not.
    Inactive,
}

/// Members of a response that are strings (RFC 7662 section 2.2), wherever the claims that are read stand. `scope` is one
/// too, but arrays of scopes are understood. Of those in [`NUMBERED_MEMBERS`] integers count as their decimal text.
const TEXT_MEMBERS: [&str; 6] = ["client_id", "username", "token_type", "sub", "iss", "jti"];
const NUMBERED_MEMBERS: [&str; 2] = ["client_id", "sub"];

/// Reads an introspection response (RFC 7662 section 2.2). Members that are `null` count as absent: some servers write
/// them for what they do not know.
///
/// # Errors
///
/// [`IssuerFault`] for everything that is neither a clean yes nor a clean no.
pub fn read_response(
    status: u16,
    body: &[u8],
    max_response_bytes: usize,
    paths: &ClaimPaths,
) -> Result<Response, IssuerFault> {
    if status != 200 {
        return Err(IssuerFault::Status(status));
    }
    if body.len() > max_response_bytes {
        return Err(IssuerFault::TooLarge);
    }
    let mut members = parse_object(body).map_err(|_| IssuerFault::NotAnObject)?;
    members.retain(|_, value| !value.is_null());
    match members.get("active") {
        Some(Value::Bool(false)) => Ok(Response::Inactive),
        Some(Value::Bool(true)) => {
            let is_text = |name: &str| {
                members.get(name).is_none_or(|value| {
                    value.is_string()
                        || (NUMBERED_MEMBERS.contains(&name) && text_or_integer(value).is_some())
                })
            };
            if let Some(name) = TEXT_MEMBERS.into_iter().find(|name| !is_text(name)) {
                return Err(IssuerFault::MemberMalformed(name.into()));
            }
            match Claims::read(members, paths).map_err(malformed_member) {
                Ok(claims) => Ok(Response::Active(Box::new(claims))),
                Err(name) => Err(IssuerFault::MemberMalformed(name)),
            }
        }
        Some(Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_))
        | None => Err(IssuerFault::ActiveNotBoolean),
    }
}

/// The member that an error of a response's claims is about.
fn malformed_member(error: TokenError) -> Cow<'static, str> {
    match error {
        TokenError::ClaimMalformed(name) | TokenError::ClaimMissing(name) => name,
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::provider::Secret;
    use std::time::Duration;

    fn introspection(client_authentication: ClientAuthentication) -> Introspection {
        Introspection {
            uri: None,
            cluster: "idp".into(),
            timeout: Duration::from_secs(1),
            client_authentication,
            apply_to_all: false,
            cache_entries: 1,
            max_ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(10),
            max_response_bytes: 65536,
            signed_for: None,
            required_members: Box::default(),
        }
    }

    fn uri() -> HttpUri {
        HttpUri::parse("https://idp:8443/introspect?x=1").unwrap()
    }

    fn header<'a>(call: &'a HttpCall, name: &str) -> Option<&'a str> {
        call.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn read(body: &str) -> Result<Response, IssuerFault> {
        read_response(200, body.as_bytes(), 65536, &ClaimPaths::default())
    }

    #[test]
    fn basic_form_encodes_id_and_secret_before_it_joins_them() {
        let authentication = ClientAuthentication::Basic {
            client_id: "gate way:1".into(),
            client_secret: SecretSource::Inline(Secret::new("p%+ä")),
        };
        let call = request(&introspection(authentication), &uri(), "t+/=".into(), &|_| None).unwrap();
        let expected = format!("Basic {}", STANDARD.encode("gate+way%3A1:p%25%2B%C3%A4"));
        assert_eq!(header(&call, "authorization"), Some(expected.as_str()));
        assert_eq!(call.body, "token=t%2B%2F%3D&token_type_hint=access_token");
        assert_eq!(header(&call, ":path"), Some("/introspect?x=1"));
        assert_eq!(header(&call, ":authority"), Some("idp:8443"));
    }

    #[test]
    fn a_tenants_name_stands_percent_encoded_in_its_uri() {
        let uri = HttpUri::parse("https://idp/realms/{tenant}/introspect").unwrap();
        let question = Question { token: "t", tenant: Some("a/../b?c") };
        let call = request(&introspection(ClientAuthentication::None), &uri, question, &|_| None).unwrap();
        assert_eq!(header(&call, ":path"), Some("/realms/a%2F..%2Fb%3Fc/introspect"));
        assert_eq!(call.body, "token=t&token_type_hint=access_token");
    }

    #[test]
    fn post_puts_id_and_secret_into_the_body() {
        let authentication = ClientAuthentication::Post {
            client_id: "gateway".into(),
            client_secret: SecretSource::Environment("SECRET".into()),
        };
        let environment = |name: &str| (name == "SECRET").then(|| "a&b".to_owned());
        let call = request(&introspection(authentication), &uri(), "t".into(), &environment).unwrap();
        assert_eq!(call.body, "token=t&token_type_hint=access_token&client_id=gateway&client_secret=a%26b");
        assert_eq!(header(&call, "authorization"), None);
    }

    #[test]
    fn nothing_is_sent_without_the_gateways_own_secret() {
        for value in [None, Some(String::new())] {
            let authentication = ClientAuthentication::Bearer(SecretSource::Environment("SECRET".into()));
            let call = request(&introspection(authentication), &uri(), "t".into(), &|_| value.clone());
            assert_eq!(call, Err(IssuerFault::NoSecret));
        }
    }

    #[test]
    fn the_debug_text_of_a_call_shows_nothing() {
        let authentication = ClientAuthentication::Bearer(SecretSource::Inline(Secret::new("hunter2")));
        let call = request(&introspection(authentication), &uri(), "token1".into(), &|_| None).unwrap();
        assert_eq!(format!("{call:?}"), "HttpCall(…)");
    }

    #[test]
    fn only_true_is_active_and_only_false_is_inactive() {
        assert!(matches!(read(r#"{"active":true}"#), Ok(Response::Active(_))));
        assert_eq!(read(r#"{"active":false,"scope":7}"#), Ok(Response::Inactive));
        for body in
            [r#"{"active":"true"}"#, r#"{"active":1}"#, r#"{"active":null}"#, r#"{}"#, r#"{"Active":true}"#]
        {
            assert_eq!(read(body), Err(IssuerFault::ActiveNotBoolean), "{body}");
        }
    }

    #[test]
    fn what_breaks_the_rfc_is_the_issuers_fault() {
        for body in ["", "<html>", "[true]", r#"{"active":true,"active":true}"#, r#"{"active":true} x"#] {
            assert_eq!(read(body), Err(IssuerFault::NotAnObject), "{body}");
        }
        for member in [
            r#""scope":7"#,
            r#""exp":"1""#,
            r#""sub":{}"#,
            r#""aud":5"#,
            r#""client_id":7.5"#,
            r#""cnf":1"#,
            r#""jti":7"#,
            r#""username":7"#,
            r#""token_type":["Bearer"]"#,
            r#""scope":["a",1]"#,
        ] {
            let body = format!(r#"{{"active":true,{member}}}"#);
            let (_, name) = member.split_once('"').unwrap();
            let name = name.split('"').next().unwrap();
            assert_eq!(read(&body), Err(IssuerFault::MemberMalformed(name.to_owned().into())), "{body}");
        }
        let good = br#"{"active":true}"#;
        assert_eq!(read_response(503, good, 65536, &ClaimPaths::default()), Err(IssuerFault::Status(503)));
        assert_eq!(read_response(200, good, 14, &ClaimPaths::default()), Err(IssuerFault::TooLarge));
        assert!(read_response(200, good, 15, &ClaimPaths::default()).is_ok());
    }

    #[test]
    fn the_examples_of_rfc_7662_are_understood() {
        let active = r#"{
            "active": true, "client_id": "l238j323ds-23ij4", "username": "jdoe", "scope": "read write dolphin",
            "sub": "Z5O3upPC88QrAjx00dis", "aud": "https://protected.example.net/resource",
            "iss": "https://server.example.com/", "exp": 1419356238, "iat": 1419350238,
            "extension_field": "twenty-seven"
        }"#;
        let Ok(Response::Active(claims)) = read(active) else { panic!("not active") };
        assert_eq!(claims.client(), Some("l238j323ds-23ij4"));
        assert_eq!(claims.scope().map(<[_]>::len), Some(3));
        assert_eq!(claims.expires_at(), Some(Duration::from_secs(1_419_356_238)));
        assert_eq!(read(r#"{"active": false}"#), Ok(Response::Inactive));
    }
}
