//! What the handlers call, put together.

use std::sync::Arc;

use super::credentials::Tended;
use crate::admin::Admin;
use crate::admin::sign_in::SignIn;
use crate::admin::single_sign_on::SingleSignOn;
use crate::config::{ClientSecretSource, Config, Issuer, Upstream};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::http::{Connections, SSO_CALLBACK, Services};
use crate::oauth::access::AccessVerifier;
use crate::oauth::client_auth::{Assertions, Verifiers};
use crate::oauth::dpop::Dpop;
use crate::oauth::introspection::IntrospectionEndpoint;
use crate::oauth::live::LiveTokens;
use crate::oauth::outside::OutsideTokens;
use crate::oauth::request::ClientGate;
use crate::oauth::revocation::RevocationEndpoint;
use crate::oauth::token::TokenEndpoint;
use crate::runtime::clock::Ambient;
use crate::runtime::directory::Directory;
use crate::runtime::failures::Failures;
use crate::runtime::issuer_keys::IssuerKeys;
use crate::runtime::keyring::Keyring;
use crate::runtime::ledger::Ledger;
use crate::runtime::master_key::MasterKeys;
use crate::runtime::meters::Traffic;
use crate::runtime::private_file;
use crate::runtime::provider::Provider;
use crate::runtime::refusals::Refusals;
use crate::runtime::remote_keys::{Patience, RemoteKeys};
use crate::runtime::rotator::Rotator;
use crate::runtime::secrets::SecretVerifier;
use crate::runtime::tls::ClientTrust;
use crate::storage::Store;
use crate::telemetry::Tracing;

/// The keys that others publish, and of those the ones of trusted issuers.
pub(super) fn keys_elsewhere(config: &Config, ambient: &Ambient) -> (Arc<RemoteKeys>, Arc<IssuerKeys>) {
    let outbound = &config.outbound;
    let patience = Patience { stale_for: outbound.keys_stale_for, cooldown: outbound.keys_cooldown };
    let remote = Arc::new(RemoteKeys::new(Arc::new(outbound.outside.clone()), patience, ambient.clone()));
    let bundles = config.federation.bundle_dir.clone();
    (Arc::clone(&remote), Arc::new(IssuerKeys::new(remote, bundles, ambient.clone())))
}

/// What was opened and started before there are services.
pub(super) struct Parts {
    pub(super) issuer: Issuer,
    /// Where certificates of clients are asked for, if that is anywhere.
    pub(super) mtls_url: Option<Arc<str>>,
    pub(super) ambient: Ambient,
    /// When this process began to start.
    pub(super) started: Timestamp,
    pub(super) client_trust: Arc<ClientTrust>,
    pub(super) store: Store,
    pub(super) keyring: Arc<Keyring>,
    pub(super) rotator: Arc<Rotator>,
    pub(super) live: LiveTokens,
    pub(super) ledger: Ledger,
    pub(super) dpop: Arc<Dpop>,
    pub(super) master_keys: MasterKeys,
    pub(super) tended: Tended,
    pub(super) connections: Arc<Connections>,
    pub(super) tracing: Tracing,
}

