//! The keys of trusted issuers, wherever they are: fetched, registered, or in a file.
//!
//! Whether an issuer counts at all is not asked here. What is remembered goes by the place, or by the version of the
//! registration, so that a changed registration never gets what was known of the one before.

mod bundle_files;

use std::path::PathBuf;
use std::sync::Arc;

use moka::sync::Cache;

use self::bundle_files::BundleFiles;
use super::clock::Ambient;
use super::remote_keys::{KeySet, NoKeys, RemoteKeys, Source};
use crate::domain::ids::TrustedIssuerUid;
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, KeySource, TrustedIssuer};
use crate::jose::{Bundle, read_bundle, read_key_set};

/// How many registered sets are kept parsed.
const PARSED: u64 = 1_000;

/// The keys of trusted issuers.
pub struct IssuerKeys {
    remote: Arc<RemoteKeys>,
    files: BundleFiles,
    /// What is registered, by the version of the registration and when that was made: versions count anew where a
    /// backup was restored.
    inline: Cache<(TrustedIssuerUid, i64, Timestamp), Result<Arc<KeySet>, NoKeys>>,
}

// === impl IssuerKeys ===

impl IssuerKeys {
    /// Asks others by `remote`, and reads files in this directory, if there is one.
    #[must_use]
    pub fn new(remote: Arc<RemoteKeys>, bundles: Option<PathBuf>, ambient: Ambient) -> Self {
        Self { remote, files: BundleFiles::new(bundles, ambient), inline: Cache::new(PARSED) }
    }

    /// The keys of an issuer, as far as they are known or can be.
    ///
    /// # Errors
    /// There are none, or nobody knows at the moment.
    pub async fn keys(&self, issuer: &TrustedIssuer) -> Result<Arc<KeySet>, NoKeys> {
        match self.place(issuer) {
            Place::Known(set) => set,
            Place::File(name) => self.files.keys(name).await,
            Place::Elsewhere(source) => self.remote.at(&source).await,
        }
    }

    /// Its keys now, where these do not have the one that is looked for; nothing, when there are no others as far as
    /// its place was asked a moment ago.
    ///
    /// # Errors
    /// There are none any more, or there is no answer: then nobody knows whether it has the key.
    pub async fn after(
        &self,
        issuer: &TrustedIssuer,
        than: &Arc<KeySet>,
    ) -> Result<Option<Arc<KeySet>>, NoKeys> {
        match self.place(issuer) {
            Place::Known(set) => set.map(|set| (!Arc::ptr_eq(&set, than)).then_some(set)),
            Place::File(name) => self.files.after(name, than).await,
            Place::Elsewhere(source) => self.remote.after_at(&source, than).await,
        }
    }

    /// Its keys, if what X.509-SVIDs lead to is among them ([`KeySet::authorities`]).
    ///
    /// # Errors
    /// There is nothing of the sort, or nobody knows at the moment.
    pub async fn authorities(&self, issuer: &TrustedIssuer) -> Result<Arc<KeySet>, NoKeys> {
        let set = self.keys(issuer).await?;
        if set.authorities().is_none() {
            let why =
                "its bundle has no certificate of an authority (a key whose use is x509-svid, with x5c)";
            return Err(NoKeys::None(why.to_owned()));
        }
        Ok(set)
    }

    fn place<'a>(&self, issuer: &'a TrustedIssuer) -> Place<'a> {
        match &issuer.keys {
            KeySource::Inline(text) => {
                let read = || registered(issuer, text).map(Arc::new);
                Place::Known(self.inline.get_with((issuer.uid, issuer.version, issuer.updated_at), read))
            }
            KeySource::BundleFile(name) => Place::File(name),
            KeySource::Discovery => Place::Elsewhere(Source::Discovery(issuer.issuer.clone())),
            KeySource::JwksUri(url) => Place::Elsewhere(Source::JwksUri(url.clone())),
            KeySource::BundleEndpoint(url) => Place::Elsewhere(Source::BundleEndpoint(url.clone())),
        }
    }
}

/// Where an issuer's keys are.
enum Place<'a> {
    Known(Result<Arc<KeySet>, NoKeys>),
    File(&'a str),
    Elsewhere(Source),
}

/// Reads what is registered: a bundle of a trust domain, a JWK Set of anybody else.
fn registered(issuer: &TrustedIssuer, text: &str) -> Result<KeySet, NoKeys> {
    let bundle = match issuer.profile {
        IssuerProfile::Spiffe => read_bundle(text.as_bytes()),
        IssuerProfile::Jwt => read_key_set(text.as_bytes()).map(|keys| Bundle { keys, ..Bundle::default() }),
    };
    let bundle = bundle.ok_or_else(|| NoKeys::None("what is registered is no JWK Set".to_owned()))?;
    Ok(KeySet::configured(bundle, issuer.updated_at))
}

#[cfg(test)]
#[path = "issuer_keys/tests.rs"]
mod tests;
