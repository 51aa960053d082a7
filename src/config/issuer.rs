//! Our own issuer identifier.

use url::{Host, Url};

/// An issuer identifier (RFC 8414 §2): an https URL without query or fragment; http on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

// === impl Issuer ===

impl Issuer {
    /// Checks an issuer identifier.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|_| "write an absolute URL, for example https://id.example.com".to_owned())?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err("the URL has no host".to_owned()),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err("use https (http is for localhost only)".to_owned()),
        }
        let plain_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        if !url.path().bytes().all(plain_path) {
            return Err("use letters, digits and - . _ ~ in the path".to_owned());
        }
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err("leave out user, query and fragment (RFC 8414 section 2)".to_owned());
        }
        // Identifiers are compared character by character, so there must be one way to write this one.
        let plain = text.trim_end_matches('/');
        if url.as_str().trim_end_matches('/') != plain || text != plain {
            return Err(format!("write it in its plain form: {}", url.as_str().trim_end_matches('/')));
        }
        Ok(Self(plain.to_owned()))
    }

    /// The identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path part: empty, or starting with `/` and not ending with it.
    #[must_use]
    pub fn path(&self) -> &str {
        let authority = self.0.find("://").map_or(0, |at| at + 3);
        self.0[authority..].find('/').map_or("", |slash| &self.0[authority + slash..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_has_one_spelling() {
        for good in [
            "https://id.example.com",
            "https://id.example.com/tenant/a",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
        ] {
            assert!(Issuer::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "id.example.com",
            "http://id.example.com",
            "https://id.example.com/",
            "https://ID.example.com",
            "https://id.example.com?x=1",
            "https://u@id.example.com",
            "https://id.example.com:443",
            "ftp://localhost",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Issuer::parse("https://h/tenant/a").unwrap().path(), "/tenant/a");
        assert_eq!(Issuer::parse("https://h").unwrap().path(), "");
    }
}
