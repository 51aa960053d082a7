//! Whom a certificate must be for to stand for a client (`tls_client_auth`, RFC 8705 §2.1.2): one subject that is
//! registered, a distinguished name or one alternative name.

use std::net::IpAddr;

use super::certificate::PeerCertificate;
use super::distinguished_name::DistinguishedName;
use super::error::FieldError;
use super::text::quoted;
use super::words::words;

/// The most characters of a subject.
const LONGEST: usize = 1_000;

words! {
    /// Which part of a certificate names the client: the metadata of RFC 8705 §2.1.2 without their `tls_client_auth_`.
    SubjectKind {
        /// The subject's distinguished name, as RFC 4514 writes it.
        SubjectDn = "subject_dn",
        /// A `dNSName`.
        SanDns = "san_dns",
        /// A `uniformResourceIdentifier`, for example a SPIFFE ID.
        SanUri = "san_uri",
        /// An `iPAddress`.
        SanIp = "san_ip",
        /// An `rfc822Name`.
        SanEmail = "san_email",
    }
}

// === impl SubjectKind ===

impl SubjectKind {
    /// What stands for the subject where credentials have identifiers: a client has but one.
    #[must_use]
    pub fn credential_id(self) -> String {
        self.as_str().replace('_', "-")
    }
}

/// The subject that a client's certificate must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedSubject {
    kind: SubjectKind,
    text: String,
    form: Form,
}

/// The same in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Dn(DistinguishedName),
    Dns,
    Uri,
    Ip(IpAddr),
    Email,
}

// === impl ExpectedSubject ===

impl ExpectedSubject {
    /// Reads a subject of this kind. White space at its ends does not count, unless it is escaped (RFC 4514 §2.4).
    ///
    /// # Errors
    /// No certificate could have it; what is wrong with it, for whoever registers it.
    pub fn new(kind: SubjectKind, text: &str) -> Result<Self, FieldError> {
        let text = trimmed(kind, text);
        if text.is_empty() || text.chars().count() > LONGEST {
            return Err(refused(
                kind,
                "it is empty, or longer than 1000 characters",
                "shorten it, or fill it in",
            ));
        }
        let form = match kind {
            SubjectKind::SubjectDn => Form::Dn(DistinguishedName::parse(text).map_err(|error| {
                refused(kind, &error.to_string(), "write it as RFC 4514 does: CN=billing,O=Example,C=DE")
            })?),
            SubjectKind::SanDns => check_dns(text).map(|()| Form::Dns)?,
            SubjectKind::SanUri => check_uri(text).map(|()| Form::Uri)?,
            SubjectKind::SanIp => Form::Ip(text.parse().map_err(|_| {
                let problem = format!("'{}' is not an address", quoted(text));
                refused(kind, &problem, "write one address, for example 192.0.2.7 or 2001:db8::7")
            })?),
            SubjectKind::SanEmail => check_email(text).map(|()| Form::Email)?,
        };
        let text = if let Form::Ip(address) = form { address.to_string() } else { text.to_owned() };
        Ok(Self { kind, text, form })
    }

    /// Which part of the certificate it is.
    #[must_use]
    pub const fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// As it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a certificate has this subject. Whether it is to be trusted is another question.
    #[must_use]
    pub fn is_of(&self, certificate: &PeerCertificate) -> bool {
        let names = &certificate.names;
        match &self.form {
            Form::Dn(name) => {
                DistinguishedName::from_der(&certificate.subject_der).is_ok_and(|of| of == *name)
            }
            Form::Dns => names.dns.iter().any(|dns| dns.eq_ignore_ascii_case(&self.text)),
            Form::Uri => names.uris.contains(&self.text),
            Form::Ip(address) => names.addresses.contains(address),
            Form::Email => names.emails.iter().any(|email| same_mailbox(email, &self.text)),
        }
    }
}

