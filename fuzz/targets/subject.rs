//! Certificates and their subjects (RFC 5280, RFC 4514, RFC 8705 §2.1.2).

use jeton::domain::certificate::PeerCertificate;
use jeton::domain::certificate_subject::{ExpectedSubject, SubjectKind};
use jeton::domain::distinguished_name::DistinguishedName;

/// Attribute types by their short name and their OID in DER.
const TYPES: [(&str, &[u8]); 2] = [("CN", &[0x55, 4, 3]), ("O", &[0x55, 4, 10])];

pub(crate) fn run(input: &[u8]) {
    let _ = DistinguishedName::from_der(input);
    if let Ok(certificate) = PeerCertificate::parse(input, false) {
        itself(&certificate);
        let longer = [input, &[0]].concat();
        assert!(PeerCertificate::parse(&longer, false).is_err(), "something follows the certificate");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(name) = DistinguishedName::parse(text) {
        let spaced = format!("  {}", text.trim_start());
        assert_eq!(
            DistinguishedName::parse(&spaced).as_ref(),
            Ok(&name),
            "space before a name means nothing"
        );
        // Registering takes away what stands at the ends, which may be an escaped space.
        let registered = ExpectedSubject::new(SubjectKind::SubjectDn, text);
        assert!(registered.is_ok() || text != text.trim() || text.chars().count() > 1_000);
    }
    written(text);
}

/// What a certificate says of itself, and could be registered, is its own.
fn itself(certificate: &PeerCertificate) {
    let names = &certificate.names;
    let texts = |kind, texts: &[String]| texts.iter().map(|text| (kind, text.clone())).collect::<Vec<_>>();
    let addresses: Vec<_> = names.addresses.iter().map(ToString::to_string).collect();
    let own = [
        texts(SubjectKind::SanDns, &names.dns),
        texts(SubjectKind::SanUri, &names.uris),
        texts(SubjectKind::SanIp, &addresses),
        texts(SubjectKind::SanEmail, &names.emails),
    ];
    for (kind, text) in own.concat() {
        // Registering takes away white space at the ends, which the certificate then has alone.
        if text == text.trim()
            && let Ok(subject) = ExpectedSubject::new(kind, &text)
        {
            assert!(subject.is_of(certificate), "'{text}' is in the certificate and is not found");
        }
    }
}

/// A line for each attribute: the name is the same whether it is written as DER or as text.
fn written(lines: &str) {
    let attributes: Vec<_> = lines.lines().zip(TYPES.into_iter().cycle()).take(4).collect();
    if attributes.is_empty() || attributes.iter().any(|(value, _)| value.trim().is_empty()) {
        return; // A name without a value is none as text.
    }
    let (mut der, mut texts) = (Vec::new(), Vec::new());
    for (value, (short, oid)) in attributes {
        let attribute = [encoded(0x06, oid), encoded(0x0c, value.as_bytes())].concat();
        der.extend(encoded(0x31, &encoded(0x30, &attribute)));
        let escaped: Vec<_> = value.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        texts.push(format!("{short}={}", escaped.concat()));
    }
    texts.reverse();
    let text = DistinguishedName::parse(&texts.join(",")).expect("what is escaped is a name");
    assert_eq!(DistinguishedName::from_der(&encoded(0x30, &der)).as_ref(), Ok(&text));
}

/// DER of a tag and its content.
fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![tag];
    match length {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            der.push(0x80 | u8::try_from(long.len()).unwrap_or(u8::MAX));
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}
