//! Checking secrets as other servers have hashed them. What they may cost is bounded where they come in
//! ([`crate::domain::foreign_hash`]).

use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA512};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::client::ClientSecret;
use crate::domain::error::Fault;
use crate::domain::foreign_hash::{ForeignHash, ForeignScheme};
use crate::domain::ids::{ClientId, ClientUid, SecretId};

/// A secret that was verified by another server's hash, and what is to stand in place of that.
pub struct Upgrade {
    /// The client whose secret it is, by database key.
    pub client: ClientUid,
    /// That client, by its public identifier.
    pub client_id: ClientId,
    /// The secret's identifier.
    pub secret_id: SecretId,
    /// What it was verified by.
    pub scheme: ForeignScheme,
    /// The hash that is stored.
    pub before: SecretString,
    /// The hash to store.
    pub after: SecretString,
}

/// How another server has hashed a secret, if it is not ours yet.
pub(super) fn scheme_of(secret: &ClientSecret) -> Option<ForeignScheme> {
    ForeignScheme::of(secret.hash.expose_secret())
}

/// Whether another server's hash is this secret's.
///
/// # Errors
/// The hash cannot be read: a corrupt store is no verdict about the caller.
pub(super) fn verify(presented: &SecretString, hash: &SecretString) -> Result<bool, Fault> {
    // Neither error has the hash in it.
    let unusable =
        |error: &dyn std::fmt::Display| Fault::internal(format!("an imported secret's hash: {error}"));
    let parsed = ForeignHash::parse(hash.expose_secret()).map_err(|error| unusable(&error))?;
    match parsed {
        // It looks at the first 72 bytes alone, as all who make such hashes do.
        ForeignHash::Bcrypt => {
            bcrypt::verify(presented.expose_secret(), hash.expose_secret()).map_err(|error| unusable(&error))
        }
        ForeignHash::Pbkdf2 { scheme, iterations, salt, derived } => {
            let digest = match scheme {
                ForeignScheme::Pbkdf2Sha512 => PBKDF2_HMAC_SHA512,
                ForeignScheme::Pbkdf2Sha256 | ForeignScheme::Bcrypt => PBKDF2_HMAC_SHA256,
            };
            let secret = presented.expose_secret().as_bytes();
            Ok(pbkdf2::verify(digest, iterations, &salt, secret, &derived).is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(presented: &str, hash: &str) -> bool {
        verify(&SecretString::from(presented.to_owned()), &SecretString::from(hash.to_owned())).unwrap()
    }

    /// Test vectors of `crypt_blowfish`, and what Python's `bcrypt` and `hashlib` make.
    const KNOWN: &[(&str, &str)] = &[
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U*", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        ("keycloak secret of old", "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOKlkhGy3.UjmW7NrbFvBFadQ2K0SNOye"),
        (
            "hydra secret of old",
            "$pbkdf2-sha256$i=25000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$VHkM4SjcGU7m9dJUx0jPEvTLp+bK7tT3IWXOxzsxu4I",
        ),
        (
            "hydra secret of old",
            "$pbkdf2-sha512$i=10000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$aCpvBAL9rBX5TafZ04pZg4jsyLnh/BUMRiO6E2gLi5Y",
        ),
    ];

    #[test]
    fn hashes_of_others_are_verified() {
        for (secret, hash) in KNOWN {
            assert!(verified(secret, hash), "{hash}");
            assert!(!verified(&format!("{secret}x"), hash), "{hash}");
            assert!(!verified("", hash), "{hash}");
        }
    }

    #[test]
    fn bcrypt_looks_at_72_bytes_as_everywhere() {
        let hash = "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOprGM0LeaU8wjEwqN5ndbhg.OkydAaNq";
        let long = "0123456789".repeat(8);
        assert!(verified(&long, hash) && verified(&long[..72], hash));
        assert!(!verified(&long[..71], hash));
    }

    #[test]
    fn a_hash_that_was_altered_is_a_fault_that_does_not_repeat_it() {
        let broken = "$2b$31$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";
        let hash = SecretString::from(broken.to_owned());
        let fault = verify(&SecretString::from("secret".to_owned()), &hash).unwrap_err();
        assert!(!fault.detail.contains("EGdrhb"), "{fault}");
    }
}
