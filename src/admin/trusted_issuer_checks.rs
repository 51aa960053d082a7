//! What holds for the fields of a trusted issuer, new or changed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::AdminError;
use super::trusted_issuer_forms::{KeyPlace, KeysFrom};
use crate::domain::error::FieldError;
use crate::domain::outside::Outside;
use crate::domain::spiffe::{TrustDomain, is_bundle_name};
use crate::domain::text::check_text;
use crate::domain::trust::{IssuerProfile, KeySource};
use crate::jose::{Algorithm, ForeignKey, ForeignKeyError, read_bundle};

/// The most bytes of keys that are registered themselves.
const LARGEST_SET: usize = 64 * 1_024;

/// Checks the fields of a form, and keeps all that is wrong with them.
pub(super) struct Checks<'a> {
    pub(super) outside: &'a Outside,
    /// Our own issuer identifier, as far as it is known.
    pub(super) own: Option<&'a str>,
    pub(super) errors: Vec<FieldError>,
}

// === impl Checks ===

impl Checks<'_> {
    pub(super) fn description(&mut self, text: &str) {
        self.errors.extend(check_text("description", text, 1_000).err());
    }

    pub(super) fn issuer(&mut self, profile: IssuerProfile, issuer: &str) {
        if self.own.is_some_and(|own| own.trim_end_matches('/') == issuer.trim_end_matches('/')) {
            self.wrong(
                "issuer",
                "it is our own",
                "nothing has to be registered: our own tokens are exchanged, and prove no client",
            );
        }
        if profile == IssuerProfile::Spiffe {
            self.errors.extend(TrustDomain::from_id(issuer).err().map(|error| error.in_field("issuer")));
        }
    }

    pub(super) fn algorithms(&mut self, list: &[Algorithm]) -> BTreeSet<Algorithm> {
        let names: Vec<&str> = ForeignKey::ALGORITHMS.iter().map(|algorithm| algorithm.as_str()).collect();
        let fix = format!("use some of: {}", names.join(", "));
        if list.is_empty() {
            self.wrong("algorithms", "it is empty", fix);
        } else if let Some(other) = list.iter().find(|one| !ForeignKey::ALGORITHMS.contains(one)) {
            self.wrong("algorithms", format!("{} is not accepted", other.as_str()), fix);
        }
        list.iter().copied().collect()
    }

    pub(super) fn lifetime(&mut self, seconds: u32) -> Duration {
        if !(60..=31_536_000).contains(&seconds) {
            self.wrong("max_lifetime", format!("{seconds} is not allowed"), "use 60 to 31536000 seconds");
        }
        Duration::from_secs(seconds.into())
    }

    pub(super) fn leeway(&mut self, seconds: u32) -> Duration {
        if seconds > 300 {
            self.wrong("leeway", format!("{seconds} is not allowed"), "use 0 to 300 seconds");
        }
        Duration::from_secs(seconds.into())
    }

    /// Where keys are, if that can be: nothing is called to find out.
    pub(super) fn keys(
        &mut self,
        (profile, issuer): (IssuerProfile, &str),
        keys: KeysFrom,
        algorithms: &BTreeSet<Algorithm>,
    ) -> Option<KeySource> {
        let before = self.errors.len();
        let suits = match keys.from {
            KeyPlace::Inline => true,
            KeyPlace::Discovery | KeyPlace::JwksUri => profile == IssuerProfile::Jwt,
            KeyPlace::BundleFile | KeyPlace::BundleEndpoint => profile == IssuerProfile::Spiffe,
        };
        if !suits {
            let fix = match profile {
                IssuerProfile::Jwt => "use discovery, jwks_uri or inline",
                IssuerProfile::Spiffe => "use bundle_endpoint, bundle_file or inline",
            };
            self.wrong("keys.from", format!("{} is not for the profile {profile}", keys.from), fix);
        }
        let KeysFrom { from, uri, jwks, file } = keys;
        let (by_uri, by_set, by_file) = match from {
            KeyPlace::Discovery => (false, false, false),
            KeyPlace::JwksUri | KeyPlace::BundleEndpoint => (true, false, false),
            KeyPlace::Inline => (false, true, false),
            KeyPlace::BundleFile => (false, false, true),
        };
        self.beside(from, "keys.uri", by_uri, uri.is_some());
        self.beside(from, "keys.jwks", by_set, jwks.is_some());
        self.beside(from, "keys.file", by_file, file.is_some());
        if self.errors.len() > before {
            return None;
        }
        let (uri, file) = (uri.unwrap_or_default(), file.unwrap_or_default());
        let source = match from {
            KeyPlace::Discovery => {
                self.errors.extend(self.outside.check("issuer", issuer).err());
                KeySource::Discovery
            }
            KeyPlace::JwksUri | KeyPlace::BundleEndpoint => {
                self.errors.extend(self.outside.check("keys.uri", &uri).err());
                if from == KeyPlace::JwksUri {
                    KeySource::JwksUri(uri)
                } else {
                    KeySource::BundleEndpoint(uri)
                }
            }
            KeyPlace::Inline => {
                let set = jwks.unwrap_or_default();
                self.errors.extend(check_set(profile, &set, algorithms).err());
                KeySource::Inline(set.to_string())
            }
            KeyPlace::BundleFile => {
                if !is_bundle_name(&file) {
                    self.wrong(
                        "keys.file",
                        "it is no plain name of a file",
                        "write the name of a file in federation.bundle_dir, without directories, not starting with a \
                         dot, for example example.org.json",
                    );
                }
                KeySource::BundleFile(file)
            }
        };
        (self.errors.len() == before).then_some(source)
    }

    /// What stands beside `from`: that which it needs, and nothing else.
    fn beside(&mut self, from: KeyPlace, field: &'static str, needed: bool, given: bool) {
        match (needed, given) {
            (true, false) => self.wrong(field, format!("{from} needs it"), "add it"),
            (false, true) => self.wrong(field, format!("{from} does not have it"), "leave it out"),
            _ => {}
        }
    }

    fn wrong(&mut self, field: &'static str, problem: impl Into<String>, fix: impl Into<Cow<'static, str>>) {
        self.errors.push(FieldError::new(field, problem, fix));
    }

    /// Nothing, if nothing is wrong.
    ///
    /// # Errors
    /// All that is.
    pub(super) fn verdict(&mut self) -> Result<(), AdminError> {
        let errors = std::mem::take(&mut self.errors);
        if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
    }
}

