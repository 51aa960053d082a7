//! The authorities of a SPIFFE trust domain, and what they vouch for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::endpoint::unix_time;
use super::trust::fingerprint;
use crate::domain::certificate::PeerCertificate;
use crate::domain::time::Timestamp;

/// How long it is remembered that a chain was good: whoever comes again and again costs one look a second.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How many are remembered. Nobody without a good chain gets in here.
const CHAINS: u64 = 10_000;

/// What the X.509-SVIDs of a trust domain lead to.
pub struct SvidAuthorities {
    verifier: Arc<dyn ClientCertVerifier>,
    good: Cache<[u8; 32], Timestamp>,
}

// === impl SvidAuthorities ===

impl SvidAuthorities {
    /// Reads the certificates of authorities, in DER; those that are none are left out. Nothing, when none is left.
    #[must_use]
    pub fn read(certificates: &[Vec<u8>]) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        let (taken, _) =
            roots.add_parsable_certificates(certificates.iter().map(|der| CertificateDer::from(&der[..])));
        if taken == 0 {
            return None;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        Some(Self { verifier, good: Cache::new(CHAINS) })
    }

    /// Whether a certificate leads to one of them, by what was sent along with it, and all of that is in force.
    ///
    /// # Errors
    /// Why it does not.
    pub fn vouch_for(&self, certificate: &PeerCertificate, now: Timestamp) -> Result<(), String> {
        let leaf = CertificateDer::from(&certificate.der[..]);
        let along = certificate.chain.iter().map(|der| CertificateDer::from(&der[..]));
        let chain: Vec<_> = std::iter::once(leaf).chain(along).collect();
        let key = fingerprint(&chain);
        let lately =
            |at: Timestamp| u128::from(now.as_micros().abs_diff(at.as_micros())) < REMEMBERED.as_micros();
        if self.good.get(&key).is_some_and(lately) {
            return Ok(());
        }
        let verified = self.verifier.verify_client_cert(&chain[0], &chain[1..], unix_time(now));
        verified.map_err(|problem| problem.to_string())?;
        self.good.insert(key, now);
        Ok(())
    }
}

impl fmt::Debug for SvidAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidAuthorities").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, SanType, date_time_ymd,
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

    struct Authority {
        certificate: Certificate,
        issuer: Issuer<'static, KeyPair>,
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params
    }

    fn authority(name: &str, above: Option<&Authority>) -> Authority {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = match above {
            Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    fn svid(
        by: &Authority,
        along: &[&Authority],
        change: impl FnOnce(&mut CertificateParams),
    ) -> PeerCertificate {
        let mut params = params("billing");
        params.subject_alt_names = vec![SanType::URI("spiffe://example.org/billing".try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &by.issuer).unwrap();
        let mut read = PeerCertificate::parse(certificate.der(), false).unwrap();
        read.chain = along.iter().map(|authority| authority.certificate.der().to_vec()).collect();
        read
    }

    fn bundle(of: &[&Authority]) -> SvidAuthorities {
        let ders: Vec<_> = of.iter().map(|authority| authority.certificate.der().to_vec()).collect();
        SvidAuthorities::read(&ders).unwrap()
    }

    #[test]
    fn a_chain_leads_to_an_authority_of_the_bundle_and_to_no_other() {
        let (root, other) = (authority("root", None), authority("root", None));
        let intermediate = authority("intermediate", Some(&root));
        let trusted = bundle(&[&root]);
        let direct = svid(&root, &[], |_| {});
        for _ in 0..2 {
            assert_eq!(trusted.vouch_for(&direct, NOW), Ok(()));
        }
        assert_eq!(trusted.vouch_for(&svid(&intermediate, &[&intermediate], |_| {}), NOW), Ok(()));
        assert!(trusted.vouch_for(&svid(&intermediate, &[], |_| {}), NOW).is_err(), "the link is missing");
        assert!(trusted.vouch_for(&svid(&other, &[&other], |_| {}), NOW).is_err(), "it brings its own root");
        // Two roots while one takes over from the other; then the old one is gone.
        assert_eq!(bundle(&[&other, &root]).vouch_for(&direct, NOW), Ok(()));
        assert!(bundle(&[&other]).vouch_for(&direct, NOW).is_err());
    }

    #[test]
    fn everything_about_it_is_in_force_and_for_clients() {
        let root = authority("root", None);
        let trusted = bundle(&[&root]);
        let good = svid(&root, &[], |_| {});
        let year = Duration::from_hours(24 * 365);
        assert!(trusted.vouch_for(&good, NOW.plus(year)).is_err(), "expired");
        assert!(trusted.vouch_for(&good, Timestamp::from_seconds(1_700_000_000)).is_err(), "not yet valid");
        assert_eq!(trusted.vouch_for(&good, NOW), Ok(()));
        assert!(trusted.vouch_for(&good, NOW.plus(year)).is_err(), "that it was good does not last");
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let with = |usages: &[ExtendedKeyUsagePurpose]| {
            svid(&root, &[], |params| params.extended_key_usages = usages.to_vec())
        };
        assert_eq!(trusted.vouch_for(&with(&both), NOW), Ok(()));
        assert!(trusted.vouch_for(&with(&both[..1]), NOW).is_err(), "for servers alone");
        let leaf = svid(&root, &[], |params| params.is_ca = IsCa::ExplicitNoCa);
        assert_eq!(trusted.vouch_for(&leaf, NOW), Ok(()));
    }

    #[test]
    fn what_is_no_certificate_is_no_authority() {
        assert!(SvidAuthorities::read(&[]).is_none());
        assert!(SvidAuthorities::read(&[vec![1, 2, 3]]).is_none());
        let root = authority("root", None);
        let mixed = [vec![1, 2, 3], root.certificate.der().to_vec()];
        let trusted = SvidAuthorities::read(&mixed).unwrap();
        assert_eq!(trusted.vouch_for(&svid(&root, &[], |_| {}), NOW), Ok(()));
    }
}
