//! Whose certificates are trusted to name a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use moka::sync::Cache;
use rustls::RootCertStore;
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::endpoint::{certificates, not_yet, read, unix_time};
use super::from_files::{FromFiles, Made};
use crate::domain::certificate::{NotACertificate, PeerCertificate, revocation_list_end};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;

/// How long a verdict counts: what is revoked or over is refused after a second at the latest, also on a connection
/// that was there before.
const VERDICT: Duration = Duration::from_secs(1);

/// How many bytes of what proxies tell are kept in memory: about 5,000 clients, each with a leaf of 1.5 KB and one
/// certificate above it. Anybody can make a certificate and have a proxy tell it, and it may be large.
const TOLD: u64 = 32 << 20;

/// What is kept for each besides the certificates, in bytes, about.
const BESIDES: usize = 1_024;

/// How many certificates that were sent along with one are handed on with it. No path to an authority is longer.
const MOST_ALONG: usize = 9;

/// Judges certificates of clients by the configured authorities and what they have revoked.
pub struct ClientTrust {
    judge: Arc<Judge>,
    /// What proxies told, by its hash: they tell it with every request.
    told: Cache<[u8; SHA256_OUTPUT_LEN], Arc<Shown>>,
}

struct Judge {
    /// None without authorities: nothing is trusted then.
    verifier: FromFiles<Option<Arc<dyn ClientCertVerifier>>>,
    ambient: Ambient,
}

/// A certificate that was shown, with what was sent along, for as many requests as come by the same connection.
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    judge: Arc<Judge>,
    verdict: ArcSwap<Verdict>,
}

struct Verdict {
    at: Timestamp,
    certificate: Arc<PeerCertificate>,
}

// === impl ClientTrust ===

impl ClientTrust {
    pub(super) fn open(ca: Option<&Path>, crls: &[PathBuf], ambient: &Ambient) -> Result<Self, Fault> {
        let files = ca.map(Path::to_owned).into_iter().chain(crls.iter().cloned()).collect();
        let (ca, crls) = (ca.map(Path::to_owned), crls.to_vec());
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let make = move || match &ca {
            Some(ca) => verifier(&provider, ca, &crls),
            None => Ok(Made { value: None, ends: Vec::new() }),
        };
        let verifier =
            FromFiles::open("the authorities of clients or a list of what they revoked", files, make)?;
        let judge = Arc::new(Judge { verifier, ambient: ambient.clone() });
        let told =
            Cache::builder().max_capacity(TOLD).weigher(|_, shown: &Arc<Shown>| shown.weight()).build();
        Ok(Self { judge, told })
    }

    /// Judges what was shown: the leaf, and after it what may lead to an authority.
    ///
    /// # Errors
    /// The leaf is not a certificate, or there is none.
    pub fn shown(&self, chain: Vec<CertificateDer<'static>>) -> Result<Arc<Shown>, NotACertificate> {
        let leaf = chain.first().ok_or(NotACertificate)?;
        let now = self.judge.ambient.now();
        let mut certificate = PeerCertificate::parse(leaf, self.judge.trusts(&chain, now))?;
        certificate.chain = chain.iter().skip(1).take(MOST_ALONG).map(|other| other.to_vec()).collect();
        let verdict = ArcSwap::from_pointee(Verdict { at: now, certificate: Arc::new(certificate) });
        Ok(Arc::new(Shown { chain, judge: Arc::clone(&self.judge), verdict }))
    }

    /// The same for what a proxy told, which it does with every request.
    ///
    /// # Errors
    /// The leaf is not a certificate, or there is none.
    pub fn told(&self, chain: Vec<CertificateDer<'static>>) -> Result<Arc<Shown>, NotACertificate> {
        let key = fingerprint(&chain);
        if let Some(known) = self.told.get(&key) {
            return Ok(known);
        }
        let shown = self.shown(chain)?;
        self.told.insert(key, Arc::clone(&shown));
        Ok(shown)
    }

    /// Whether there are no authorities, and no files that could name some.
    pub(super) fn trusts_nobody(&self) -> bool {
        self.judge.verifier.current().value.is_none()
    }

    /// When its files stop counting.
    pub(super) fn ends(&self) -> Vec<(PathBuf, Timestamp)> {
        self.judge.verifier.current().ends.clone()
    }

