//! A client's federated credentials: adding one, by what is known about a platform or condition by condition, and
//! what differs in changing and removing one from [what is alike](super::credential).

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use super::credential::{Credential, Facts, Words, ask_change, ask_remove, change, remove};
use crate::admin::federated_credentials::{
    AddFederatedCredential, ClaimCondition, FederatedCredentialView, UpdateFederatedCredential,
};
use crate::admin::{Admin, AdminError, By, PageRequest};
use crate::domain::builtin;
use crate::domain::claim_conditions::{ClaimPath, Pattern};
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, TrustedIssuerName};
use crate::domain::presets::{PRESETS, Parameter, Platform, Preset, preset};
use crate::domain::text::quoted;
use crate::http::Shared;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named, Query};
use crate::http::pages::frame::Frame;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with};

/// How many issuers can be chosen from.
const CHOSEN: u32 = 500;

pub(super) fn routes() -> Router<Shared> {
    type Federated = FederatedCredentialView;
    Router::new()
        .route("/clients/{client_id}/new-federated-credential", get(ask_add).post(add))
        .route(
            "/clients/{client_id}/federated-credentials/{credential_id}/edit",
            get(ask_change::<Federated>).post(change::<Federated>),
        )
        .route(
            "/clients/{client_id}/federated-credentials/{credential_id}/remove",
            get(ask_remove::<Federated>).post(remove::<Federated>),
        )
}

// === impl FederatedCredentialView ===

impl Credential for FederatedCredentialView {
    const WORDS: &'static Words = &Words {
        noun: "federated credential",
        remove: "Remove the federated credential",
        name: "the credential's name",
        removed: "federation-removed",
        none_left: ": no other token of a trusted issuer proves it then",
        description_hint: "For people, for example the workload that it is.",
        end_hint: "From then on tokens that it is about are refused. Empty: never.",
    };

    type Update = UpdateFederatedCredential;

    async fn all(admin: &Admin, by: &By, client_id: &ClientId) -> Result<Vec<Self>, AdminError> {
        admin.federated_credentials(by, client_id).await
    }

    async fn update(
        &self,
        admin: &Admin,
        by: &By,
        client_id: &ClientId,
        update: UpdateFederatedCredential,
    ) -> Result<Self, AdminError> {
        admin.update_federated_credential(by, client_id, &self.credential_id, update).await
    }

    async fn remove(&self, admin: &Admin, by: &By, client_id: &ClientId) -> Result<(), AdminError> {
        admin.remove_federated_credential(by, client_id, &self.credential_id).await
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            id: self.credential_id.clone(),
            description: &self.description,
            expires_at: self.expires_at,
            expired: self.expired,
            last_used_at: self.last_used_at,
        }
    }

    fn refused(&self) -> String {
        format!("Tokens of {} that it was found by are refused within a second.", self.trusted_issuer)
    }
}

#[derive(Template)]
#[template(path = "clients/federation.html")]
struct Add {
    frame: Frame,
    client_id: ClientId,
    /// The path of this page, and of the client's.
    path: String,
    back: String,
    form: Form,
    presets: Vec<(&'static str, &'static str)>,
    /// The platform that was chosen.
    known: Option<&'static Preset>,
    issuers: Vec<(String, String)>,
}

// === impl Add ===

impl Add {
    async fn new(
        services: &Shared,
        session: &SignedIn,
        client_id: ClientId,
        form: Form,
    ) -> Result<Self, PageError> {
        // There must be such a client.
        services.admin.client(&session.by, &client_id).await?;
        let all = PageRequest { cursor: None, limit: Some(CHOSEN) };
        let issuers = services.admin.trusted_issuers(&session.by, None, &all).await?;
        let issuers = issuers.items.into_iter().map(|issuer| {
            let name = issuer.name.to_string();
            (name.clone(), format!("{name} ({})", issuer.issuer))
        });
        let presets = PRESETS.iter().map(|preset| (preset.platform.as_str(), preset.title));
        Ok(Self {
            frame: session.frame(format!("Add a federated credential to {client_id}"), AT),
            path: session.path(&["clients", client_id.as_str(), "new-federated-credential"]),
            back: session.path(&["clients", client_id.as_str()]),
            presets: std::iter::once(("", "Another platform")).chain(presets).collect(),
            known: known(&form),
            issuers: issuers.collect(),
            client_id,
            form,
        })
    }

