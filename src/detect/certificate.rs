// SPDX-License-Identifier: GPL-3.0-or-later
//! X.509 certificates, DER or PEM.

use super::signing::Certificate;
use sha2::Digest;
use x509_cert::der::asn1::{ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectKeyIdentifier};
use x509_cert::name::Name;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// Why a certificate could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// A PEM text without a whole certificate.
    #[error("it is a text without a whole certificate in it")]
    Pem,
    /// Not a certificate.
    #[error("it is no X.509 certificate ({0})")]
    Der(String),
}

/// The common name in a distinguished name.
pub(super) fn common_name(name: &Name) -> Option<String> {
    let attribute = name.0.iter().flat_map(|rdn| rdn.0.iter()).find(|a| a.oid == COMMON_NAME)?;
    let value = &attribute.value;
    let text = Utf8StringRef::try_from(value).map(|s| s.as_str().to_owned());
    let text = text.or_else(|_| PrintableStringRef::try_from(value).map(|s| s.as_str().to_owned()));
    text.or_else(|_| TeletexStringRef::try_from(value).map(|s| s.as_str().to_owned())).ok()
}

/// The DER bytes of a certificate file: as they are, or out of the first PEM certificate in it.
///
/// # Errors
/// When a PEM text has no whole certificate.
pub fn der_of(bytes: &[u8]) -> Result<Vec<u8>, CertificateError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if bytes.first() == Some(&0x30) {
        return Ok(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| CertificateError::Pem)?;
    let from = text.find(BEGIN).ok_or(CertificateError::Pem)?;
    let text = &text[from..];
    let end = text.find(END).ok_or(CertificateError::Pem)? + END.len();
    let (_, der) =
        x509_cert::der::pem::decode_vec(&text.as_bytes()[..end]).map_err(|_| CertificateError::Pem)?;
    Ok(der)
}

/// Reads a certificate file.
///
/// # Errors
/// When it holds no certificate.
pub fn parse(bytes: &[u8]) -> Result<Certificate, CertificateError> {
    let der = der_of(bytes)?;
    let wrong = |e: x509_cert::der::Error| CertificateError::Der(e.to_string());
    let mut reader = x509_cert::der::SliceReader::new(&der).map_err(wrong)?;
    let certificate = x509_cert::Certificate::decode(&mut reader).map_err(wrong)?;
    // Fingerprints are those of the certificate alone, whatever follows it in the file.
    let exact = certificate.to_der().map_err(wrong)?;
    let tbs = &certificate.tbs_certificate;
    let key_id = match tbs.get::<SubjectKeyIdentifier>() {
        Ok(Some((_, id))) => Some(hex::encode(id.0.as_bytes())),
        _ => None,
    };
    let code_signing = match tbs.get::<ExtendedKeyUsage>() {
        Ok(Some((_, usage))) => usage.0.contains(&CODE_SIGNING),
        // Without the extension every use is allowed (RFC 5280, 4.2.1.12).
        Ok(None) => true,
        Err(_) => false,
    };
    Ok(Certificate {
        subject: common_name(&tbs.subject),
        serial: hex::encode(tbs.serial_number.as_bytes()),
        key_id,
        sha256: hex::encode(sha2::Sha256::digest(&exact)),
        not_after: tbs.validity.not_after.to_date_time().to_string(),
        code_signing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DER: &[u8] = include_bytes!("../../tests/detect/keys/mok.der");
    const PEM: &[u8] = include_bytes!("../../tests/detect/keys/mok.pem");

    #[test]
    fn a_certificate_reads_the_same_from_der_and_pem() {
        let der = parse(DER).unwrap();
        assert_eq!(parse(PEM).unwrap(), der);
        assert_eq!(der.subject.as_deref(), Some("Hostwright test module signing key"));
        assert!(der.code_signing);
        assert_eq!(der.key_id.as_ref().map(String::len), Some(40));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert_eq!(parse(b""), Err(CertificateError::Pem));
        assert_eq!(parse(b"-----BEGIN CERTIFICATE-----\nMII"), Err(CertificateError::Pem));
        assert!(matches!(parse(&DER[..100]), Err(CertificateError::Der(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..800, to in any::<u8>()) {
            let _ = parse(&bytes);
            bytes.insert(0, 0x30);
            let _ = parse(&bytes);
            let mut changed = DER.to_vec();
            let at = at % changed.len();
            changed[at] = to;
            let _ = parse(&changed);
        }
    }
}
