//! Which client a token request speaks for (RFC 6749 section 2.3).
//!
//! The client authenticates by HTTP Basic, by `client_secret` in the form, or by a JWT (RFC 7523), and by one of them
//! only; a public client, or one known by its TLS certificate, names itself by `client_id` alone. Wherever it is named
//! twice, both must name the same.
//!
//! A JWT that somebody else issued about a client (RFC 7521 section 4.2), as workloads of a platform bring them, has an
//! `iss` that is not its `sub`, and neither need be the client's id: there `client_id` names it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fault::Fault;
use super::form::{self, Form};
use crate::http::headers::{Headers, trim, values};
use crate::jose::base64url;
use crate::jose::json::parse_object;

const JWT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Which client a request speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client<'f> {
    /// Its `client_id`.
    pub id: Cow<'f, str>,
    /// The `iss` and `sub` of an assertion that somebody else issued: a server that looks for the client there must not
    /// find another one.
    pub issued: Option<[String; 2]>,
}

/// The client that the request's header and form name. It is claimed, not proved: the proof is for the
/// authorization server to check.
///
/// # Errors
///
/// No client, several, or more than one way of authentication.
pub fn client<'f>(headers: Headers<'_>, form: &'f Form<'_>) -> Result<Client<'f>, Fault> {
    let basic = basic_client(headers)?;
    let asserted = asserted_client(form)?;
    let methods = [basic.is_some(), form.value("client_secret").is_some(), asserted.is_some()];
    if methods.into_iter().filter(|used| *used).count() > 1 {
        return Err(Fault::SeveralAuthentications);
    }
    let named = form.value("client_id").map(Cow::Borrowed);
    let (asserted, issued) = match asserted {
        Some([issuer, subject]) if issuer == subject => (Some(subject), None),
        issued => (None, issued),
    };
    let id = match (basic.or(asserted).map(Cow::Owned), named) {
        (None, None) if issued.is_some() => Err(Fault::AssertionMalformed),
        (None, None) => Err(Fault::NoClient),
        (Some(client), None) | (None, Some(client)) => Ok(client),
        (Some(authenticated), Some(named)) if authenticated == named => Ok(named),
        (Some(_), Some(_)) => Err(Fault::ClientsDiffer),
    };
    Ok(Client { id: id?, issued })
}

/// The client that the `Authorization` header names, form-decoded (RFC 6749 section 2.3.1).
fn basic_client(headers: Headers<'_>) -> Result<Option<String>, Fault> {
    let mut authorizations = values(headers, "authorization");
    let Some(value) = authorizations.next() else { return Ok(None) };
    if authorizations.next().is_some() {
        return Err(Fault::SeveralAuthorizations);
    }
    let value = trim(value);
    let (scheme, credentials) = match value.iter().position(|byte| *byte == b' ') {
        Some(space) => value.split_at(space),
        None => (value, &[][..]),
    };
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(Fault::AuthorizationScheme);
    }
    let pair = STANDARD.decode(trim(credentials)).map_err(|_| Fault::AuthorizationMalformed)?;
    let colon = pair.iter().position(|byte| *byte == b':').ok_or(Fault::AuthorizationMalformed)?;
    let client = pair.get(..colon).and_then(|client| std::str::from_utf8(client).ok());
    let client = client.and_then(|client| form::decode(client).ok()).map(Cow::into_owned);
    client.filter(|client| !client.is_empty()).map(Some).ok_or(Fault::AuthorizationMalformed)
}

/// The `iss` and the `sub` of a JWT for client authentication (RFC 7523 section 3). Any other kind of assertion is
/// refused, because its client cannot be told.
fn asserted_client(form: &Form<'_>) -> Result<Option<[String; 2]>, Fault> {
    match (form.value("client_assertion_type"), form.value("client_assertion")) {
        (None, None) => Ok(None),
        (Some(JWT_ASSERTION), Some(assertion)) => {
            assertion_client(assertion).map(Some).ok_or(Fault::AssertionMalformed)
        }
        (Some(_), Some(_) | None) | (None, Some(_)) => Err(Fault::AssertionMalformed),
    }
}

