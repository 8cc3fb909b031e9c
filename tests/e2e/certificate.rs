//! A self-signed certificate for a host's name, made anew by each test (RFC 5280, in DER by hand).

use base64::Engine as _;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A certificate and its private key, both in PEM.
pub struct Certificate {
    pub chain: String,
    pub private_key: String,
    pub der: Vec<u8>,
}

impl Certificate {
    pub fn for_host(host: &str) -> Self {
        let key = SigningKey::generate();
        let public = key.verifying_key().to_sec1_point(false);
        let bit_string = |bytes: &[u8]| der(0x03, &[&[0], bytes]);
        let ec_public_key = [0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        let prime256v1 = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let ecdsa_with_sha256 = der(0x30, &[&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
        let common_name = der(0x30, &[&[0x06, 3, 0x55, 4, 3], &der(0x0c, &[host.as_bytes()])]);
        let name = der(0x30, &[&der(0x31, &[&common_name])]);
        let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
        let public_key =
            der(0x30, &[&der(0x30, &[&ec_public_key, &prime256v1]), &bit_string(public.as_bytes())]);
        let host_name = der(0x04, &[&der(0x30, &[&der(0x82, &[host.as_bytes()])])]);
        let alternative_name = der(0x30, &[&[0x06, 3, 0x55, 0x1d, 0x11], &host_name]);
        let to_be_signed = der(
            0x30,
            &[
                &[0xa0, 3, 2, 1, 2], // version 3
                &[2, 1, 1],          // serial number
                &ecdsa_with_sha256,
                &name,
                &validity,
                &name,
                &public_key,
                &der(0xa3, &[&der(0x30, &[&alternative_name])]),
            ],
        );
        let signature: Signature = key.sign(&to_be_signed);
        let signature = bit_string(signature.to_der().as_bytes());
        let certificate = der(0x30, &[&to_be_signed, &ecdsa_with_sha256, &signature]);
        // RFC 5915.
        let private_key =
            der(0x30, &[&[2, 1, 1], &der(0x04, &[&key.to_bytes()]), &der(0xa0, &[&prime256v1])]);
        Self {
            chain: pem("CERTIFICATE", &certificate),
            private_key: pem("EC PRIVATE KEY", &private_key),
            der: certificate,
        }
    }

    /// SHA-256 of the certificate in DER.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// As Envoy has it in `tls_certificates`.
    pub fn for_envoy(&self) -> Value {
        json!({
            "certificate_chain": {"inline_string": self.chain}, "private_key": {"inline_string": self.private_key},
        })
    }
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).expect("a short value").to_be_bytes();
    let head = match length {
        [0, short @ 0..=0x7f] => vec![tag, short],
        [0, length] => vec![tag, 0x81, length],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
