//! Distinguished names: the text of RFC 4514, the DER of a certificate, and whether both are one name (RFC 5280 §7.1).

use std::fmt;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// The short names of attribute types: those of RFC 4514 §3, and what certificates for machines have beside them, as
/// OpenSSL writes it.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("surname", "2.5.4.4"),
    ("serialNumber", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("S", "2.5.4.8"),
    ("street", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("description", "2.5.4.13"),
    ("businessCategory", "2.5.4.15"),
    ("postalCode", "2.5.4.17"),
    ("name", "2.5.4.41"),
    ("GN", "2.5.4.42"),
    ("givenName", "2.5.4.42"),
    ("dnQualifier", "2.5.4.46"),
    ("organizationIdentifier", "2.5.4.97"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
    ("jurisdictionL", "1.3.6.1.4.1.311.60.2.1.1"),
    ("jurisdictionST", "1.3.6.1.4.1.311.60.2.1.2"),
    ("jurisdictionC", "1.3.6.1.4.1.311.60.2.1.3"),
];

/// A name in the form in which two are compared: attribute types as OIDs, texts folded, each RDN sorted, in the order
/// of RFC 4514 (the last RDN of the certificate first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<(String, Value)>>);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// Text, however it is encoded: without white space at its ends, one space for each in between, in lower case.
    Text(String),
    /// Anything else: its tag and content.
    Other(u32, Vec<u8>),
}

/// A text that is not a distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAName(String);

/// Reads the text of RFC 4514 §3.
struct Reader<'a> {
    rest: &'a str,
}

// === impl DistinguishedName ===

impl DistinguishedName {
    /// Reads the text of RFC 4514, as `openssl x509 -noout -subject -nameopt RFC2253` prints it too.
    ///
    /// # Errors
    /// It is none, and why.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        let mut reader = Reader { rest: text.trim_start() };
        if reader.rest.is_empty() {
            return Err(refused("it is empty"));
        }
        let mut name = vec![vec![reader.attribute()?]];
        while let Some(separator) = reader.separator()? {
            let attribute = reader.attribute()?;
            match name.last_mut() {
                Some(rdn) if separator == '+' => rdn.push(attribute),
                _ => name.push(vec![attribute]),
            }
        }
        Ok(Self::sorted(name))
    }

    /// Reads the DER of a `Name`.
    ///
    /// # Errors
    /// It is none.
    pub fn from_der(der: &[u8]) -> Result<Self, NotAName> {
        let (rest, name) = X509Name::from_der(der).map_err(|_| refused("it is not a Name in DER"))?;
        if !rest.is_empty() {
            return Err(refused("something follows the Name"));
        }
        let mut rdns: Vec<_> = name
            .iter_rdn()
            .map(|rdn| {
                let attribute = rdn.iter();
                attribute.map(|a| (a.attr_type().to_id_string(), Value::of(a.attr_value()))).collect()
            })
            .collect();
        rdns.reverse();
        Ok(Self::sorted(rdns))
    }

    /// An RDN is a set: the order of its attributes means nothing.
    fn sorted(mut rdns: Vec<Vec<(String, Value)>>) -> Self {
        for rdn in &mut rdns {
            rdn.sort();
        }
        Self(rdns)
    }
}

// === impl Value ===

