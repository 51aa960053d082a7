use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use zeroize::Zeroizing;

use super::jwk::{Curve, Members};
use super::{Algorithm, PublicJwk, RsaBits};

/// A private key, parsed once and ready to sign with its one algorithm.
///
/// Its `Debug` form names the algorithm only.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
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
    /// The claims have no JSON form.
    #[error("the claims cannot be written as JSON")]
    Claims,
}

// === impl SigningKey ===

impl SigningKey {
    /// Makes a new key. The random numbers are the cryptographic library's own.
    ///
    /// An RSA key takes up to some seconds of computing, so an async caller makes it elsewhere.
    ///
    /// # Errors
    /// The library failed to generate it.
    pub fn generate(algorithm: Algorithm, rsa_bits: RsaBits) -> Result<Self, KeyError> {
        Pair::generate(algorithm, rsa_bits)
            .map(|pair| Self { algorithm, pair })
            .map_err(|_| KeyError::Refused(algorithm))
    }

    /// Reads a key from PKCS #8.
    ///
    /// # Errors
    /// The bytes are not a private key of this algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        Pair::from_pkcs8(algorithm, pkcs8)
            .map(|pair| Self { algorithm, pair })
            .map_err(|_| KeyError::Malformed(algorithm))
    }

    /// The key as PKCS #8, to be sealed and stored. Of ML-DSA it is the seed (RFC 9881 §6).
    ///
    /// # Errors
    /// The library could not encode it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bytes = match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Pair::Rsa(pair, _) => {
                AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|document| document.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Pair::MlDsa(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
        };
        bytes.map(Zeroizing::new).map_err(|_| KeyError::Refused(self.algorithm))
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public part, with the thumbprint as `kid`.
    #[must_use]
    pub fn public_jwk(&self) -> PublicJwk {
        let members = match &self.pair {
            Pair::Ecdsa(pair) => {
                // Uncompressed point (SEC 1 §2.3.3): 0x04, then x and y of equal length.
                let coordinates = &pair.public_key().as_ref()[1..];
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                let crv = if self.algorithm == Algorithm::Es384 { Curve::P384 } else { Curve::P256 };
                Members::Ec { crv, x: BASE64URL.encode(x), y: BASE64URL.encode(y) }
            }
            Pair::Rsa(pair, _) => {
                let public = pair.public_key();
                Members::Rsa {
                    n: BASE64URL.encode(public.modulus().big_endian_without_leading_zero()),
                    e: BASE64URL.encode(public.exponent().big_endian_without_leading_zero()),
                }
            }
            Pair::Ed25519(pair) => {
                Members::Okp { crv: Curve::Ed25519, x: BASE64URL.encode(pair.public_key()) }
            }
            Pair::MlDsa(pair) => Members::Akp { public: BASE64URL.encode(pair.public_key()) },
        };
        PublicJwk::new(self.algorithm, members)
    }

    /// The JWS signature of `message`.
    ///
    /// # Errors
    /// The library failed to sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.pair.sign(message).map_err(|_| KeyError::Refused(self.algorithm))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

// === impl Pair ===

impl Pair {
    fn generate(algorithm: Algorithm, rsa_bits: RsaBits) -> Result<Self, error::Unspecified> {
        let rsa = |padding: &'static dyn RsaEncoding| {
            let size = match rsa_bits {
                RsaBits::Rsa2048 => KeySize::Rsa2048,
                RsaBits::Rsa3072 => KeySize::Rsa3072,
                RsaBits::Rsa4096 => KeySize::Rsa4096,
            };
            Ok(Self::Rsa(RsaKeyPair::generate(size)?, padding))
        };
        match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate(P256).map(Self::Ecdsa),
            Algorithm::Es384 => EcdsaKeyPair::generate(P384).map(Self::Ecdsa),
            Algorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            Algorithm::EdDsa => Ed25519KeyPair::generate().map(Self::Ed25519),
            Algorithm::MlDsa65 => PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).map(Self::MlDsa),
        }
    }

    fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, error::KeyRejected> {
        match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(P256, pkcs8).map(Self::Ecdsa),
            Algorithm::Es384 => EcdsaKeyPair::from_pkcs8(P384, pkcs8).map(Self::Ecdsa),
            Algorithm::Rs256 => RsaKeyPair::from_pkcs8(pkcs8).map(|pair| Self::Rsa(pair, &RSA_PKCS1_SHA256)),
            Algorithm::Ps256 => RsaKeyPair::from_pkcs8(pkcs8).map(|pair| Self::Rsa(pair, &RSA_PSS_SHA256)),
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).map(Self::Ed25519),
            Algorithm::MlDsa65 => PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, pkcs8).map(Self::MlDsa),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, error::Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
            // The library leaves the context empty, as RFC 9964 wants it.
            Self::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(message, &mut signature)?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

const P256: &EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
const P384: &EcdsaSigningAlgorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
