use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{error, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde_json::json;
use zeroize::Zeroizing;

use super::Algorithm;

/// A private key, parsed once and ready to sign.
///
/// Its `Debug` form names the algorithm only.
pub struct SigningKey {
    pair: Pair,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

/// A key could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The stored bytes are not a private key of the expected algorithm.
    #[error("the stored bytes are not a {0} private key")]
    Malformed(Algorithm),
    /// The cryptographic library refused to make or use the key.
    #[error("the {0} key could not be generated or used")]
    Refused(Algorithm),
}

// === impl SigningKey ===

impl SigningKey {
    /// Makes a new key. The random numbers are the cryptographic library's own.
    ///
    /// # Errors
    /// The library failed to generate it.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let refused = |_: error::Unspecified| KeyError::Refused(algorithm);
        let pair = match algorithm {
            Algorithm::Es256 => {
                Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(refused)?)
            }
            Algorithm::Rs256 => Pair::Rs256(RsaKeyPair::generate(rsa::KeySize::Rsa2048).map_err(refused)?),
        };
        Ok(Self { pair })
    }

    /// Reads a key from PKCS #8.
    ///
    /// # Errors
    /// The bytes are not a private key of this algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed(algorithm);
        let pair = match algorithm {
            Algorithm::Es256 => Pair::Es256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(malformed)?,
            ),
            Algorithm::Rs256 => Pair::Rs256(RsaKeyPair::from_pkcs8(pkcs8).map_err(malformed)?),
        };
        Ok(Self { pair })
    }

    /// The key as PKCS #8, to be sealed and stored.
    ///
    /// # Errors
    /// The library could not encode it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let refused = |_| KeyError::Refused(self.algorithm());
        let bytes = match &self.pair {
            Pair::Es256(pair) => pair.to_pkcs8v1().map_err(refused)?.as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(refused)?;
                der.as_ref().to_vec()
            }
        };
        Ok(Zeroizing::new(bytes))
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Es256(_) => Algorithm::Es256,
            Pair::Rs256(_) => Algorithm::Rs256,
        }
    }

    /// The public part as a JWK, with `use`, `alg` and, as `kid`, its RFC 7638 thumbprint.
    ///
    /// # Errors
    /// The public part could not be encoded.
    pub fn public_jwk(&self) -> Result<Jwk, KeyError> {
        let refused = |_| KeyError::Refused(self.algorithm());
        let mut members = match &self.pair {
            Pair::Es256(pair) => {
                // Uncompressed point (SEC 1 §2.3.3): 0x04, then x and y of 32 bytes each.
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256",
                    "x": BASE64URL.encode(&point[1..33]), "y": BASE64URL.encode(&point[33..65]),
                })
            }
            Pair::Rs256(pair) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": BASE64URL.encode(public.modulus().big_endian_without_leading_zero()),
                    "e": BASE64URL.encode(public.exponent().big_endian_without_leading_zero()),
                })
            }
        };
        members["use"] = json!("sig");
        members["alg"] = json!(self.algorithm());
        let mut jwk: Jwk =
            serde_json::from_value(members).map_err(|_| KeyError::Refused(self.algorithm()))?;
        jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).map_err(refused)?);
        Ok(jwk)
    }

    /// The JWS signature of `message`.
    ///
    /// # Errors
    /// The library failed to sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let refused = |_| KeyError::Refused(self.algorithm());
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair) => Ok(pair.sign(&random, message).map_err(refused)?.as_ref().to_vec()),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(refused)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}