impl Value {
    /// That of an attribute in a certificate. The same text is the same value in every encoding of text.
    fn of(value: &Any<'_>) -> Self {
        let text = match value.tag() {
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
                std::str::from_utf8(value.data).ok().map(str::to_owned)
            }
            Tag::BmpString if value.data.len().is_multiple_of(2) => {
                let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                char::decode_utf16(units).collect::<Result<String, _>>().ok()
            }
            _ => None,
        };
        text.map_or_else(|| Self::Other(value.tag().0, value.data.to_vec()), |text| Self::text(&text))
    }

    fn text(text: &str) -> Self {
        let words = text.split(char::is_whitespace).filter(|word| !word.is_empty());
        Self::Text(words.collect::<Vec<_>>().join(" ").to_lowercase())
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// `attributeTypeAndValue`. Spaces beside its parts, which RFC 4514 does not have, are what people write.
    fn attribute(&mut self) -> Result<(String, Value), NotAName> {
        let (name, rest) = self.rest.split_once('=').ok_or_else(|| {
            refused(format!("'{}' has no '=': write TYPE=VALUE, for example CN=billing", start(self.rest)))
        })?;
        let oid = attribute_type(name.trim())?;
        self.rest = rest.trim_start_matches(' ');
        let value = match self.rest.strip_prefix('#') {
            Some(rest) => {
                self.rest = rest;
                self.encoded()?
            }
            None => self.string()?,
        };
        Ok((oid, value))
    }

    /// What stands between two attributes; nothing at the end.
    fn separator(&mut self) -> Result<Option<char>, NotAName> {
        let mut rest = self.rest.chars();
        match rest.next() {
            None => Ok(None),
            Some(separator @ (',' | '+')) => {
                self.rest = rest.as_str().trim_start_matches(' ');
                Ok(Some(separator))
            }
            Some(other) => Err(refused(format!("'{other}' stands where a ',' or '+' should"))),
        }
    }

    /// `string`: up to the next separator, with what is escaped put in its place.
    fn string(&mut self) -> Result<Value, NotAName> {
        let mut bytes = Vec::new();
        let mut rest = self.rest.chars();
        loop {
            let before = rest.as_str();
            match rest.next() {
                None | Some(',' | '+') => {
                    self.rest = before;
                    break;
                }
                Some('\\') => bytes.extend(escaped(&mut rest)?),
                Some(bad @ ('"' | ';' | '<' | '>' | '\0')) => {
                    return Err(refused(format!("write \\{} for {bad:?} in a value", hex_of(bad))));
                }
                Some(other) => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| refused("what is escaped is not UTF-8"))?;
        match Value::text(&text) {
            Value::Text(text) if text.is_empty() => Err(refused("a value is empty")),
            value => Ok(value),
        }
    }

    /// `hexstring`: the BER of a value.
    fn encoded(&mut self) -> Result<Value, NotAName> {
        let end = self.rest.find([',', '+']).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let pairs: Option<Vec<u8>> = digits.trim_end_matches(' ').as_bytes().chunks(2).map(byte).collect();
        let wrong = || refused("after # stands the value's encoding in hexadecimal, for example #0C0141");
        let der = pairs.filter(|der| !der.is_empty()).ok_or_else(wrong)?;
        match Any::from_der(&der) {
            Ok(([], value)) => Ok(Value::of(&value)),
            _ => Err(wrong()),
        }
    }
}

/// The OID of an attribute type, which stands as one or as a short name.
fn attribute_type(text: &str) -> Result<String, NotAName> {
    let known = SHORT_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, oid)) = known {
        return Ok((*oid).to_owned());
    }
    let is_arc = |arc: &str| {
        let digits = arc.len() < 30 && arc.bytes().all(|byte| byte.is_ascii_digit());
        digits && !arc.is_empty() && (arc == "0" || !arc.starts_with('0'))
    };
    if text.contains('.') && text.split('.').all(is_arc) {
        return Ok(text.to_owned());
    }
    Err(refused(format!(
        "'{}' is not a known attribute type: write its OID, for example 2.5.4.3 for CN",
        start(text)
    )))
}

/// `pair`, after its backslash.
fn escaped(rest: &mut std::str::Chars<'_>) -> Result<Vec<u8>, NotAName> {
    let wrong =
        || refused("a backslash stands before one of \\ \" + , ; < > = # space, or two hexadecimal digits");
    let first = rest.next().ok_or_else(wrong)?;
    if matches!(first, '\\' | '"' | '+' | ',' | ';' | '<' | '>' | ' ' | '#' | '=') {
        return Ok(vec![u8::try_from(first).map_err(|_| wrong())?]);
    }
    let second = rest.next().ok_or_else(wrong)?;
    let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(wrong);
    Ok(vec![digit(first)? << 4 | digit(second)?])
}

fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn hex_of(c: char) -> String {
    format!("{:02X}", u32::from(c))
}

fn refused(why: impl fmt::Display) -> NotAName {
    NotAName(why.to_string())
}

