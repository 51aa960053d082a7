//! What the pages do alike with a client's secrets, keys, certificates and federated credentials: changing what is said
//! of one, or its end, and removing one.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::AT;
use crate::admin::client_certificates::{CertificateView, UpdateCertificate};
use crate::admin::client_keys::{KeyView, UpdateKey};
use crate::admin::secrets::{SecretView, UpdateSecret};
use crate::admin::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;
use crate::http::Shared;
use crate::http::pages::confirm::{Confirmation, leaning};
use crate::http::pages::error::PageError;
use crate::http::pages::form::Form;
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with, when};

pub(super) fn routes() -> Router<Shared> {
    Router::new().merge(routes_of_secrets()).merge(routes_of_keys()).merge(routes_of_certificates())
}

fn routes_of_secrets() -> Router<Shared> {
    type Secret = SecretView;
    Router::new()
        .route(
            "/clients/{client_id}/secrets/{secret_id}/edit",
            get(ask_change::<Secret>).post(change::<Secret>),
        )
        .route(
            "/clients/{client_id}/secrets/{secret_id}/remove",
            get(ask_remove::<Secret>).post(remove::<Secret>),
        )
}

fn routes_of_keys() -> Router<Shared> {
    type Key = KeyView;
    Router::new()
        .route("/clients/{client_id}/keys/{key_id}/edit", get(ask_change::<Key>).post(change::<Key>))
        .route("/clients/{client_id}/keys/{key_id}/remove", get(ask_remove::<Key>).post(remove::<Key>))
}

fn routes_of_certificates() -> Router<Shared> {
    type Certificate = CertificateView;
    Router::new()
        .route(
            "/clients/{client_id}/certificates/{certificate_id}/edit",
            get(ask_change::<Certificate>).post(change::<Certificate>),
        )
        .route(
            "/clients/{client_id}/certificates/{certificate_id}/remove",
            get(ask_remove::<Certificate>).post(remove::<Certificate>),
        )
}

/// A secret, a key, a certificate or a federated credential.
pub(super) trait Credential: Sized + Send + Sync + 'static {
    /// What differs in the words for it.
    const WORDS: &'static Words;

    /// A change of it.
    type Update: DeserializeOwned + Send;

    /// All that a client has.
    fn all(
        admin: &Admin,
        by: &By,
        client_id: &ClientId,
    ) -> impl Future<Output = Result<Vec<Self>, AdminError>> + Send;

    /// Changes it.
    fn update(
        &self,
        admin: &Admin,
        by: &By,
        client_id: &ClientId,
        update: Self::Update,
    ) -> impl Future<Output = Result<Self, AdminError>> + Send;

    /// Removes it.
    fn remove(
        &self,
        admin: &Admin,
        by: &By,
        client_id: &ClientId,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// What is known of it.
    fn facts(&self) -> Facts<'_>;

    /// Who is refused without it.
    fn refused(&self) -> String;
}

/// What differs in the words for a sort of credential.
pub(super) struct Words {
    /// `secret`
    pub(super) noun: &'static str,
    pub(super) remove: &'static str,
    /// What has to be typed to remove one.
    pub(super) name: &'static str,
    /// The notice that one is removed.
    pub(super) removed: &'static str,
    /// What it means that there is no other one that counts.
    pub(super) none_left: &'static str,
    /// Of the fields of its page.
    pub(super) description_hint: &'static str,
    pub(super) end_hint: &'static str,
}

/// What is known of a credential of any sort.
pub(super) struct Facts<'a> {
    pub(super) id: CredentialId,
    pub(super) description: &'a str,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) expired: bool,
    pub(super) last_used_at: Option<Timestamp>,
}

#[derive(Template)]
#[template(path = "clients/credential-edit.html")]
struct Edit {
    frame: Frame,
    form: Form,
    words: &'static Words,
    back: String,
}

// === impl SecretView ===

