//! The client's certificate where another proxy ends TLS and tells of it: in `Client-Cert` (RFC 9440) or in Envoy's
//! `x-forwarded-client-cert`. Anybody can send such a header, so it counts from configured peers alone.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::http::headers::{Headers, trim, values};

/// `certificate_header` of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateHeader {
    /// The header, and how it is written.
    pub form: CertificateForm,
    /// Who may tell of certificates.
    pub from: Box<[Peer]>,
}

/// A header that carries a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateForm {
    /// `Client-Cert`: the DER as a byte sequence (RFC 9440 section 2.2).
    ClientCert,
    /// `x-forwarded-client-cert`, of whose one element `Hash` is read: SHA-256 in hexadecimal.
    ForwardedClientCert,
}

/// A proxy that is believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Any with an address whose first bits are these.
    Network(IpAddr, u8),
    /// The one whose certificate has this SHA-256 digest.
    Certificate([u8; 32]),
}

impl CertificateForm {
    /// The header's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientCert => "client-cert",
            Self::ForwardedClientCert => "x-forwarded-client-cert",
        }
    }

    /// All headers that tell of a client's certificate in this form: RFC 9440 section 2.3 has the chain beside it, which
    /// nobody else may send either (section 2.4).
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::ClientCert => &["client-cert", "client-cert-chain"],
            Self::ForwardedClientCert => &["x-forwarded-client-cert"],
        }
    }

    /// The digest of the certificate that the request's one header of this form tells of.
    pub fn digest(self, headers: Headers<'_>) -> Option<[u8; 32]> {
        let mut all = values(headers, self.name());
        let value = trim(all.next()?);
        if all.next().is_some() {
            return None;
        }
        match self {
            Self::ClientCert => {
                // RFC 8941 section 3.3.5; parameters, which RFC 9440 gives no meaning, make it another value.
                let encoded = value.strip_prefix(b":")?.strip_suffix(b":")?;
                let certificate =
                    STANDARD.decode(encoded).ok().filter(|certificate| !certificate.is_empty())?;
                Some(Sha256::digest(certificate).into())
            }
            Self::ForwardedClientCert => forwarded_hash(std::str::from_utf8(value).ok()?),
        }
    }
}

/// The `Hash` of the one element. A quoted value may hold whatever separates elements and pairs.
fn forwarded_hash(value: &str) -> Option<[u8; 32]> {
    let mut hash = None;
    let mut is_quoted = false;
    let mut is_escaped = false;
    let is_boundary = |letter: char| {
        let ends = !is_quoted && matches!(letter, ';' | ',');
        is_quoted ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    };
    for pair in value.split_inclusive(is_boundary) {
        let (pair, is_element) = match pair.strip_suffix(',') {
            Some(pair) => (pair, true),
            None => (pair.strip_suffix(';').unwrap_or(pair), false),
        };
        // Of several elements each is another proxy's word.
        if is_element {
            return None;
        }
        let Some((name, value)) = pair.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("hash") && hash.replace(value.trim().trim_matches('"')).is_some()
        {
            return None;
        }
    }
    parse_digest(hash?)
}

/// A SHA-256 digest in hexadecimal.
pub fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let bytes = base16ct::mixed::decode(text, &mut digest).ok()?;
    (bytes.len() == 32).then_some(digest)
}

impl Peer {
    /// Reads an address, a network (`10.0.0.0/8`), or a digest.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(digest) = parse_digest(text) {
            return Some(Self::Certificate(digest));
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
        };
        (bits <= most).then_some(Self::Network(address, bits))
    }

    fn is(&self, address: Option<IpAddr>, certificate: Option<[u8; 32]>) -> bool {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        };
        match self {
            Self::Certificate(digest) => certificate == Some(*digest),
            Self::Network(network, bits) => address.is_some_and(|address| {
                // An IPv4 client of an IPv6 socket.
                let address = address.to_canonical();
                let differs = number(address) ^ number(*network);
                address.is_ipv4() == network.is_ipv4() && differs.leading_zeros() >= u32::from(*bits)
            }),
        }
    }
}

