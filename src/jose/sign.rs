use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Serialize;

use super::{Algorithm, KeyError, SigningKey, TokenType};

/// A token that lacks only its signature: the JWS Signing Input (RFC 7515 §5.1).
///
/// Whoever has the key signs [`as_bytes`](Self::as_bytes), here or in another process, and
/// [`attach`](Self::attach) makes the token of it.
pub struct SigningInput {
    text: String,
}

// === impl SigningInput ===

impl SigningInput {
    /// Writes the header and the claims.
    ///
    /// # Errors
    /// [`KeyError::Claims`]: the claims could not be serialised.
    pub fn new<T: Serialize>(
        token_type: TokenType,
        algorithm: Algorithm,
        key_id: &str,
        claims: &T,
    ) -> Result<Self, KeyError> {
        #[derive(Serialize)]
        struct Header<'a> {
            typ: &'static str,
            alg: Algorithm,
            kid: &'a str,
        }
        let header = Header { typ: token_type.as_str(), alg: algorithm, kid: key_id };
        // One buffer for both parts, and one for the token with its signature, each long enough for
        // nearly any: an ML-DSA-65 signature alone has 4,412 characters, and no other has 700.
        let length = if algorithm == Algorithm::MlDsa65 { 5_632 } else { 1_536 };
        let mut part = Vec::with_capacity(1_024);
        let mut text = String::with_capacity(length);
        serde_json::to_writer(&mut part, &header).map_err(|_| KeyError::Claims)?;
        BASE64URL.encode_string(&part, &mut text);
        text.push('.');
        part.clear();
        serde_json::to_writer(&mut part, claims).map_err(|_| KeyError::Claims)?;
        BASE64URL.encode_string(&part, &mut text);
        Ok(Self { text })
    }

    /// What is to be signed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The token, a compact JWS (RFC 7515 §7.1), with this signature of [`as_bytes`](Self::as_bytes).
    #[must_use]
    pub fn attach(self, signature: &[u8]) -> String {
        let mut token = self.text;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        token
    }
}

/// Signs `claims` as a compact JWS, with a key in this process.
///
/// # Errors
/// The claims could not be serialised, or the key could not sign.
pub fn sign<T: Serialize>(
    token_type: TokenType,
    key_id: &str,
    key: &SigningKey,
    claims: &T,
) -> Result<String, KeyError> {
    let input = SigningInput::new(token_type, key.algorithm(), key_id, claims)?;
    let signature = key.sign(input.as_bytes())?;
    Ok(input.attach(&signature))
}
