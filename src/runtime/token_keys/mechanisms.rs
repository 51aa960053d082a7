//! What each algorithm is called in PKCS#11, and how a JWS signature is had.

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cryptoki::error::Error;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;

use crate::jose::{Algorithm, RsaBits};

/// The curves, as DER object identifiers (RFC 5480 §2.1.1.1, RFC 8410 §3).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// What stands before a SHA-256 in what RSASSA-PKCS1-v1_5 signs (RFC 8017 §9.2, note 1).
const SHA256_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// What a token must have for an algorithm: to make a pair, and to sign. ML-DSA is new in PKCS#11 3.2, and its
/// tokens are not out yet.
pub(super) fn needed(algorithm: Algorithm) -> Option<[MechanismType; 2]> {
    match algorithm {
        Algorithm::Es256 | Algorithm::Es384 => Some([MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA]),
        Algorithm::Rs256 => Some([MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::RSA_PKCS]),
        Algorithm::Ps256 => Some([MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::RSA_PKCS_PSS]),
        Algorithm::EdDsa => Some([MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA]),
        Algorithm::MlDsa65 => None,
    }
}

/// How a pair is made, and what its public half needs for that.
pub(super) fn generation(
    algorithm: Algorithm,
    rsa_bits: RsaBits,
) -> Option<(Mechanism<'static>, Vec<Attribute>)> {
    let curve = |oid: &[u8]| vec![Attribute::EcParams(oid.to_vec())];
    match algorithm {
        Algorithm::Es256 => Some((Mechanism::EccKeyPairGen, curve(P256))),
        Algorithm::Es384 => Some((Mechanism::EccKeyPairGen, curve(P384))),
        Algorithm::EdDsa => Some((Mechanism::EccEdwardsKeyPairGen, curve(ED25519))),
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let bits = Attribute::ModulusBits(u64::from(rsa_bits.bits()).into());
            Some((Mechanism::RsaPkcsKeyPairGen, vec![bits, Attribute::PublicExponent(vec![1, 0, 1])]))
        }
        Algorithm::MlDsa65 => None,
    }
}

/// The JWS signature (RFC 7518 §3, RFC 8037 §3.1) of a message. Hashed here, so that 32 bytes go to the token and
/// not the whole of it; Ed25519 hashes it twice, so that cannot be.
pub(super) fn sign(
    session: &Session,
    algorithm: Algorithm,
    key: ObjectHandle,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    match algorithm {
        // PKCS#11's ECDSA gives both numbers in their full length, as JWS wants them.
        Algorithm::Es256 => session.sign(&Mechanism::Ecdsa, key, digest(&SHA256, message).as_ref()),
        Algorithm::Es384 => session.sign(&Mechanism::Ecdsa, key, digest(&SHA384, message).as_ref()),
        Algorithm::Rs256 => {
            let info = [SHA256_INFO, digest(&SHA256, message).as_ref()].concat();
            session.sign(&Mechanism::RsaPkcs, key, &info)
        }
        Algorithm::Ps256 => {
            let parameters = PkcsPssParams {
                hash_alg: MechanismType::SHA256,
                mgf: PkcsMgfType::MGF1_SHA256,
                s_len: 32.into(),
            };
            session.sign(&Mechanism::RsaPkcsPss(parameters), key, digest(&SHA256, message).as_ref())
        }
        Algorithm::EdDsa => {
            let parameters = EddsaParams::new(EddsaSignatureScheme::Pure);
            session.sign(&Mechanism::Eddsa(parameters), key, message)
        }
        Algorithm::MlDsa65 => Err(Error::NotSupported),
    }
}