    pub(super) fn look(&self, now: Timestamp) {
        self.judge.verifier.look(now);
    }
}

/// A hash of a chain that no other has.
pub(super) fn fingerprint(chain: &[CertificateDer<'_>]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        context.update(&certificate.len().to_be_bytes());
        context.update(certificate);
    }
    let mut key = [0; SHA256_OUTPUT_LEN];
    key.copy_from_slice(context.finish().as_ref());
    key
}

// === impl Judge ===

impl Judge {
    fn trusts(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let verifier = self.verifier.current();
        let (Some(verifier), Some((leaf, others))) = (&verifier.value, chain.split_first()) else {
            return false;
        };
        match verifier.verify_client_cert(leaf, others, unix_time(now)) {
            Ok(_) => true,
            Err(problem) => {
                tracing::debug!(%problem, "a client's certificate is not trusted");
                false
            }
        }
    }
}

/// What judges by these files. A certificate is trusted only if the status of its whole chain is known, once there
/// is a list at all.
fn verifier(
    provider: &Arc<CryptoProvider>,
    ca: &Path,
    crls: &[PathBuf],
) -> Result<Made<Option<Arc<dyn ClientCertVerifier>>>, Fault> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in certificates("the authorities of clients", ca)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|problem| {
            let (ca, number) = (ca.display(), number + 1);
            not_yet(format!("the authorities of clients {ca}: certificate {number}: {problem}"))
        })?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let mut ends = Vec::new();
    for file in crls {
        for list in revocation_lists(file)? {
            let end = revocation_list_end(&list).map_err(|problem| {
                not_yet(format!("the revoked certificates {}: {problem}", file.display()))
            })?;
            ends.push((file.clone(), end));
            builder = builder.with_crls([list]);
        }
    }
    let verifier = builder
        .enforce_revocation_expiration()
        .build()
        .map_err(|problem| not_yet(format!("the revoked certificates: {problem}")))?;
    Ok(Made { value: Some(verifier), ends })
}

/// The lists in a file, in PEM, or one in DER, as authorities publish it.
fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Fault> {
    let bytes = read("the revoked certificates", file)?;
    let in_pem: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match in_pem {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        _ => Ok(vec![CertificateRevocationListDer::from(bytes)]),
    }
}

// === impl Shown ===

impl Shown {
    /// How many bytes of memory it takes, about.
    fn weight(&self) -> u32 {
        let chain: usize = self.chain.iter().map(|certificate| certificate.len()).sum();
        // The leaf once more in the verdict, and its names and its key beside it.
        let leaf = self.chain.first().map_or(0, |leaf| leaf.len());
        u32::try_from(chain + 2 * leaf + BESIDES).unwrap_or(u32::MAX)
    }

    /// The certificate as it is to be judged now.
    pub fn now(&self) -> Arc<PeerCertificate> {
        let verdict = self.verdict.load();
        let now = self.judge.ambient.now();
        let age = now.as_micros().abs_diff(verdict.at.as_micros());
        if u128::from(age) < VERDICT.as_micros() {
            return Arc::clone(&verdict.certificate);
        }
        let trusted = self.judge.trusts(&self.chain, now);
        let certificate = if trusted == verdict.certificate.trusted {
            Arc::clone(&verdict.certificate)
        } else {
            Arc::new(PeerCertificate { trusted, ..(*verdict.certificate).clone() })
        };
        self.verdict.store(Arc::new(Verdict { at: now, certificate: Arc::clone(&certificate) }));
        certificate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::{ManualClock, SystemEntropy};

    #[test]
    fn what_proxies_tell_has_a_bounded_size_however_large_it_is() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_334_400)));
        let ambient = Ambient::new(clock, Arc::new(SystemEntropy));
        let trust = ClientTrust::open(None, &[], &ambient).unwrap();
        let leaf = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let large = 60_000;
        for number in 0..2_000_u32 {
            let mut above = vec![0; large];
            above[..4].copy_from_slice(&number.to_be_bytes());
            trust.told(vec![leaf.cert.der().clone(), CertificateDer::from(above)]).unwrap();
            trust.told.run_pending_tasks();
        }
        let kept = trust.told.entry_count() * large as u64;
        assert!((TOLD / 2..TOLD).contains(&kept), "{kept} bytes");
    }
}
