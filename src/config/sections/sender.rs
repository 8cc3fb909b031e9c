//! `providers.*.certificate_header` and `providers.*.profile`: whom tokens must be bound to, and who says who that is.

use crate::config::kind::{ErrorKind, WarningKind};
use crate::config::reader::{Cursor, Fields};
use crate::issuer::certificate::{CertificateForm, CertificateHeader, Peer};
use crate::jose::{Algorithm, AlgorithmSet};

/// What FAPI 2.0 has tokens and proofs signed with (FAPI 2.0 Security Profile section 5.4.1).
const FAPI2: &[Algorithm] = &[Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

/// Reads `certificate_header`.
pub fn read_certificate_header(cursor: &Cursor<'_>) -> Option<CertificateHeader> {
    let fields = cursor.map(&["name", "from"])?;
    let choices =
        [CertificateForm::ClientCert, CertificateForm::ForwardedClientCert].map(|form| (form.name(), form));
    let form = fields.required("name").and_then(|name| name.choice(&choices));
    let from = fields.required("from").and_then(|list| {
        list.list_of(true, |item| {
            let peer = Peer::parse(&item.string()?);
            match &peer {
                None => item.error(ErrorKind::WrongKind,
                    "expected an address, a network such as `10.0.0.0/8`, or the SHA-256 digest of a certificate in \
                     hexadecimal",
                ),
                Some(Peer::Network(_, 0)) => item.warning(WarningKind::Open, "everybody may say whose certificate it is"),
                Some(Peer::Network(..) | Peer::Certificate(_)) => {}
            }
            peer
        })
    });
    Some(CertificateHeader { form: form?, from: from?.into() })
}

/// Reports what contradicts `profile: fapi2` (FAPI 2.0 Security Profile section 5.3.4).
pub fn check_fapi2(fields: &Fields<'_>) {
    for key in ["from_params", "from_cookies"] {
        if let Some(places) = fields.optional(key) {
            places.error(ErrorKind::Contradiction, "`profile: fapi2` takes tokens from headers alone");
        }
    }
    if !fields.boolean("require_expiration", true) {
        fields.cursor().error(ErrorKind::Contradiction, "`profile: fapi2` asks for an expiration");
    }
}

/// The algorithms of tokens or proofs under `fapi2`: those that are configured, none of which may be another one, or all
/// that it knows.
pub fn narrow(list: Option<&Cursor<'_>>, configured: AlgorithmSet) -> AlgorithmSet {
    let Some(list) = list else { return AlgorithmSet::of(FAPI2) };
    for algorithm in configured.iter().filter(|algorithm| !FAPI2.contains(algorithm)) {
        list.error(
            ErrorKind::Contradiction,
            format_args!("`profile: fapi2` has no `{algorithm}`; it has `PS256`, `ES256` and `EdDSA`"),
        );
    }
    configured
}
