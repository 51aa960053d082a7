//! What a listener shows, and what it asks for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ServerConfig;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use secrecy::ExposeSecret;

use super::from_files::{FromFiles, Made};
use crate::config::PemPair;
use crate::domain::certificate::PeerCertificate;
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::runtime::private_file;

/// What the listener speaks once TLS stands, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a listener shows, as it is at the moment.
pub struct Endpoint(FromFiles<Arc<ServerConfig>>);

/// Takes every certificate whose key the caller proves to have. Whether it is trusted is found out for each request
/// ([`super::ClientTrust`]): a client may register a certificate that nobody has signed, and what is trusted changes
/// while connections last.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

/// Our clock, as rustls asks it.
struct Time(Ambient);

// === impl Endpoint ===

impl Endpoint {
    /// Reads a certificate and its key. `asks` for certificates of clients, and does with none too.
    pub(super) fn open(pair: &PemPair, asks: bool, ambient: &Ambient) -> Result<Self, Fault> {
        let files = vec![pair.certificate.clone(), pair.key.clone()];
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (pair, ambient) = (pair.clone(), ambient.clone());
        let make = move || {
            let chain = certificates("the certificate", &pair.certificate)?;
            let ends = PeerCertificate::parse(&chain[0], false).map_err(|problem| {
                not_yet(format!("the certificate {}: {problem}", pair.certificate.display()))
            })?;
            let key = private_key(&pair.key)?;
            let time = Arc::new(Time(ambient.clone()));
            let config = config(&provider, time, asks, chain, key);
            let mut config = config.map_err(|problem| {
                let (certificate, key) = (pair.certificate.display(), pair.key.display());
                not_yet(format!("the certificate {certificate} with the key {key}: {problem}"))
            })?;
            config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
            // New ones each time: sessions are resumed at the listener where they began, and not for longer than what
            // it showed then is in use.
            config.ticketer = aws_lc_rs::Ticketer::new().map_err(Fault::internal)?;
            Ok(Made { value: Arc::new(config), ends: vec![(pair.certificate.clone(), ends.not_after)] })
        };
        FromFiles::open("the certificate of the server", files, make).map(Self)
    }

    /// What a connection that begins now is served with.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current().value)
    }

    /// When its certificate stops counting.
    pub(super) fn ends(&self) -> Vec<(PathBuf, Timestamp)> {
        self.0.current().ends.clone()
    }

    pub(super) fn look(&self, now: Timestamp) {
        self.0.look(now);
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    time: Arc<Time>,
    asks: bool,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, String> {
    let algorithms = provider.signature_verification_algorithms;
    let builder = ServerConfig::builder_with_details(Arc::clone(provider), time);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = if asks {
        builder.with_client_cert_verifier(Arc::new(AnyCertificate(algorithms)))
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "they do not belong together".to_owned(),
        other => other.to_string(),
    })
}

/// What a file holds is not to be used, and may be in a moment: whoever renews it may be about to write the rest of it,
/// or the other half of a pair.
pub(super) fn not_yet(problem: impl fmt::Display) -> Fault {
    Fault::unavailable(problem)
}

/// What is in a file.
pub(super) fn read(what: &str, file: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(file)
        .map_err(|error| private_file::fault(format_args!("{what} {}", file.display()), &error))
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(what: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let problem = |problem: &str| not_yet(format!("{what} {}: {problem}", file.display()));
    let text = read(what, file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    // The error's own text may quote a line, which here would do no harm but help nobody.
    let all = all.map_err(|_| problem("it is not well-formed PEM"))?;
    if all.is_empty() {
        return Err(problem("it has no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(all)
}

/// The private key of a PEM file. No error quotes anything of it.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let problem = |problem: &str| format!("the private key {}: {problem}", file.display());
    let text = private_file::read(file)
        .map_err(|error| private_file::fault(format_args!("the private key {}", file.display()), &error))?;
    let text = text.expose_secret();
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        if text.contains("ENCRYPTED") {
            Fault::setup(problem(
                "it is encrypted: write it without a passphrase, readable by the server alone",
            ))
        } else {
            not_yet(problem("it has no private key in PEM (PKCS#8, PKCS#1 or SEC 1)"))
        }
    })
}

// === impl AnyCertificate ===

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: with some, clients would keep back a certificate that none of them has issued.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        PeerCertificate::parse(end_entity, false).map_err(|_| CertificateError::BadEncoding)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

// === impl Time ===

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// An instant in rustls's terms.
pub(super) fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_seconds()).unwrap_or(0)))
}