/// Everything that the handlers call.
///
/// # Errors
/// The source of randomness failed, or what single sign-on needs cannot be used.
pub(super) fn services(config: &Config, parts: Parts) -> Result<Services, Fault> {
    let Parts { issuer, ambient, store, keyring, rotator, live, ledger, dpop, tended, .. } = parts;
    let Tended { ending, verified, uses, .. } = tended;
    let outside = Arc::new(config.outbound.outside.clone());
    let (remote, issuer_keys) = keys_elsewhere(config, &ambient);
    let directory = Arc::clone(&live.directory);
    let secrets = Arc::new(SecretVerifier::new(&config.limits, &ambient)?.upgrading(verified));
    let elsewhere = (Arc::clone(&remote), Arc::clone(&issuer_keys));
    let verifiers = verifiers(config, &issuer, &ambient, Arc::clone(&secrets), &directory, elsewhere)?;
    let live = Arc::new(live);
    let refusals = Refusals::new(ledger.clone());
    let gate = Arc::new(ClientGate {
        ambient: ambient.clone(),
        directory: Arc::clone(&directory),
        verifiers: Arc::clone(&verifiers),
        refusals: refusals.clone(),
        ledger: ledger.clone(),
        uses,
    });
    let admin = Admin {
        store: store.clone(),
        directory: Some(Arc::clone(&directory)),
        rotator: Arc::clone(&rotator),
        ledger: ledger.clone(),
        refusals: refusals.clone(),
        ambient: ambient.clone(),
        longest: config.max_token_lifetime,
        reach: config.certificate_reach(),
        warn_before: config.warn_before,
        outside,
        issuer_keys,
    };
    let sign_in = SignIn {
        admin: admin.clone(),
        passwords: secrets,
        master_keys: parts.master_keys,
        rules: config.sign_in,
    };
    let sso = config.sso.as_ref().map(|upstream| single_sign_on(upstream, &issuer, &sign_in));
    Ok(Services {
        store: store.clone(),
        tokens: TokenEndpoint {
            issuer: issuer.as_str().to_owned(),
            longest: config.max_token_lifetime,
            ambient: ambient.clone(),
            directory: Arc::clone(&directory),
            keyring: Arc::clone(&keyring),
            ledger: ledger.clone(),
            refusals: refusals.clone(),
            verifiers,
            tokens: Arc::clone(&live),
            dpop: Arc::clone(&dpop),
            traffic: Traffic::new(super::threads(config).get()),
        },
        introspection: IntrospectionEndpoint {
            gate: Arc::clone(&gate),
            tokens: Arc::clone(&live),
            keyring: Arc::clone(&keyring),
            issuer: issuer.as_str().to_owned(),
        },
        revocation: RevocationEndpoint {
            gate,
            tokens: Arc::clone(&live),
            store: store.clone(),
            ledger: ledger.clone(),
            ambient: ambient.clone(),
        },
        access: AccessVerifier {
            ambient: ambient.clone(),
            tokens: Arc::clone(&live),
            refusals,
            ledger,
            dpop,
        },
        admin,
        sign_in,
        sso: sso.transpose()?,
        settings: config.told(),
        trusted_proxies: config.trusted_proxies.clone(),
        ending,
        certificate_header: config.tls.header,
        client_trust: parts.client_trust,
        connections: parts.connections,
        mtls_url: parts.mtls_url,
        remote_keys: remote,
        tracing: parts.tracing,
        started: parts.started,
        issuer,
        keyring,
        rotator,
        ambient,
    })
}

/// What checks credentials.
fn verifiers(
    config: &Config,
    issuer: &Issuer,
    ambient: &Ambient,
    secrets: Arc<SecretVerifier>,
    directory: &Arc<Directory>,
    (remote, issuer_keys): (Arc<RemoteKeys>, Arc<IssuerKeys>),
) -> Result<Arc<Verifiers>, Fault> {
    let issuer = issuer.as_str();
    let outside = OutsideTokens::new(issuer.to_owned(), Arc::clone(directory), Arc::clone(&issuer_keys));
    Ok(Arc::new(Verifiers {
        secrets,
        failures: Failures::new(&config.limits, ambient),
        assertions: Assertions::new(issuer, config.assertions.max_lifetime, remote)?,
        issuer_keys,
        outside: Arc::new(outside),
    }))
}

/// Signing in by another provider. It is not asked for anything until somebody signs in: that it is away must not
/// keep Jeton from starting.
fn single_sign_on(upstream: &Upstream, issuer: &Issuer, sign_in: &SignIn) -> Result<SingleSignOn, Fault> {
    let secret = match &upstream.client_secret {
        ClientSecretSource::Value(secret) => secret.clone(),
        ClientSecretSource::File(path) => {
            private_file::read_setting("the client secret of single sign-on", path)?
        }
    };
    let redirect = format!("{}{SSO_CALLBACK}", issuer.as_str());
    let provider = Provider::new(upstream, secret, &redirect, sign_in.admin.ambient.clone())?;
    tracing::info!(
        provider = upstream.issuer,
        redirect_uri = redirect,
        "people may sign in by single sign-on"
    );
    let (provider, label) = (Arc::new(provider), Arc::from(upstream.label.as_str()));
    Ok(SingleSignOn { sign_in: sign_in.clone(), provider, label })
}