    #[expect(clippy::unused_self, reason = "called by the template")]
    fn hint(&self, parameter: &Parameter) -> String {
        let must = if parameter.required { "" } else { "May be left out. " };
        format!("{must}For example {}", parameter.example)
    }
}

/// The platform that was chosen, if one was.
fn known(form: &Form) -> Option<&'static Preset> {
    Platform::from_word(form.text("preset")).map(preset)
}

/// What a form says.
fn read(form: &Form) -> Result<AddFederatedCredential, AdminError> {
    let mut errors = Vec::new();
    let mut conditions = Vec::new();
    for line in form.lines("conditions") {
        match condition(line) {
            Ok(condition) => conditions.push(condition),
            Err(error) => errors.push(error.in_field("conditions")),
        }
    }
    if let Some(known) = known(form) {
        let given: BTreeMap<String, String> = known
            .parameters
            .iter()
            .map(|parameter| (parameter.name.to_owned(), form.text(parameter.name).trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        match known.conditions(&given) {
            Ok(made) => conditions.extend(made.iter().cloned().map(Into::into)),
            Err(wrong) => errors.extend(wrong),
        }
    }
    let issuer = TrustedIssuerName::new(form.text("trusted_issuer"));
    let days = form.text("days").trim();
    let seconds = days.parse::<u32>().ok().and_then(|days| days.checked_mul(86_400));
    if !days.is_empty() && seconds.is_none() {
        errors.push(FieldError::new(
            "days",
            "it is not a number of days",
            "use 1 to 49000, or leave it empty",
        ));
    }
    match issuer {
        Ok(trusted_issuer) if errors.is_empty() => Ok(AddFederatedCredential {
            trusted_issuer,
            conditions,
            description: form.text("description").trim().to_owned(),
            expires_at: None,
            expires_in: seconds,
        }),
        issuer => {
            errors.extend(issuer.err().map(|error| error.in_field("trusted_issuer")));
            Err(AdminError::Invalid(errors))
        }
    }
}

/// `claim = text`
fn condition(line: &str) -> Result<ClaimCondition, FieldError> {
    let Some((claim, value)) = line.split_once('=') else {
        let problem = format!("'{}' has no '='", quoted(line));
        return Err(FieldError::new("conditions", problem, "write claim = text, for example sub = orders"));
    };
    Ok(ClaimCondition { claim: ClaimPath::new(claim.trim())?, value: Pattern::new(value.trim())? })
}

async fn ask_add(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    query: Query,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let mut form = query.0;
    let defaults = known(&form).into_iter().flat_map(|known| known.parameters);
    for (name, text) in defaults.filter_map(|parameter| Some((parameter.name, parameter.default?))) {
        form.put(name, text);
    }
    Ok(page(&Add::new(&services, &session, client_id, form).await?))
}

async fn add(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let added = match read(&form) {
        Ok(new) => services.admin.add_federated_credential(&session.by, &client_id, new).await,
        Err(error) => Err(error),
    };
    match added {
        Ok(_) => Ok(done(&session.path(&["clients", client_id.as_str()]), "federation-added")),
        Err(error) => {
            let error = match error {
                AdminError::Invalid(errors) => AdminError::Invalid(
                    errors
                        .into_iter()
                        .map(|error| if error.field == "expires_in" { error.in_field("days") } else { error })
                        .collect(),
                ),
                other => other,
            };
            let form = form.refused_beside("conditions", error)?;
            let again = Add::new(&services, &session, client_id, form).await?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &again))
        }
    }
}
