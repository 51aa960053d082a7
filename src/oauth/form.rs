//! `application/x-www-form-urlencoded` bodies, read strictly (RFC 6749 §3.2 and Appendix B).
//!
//! What a lenient reader would guess at (a broken escape, a repeated parameter) is refused here, because
//! two readers that guess differently are how requests are smuggled past one of them.

use std::fmt;

use crate::domain::error::OAuthError;

/// The one parameter that may stand more than once (RFC 8707 §2).
const REPEATABLE: &[&str] = &["resource"];

/// The most parameters of one request, many times what any grant takes.
const MOST_PARAMETERS: usize = 100;

/// The parameters of a request. Its `Debug` form has their names only.
#[derive(Default)]
pub struct Form(Vec<(String, String)>);

/// A text is not form-urlencoded UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

// === impl Form ===

impl Form {
    /// Reads a body. A parameter without a value counts as not sent (RFC 6749 §3.2).
    ///
    /// # Errors
    /// `invalid_request` for a repeated parameter, known or not, and for a malformed escape.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            // Few enough that comparing each name with all others costs nothing.
            if pairs.len() == MOST_PARAMETERS {
                return Err(OAuthError::invalid_request("the body has more than 100 parameters"));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default()).map_err(|_| malformed())?;
            let value = decode(halves.next().unwrap_or_default()).map_err(|_| malformed())?;
            if !REPEATABLE.contains(&name.as_str()) && pairs.iter().any(|(other, _)| *other == name) {
                return Err(OAuthError::invalid_request("a parameter is repeated; send each one once")
                    .because(format!("parameter '{}' is repeated", printable_name(&name))));
            }
            pairs.push((name, value));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// The value of a parameter, if it was sent with one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| printable_name(name))).finish()
    }
}

/// A name that is spelled like a parameter's. A body that is no form at all (JSON sent as one) becomes a
/// name as a whole, secret and all, and must not be printed.
fn printable_name(name: &str) -> &str {
    let spelled = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if spelled { name } else { "(other)" }
}

fn malformed() -> OAuthError {
    OAuthError::invalid_request("the body is not form-urlencoded UTF-8; escape '%' as %25")
}

/// Undoes form-urlencoding of one name or value.
///
/// # Errors
/// A `%` is not followed by two hexadecimal digits, or the bytes are not UTF-8.
pub fn decode(text: &[u8]) -> Result<String, Malformed> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit =
                    || rest.next().and_then(|digit| char::from(*digit).to_digit(16)).ok_or(Malformed);
                let value = digit()? << 4 | digit()?;
                u8::try_from(value).map_err(|_| Malformed)?
            }
            plain => *plain,
        });
    }
    String::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_means_not_sent_rfc6749_3_2() {
        let form = Form::parse(b"scope=&a=1&&=x&b").unwrap();
        assert_eq!(form.get("scope"), None);
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b"), None);
    }

    #[test]
    fn a_repeated_parameter_is_refused_even_if_unknown_or_empty() {
        for body in ["a=1&a=1", "scope=&scope=x", "x=1&%78=2"] {
            assert!(Form::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(Form::parse(b"resource=a&resource=b").unwrap().all("resource").count(), 2);
    }

    #[test]
    fn a_malformed_escape_is_refused() {
        for body in ["a=%", "a=%1", "a=%zz", "a=%+1", "%=1", "a=%ff"] {
            assert!(Form::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(Form::parse(b"a=%C3%A9+%2B").unwrap().get("a"), Some("é +"));
    }

    #[test]
    fn debug_has_no_values_and_no_names_that_are_none() {
        for body in [&b"client_secret=hunter2"[..], br#"{"client_secret":"hunter2"}"#] {
            let form = Form::parse(body).unwrap();
            assert!(!format!("{form:?}").contains("hunter2"));
        }
    }

    #[test]
    fn parameters_are_counted() {
        let body = |count: usize| (0..count).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
        assert!(Form::parse(body(100).as_bytes()).is_ok());
        assert!(Form::parse(body(101).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn reads_what_another_library_writes(pairs in prop::collection::btree_map("\\PC{1,8}", "\\PC{1,8}", 0..6)) {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let form = Form::parse(body.as_bytes()).unwrap();
            for (name, value) in &pairs {
                prop_assert_eq!(form.get(name), Some(value.as_str()));
            }
        }

        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(&body);
        }
    }
}