fn assertion_client(assertion: &str) -> Option<[String; 2]> {
    let mut parts = assertion.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = parse_object(&base64url::decode(payload)?).ok()?;
    let (issuer, subject) = (claims.get("iss")?.as_str()?, claims.get("sub")?.as_str()?);
    (!issuer.is_empty() && !subject.is_empty()).then(|| [issuer.to_owned(), subject.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::Header;
    use crate::http::percent::encode_form;

    fn identify(authorization: &[&str], form: &str) -> Result<String, Fault> {
        let headers: Vec<Header<'_>> =
            authorization.iter().map(|value| (&b"authorization"[..], value.as_bytes())).collect();
        client(&headers, &Form::parse(form.as_bytes()).unwrap()).map(|client| client.id.into_owned())
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    fn assertion(claims: &str) -> String {
        let jwt = format!("e30.{}.c2ln", base64url::encode(claims.as_bytes()));
        format!("client_assertion_type={}&client_assertion={jwt}", encode_form(JWT_ASSERTION))
    }

    #[test]
    fn each_way_of_authentication_names_a_client() {
        // RFC 6749 section 2.3.1.
        assert_eq!(
            identify(&["Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"], ""),
            Ok("s6BhdRkqt3".into())
        );
        assert_eq!(identify(&[&basic("s6:")], ""), Ok("s6".into()));
        assert_eq!(identify(&[&basic("a%3Ab+c:%zz:")], ""), Ok("a:b c".into()));
        assert_eq!(identify(&[&basic("s6:x").replace("Basic ", "bAsIc   ")], ""), Ok("s6".into()));
        assert_eq!(identify(&[], "client_id=s6&client_secret=x"), Ok("s6".into()));
        assert_eq!(identify(&[], "client_id=s6"), Ok("s6".into()));
        assert_eq!(identify(&[], &assertion(r#"{"iss":"s6","sub":"s6"}"#)), Ok("s6".into()));
    }

    #[test]
    fn a_client_that_is_named_twice_is_the_same_one() {
        assert_eq!(identify(&[&basic("s6:x")], "client_id=s6"), Ok("s6".into()));
        assert_eq!(identify(&[&basic("s6:x")], "client_id=S6"), Err(Fault::ClientsDiffer));
        let assertion = assertion(r#"{"iss":"s6","sub":"s6"}"#);
        assert_eq!(identify(&[], &format!("client_id=s6&{assertion}")), Ok("s6".into()));
        assert_eq!(identify(&[], &format!("client_id=s7&{assertion}")), Err(Fault::ClientsDiffer));
    }

    #[test]
    fn two_ways_of_authentication_are_refused_even_if_they_agree() {
        let assertion = assertion(r#"{"iss":"s6","sub":"s6"}"#);
        let secret = "client_id=s6&client_secret=x";
        assert_eq!(identify(&[&basic("s6:x")], secret), Err(Fault::SeveralAuthentications));
        assert_eq!(identify(&[&basic("s6:x")], "client_secret=x"), Err(Fault::SeveralAuthentications));
        assert_eq!(identify(&[&basic("s6:x")], &assertion), Err(Fault::SeveralAuthentications));
        assert_eq!(identify(&[], &format!("{secret}&{assertion}")), Err(Fault::SeveralAuthentications));
        // An empty parameter is an omitted one (RFC 6749 section 3.2).
        assert_eq!(identify(&[&basic("s6:x")], "client_secret="), Ok("s6".into()));
        assert_eq!(identify(&[&basic("s6:x"), &basic("s6:x")], ""), Err(Fault::SeveralAuthorizations));
    }

    #[test]
    fn no_client_or_an_unreadable_one_is_refused() {
        assert_eq!(identify(&[], ""), Err(Fault::NoClient));
        assert_eq!(identify(&[], "client_secret=x"), Err(Fault::NoClient));
        for header in ["Bearer abc", "Basic2 czY6eA==", "", "Digest username=s6"] {
            assert_eq!(identify(&[header], "client_id=s6"), Err(Fault::AuthorizationScheme), "{header}");
        }
        let odd = [
            "Basic",
            "Basic ",
            "Basic czY6eA",
            "Basic czY6eB==",
            "Basic czY 6eA==",
            "Basic czY6eA==,czY6eA==",
        ];
        for header in odd.into_iter().map(str::to_owned).chain([
            basic("s6"),
            basic(":x"),
            basic("%zz:x"),
            basic("%ff:x"),
        ]) {
            assert_eq!(identify(&[&header], "client_id=s6"), Err(Fault::AuthorizationMalformed), "{header}");
        }
        for claims in ["{}", "[]", r#"{"sub":"s6"}"#, r#"{"iss":"a","sub":"s6"}"#, r#"{"iss":"","sub":""}"#] {
            assert_eq!(identify(&[], &assertion(claims)), Err(Fault::AssertionMalformed), "{claims}");
        }
        for claims in [r#"{"iss":"a","sub":""}"#, r#"{"iss":"","sub":"s6"}"#] {
            let form = format!("client_id=s6&{}", assertion(claims));
            assert_eq!(identify(&[], &form), Err(Fault::AssertionMalformed), "{claims}");
        }
        let repeated = assertion(r#"{"iss":"a","iss":"s6","sub":"s6"}"#);
        assert_eq!(identify(&[], &repeated), Err(Fault::AssertionMalformed));
        for form in ["client_assertion=a.b.c", "client_assertion_type=x&client_assertion=a.b.c"] {
            assert_eq!(identify(&[], form), Err(Fault::AssertionMalformed), "{form}");
        }
    }
}
