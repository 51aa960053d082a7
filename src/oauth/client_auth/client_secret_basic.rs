//! `client_secret_basic`: id and secret, form-urlencoded, in HTTP Basic (RFC 6749 §2.3.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::secret::Secret;
use super::{Method, Presentation, Presented};
use crate::domain::client::AuthMethod;
use crate::domain::error::OAuthError;
use crate::domain::ids::ClientId;
use crate::oauth::form::decode;

pub(super) struct ClientSecretBasic;

// === impl ClientSecretBasic ===

impl Method for ClientSecretBasic {
    fn name(&self) -> AuthMethod {
        AuthMethod::ClientSecretBasic
    }

    fn reads_header(&self) -> bool {
        true
    }

    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        let header = request.authorization.first()?;
        let (scheme, credentials) = match header.iter().position(|byte| *byte == b' ') {
            Some(space) => (&header[..space], &header[space + 1..]),
            None => (*header, &[][..]),
        };
        scheme.eq_ignore_ascii_case(b"Basic").then(|| {
            let (client_id, secret) = parse(credentials)?;
            Ok(Presented { client_id: Some(client_id), proof: Box::new(Secret(secret)) })
        })
    }
}

/// The caller chose this method, so whatever is wrong with it is `invalid_client` with a challenge, and
/// since no client is named yet, it can be told what is wrong.
///
/// # Errors
/// It is not the base64 of a client identifier, a colon and a secret, form-urlencoded each.
pub fn parse(credentials: &[u8]) -> Result<(ClientId, SecretString), OAuthError> {
    let refuse =
        |public: &'static str| OAuthError { public: public.into(), ..OAuthError::invalid_client(public) };
    let decoded = Zeroizing::new(
        BASE64.decode(credentials).map_err(|_| refuse("the Basic credentials are not base64 (RFC 7617)"))?,
    );
    let colon = decoded
        .iter()
        .position(|byte| *byte == b':')
        .ok_or_else(|| refuse("the Basic credentials have no colon between id and secret"))?;
    let escaped = |part: &[u8]| {
        decode(part)
            .map_err(|_| refuse("form-urlencode id and secret before base64 (RFC 6749 section 2.3.1)"))
    };
    let client_id = escaped(&decoded[..colon])?;
    let secret = SecretString::from(escaped(&decoded[colon + 1..])?);
    let client_id =
        ClientId::new(&client_id).map_err(|_| OAuthError::invalid_client("the client_id is not one"))?;
    Ok((client_id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn basic(text: &str) -> Result<(ClientId, SecretString), OAuthError> {
        parse(BASE64.encode(text).as_bytes())
    }

    #[test]
    fn id_and_secret_are_form_urlencoded_rfc6749_2_3_1() {
        let (client_id, secret) = basic("a%3Ab%25c%2Bd%C3%A9:s%3A+%25%2B%C3%A9").unwrap();
        assert_eq!(client_id.as_str(), "a:b%c+dé");
        assert_eq!(secret.expose_secret(), "s: %+é");
    }

    #[test]
    fn the_first_colon_separates() {
        assert_eq!(basic("a:b:c").unwrap().1.expose_secret(), "b:c");
    }

    #[test]
    fn malformed_credentials_are_refused() {
        for bad in ["no colon", "a%zz:b", ":secret", "a b:secret", "a:%ff"] {
            assert!(basic(bad).is_err(), "{bad}");
        }
        // base64url, missing padding, stray spaces
        for bad in ["Pz8_Pz8-", "YTpi=", "YTpiYw", " YTpi", "YTpi "] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
