//! A client's page.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use crate::admin::PageRequest;
use crate::admin::audit::EventQuery;
use crate::admin::client_certificates::CertificateView;
use crate::admin::client_keys::KeyView;
use crate::admin::clients::ClientView;
use crate::admin::credential_use::CredentialUse;
use crate::admin::effective_permissions::HeldAt;
use crate::admin::federated_credentials::FederatedCredentialView;
use crate::admin::secrets::SecretView;
use crate::domain::builtin;
use crate::domain::client::{AuthMethod, CertificateReach};
use crate::domain::ids::{ClientId, CredentialId, RoleName};
use crate::domain::secret::SecretOrigin;
use crate::domain::time::Timestamp;
use crate::http::Shared;
use crate::http::pages::error::PageError;
use crate::http::pages::events::EventRow;
use crate::http::pages::form::{Form, Named, Query};
use crate::http::pages::frame::Frame;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{page_with, when};

/// How many recent events are shown.
const RECENT: u32 = 10;

/// Of how many keys that it publishes itself the last use is shown.
const KEYS: usize = 10;

/// How many roles are suggested.
const SUGGESTED: u32 = 500;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/clients/{client_id}", get(show))
}

#[derive(Template)]
#[template(path = "clients/show.html")]
struct Show {
    frame: Frame,
    /// What was typed into one of the page's forms, and what is wrong with it.
    form: Form,
    client: ClientView,
    /// The path of this page.
    path: String,
    secrets: Vec<SecretView>,
    certificates: Vec<CertificateView>,
    /// Whether certificates reach this server, so that one can be registered.
    takes_certificates: bool,
    keys: Vec<KeyView>,
    federated: Vec<FederatedCredentialView>,
    /// The choices of what a rotation replaces.
    replaceable: Vec<(String, String)>,
    roles: Vec<RoleName>,
    /// Roles that it could be given.
    suggested: Vec<RoleName>,
    held: Vec<HeldAt>,
    /// Nothing, for whoever may not read the audit.
    events: Option<Vec<EventRow>>,
    now: Timestamp,
}

// === impl Show ===

