//! A client: one registered non-human identity.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ipnet::IpNet;
use secrecy::SecretString;

use super::binding::TokenBinding;
use super::certificate_subject::ExpectedSubject;
use super::client_certificate::ClientCertificate;
use super::client_key::ClientKey;
use super::credential::ends_soon;
use super::error::FieldError;
use super::ids::{ClientId, ClientUid, ResourceServerUid, RoleUid, SecretId};
use super::secret::SecretOrigin;
use super::standing::{NotInForce, Standing};
use super::time::Timestamp;
use super::trust::FederatedCredential;
use super::words::words;

words! {
    /// What sort of thing a client is. It decides nothing; people and policies read it.
    ClientKind {
        /// A long-running service.
        Service = "service",
        /// A host or device.
        Machine = "machine",
        /// A scheduled or one-off job.
        Job = "job",
        /// A software agent that acts with some freedom of its own.
        Agent = "agent",
    }
}

words! {
    /// How a client may ask for a token.
    GrantType {
        /// RFC 6749 §4.4.
        ClientCredentials = "client_credentials",
        /// RFC 8693.
        TokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange",
        /// RFC 7523 §2.1.
        JwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer",
    }
}

words! {
    /// How a client may authenticate (the registry of RFC 8414 §2).
    AuthMethod {
        /// RFC 6749 §2.3.1, in the `Authorization` header.
        ClientSecretBasic = "client_secret_basic",
        /// RFC 6749 §2.3.1, in the body.
        ClientSecretPost = "client_secret_post",
        /// OpenID Connect Core §9, RFC 7523 §2.2.
        PrivateKeyJwt = "private_key_jwt",
        /// RFC 8705 §2.1: a certificate of a trusted authority with the registered subject.
        TlsClientAuth = "tls_client_auth",
        /// RFC 8705 §2.2: a registered certificate, whoever issued it.
        SelfSignedTlsClientAuth = "self_signed_tls_client_auth",
        /// A token of a trusted issuer that fulfils the conditions of one of its federated credentials.
        FederatedJwt = "federated_jwt",
        /// A JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
        SpiffeJwt = "spiffe_jwt",
        /// An X.509-SVID (draft-ietf-oauth-spiffe-client-auth).
        SpiffeX509 = "spiffe_x509",
    }
}

// === impl AuthMethod ===

impl AuthMethod {
    /// What this server must know of callers' certificates for it to work.
    #[must_use]
    pub const fn needs(self) -> CertificateReach {
        match self {
            Self::ClientSecretBasic
            | Self::ClientSecretPost
            | Self::PrivateKeyJwt
            | Self::FederatedJwt
            | Self::SpiffeJwt => CertificateReach::None,
            Self::SelfSignedTlsClientAuth | Self::SpiffeX509 => CertificateReach::Shown,
            Self::TlsClientAuth => CertificateReach::Trusted,
        }
    }

    /// Whether a federated credential is what it is proven by.
    #[must_use]
    pub const fn is_federated(self) -> bool {
        matches!(self, Self::FederatedJwt | Self::SpiffeJwt | Self::SpiffeX509)
    }
}

/// What a server knows of its callers' certificates, as it is configured. Each knows what the one before does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateReach {
    /// Nothing: none arrives.
    #[default]
    None,
    /// Which they are: it asks for them, or a proxy tells it.
    Shown,
    /// Whether an authority that is trusted has issued them, too.
    Trusted,
}

// === impl CertificateReach ===

impl CertificateReach {
    /// What is missing to what is needed.
    #[must_use]
    pub const fn why_not(self, needed: Self) -> &'static str {
        match (self, needed) {
            (Self::Shown, Self::Trusted) => "no authority that issues certificates for clients is configured",
            _ => "no certificate of a client reaches this server",
        }
    }
}

