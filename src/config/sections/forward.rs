//! `forward`: what the upstream is told.

use super::terms::{header_name, parse_claim_path};
use crate::config::kind::ErrorKind;
use crate::config::reader::Cursor;
use crate::config::suggestion::did_you_mean;
use crate::policy::guarded_headers::GuardedHeaders;
use crate::policy::{ForwardedHeader, ForwardedValue, Forwarding};

/// Headers that belong to one connection or to the message itself (RFC 9110 sections 7.6.1 and 8.6), and what carries
/// credentials: to set them would change more than what the upstream is told.
const NOT_OURS: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads `forward`. `credentials` are the headers in which tokens stand, `read` those that are evidence or matched,
/// `names_hosts` says whether some tenant or suite is told apart by its host.
pub fn read(
    cursor: Option<&Cursor<'_>>,
    credentials: &[&str],
    read: &[Box<str>],
    names_hosts: bool,
) -> Forwarding {
    let fields = cursor.and_then(|cursor| cursor.map(&["token", "headers", "keep_forwarded_host"]));
    let mut headers: Vec<ForwardedHeader> = Vec::new();
    let mut token = false;
    let mut keeps_forwarded_host = false;
    if let Some(fields) = fields {
        token = fields.boolean("token", false);
        keeps_forwarded_host = fields.boolean("keep_forwarded_host", false);
        for item in fields.optional("headers").and_then(|list| list.items()).into_iter().flatten() {
            let Some(header) = forwarded_header(&item, credentials) else { continue };
            if headers.iter().any(|known| known.name == header.name) {
                item.error(ErrorKind::Repeated, format_args!("header `{}` is listed twice", header.name));
            }
            headers.push(header);
        }
    }
    let guarded = GuardedHeaders::new(
        headers.iter().map(|header| &*header.name),
        read.iter().map(|name| &**name).chain(credentials.iter().copied()),
        names_hosts && !keeps_forwarded_host,
    );
    Forwarding { token, headers, guarded }
}

fn forwarded_header(cursor: &Cursor<'_>, credentials: &[&str]) -> Option<ForwardedHeader> {
    let fields = cursor.map(&["name", "value"])?;
    let name = fields.required("name").and_then(|cursor| {
        let name = header_name(&cursor)?;
        if NOT_OURS.contains(&&*name) || credentials.contains(&&*name) {
            cursor.error(
                ErrorKind::OutOfBounds,
                format_args!("header `{name}` cannot be used to tell the upstream something"),
            );
            return None;
        }
        Some(name)
    });
    let value = fields.required("value").and_then(|value| forwarded_value(&value));
    Some(ForwardedHeader { name: name?, value: value? })
}

fn forwarded_value(cursor: &Cursor<'_>) -> Option<ForwardedValue> {
    const NAMES: [&str; 8] =
        ["tenant", "client", "subject", "scopes", "permissions", "suite", "operation", "issuer"];
    let text = cursor.string()?;
    let value = match &*text {
        "tenant" => Some(ForwardedValue::Tenant),
        "client" => Some(ForwardedValue::Client),
        "subject" => Some(ForwardedValue::Subject),
        "scopes" => Some(ForwardedValue::Scopes),
        "permissions" => Some(ForwardedValue::Permissions),
        "suite" => Some(ForwardedValue::Suite),
        "operation" => Some(ForwardedValue::Operation),
        "issuer" => Some(ForwardedValue::Issuer),
        other => other.strip_prefix("claim:").and_then(parse_claim_path).map(ForwardedValue::Claim),
    };
    if value.is_none() {
        let names = NAMES.map(|name| format!("`{name}`")).join(", ");
        let meant = did_you_mean(&text, NAMES);
        cursor.error(
            ErrorKind::WrongKind,
            format_args!("`{text}` is none of {names}, and no `claim:PATH`{meant}"),
        );
    }
    value
}