impl Show {
    /// Why the client gets no tokens, if it gets none.
    fn stands(&self) -> Option<&'static str> {
        let expired = self.client.expires_at.is_some_and(|end| end <= self.now);
        let is_there = |method: &AuthMethod| match method {
            AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => {
                self.secrets.iter().any(|secret| !secret.expired)
            }
            AuthMethod::PrivateKeyJwt => {
                self.keys.iter().any(|key| !key.expired) || self.client.jwks_uri.is_some()
            }
            AuthMethod::TlsClientAuth => self.client.tls_client_auth_subject.is_some(),
            AuthMethod::SelfSignedTlsClientAuth => self.certificates.iter().any(|one| !one.expired),
            // Whether it has a federated credential stands beside them.
            AuthMethod::FederatedJwt | AuthMethod::SpiffeJwt | AuthMethod::SpiffeX509 => true,
        };
        let without = !self.client.auth_methods.iter().any(is_there);
        match (self.client.enabled, expired, without) {
            (false, _, _) => {
                Some("It is disabled: it gets no tokens, and those that it has do not count here.")
            }
            (_, true, _) => Some("Its end has come: it gets no tokens. Change its end to let it go on."),
            (_, _, true) if self.client.auth_methods.iter().all(|m| m.needs() > CertificateReach::None) => {
                Some("It has no certificate that counts, so it gets no tokens. Register one below.")
            }
            (_, _, true) => Some("It has no secret or key that counts, so it gets no tokens. Add one below."),
            _ => None,
        }
    }

    /// When a certificate with its subject last proved it.
    fn subject_used(&self) -> Option<Timestamp> {
        let id = self.client.tls_client_auth_subject.as_ref()?.kind.credential_id();
        let mut uses = self.client.credential_uses.iter();
        uses.find(|used| used.credential_id.as_str() == id).map(|used| used.last_used_at)
    }

    /// When keys were last used that it publishes itself: what is used, and on none of the other lists.
    fn published_keys_used(&self) -> Vec<&CredentialUse> {
        let subject =
            self.client.tls_client_auth_subject.as_ref().map(|subject| subject.kind.credential_id());
        let is_listed = |id: &CredentialId| {
            subject.as_deref() == Some(id.as_str())
                || self.secrets.iter().any(|secret| secret.secret_id.as_str() == id.as_str())
                || self.certificates.iter().any(|certificate| certificate.certificate_id == *id)
                || self.federated.iter().any(|federated| federated.credential_id == *id)
        };
        self.client.credential_uses.iter().filter(|used| !is_listed(&used.credential_id)).take(KEYS).collect()
    }

    /// Whether keys are of use to it, or it has some.
    fn has_keys(&self) -> bool {
        !self.keys.is_empty() || self.client.auth_methods.contains(&AuthMethod::PrivateKeyJwt)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what a template passes")]
    #[expect(clippy::unused_self, reason = "called by the template")]
    fn maker(&self, origin: &SecretOrigin) -> &'static str {
        match origin {
            SecretOrigin::Generated => "this server",
            SecretOrigin::Chosen => "somebody",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what a template passes")]
    fn age(&self, since: &Timestamp) -> String {
        when::age(*since, self.now)
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.client.labels
    }
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    query: Query,
) -> Result<Response, PageError> {
    let mut shown = read(&services, &session, &client_id, Form::default()).await?;
    shown.frame = shown.frame.telling(&query);
    Ok(page_with(StatusCode::OK, &shown))
}

/// The page once more, with a form of it that has to be mended.
pub(super) async fn again(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
    form: Form,
    status: StatusCode,
) -> Result<Response, PageError> {
    Ok(page_with(status, &read(services, session, client_id, form).await?))
}

async fn read(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
    form: Form,
) -> Result<Show, PageError> {
    let (admin, by) = (&services.admin, &session.by);
    let client = admin.client(by, client_id).await?;
    let roles = admin.client_roles(by, client_id).await?;
    let mut suggested = Vec::new();
    if session.can(builtin::CLIENTS_WRITE) && session.can(builtin::ROLES_READ) {
        let page = PageRequest { cursor: None, limit: Some(SUGGESTED) };
        let found = admin.roles(by, None, &page).await?.items.into_iter().map(|role| role.name);
        suggested = found.filter(|name| !roles.contains(name)).collect();
    }
    let mut events = None;
    if session.can(builtin::AUDIT_READ) {
        let query = EventQuery { about: Some(client_id.to_string()), ..EventQuery::default() };
        let page = PageRequest { cursor: None, limit: Some(RECENT) };
        let found = admin.audit_events(by, query, &page).await?;
        events = Some(found.items.into_iter().map(EventRow::from).collect());
    }
    let secrets = admin.secrets(by, client_id).await?;
    Ok(Show {
        frame: session.frame(client_id.as_str(), AT),
        form,
        path: session.path(&["clients", client_id.as_str()]),
        client,
        replaceable: replaceable(&secrets),
        secrets,
        keys: admin.keys(by, client_id).await?,
        federated: admin.federated_credentials(by, client_id).await?,
        certificates: admin.certificates(by, client_id).await?,
        takes_certificates: admin.reach >= CertificateReach::Shown,
        roles,
        suggested,
        held: admin.effective_permissions(by, client_id).await?.resource_servers,
        events,
        now: services.ambient.now(),
    })
}

/// What a rotation may replace, with the names that people know it by.
fn replaceable(secrets: &[SecretView]) -> Vec<(String, String)> {
    let named = secrets.iter().filter(|secret| !secret.expired).map(|secret| {
        let name = secret.secret_id.to_string();
        let told = if secret.description.is_empty() {
            name.clone()
        } else {
            format!("{name}: {}", secret.description)
        };
        (name, told)
    });
    std::iter::once((String::new(), "The newest that counts".to_owned())).chain(named).collect()
}
