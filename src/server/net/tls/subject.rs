//! The common name in the subject of a certificate (RFC 5280, section 4.1.2.6): by it a client
//! certificate is found among the tokens.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The types of DER elements that a subject has (X.690, section 8).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The types of text that are UTF-8 or a part of it: UTF8String, PrintableString, IA5String.
const TEXT: [u8; 3] = [0x0c, 0x13, 0x16];

/// 2.5.4.3, id-at-commonName.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// Returns the common name of a certificate. `None` if it has none, or several, or one that is not UTF-8:
/// it must not be possible to choose which of two names counts.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    name_in(certificate.subject())
}

/// Returns the common name in a subject: sets of attributes, each a sequence of its type and its value.
fn name_in(mut subject: &[u8]) -> Option<String> {
    let mut found = None;
    while !subject.is_empty() {
        let mut set = expect(&mut subject, SET)?;
        while !set.is_empty() {
            let mut attribute = expect(&mut set, SEQUENCE)?;
            let kind = expect(&mut attribute, OBJECT_IDENTIFIER)?;
            let (tag, value) = element(&mut attribute)?;
            if kind != COMMON_NAME {
                continue;
            }
            if found.is_some() || !TEXT.contains(&tag) {
                return None;
            }
            found = Some(std::str::from_utf8(value).ok()?);
        }
    }
    found.filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Takes the next element, which must have this type, and returns its contents.
fn expect<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, contents) = element(bytes)?;
    (found == tag).then_some(contents)
}

/// Takes the next element, and returns its type and its contents.
fn element<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        ..=0x7f => (first.into(), rest),
        0x81 => {
            let (&len, rest) = rest.split_first()?;
            (len.into(), rest)
        }
        0x82 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (u16::from_be_bytes(*len).into(), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some((tag, contents))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    /// Returns the name of a certificate with these attributes.
    fn name(attributes: &[(DnType, DnValue)]) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        common_name(certificate.der())
    }

    #[test]
    fn the_common_name_is_found_among_others() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let long = "ö".repeat(150);
        for text in ["orders", "ü ber", &long] {
            let found = name(&[
                (DnType::OrganizationName, utf8("a firm")),
                (DnType::CommonName, utf8(text)),
                (DnType::CountryName, utf8("DE")),
            ]);
            assert_eq!(found.as_deref(), Some(text));
        }
        let printable = DnValue::PrintableString("orders".try_into().unwrap());
        assert_eq!(
            name(&[(DnType::CommonName, printable)]).as_deref(),
            Some("orders")
        );
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[(DnType::OrganizationName, utf8("orders"))]), None);
        assert_eq!(name(&[(DnType::CommonName, utf8(""))]), None);
        let wide = DnValue::BmpString("orders".try_into().unwrap());
        assert_eq!(name(&[(DnType::CommonName, wide)]), None, "not UTF-8");
    }

    /// A set with one attribute, the common name.
    fn set(name: &str) -> Vec<u8> {
        let mut value = vec![TEXT[0], name.len() as u8];
        value.extend(name.as_bytes());
        let mut attribute = vec![OBJECT_IDENTIFIER, 3, 0x55, 4, 3];
        attribute.extend(value);
        let mut sequence = vec![SEQUENCE, attribute.len() as u8];
        sequence.extend(attribute);
        let mut set = vec![SET, sequence.len() as u8];
        set.extend(sequence);
        set
    }

    #[test]
    fn of_two_common_names_none_counts() {
        assert_eq!(name_in(&set("a")).as_deref(), Some("a"));
        assert_eq!(name_in(&[set("a"), set("b")].concat()), None);
        assert_eq!(name_in(&[set("a"), vec![0]].concat()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            name_in(&bytes);
        }

        #[test]
        fn a_changed_subject_is_read_or_refused(at in 0_usize..40, byte: u8) {
            let mut bytes = [set("first"), set("second")].concat();
            let at = at % bytes.len();
            bytes[at] = byte;
            name_in(&bytes);
        }
    }
}