/// Without the white space at its ends. Of a distinguished name the last space may be escaped, and belongs to it then.
fn trimmed(kind: SubjectKind, text: &str) -> &str {
    let text = text.trim_start();
    let bare = text.trim_end();
    let backslashes = bare.len() - bare.trim_end_matches('\\').len();
    let is_escaped = kind == SubjectKind::SubjectDn && backslashes % 2 == 1;
    // The space after an odd number of backslashes.
    let kept = text[bare.len()..].chars().next().filter(|_| is_escaped).map_or(0, char::len_utf8);
    &text[..bare.len() + kept]
}

fn refused(kind: SubjectKind, problem: &str, fix: &'static str) -> FieldError {
    FieldError::new("tls_client_auth_subject", format!("as {kind}: {problem}"), fix)
}

/// A host name (RFC 5280 §4.2.1.6). A wildcard would stand for every host below, and a client is one.
fn check_dns(text: &str) -> Result<(), FieldError> {
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(());
    }
    let problem = format!("'{}' is not a host name", quoted(text));
    let fix = "write it without wildcard and final dot, international names as xn--…, for example billing.example.com";
    Err(refused(SubjectKind::SanDns, &problem, fix))
}

/// An absolute URI, which is compared character by character (RFC 8705 §2.1.2 says no more).
fn check_uri(text: &str) -> Result<(), FieldError> {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let has_scheme = scheme.is_some_and(|scheme| {
        let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(rest)
    });
    if has_scheme && text.bytes().all(|byte| byte.is_ascii_graphic()) && url::Url::parse(text).is_ok() {
        return Ok(());
    }
    let problem = format!("'{}' is not an absolute URI", quoted(text));
    Err(refused(
        SubjectKind::SanUri,
        &problem,
        "write it as the certificate has it, for example spiffe://example/billing",
    ))
}

fn check_email(text: &str) -> Result<(), FieldError> {
    let address = text.rsplit_once('@').is_some_and(|(local, host)| {
        !local.is_empty()
            && local.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@')
            && check_dns(host).is_ok()
    });
    if address {
        return Ok(());
    }
    let problem = format!("'{}' is not an address of mail", quoted(text));
    Err(refused(SubjectKind::SanEmail, &problem, "write it as name@host, for example billing@example.com"))
}