impl Credential for SecretView {
    const WORDS: &'static Words = &Words {
        noun: "secret",
        remove: "Remove the secret",
        name: "the secret's name",
        removed: "secret-removed",
        none_left: ": without one it gets no tokens",
        description_hint: "For people, for example the deployment that reads it.",
        end_hint: "From then on it is refused. Empty: never.",
    };

    type Update = UpdateSecret;

    async fn all(admin: &Admin, by: &By, client_id: &ClientId) -> Result<Vec<Self>, AdminError> {
        admin.secrets(by, client_id).await
    }

    async fn update(
        &self,
        admin: &Admin,
        by: &By,
        client_id: &ClientId,
        update: UpdateSecret,
    ) -> Result<Self, AdminError> {
        admin.update_secret(by, client_id, &self.secret_id, update).await
    }

    async fn remove(&self, admin: &Admin, by: &By, client_id: &ClientId) -> Result<(), AdminError> {
        admin.revoke_secret(by, client_id, &self.secret_id).await
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            id: self.secret_id.clone().into(),
            description: &self.description,
            expires_at: self.expires_at,
            expired: self.expired,
            last_used_at: self.last_used_at,
        }
    }

    fn refused(&self) -> String {
        let id = &self.secret_id;
        format!("Whoever still uses the secret {id} is refused within a second, and its tokens with it.")
    }
}

// === impl KeyView ===

impl Credential for KeyView {
    const WORDS: &'static Words = &Words {
        noun: "key",
        remove: "Remove the key",
        name: "the key's name",
        removed: "key-removed",
        none_left: ": by private_key_jwt it gets no tokens then",
        description_hint: "For people, for example the machine that has it.",
        end_hint: "From then on it is refused. Empty: never.",
    };

    type Update = UpdateKey;

    async fn all(admin: &Admin, by: &By, client_id: &ClientId) -> Result<Vec<Self>, AdminError> {
        admin.keys(by, client_id).await
    }

    async fn update(
        &self,
        admin: &Admin,
        by: &By,
        client_id: &ClientId,
        update: UpdateKey,
    ) -> Result<Self, AdminError> {
        admin.update_key(by, client_id, &self.key_id, update).await
    }

    async fn remove(&self, admin: &Admin, by: &By, client_id: &ClientId) -> Result<(), AdminError> {
        admin.remove_key(by, client_id, &self.key_id).await
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            id: self.key_id.clone(),
            description: &self.description,
            expires_at: self.expires_at,
            expired: self.expired,
            last_used_at: self.last_used_at,
        }
    }

    fn refused(&self) -> String {
        format!("Whoever still signs with the key {} is refused within a second.", self.key_id)
    }
}

// === impl CertificateView ===

impl Credential for CertificateView {
    const WORDS: &'static Words = &Words {
        noun: "certificate",
        remove: "Remove the certificate",
        name: "the certificate's name",
        removed: "certificate-removed",
        none_left: "",
        description_hint: "For people, for example the host that has its key.",
        end_hint: "From then on it is refused here. Empty: that of its validity.",
    };

    type Update = UpdateCertificate;

    async fn all(admin: &Admin, by: &By, client_id: &ClientId) -> Result<Vec<Self>, AdminError> {
        admin.certificates(by, client_id).await
    }

    async fn update(
        &self,
        admin: &Admin,
        by: &By,
        client_id: &ClientId,
        update: UpdateCertificate,
    ) -> Result<Self, AdminError> {
        admin.update_certificate(by, client_id, &self.certificate_id, update).await
    }

    async fn remove(&self, admin: &Admin, by: &By, client_id: &ClientId) -> Result<(), AdminError> {
        admin.remove_certificate(by, client_id, &self.certificate_id).await
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            id: self.certificate_id.clone(),
            description: &self.description,
            expires_at: self.expires_at,
            expired: self.expired,
            last_used_at: self.last_used_at,
        }
    }

    fn refused(&self) -> String {
        let (id, subject) = (&self.certificate_id, &self.subject);
        format!("Whoever still uses the certificate {id} ({subject}) is refused within a second.")
    }
}

