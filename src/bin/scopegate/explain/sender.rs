//! What is known of the sender of a request: what its token is bound to, what the provider asks, and what the proof says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate::authenticate::claims::Confirmation;
use scopegate::http::headers::{Headers, values};
use scopegate::identity::Identity;
use scopegate::issuer::provider::Provider;
use serde_json::Value;

use super::narrate::Details;
use crate::catalog::sender_text;
use crate::scene::Scene;

/// Adds it to what the step about the token tells.
pub fn tell(
    provider: &Provider,
    identity: Option<&Identity>,
    headers: Headers<'_>,
    scene: &Scene,
    details: &mut Details,
) {
    if let Some(asked) = sender_text(provider) {
        details.add("provider asks for tokens", asked);
    }
    match identity.map(|identity| &identity.confirmation) {
        None | Some(Confirmation::None) => {}
        Some(Confirmation::CertificateSha256(digest)) => {
            details.add("bound to the certificate", base16ct::lower::encode_string(digest));
            match scene.client_certificate {
                Some(own) => {
                    details.add("certificate on this connection", base16ct::lower::encode_string(&own))
                }
                None => details.add("certificate on this connection", "none (--client-certificate-sha256)"),
            }
        }
        Some(Confirmation::KeyThumbprint(thumbprint)) => {
            details.add("bound to the key", URL_SAFE_NO_PAD.encode(thumbprint));
        }
        Some(Confirmation::Unsupported) => details.add("bound", "in a way that is not taken"),
    }
    if let Some(header) = &provider.certificate_header {
        let name = header.form.name();
        if values(headers, name).next().is_some() {
            let is_believed = header.is_from(scene.peer_address, scene.client_certificate);
            let told = if is_believed { "of a peer that is believed" } else { "of nobody who is believed" };
            details.add(name, told);
        }
    }
    if let Some(dpop) = &provider.dpop {
        for proof in values(headers, "dpop") {
            tell_proof(proof, details);
        }
        if values(headers, "dpop").next().is_some() {
            details.add("proofs are for", dpop.rules.origin.to_string());
        }
    }
}

/// What the proof says, of which nothing is believed here. It holds no secret, but `jti` is nobody's business.
fn tell_proof(proof: &[u8], details: &mut Details) {
    let part = |number: usize| -> Option<Value> {
        let bytes = URL_SAFE_NO_PAD.decode(proof.split(|byte| *byte == b'.').nth(number)?).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    let (Some(header), Some(claims)) = (part(0), part(1)) else {
        return details.add("proof", "cannot be read");
    };
    for (from, names) in [(&header, &["typ", "alg"][..]), (&claims, &["htm", "htu", "iat", "nonce"])] {
        for name in names {
            if let Some(value) = from.get(name) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                details.add(&format!("proof's {name}"), text);
            }
        }
    }
}