/// Checks what somebody typed as the keys of an issuer, whatever algorithms it signs with. A text that this refuses is
/// shown nowhere again: it may be a private key. No error quotes it.
///
/// # Errors
/// It is no set of public keys.
pub fn check_typed_keys(profile: IssuerProfile, text: &str) -> Result<(), FieldError> {
    let every: BTreeSet<Algorithm> = ForeignKey::ALGORITHMS.iter().copied().collect();
    // What is no JSON is no JWK Set either, and is told as such.
    check_set(profile, &serde_json::from_str(text).unwrap_or_default(), &every)
}

/// Checks keys that are registered themselves. No error quotes them.
fn check_set(
    profile: IssuerProfile,
    set: &Value,
    algorithms: &BTreeSet<Algorithm>,
) -> Result<(), FieldError> {
    let refuse = |problem: String, fix: &'static str| Err(FieldError::new("keys.jwks", problem, fix));
    if set.to_string().len() > LARGEST_SET {
        return refuse("it is over 64 KiB".to_owned(), "leave out the keys that no longer sign");
    }
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        let fix = "write an object with the member keys, a list of JWKs, as jwks_uri would answer";
        return refuse("it is no JWK Set (RFC 7517 section 5)".to_owned(), fix);
    };
    let read: Vec<_> = keys.iter().map(|key| ForeignKey::from_jwk(&key.to_string())).collect();
    if let Some(number) = read.iter().position(|key| matches!(key, Err(ForeignKeyError::Private))) {
        return refuse(
            format!("key {} holds a private or a shared key, which only its issuer may have", number + 1),
            "send public keys alone; whoever saw this one can make the issuer's tokens, so have it replaced",
        );
    }
    let allowed = |key: &ForeignKey| key.algorithms().any(|algorithm| algorithms.contains(&algorithm));
    if profile == IssuerProfile::Spiffe {
        // What they are for, each key of a bundle says (SPIFFE Trust Domain and Bundle §4.2.2).
        let bundle = read_bundle(set.to_string().as_bytes()).unwrap_or_default();
        if bundle.authorities.is_empty() && !bundle.keys.iter().any(allowed) {
            return refuse(
                "it has no key of use jwt-svid, and no certificate of use x509-svid, that can be used"
                    .to_owned(),
                "write the bundle as `spire-server bundle show -format spiffe` prints it",
            );
        }
        return Ok(());
    }
    if read.iter().flatten().any(allowed) {
        return Ok(());
    }
    let unfit = read.iter().enumerate().find_map(|(number, key)| Some((number + 1, key.as_ref().err()?)));
    match unfit {
        Some((number, error)) => refuse(
            format!("it has no key that can be used; key {number}: {error}"),
            "add one that signs tokens",
        ),
        None => refuse("it has no key for these algorithms".to_owned(), "add one, or allow its algorithm"),
    }
}

#[cfg(test)]
#[path = "trusted_issuer_checks_tests.rs"]
mod tests;