/// Whether two addresses of mail are one: the local part exactly, the host in any case (RFC 5280 §7.5).
fn same_mailbox(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, host)), Some((other_local, other_host))) => {
            local == other_local && host.eq_ignore_ascii_case(other_host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubjectKind::{SanDns, SanEmail, SanIp, SanUri, SubjectDn};
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn an_escaped_space_at_the_end_belongs_to_the_name_rfc4514_2_4() {
        let text =
            |text| ExpectedSubject::new(SubjectKind::SubjectDn, text).map(|read| read.as_str().to_owned());
        assert_eq!(text(r" CN=a\  ").unwrap(), r"CN=a\ ");
        assert_eq!(text(r"CN=a\ ").unwrap(), r"CN=a\ ");
        assert_eq!(text(r"CN=a\\  ").unwrap(), r"CN=a\\", "the backslash itself is escaped");
        assert!(text(r"CN=a\").is_err(), "it escapes nothing");
    }

    fn certificate(common_name: &str, names: Vec<SanType>) -> PeerCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        PeerCertificate::parse(&der, true).unwrap()
    }

    fn of_all_kinds() -> PeerCertificate {
        let ia5 = |text: &str| text.try_into().unwrap();
        certificate(
            "billing",
            vec![
                SanType::DnsName(ia5("Billing.example.com")),
                SanType::DnsName(ia5("*.wild.example.com")),
                SanType::URI(ia5("spiffe://example/Billing")),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8::7".parse().unwrap()),
                SanType::Rfc822Name(ia5("Billing@Example.com")),
            ],
        )
    }

    fn fits(kind: SubjectKind, text: &str) -> bool {
        ExpectedSubject::new(kind, text)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .is_of(&of_all_kinds())
    }

    #[test]
    fn a_certificate_has_the_subject_that_is_registered_rfc8705_2_1_2() {
        for (kind, text) in [
            (SubjectDn, "cn = Billing"),
            (SanDns, "billing.EXAMPLE.com"),
            (SanUri, "spiffe://example/Billing"),
            (SanIp, "192.0.2.7"),
            (SanIp, "2001:DB8:0:0::7"),
            (SanEmail, "Billing@example.COM"),
        ] {
            assert!(fits(kind, text), "{kind} {text}");
        }
        for (kind, text) in [
            (SubjectDn, "CN=billing,O=Example"),
            // The common name is not an alternative name, and the other way round.
            (SanDns, "billing"),
            (SubjectDn, "CN=billing.example.com"),
            // Nothing below, nothing above, and no wildcard in the certificate stands for more than itself.
            (SanDns, "a.billing.example.com"),
            (SanDns, "example.com"),
            (SanDns, "a.wild.example.com"),
            (SanUri, "spiffe://example/billing"),
            (SanUri, "spiffe://example/Billing/"),
            // The same value as another kind of name.
            (SanUri, "https://Billing.example.com"),
            (SanDns, "spiffe.example"),
            (SanIp, "192.0.2.8"),
            (SanIp, "::ffff:192.0.2.7"),
            (SanEmail, "billing@example.com"),
            (SanEmail, "Billing@mail.example.com"),
        ] {
            assert!(!fits(kind, text), "{kind} {text}");
        }
    }

    #[test]
    fn what_no_certificate_can_have_is_refused_with_what_to_write() {
        let long = format!("CN={}", "x".repeat(LONGEST));
        for (kind, text) in [
            (SubjectDn, ""),
            (SubjectDn, "billing"),
            (SubjectDn, &long),
            (SanDns, "*.example.com"),
            (SanDns, "billing.example.com."),
            (SanDns, "bil ling"),
            (SanDns, "büro.example"),
            (SanDns, "a..b"),
            (SanDns, "-a"),
            (SanUri, "billing"),
            (SanUri, "//example/billing"),
            (SanUri, "spiffe://example/a b"),
            (SanIp, "192.0.2"),
            (SanIp, "192.0.2.0/24"),
            (SanIp, "billing.example.com"),
            (SanEmail, "billing"),
            (SanEmail, "@example.com"),
            (SanEmail, "a@b@example.com"),
            (SanEmail, "billing@*.example.com"),
        ] {
            let error = ExpectedSubject::new(kind, text).unwrap_err();
            assert_eq!(error.field, "tls_client_auth_subject");
            assert!(error.problem.contains(kind.as_str()) && !error.fix.is_empty(), "{error}");
        }
    }

    #[test]
    fn it_is_kept_as_it_was_written_and_an_address_in_its_one_form_rfc5952() {
        assert_eq!(ExpectedSubject::new(SubjectDn, " CN=A, O=B ").unwrap().as_str(), "CN=A, O=B");
        assert_eq!(ExpectedSubject::new(SanIp, "2001:0DB8::0:7").unwrap().as_str(), "2001:db8::7");
    }

    proptest! {
        #[test]
        fn nothing_fits_by_accident(text in "[a-z@.:/=,]{1,30}", other in "[a-z@.:/=,]{1,30}") {
            let names = |text: &str| {
                let ia5 = || text.try_into().unwrap();
                vec![SanType::DnsName(ia5()), SanType::URI(ia5()), SanType::Rfc822Name(ia5())]
            };
            let certificate = certificate(&text, names(&text));
            for kind in [SanDns, SanUri, SanEmail] {
                if let Ok(expected) = ExpectedSubject::new(kind, &other) {
                    prop_assert_eq!(expected.is_of(&certificate), text == other);
                }
            }
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,60}") {
            for kind in SubjectKind::ALL {
                let _ = ExpectedSubject::new(*kind, &text);
            }
        }
    }
}