impl CertificateHeader {
    /// Whether the peer of the connection may tell of certificates.
    pub fn is_from(&self, address: Option<IpAddr>, certificate: Option<[u8; 32]>) -> bool {
        self.from.iter().any(|peer| peer.is(address, certificate))
    }
}

/// The address of a connection's peer, as Envoy's property `source.address` says it. None where it was not read from
/// the connection but from `x-forwarded-for`, which the client can send: that has no port.
pub fn peer_address(property: &[u8]) -> Option<IpAddr> {
    let address: std::net::SocketAddr = std::str::from_utf8(property).ok()?.parse().ok()?;
    (address.port() != 0).then(|| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::borrowed;

    const HASH: &str = "a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7";

    fn forwarded(value: &str) -> bool {
        let digest =
            CertificateForm::ForwardedClientCert.digest(&borrowed(&[("x-forwarded-client-cert", value)]));
        digest == Some([0xa7; 32])
    }

    #[test]
    fn the_hash_of_the_one_element_is_read() {
        assert!(forwarded(&format!("Hash={HASH}")));
        assert!(forwarded(&format!("By=spiffe://a;Hash={HASH};Subject=\"CN=x,O=y;z\";URI=spiffe://b")));
        assert!(forwarded(&format!("hash={};Cert=\"a=b\"", HASH.to_uppercase())));
        for value in [
            "",
            "Hash=",
            "Hash=a7",
            &format!("By=x,Hash={HASH}"),
            &format!("Hash={HASH},Hash={HASH}"),
            &format!("Hash={HASH};Hash={HASH}"),
            &format!("Subject=\"Hash={HASH}\""),
            &format!("Subject=\"x;Hash={HASH};\""),
            &format!("Subject=\"\\\";Hash={HASH};\""),
            &format!("XHash={HASH}"),
        ] {
            assert!(!forwarded(value), "{value}");
        }
    }

    #[test]
    fn a_certificate_is_a_byte_sequence() {
        let digest = |value: &str| CertificateForm::ClientCert.digest(&borrowed(&[("client-cert", value)]));
        let expected: [u8; 32] = Sha256::digest([1, 2, 3]).into();
        assert_eq!(digest(":AQID:"), Some(expected));
        for value in ["AQID", ":AQID", ":AQI:", "::", ":AQID:;x=1", ":AQID:, :AQID:", "\":AQID:\"", ":AQ ID:"]
        {
            assert_eq!(digest(value), None, "{value}");
        }
        let twice = [("client-cert", ":AQID:"), ("client-cert", ":AQID:")];
        assert_eq!(CertificateForm::ClientCert.digest(&borrowed(&twice)), None);
    }

    #[test]
    fn a_peer_is_known_by_network_or_certificate() {
        for (peer, address, known) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let is = Peer::parse(peer).unwrap().is(address.parse().ok(), None);
            assert_eq!(is, known, "{peer} {address}");
        }
        let certificate = Peer::parse(HASH).unwrap();
        assert!(certificate.is(None, Some([0xa7; 32])));
        assert!(!certificate.is(None, Some([0xa8; 32])) && !certificate.is(None, None));
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "10.0.0.0/+8", "::/129", "proxy", "a7a7"] {
            assert_eq!(Peer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_that_was_read_from_a_header_is_nobodys() {
        assert_eq!(peer_address(b"10.0.0.1:5000"), "10.0.0.1".parse().ok());
        assert_eq!(peer_address(b"[2001:db8::1]:5000"), "2001:db8::1".parse().ok());
        for property in [&b"10.0.0.1:0"[..], b"[2001:db8::1]:0", b"10.0.0.1", b"/run/socket", b"\xff", b""] {
            assert_eq!(peer_address(property), None);
        }
    }
}