/// The client that a path names, its credential there, and how many others count, for whoever may change them.
async fn named<C: Credential>(
    services: &Shared,
    session: &SignedIn,
    (client_id, id): (&str, &str),
) -> Result<(ClientId, C, usize), PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let client_id = ClientId::new(client_id).map_err(|_| PageError::NoSuchPage)?;
    let (found, others): (Vec<C>, Vec<C>) = C::all(&services.admin, &session.by, &client_id)
        .await?
        .into_iter()
        .partition(|one| one.facts().id.as_str() == id);
    let found = found.into_iter().next().ok_or(PageError::NoSuchPage)?;
    Ok((client_id, found, others.iter().filter(|other| !other.facts().expired).count()))
}

// === Changing one ===

fn stored(facts: &Facts<'_>) -> Form {
    Form::of([("description", facts.description.to_owned()), ("expires_at", when::field(facts.expires_at))])
}

fn edit<C: Credential>(session: &SignedIn, client_id: &ClientId, credential: &C, form: Form) -> Edit {
    let title = format!("Change the {} {}", C::WORDS.noun, credential.facts().id);
    let back = session.path(&["clients", client_id.as_str()]);
    Edit { frame: session.frame(title, AT), form, words: C::WORDS, back }
}

pub(super) async fn ask_change<C: Credential>(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let (client_id, credential, _) = named::<C>(&services, &session, (&client_id, &id)).await?;
    let form = stored(&credential.facts());
    Ok(page(&edit(&session, &client_id, &credential, form)))
}

pub(super) async fn change<C: Credential>(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let (client_id, credential, _) = named::<C>(&services, &session, (&client_id, &id)).await?;
    let before = stored(&credential.facts());
    let changed = match Input::change(&form, &before).text("description").time("expires_at").read() {
        Ok(update) => credential.update(&services.admin, &session.by, &client_id, update).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(done(&session.path(&["clients", client_id.as_str()]), "changed")),
        Err(error) => {
            let form = form.refused(error)?;
            let again = edit(&session, &client_id, &credential, form);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &again))
        }
    }
}

// === Removing one ===

async fn removal<C: Credential>(
    services: &Shared,
    session: &SignedIn,
    named_by: (&str, &str),
) -> Result<(ClientId, C, Confirmation), PageError> {
    let (client_id, credential, others) = named::<C>(services, session, named_by).await?;
    let words = C::WORDS;
    let facts = credential.facts();
    let used = match facts.last_used_at {
        Some(at) => format!("It was last used at {}.", when::minute(&at)),
        None => "As far as is counted, it was never used.".to_owned(),
    };
    let left = match others {
        0 => format!("{client_id} has no other {} that counts{}.", words.noun, words.none_left),
        others => {
            let noun = format!("other {}", words.noun);
            format!("{client_id} has {} left.", when::many(others, &noun))
        }
    };
    let tokens = services.admin.credential_use(&session.by, &client_id, &facts.id).await?;
    let mut breaks = vec![credential.refused(), used, left];
    breaks.extend(leaning(&tokens, "were got with it"));
    let confirmation = Confirmation {
        title: format!("{} {}?", words.remove, facts.id),
        section: AT,
        breaks,
        button: words.remove,
        name: Some((words.name, facts.id.to_string())),
        version: None,
        back: session.path(&["clients", client_id.as_str()]),
    };
    Ok((client_id, credential, confirmation))
}

pub(super) async fn ask_remove<C: Credential>(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let (_, _, confirmation) = removal::<C>(&services, &session, (&client_id, &id)).await?;
    Ok(confirmation.ask(&session))
}

pub(super) async fn remove<C: Credential>(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let (client_id, credential, confirmation) = removal::<C>(&services, &session, (&client_id, &id)).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    credential.remove(&services.admin, &session.by, &client_id).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), C::WORDS.removed))
}