/// A registered client.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Database key.
    pub uid: ClientUid,
    /// Public identifier, never changed.
    pub client_id: ClientId,
    /// A note for people, which decides nothing.
    pub description: String,
    /// What sort of thing it is.
    pub kind: ClientKind,
    /// The team or person who answers for it.
    pub owner: Option<String>,
    /// Free names and values for finding it.
    pub labels: BTreeMap<String, String>,
    /// Switched on. Read it through [`Client::check`].
    pub enabled: bool,
    /// Its end. Read it through [`Client::check`].
    pub expires_at: Option<Timestamp>,
    /// The audience of a token request that names none (RFC 9068 §3).
    pub default_resource_server: Option<ResourceServerUid>,
    /// The grants it may use.
    pub grant_types: BTreeSet<GrantType>,
    /// The ways it may authenticate.
    pub auth_methods: BTreeSet<AuthMethod>,
    /// Where it may call from; anywhere, when empty.
    pub allowed_networks: Vec<IpNet>,
    /// Who alone may act for it (RFC 8693 §4.4); whoever a rule allows, when absent.
    pub may_act: Option<ClientId>,
    /// Whether its tokens must be bound to a key.
    pub token_binding: TokenBinding,
    /// The subject that its certificate must have, for `tls_client_auth`.
    pub certificate_subject: Option<ExpectedSubject>,
    /// Whether it may add secrets of its own, each in place of an earlier one.
    pub may_rotate_own_secrets: bool,
    /// Where the keys are published that it signs assertions with; else it is registered with its keys.
    pub jwks_uri: Option<String>,
    /// Whether an assertion must say that it is one (`typ` `client-authentication+jwt`).
    pub assertion_type_required: bool,
    /// Whether an assertion may name the token endpoint as its audience, as libraries did before RFC 10070.
    pub legacy_assertion_audience: bool,
    /// Counts changes; the `ETag` of the API.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

// === impl Client ===

impl Client {
    /// Whether the client counts at `now`.
    ///
    /// # Errors
    /// It is disabled or expired.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: self.enabled, expires_at: self.expires_at }.check(now)
    }

    /// Whether its federated credentials are of use to it.
    #[must_use]
    pub fn is_federated(&self) -> bool {
        self.grant_types.contains(&GrantType::JwtBearer)
            || self.auth_methods.iter().any(|method| method.is_federated())
    }

    /// What every token id of this registration starts with: six characters made from its database key.
    /// It tells a client's tokens from those of an earlier client of the same name.
    #[must_use]
    pub fn token_mark(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.uid.0.as_bytes());
        BASE64URL.encode(&hash.as_ref()[..4])
    }

    /// Whether a caller at `address` is where the client may be. An IPv4-mapped IPv6 address is the
    /// IPv4 address it stands for. An unknown address is nowhere.
    #[must_use]
    pub fn may_call_from(&self, address: Option<IpAddr>) -> bool {
        self.allowed_networks.is_empty()
            || address.is_some_and(|address| {
                let address = address.to_canonical();
                self.allowed_networks.iter().any(|network| network.contains(&address))
            })
    }
}

/// What is kept of one client secret. Not the secret.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    /// Names it to people.
    pub secret_id: SecretId,
    /// Argon2id in PHC form, or what another server has made of it, until it is presented for the first time.
    pub hash: SecretString,
    /// Who made it up, which decides its cost.
    pub origin: SecretOrigin,
    /// A note for people, which decides nothing.
    pub description: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Its end; never, when absent.
    pub expires_at: Option<Timestamp>,
    /// The secret that a rotation has put in its place.
    pub replaced_by: Option<SecretId>,
}

// === impl ClientSecret ===

impl ClientSecret {
    /// Whether the secret counts at `now`.
    ///
    /// # Errors
    /// It is expired. A revoked one is deleted, hence absent.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: true, expires_at: self.expires_at }.check(now)
    }

    /// Whether somebody has to act soon: it counts, nothing has replaced it, and it ends within this time.
    #[must_use]
    pub fn ends_soon(&self, now: Timestamp, within: Duration) -> bool {
        self.replaced_by.is_none() && ends_soon(self.expires_at, now, within)
    }
}

/// A client with all that a token request needs to know of it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The client itself.
    pub client: Client,
    /// Its secrets, expired ones too.
    pub secrets: Vec<ClientSecret>,
    /// The keys that it is registered with, expired ones too.
    pub keys: Vec<ClientKey>,
    /// Its roles.
    pub roles: Vec<RoleUid>,
    /// Its certificates, those out of force too; none unless it may authenticate by them.
    pub certificates: Vec<ClientCertificate>,
    /// Whose tokens prove it, expired credentials too.
    pub federated: Vec<FederatedCredential>,
}

