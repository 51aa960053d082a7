use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Algorithm, JwtError};

/// What a token says of itself (RFC 7515 §4). Members that point to a key (`jku`, `x5u`, `x5c`, …) are not
/// read: a token does not choose what it is verified with (RFC 8725 §3.10). `jwk` is kept as it stands there,
/// for what proves a key instead of a claim ([`super::embedded`]), and is read by nothing else.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) typ: Option<String>,
    pub(super) kid: Option<String>,
    pub(super) jwk: Option<Box<RawValue>>,
    /// Whether it has a member that holds or points to a key or a certificate.
    pub(super) names_a_key: bool,
}

/// The members as they stand there.
#[derive(Default)]
struct Members {
    alg: Option<String>,
    typ: Option<String>,
    kid: Option<String>,
    jwk: Option<Box<RawValue>>,
    critical: bool,
    names_a_key: bool,
}

// === impl Header ===

impl Header {
    /// Reads the first part of a compact JWS.
    ///
    /// # Errors
    /// [`JwtError::Malformed`]: it is not the base64url, without padding, of a JSON object in which every
    /// member stands once (§4), or `alg` is missing. [`JwtError::UnsupportedHeader`]: another algorithm,
    /// `none` too, or `crit`, which would change the token's meaning.
    pub(super) fn parse(part: &str) -> Result<Self, JwtError> {
        let bytes = BASE64URL.decode(part).map_err(|_| JwtError::Malformed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| JwtError::Malformed)?;
        let members: Members = serde_json::from_str(text).map_err(|_| JwtError::Malformed)?;
        let name = members.alg.ok_or(JwtError::Malformed)?;
        let algorithm = Algorithm::named(&name).ok_or(JwtError::UnsupportedHeader)?;
        if members.critical {
            return Err(JwtError::UnsupportedHeader);
        }
        let Members { typ, kid, jwk, names_a_key, .. } = members;
        Ok(Self { algorithm, typ, kid, names_a_key: names_a_key || jwk.is_some(), jwk })
    }
}

// === impl Members ===

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A derived `Deserialize` would let an unknown member stand twice.
struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "alg" => members.alg = Some(map.next_value()?),
                "typ" => members.typ = Some(map.next_value()?),
                "kid" => members.kid = Some(map.next_value()?),
                "jwk" => members.jwk = Some(map.next_value()?),
                other => {
                    members.critical |= other == "crit";
                    members.names_a_key |= matches!(other, "jku" | "x5u" | "x5c");
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if !names.insert(name) {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use JwtError::{Malformed, UnsupportedHeader};

    fn parse(json: &str) -> Result<Header, JwtError> {
        Header::parse(&BASE64URL.encode(json))
    }

    #[test]
    fn the_members_that_matter_are_read_rfc7515_4() {
        let header = parse(r#"{"kid":"a\"b","x":[{"alg":1}],"alg":"ML-DSA-65","typ":"at+jwt"}"#).unwrap();
        assert_eq!(header.algorithm, Algorithm::MlDsa65);
        assert_eq!((header.kid.as_deref(), header.typ.as_deref()), (Some("a\"b"), Some("at+jwt")));
        let header = parse(r#" {"alg":"ES256"} "#).unwrap();
        assert_eq!((header.kid, header.typ), (None, None));
    }

    #[test]
    fn a_member_stands_once_rfc7515_4() {
        for twice in [
            r#"{"alg":"ES256","alg":"ES256"}"#,
            r#"{"alg":"ES256","al\u0067":"RS256"}"#,
            r#"{"alg":"ES256","kid":"a","kid":"a"}"#,
            r#"{"alg":"ES256","typ":"JWT","typ":"at+jwt"}"#,
            r#"{"x":1,"alg":"ES256","x":1}"#,
            r#"{"alg":"none","alg":"ES256"}"#,
        ] {
            assert_eq!(parse(twice).unwrap_err(), Malformed, "{twice}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for wrong in [
            "",
            "{}",
            "[]",
            "null",
            r#""ES256""#,
            r#"["ES256"]"#,
            r#"{"alg":null}"#,
            r#"{"alg":5}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":"ES256","kid":5}"#,
            r#"{"alg":"ES256","typ":null}"#,
            r#"{"alg":"ES256"}{}"#,
            r#"{"alg":"ES256",}"#,
            r#"{"alg":"ES256""#,
            r#"{"alg":"ES256","x":+1}"#,
            r#"{"typ":"JWT"}"#,
        ] {
            assert_eq!(parse(wrong).unwrap_err(), Malformed, "{wrong}");
        }
        let not_utf8 = BASE64URL.encode(b"{\"alg\":\"ES256\",\"x\":\"\xff\"}");
        assert_eq!(Header::parse(&not_utf8).unwrap_err(), Malformed);
    }

    #[test]
    fn the_header_is_base64url_without_padding_rfc7515_2() {
        let json = r#"{"alg":"ES256"} "#;
        let good = BASE64URL.encode(json);
        assert!(Header::parse(&good).is_ok());
        let padded = base64::engine::general_purpose::URL_SAFE.encode(json);
        assert_ne!(padded, good);
        // The last character's unused bits are not zero in the last one.
        let unused_bits = format!("{}B", &good[..good.len() - 1]);
        for wrong in [padded, format!("{good}\n"), format!(" {good}"), format!("{good}+"), unused_bits] {
            assert_eq!(Header::parse(&wrong).unwrap_err(), Malformed, "{wrong}");
        }
    }

    #[test]
    fn an_unknown_algorithm_is_refused_none_in_any_case_too_rfc8725_3_2() {
        for name in ["none", "None", "NONE", "nOnE", "HS256", "es256", "ES512", "ed25519", " ES256", ""] {
            assert_eq!(parse(&format!(r#"{{"alg":"{name}"}}"#)).unwrap_err(), UnsupportedHeader, "{name}");
        }
    }

    #[test]
    fn crit_is_refused_whatever_it_holds_rfc7515_4_1_11() {
        for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", "false"] {
            let header = format!(r#"{{"alg":"ES256","b64":false,"crit":{crit}}}"#);
            assert_eq!(parse(&header).unwrap_err(), UnsupportedHeader, "{crit}");
        }
    }
}
