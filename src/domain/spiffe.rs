//! SPIFFE IDs (SPIFFE-ID §2): who somebody is, `spiffe://trust-domain/path`.

use std::fmt;

use super::error::FieldError;
use super::text::shortened;

/// The most bytes of a SPIFFE ID (§2.3), and of the name of a trust domain.
pub const LONGEST: usize = 2_048;
const LONGEST_TRUST_DOMAIN: usize = 255;

/// The most bytes of a file's name.
const LONGEST_BUNDLE_NAME: usize = 255;

const SCHEME: &str = "spiffe://";

/// The name of a trust domain: `example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// A SPIFFE ID of somebody within a trust domain. That of the domain itself, without a path, is a [`TrustDomain`]: nobody
/// is that (X509-SVID §3.1, §5.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    /// Where the path begins.
    path: usize,
}

// === impl TrustDomain ===

impl TrustDomain {
    /// Checks a name: lower-case letters, digits, dots, hyphens and underscores.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters.
    pub fn new(name: &str) -> Result<Self, FieldError> {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if (1..=LONGEST_TRUST_DOMAIN).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(Self(name.to_owned()));
        }
        Err(FieldError::new(
            "issuer",
            format!("'{}' is not the name of a trust domain", shortened(name)),
            "use 1 to 255 lower-case letters, digits, dots, hyphens and underscores",
        ))
    }

    /// Checks the SPIFFE ID of a trust domain, `spiffe://example.org`, as it is registered.
    ///
    /// # Errors
    /// It has another scheme, a path, or a name that is none.
    pub fn from_id(id: &str) -> Result<Self, FieldError> {
        let Some(name) = id.strip_prefix(SCHEME) else {
            return Err(FieldError::new(
                "issuer",
                format!("'{}' is not the id of a trust domain", shortened(id)),
                "write spiffe:// and the name of the trust domain, for example spiffe://example.org",
            ));
        };
        Self::new(name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its SPIFFE ID: what a trusted issuer of this trust domain is registered as.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl SpiffeId ===

impl SpiffeId {
    /// Checks one. Its path has segments of letters, digits, dots, hyphens and underscores, none of them empty, `.` or
    /// `..`.
    ///
    /// # Errors
    /// It is too long, or not of that form.
    pub fn new(text: &str) -> Result<Self, FieldError> {
        let refused = |fix: &'static str| {
            Err(FieldError::new("sub", format!("'{}' is not a SPIFFE ID", shortened(text)), fix))
        };
        if text.len() > LONGEST {
            return refused("a SPIFFE ID has at most 2048 bytes");
        }
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return refused(
                "write spiffe://, the trust domain and a path, for example spiffe://example.org/billing",
            );
        };
        let Some(slash) = rest.find('/') else {
            return refused("a path must follow the trust domain: spiffe://example.org/billing");
        };
        let (domain, path) = rest.split_at(slash);
        if TrustDomain::new(domain).is_err() {
            return refused(
                "a trust domain has 1 to 255 lower-case letters, digits, dots, hyphens and underscores",
            );
        }
        if !path[1..].split('/').all(is_segment) {
            return refused(
                "a path has letters, digits, dots, hyphens and underscores between slashes, and does not end with one",
            );
        }
        Ok(Self { text: text.to_owned(), path: SCHEME.len() + slash })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The SPIFFE ID of its trust domain: what the trusted issuer is registered as.
    #[must_use]
    pub fn trust_domain_id(&self) -> &str {
        &self.text[..self.path]
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_segment(segment: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !matches!(segment, "" | "." | "..") && segment.bytes().all(fits)
}

/// Whether this names a file with a SPIFFE bundle: in the directory for them, not hidden, and nowhere else.
#[must_use]
pub fn is_bundle_name(name: &str) -> bool {
    let leads_elsewhere = |c: char| c.is_control() || matches!(c, '/' | '\\');
    (1..=LONGEST_BUNDLE_NAME).contains(&name.len())
        && !name.starts_with('.')
        && !name.chars().any(leads_elsewhere)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_spiffe_id_has_a_trust_domain_and_a_path_spiffe_id_2() {
        for good in [
            "spiffe://example.org/billing",
            "spiffe://k8s-west.example.com/ns/staging/sa/default",
            "spiffe://example_1/A.b-C_9/...",
            "spiffe://1.2.3.4/x",
        ] {
            let id = SpiffeId::new(good).unwrap();
            assert_eq!(id.as_str(), good);
            assert_eq!(TrustDomain::from_id(id.trust_domain_id()).unwrap().id(), id.trust_domain_id());
        }
        for bad in [
            "",
            "spiffe://",
            "spiffe:///path",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/./b",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a%20b",
            "spiffe://example.org/a*",
            "spiffe://example.org/é",
            "spiffe://example.org:443/a",
            "spiffe://user@example.org/a",
            "spiffe://Example.org/a",
            "SPIFFE://example.org/a",
            "https://example.org/a",
            " spiffe://example.org/a",
        ] {
            assert!(SpiffeId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_spiffe_id_has_2048_bytes_and_a_trust_domain_255_spiffe_id_2_3() {
        let path = |length: usize| format!("spiffe://a/{}", "b".repeat(length - "spiffe://a/".len()));
        assert!(SpiffeId::new(&path(LONGEST)).is_ok());
        assert!(SpiffeId::new(&path(LONGEST + 1)).is_err());
        assert!(TrustDomain::new(&"a".repeat(255)).is_ok());
        assert!(TrustDomain::new(&"a".repeat(256)).is_err());
        assert!(TrustDomain::from_id("spiffe://example.org/").is_err());
    }

    #[test]
    fn a_bundle_is_in_its_directory() {
        for good in ["example.org", "a.json", "k8s-west_1"] {
            assert!(is_bundle_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../a", "/a", "a\\b", "a\0"] {
            assert!(!is_bundle_name(bad), "{bad:?}");
        }
    }

    proptest! {
        /// Who can choose a part of an id reaches no other trust domain by it.
        #[test]
        fn what_is_a_spiffe_id_is_within_its_trust_domain(text in ".{0,40}") {
            let id = format!("spiffe://example.org/{text}");
            if let Ok(id) = SpiffeId::new(&id) {
                prop_assert_eq!(id.trust_domain_id(), "spiffe://example.org");
                prop_assert!(url::Url::parse(id.as_str()).unwrap().as_str() == id.as_str());
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "(spiffe://)?[a-z/.:@é%]{0,30}") {
            let _ = (SpiffeId::new(&text), TrustDomain::from_id(&text));
        }
    }
}