// === impl Registration ===

impl Registration {
    /// The secret of this name.
    #[must_use]
    pub fn secret(&self, secret_id: &SecretId) -> Option<&ClientSecret> {
        self.secrets.iter().find(|secret| secret.secret_id == *secret_id)
    }

    /// Whether the client may rotate its own secrets, having proven itself with this one. A secret that was replaced may
    /// not make a successor: whoever has found it would have one that lasts.
    #[must_use]
    pub fn may_rotate_own_secrets(&self, proven_with: Option<&str>) -> bool {
        let replaced = |secret: &ClientSecret| {
            secret.replaced_by.is_some() && proven_with == Some(secret.secret_id.as_str())
        };
        self.client.may_rotate_own_secrets && !self.secrets.iter().any(replaced)
    }
}

/// The most labels on one client.
pub const MOST_LABELS: usize = 32;

/// The most secrets one client has at a time: enough for any rotation, few enough to check.
pub const MOST_SECRETS: usize = 10;

/// The most of them that may be chosen ones: two, to replace one by another without a gap. Each costs
/// every refusal of a chosen secret another slow hash.
pub const MOST_CHOSEN_SECRETS: usize = 2;

/// Checks the free-text parts of a registration.
///
/// # Errors
/// One entry for each wrong label, or for too many.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    if labels.len() > MOST_LABELS {
        errors.push(FieldError::new("labels", format!("{} labels", labels.len()), "use at most 32 labels"));
    }
    for (name, value) in labels {
        let name_ok = (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'));
        if !name_ok {
            errors.push(FieldError::new(
                "labels",
                format!("the label name '{}' is not allowed", name.chars().take(63).collect::<String>()),
                "use 1 to 63 of A-Z a-z 0-9 . _ / -",
            ));
        } else if value.chars().count() > 255 || value.chars().any(char::is_control) {
            errors.push(FieldError::new(
                "labels",
                format!("the value of label '{name}' is not allowed"),
                "use at most 255 printable characters",
            ));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(networks: &[&str]) -> Client {
        Client {
            uid: ClientUid(uuid::Uuid::nil()),
            client_id: ClientId::new("c").unwrap(),
            description: String::new(),
            kind: ClientKind::Service,
            owner: None,
            labels: BTreeMap::new(),
            enabled: true,
            expires_at: None,
            default_resource_server: None,
            grant_types: BTreeSet::new(),
            auth_methods: BTreeSet::new(),
            allowed_networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            may_act: None,
            token_binding: TokenBinding::Optional,
            certificate_subject: None,
            may_rotate_own_secrets: false,
            jwks_uri: None,
            assertion_type_required: false,
            legacy_assertion_audience: false,
            version: 1,
            created_at: Timestamp::from_seconds(0),
            updated_at: Timestamp::from_seconds(0),
        }
    }

    #[test]
    fn networks_hold_for_both_address_families() {
        let inside = client(&["10.0.0.0/8", "fd00::/8"]);
        for good in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
            assert!(inside.may_call_from(Some(good.parse().unwrap())), "{good}");
        }
        for bad in ["11.0.0.1", "::ffff:11.0.0.1", "fe80::1"] {
            assert!(!inside.may_call_from(Some(bad.parse().unwrap())), "{bad}");
        }
        assert!(!inside.may_call_from(None), "an unknown address is nowhere");
        assert!(client(&[]).may_call_from(None));
    }

    #[test]
    fn labels_are_bounded() {
        let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert!(check_labels(&one("team/name", "é")).is_ok());
        assert!(check_labels(&one("", "x")).is_err());
        assert!(check_labels(&one("a b", "x")).is_err());
        assert!(check_labels(&one("a", "x\ny")).is_err());
        let many = (0..33).map(|n| (format!("l{n}"), String::new())).collect();
        assert!(check_labels(&many).is_err());
    }
}
