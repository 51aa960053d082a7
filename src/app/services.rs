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

/// Everything that the handlers call.
pub(super) fn services(
    config: &Config,
    (issuer, mtls_url): (&Issuer, Option<Arc<str>>),
    (ambient, started, client_trust): (Ambient, Timestamp, Arc<ClientTrust>),
    store: &Store,
    (keyring, rotator, live): (Arc<Keyring>, Arc<Rotator>, LiveTokens),
    (ledger, dpop, master_keys): (Ledger, Arc<Dpop>, MasterKeys),
    (Tended { ending, verified, uses }, connections, tracing): (Tended, Arc<Connections>, Tracing),
) -> Result<Services, Fault> {
    let secrets = Arc::new(SecretVerifier::new(&config.limits, &ambient)?.upgrading(verified));
    let failures = Failures::new(&config.limits, &ambient);
    let outside = Arc::new(config.outbound.outside.clone());
    let (remote, issuer_keys) = keys_elsewhere(config, &ambient);
    let assertions = Assertions::new(issuer.as_str(), config.assertions.max_lifetime, Arc::clone(&remote))?;
    let directory = Arc::clone(&live.directory);
    let outside_tokens = Arc::new(OutsideTokens::new(
        issuer.as_str().to_owned(),
        Arc::clone(&directory),
        Arc::clone(&issuer_keys),
    ));
    let verifiers = Arc::new(Verifiers {
        secrets: Arc::clone(&secrets),
        failures,
        assertions,
        issuer_keys: Arc::clone(&issuer_keys),
        outside: outside_tokens,
    });
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
    let sign_in =
        SignIn { admin: admin.clone(), passwords: Arc::clone(&secrets), master_keys, rules: config.sign_in };
    let sso = config.sso.as_ref().map(|upstream| single_sign_on(upstream, issuer, &sign_in));
    Ok(Services {
        issuer: issuer.clone(),
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
        client_trust,
        connections,
        mtls_url,
        remote_keys: remote,
        tracing,
        started,
        keyring,
        rotator,
        ambient,
    })
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