/// Enough of a text to say where it is wrong.
fn start(text: &str) -> String {
    text.chars().take(40).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};
    use x509_parser::certificate::X509Certificate;

    fn parsed(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The subject of a certificate with these attributes, in this order.
    fn subject(attributes: Vec<(DnType, DnValue)>) -> DistinguishedName {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind, value);
        }
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        DistinguishedName::from_der(certificate.subject().as_raw()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn the_examples_of_rfc4514_4() {
        assert_eq!(
            parsed("UID=jsmith,DC=example,DC=net").0.iter().map(|rdn| rdn[0].0.as_str()).collect::<Vec<_>>(),
            ["0.9.2342.19200300.100.1.1", "0.9.2342.19200300.100.1.25", "0.9.2342.19200300.100.1.25"]
        );
        let two = parsed("OU=Sales+CN=J.  Smith,DC=example,DC=net");
        assert_eq!(two.0[0].len(), 2);
        assert_eq!(two, parsed("CN=J. Smith+OU=Sales,DC=example,DC=net"));
        assert_eq!(
            parsed(r#"CN=James \"Jim\" Smith\, III,DC=example,DC=net"#).0[0][0].1,
            Value::Text("james \"jim\" smith, iii".to_owned())
        );
        assert_eq!(
            parsed(r"CN=Before\0dAfter,DC=example,DC=net"),
            parsed("CN=before after,DC=example,DC=net")
        );
        assert_eq!(
            parsed("1.3.6.1.4.1.1466.0=#04024869").0[0][0],
            ("1.3.6.1.4.1.1466.0".to_owned(), Value::Other(4, b"Hi".to_vec()))
        );
        assert_eq!(parsed(r"CN=Lu\C4\8Di\C4\87"), parsed("CN=LUČIĆ"));
    }

    #[test]
    fn a_name_is_the_same_in_another_writing_rfc5280_7_1() {
        let name = subject(vec![
            (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
            (DnType::OrganizationName, utf8("Example,  Inc.")),
            (DnType::CommonName, utf8(" Billing ")),
        ]);
        for same in [
            r"CN=billing,O=Example\, Inc.,C=DE",
            r"cn=BILLING, o = example\2C inc. , c=de",
            r"2.5.4.3=#0C0742696C6C696E67,2.5.4.10=Example\,\20Inc.,2.5.4.6=#13024445",
            // The same text in another encoding: IA5String, and BMPString.
            r"CN=#160762696C6C696E67,O=Example\, Inc.,C=#1E0400440045",
        ] {
            assert_eq!(parsed(same), name, "{same}");
        }
        for other in [
            r"C=DE,O=Example\, Inc.,CN=billing",
            r"CN=billing,O=Example\, Inc.",
            r"CN=billing,O=Example\, Inc.,C=DE,DC=x",
            r"CN=billing2,O=Example\, Inc.,C=DE",
            r"CN=bil ling,O=Example\, Inc.,C=DE",
            r"OU=billing,O=Example\, Inc.,C=DE",
            r"CN=billing+O=Example\, Inc.,C=DE",
            // Bytes are no text.
            r"CN=#040742696C6C696E67,O=Example\, Inc.,C=DE",
        ] {
            assert_ne!(parsed(other), name, "{other}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_and_why() {
        for (bad, why) in [
            ("", "empty"),
            ("   ", "empty"),
            ("billing", "no '='"),
            ("CN=billing,", "no '='"),
            ("CN=", "value is empty"),
            ("CN=\\20", "value is empty"),
            ("=x", "attribute type"),
            ("bogus=x", "attribute type"),
            ("2.05.4=x", "attribute type"),
            ("2=x", "attribute type"),
            ("CN=a;O=b", "\\3B"),
            ("CN=\"a\"", "\\22"),
            ("CN=a\\", "backslash"),
            ("CN=a\\zz", "backslash"),
            ("CN=\\ff", "UTF-8"),
            ("CN=#", "hexadecimal"),
            ("CN=#0C0141FF", "hexadecimal"),
            ("CN=#0C014", "hexadecimal"),
            ("CN=#xy", "hexadecimal"),
        ] {
            let error = DistinguishedName::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        assert!(DistinguishedName::from_der(b"").is_err());
        assert!(DistinguishedName::from_der(&[0x30, 0, 0]).is_err());
    }

    /// A value as RFC 4514 §2.4 writes it: every byte escaped, or only what must be.
    fn written(text: &str, all: bool) -> String {
        let escape = |c: char| all || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '\0');
        let hex = |c: char| {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat()
        };
        let whole: String = text.chars().map(|c| if escape(c) { hex(c) } else { c.to_string() }).collect();
        if whole.starts_with('#') { format!("\\{whole}") } else { whole }
    }

    proptest! {
        #[test]
        fn whatever_a_certificate_says_can_be_written_as_text(
            organization in "\\PC*[a-z#]\\PC{0,10}", common in "[^\u{0}]*[a-z]", all in any::<bool>(),
        ) {
            let name = subject(vec![
                (DnType::OrganizationName, utf8(&organization)),
                (DnType::CommonName, utf8(&common)),
            ]);
            let text = format!("CN={},O={}", written(&common, all), written(&organization, !all));
            prop_assert_eq!(parsed(&text), name);
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,60}", der in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = DistinguishedName::parse(&text);
            let _ = DistinguishedName::parse(&format!("CN={text}"));
            let _ = DistinguishedName::from_der(&der);
        }
    }
}
