//! Registering, changing, switching off and deleting a resource server.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::AT;
use crate::admin::AdminError;
use crate::admin::resource_servers::{CreateResourceServer, ResourceServerView, UpdateResourceServer};
use crate::domain::binding::TokenBinding;
use crate::domain::builtin;
use crate::domain::ids::ResourceServerName;
use crate::domain::resource::TokenProfile;
use crate::http::Shared;
use crate::http::pages::change::{Clash, Label, version};
use crate::http::pages::confirm::Confirmation;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with, when};
use crate::jose::Algorithm;

const LABELS: &[Label] = &[
    ("identifier", "Audience"),
    ("description", "Description"),
    ("permissions", "Permissions"),
    ("token_lifetime", "Token lifetime"),
    ("signing_algorithm", "Signing algorithm"),
    ("token_profile", "Token profile"),
    ("token_binding", "Token binding"),
];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/new-resource-server", get(ask_create).post(create))
        .route("/resource-servers/{name}/edit", get(ask_change).post(change))
        .route("/resource-servers/{name}/disable", get(ask_disable).post(disable))
        .route("/resource-servers/{name}/enable", post(enable))
        .route("/resource-servers/{name}/delete", get(ask_delete).post(delete))
}

#[derive(Template)]
#[template(path = "resource-servers/edit.html")]
struct Edit {
    frame: Frame,
    /// A new one has none yet.
    name: Option<ResourceServerName>,
    form: Form,
    clash: Option<Clash>,
    algorithms: Vec<(&'static str, &'static str)>,
    profiles: Vec<(&'static str, &'static str)>,
    bindings: Vec<(&'static str, &'static str)>,
}

// === impl Edit ===

impl Edit {
    fn new(session: &SignedIn, name: Option<ResourceServerName>, form: Form) -> Self {
        let title =
            name.as_ref().map_or("Register a resource server".to_owned(), |name| format!("Change {name}"));
        let profile = |profile: &TokenProfile| match profile {
            TokenProfile::AccessToken => {
                (profile.as_str(), "at+jwt (RFC 9068): what verifiers should ask for")
            }
            TokenProfile::Jwt => (profile.as_str(), "jwt: for verifiers that know no other type"),
        };
        let binding = |binding: &TokenBinding| match binding {
            TokenBinding::Optional => {
                (binding.as_str(), "Bound to a key if the request proves one (DPoP or certificate)")
            }
            TokenBinding::Dpop => (binding.as_str(), "Always bound to a key (DPoP)"),
            TokenBinding::Mtls => (binding.as_str(), "Always bound to a client certificate (mutual TLS)"),
            TokenBinding::Either => (binding.as_str(), "Always bound, by DPoP or to a client certificate"),
        };
        Self {
            frame: session.frame(title, AT),
            name,
            form,
            clash: None,
            algorithms: Algorithm::ALL.iter().map(|one| (one.as_str(), one.as_str())).collect(),
            profiles: TokenProfile::ALL.iter().map(profile).collect(),
            bindings: TokenBinding::ALL.iter().map(binding).collect(),
        }
    }
}

fn empty() -> Form {
    Form::of([
        ("token_lifetime", "300".to_owned()),
        ("signing_algorithm", Algorithm::Es256.as_str().to_owned()),
        ("token_profile", TokenProfile::AccessToken.as_str().to_owned()),
        ("token_binding", TokenBinding::Optional.as_str().to_owned()),
    ])
}

fn stored(server: &ResourceServerView) -> Form {
    // A line each: another line of a description would be read as another permission.
    let line = |given: &crate::admin::resource_servers::PermissionView| {
        format!("{} {}", given.permission, given.description.replace('\n', " ")).trim_end().to_owned()
    };
    let permissions: Vec<_> = server.permissions.iter().map(line).collect();
    Form::of([
        ("identifier", server.identifier.to_string()),
        ("description", server.description.clone()),
        ("permissions", permissions.join("\n")),
        ("token_lifetime", server.token_lifetime.to_string()),
        ("signing_algorithm", server.signing_algorithm.as_str().to_owned()),
        ("token_profile", server.token_profile.as_str().to_owned()),
        ("token_binding", server.token_binding.as_str().to_owned()),
        ("version", server.version.to_string()),
    ])
}

fn fields(input: Input<'_>) -> Input<'_> {
    input
        .text("identifier")
        .text("description")
        .pairs("permissions", ["permission", "description"])
        .count("token_lifetime")
        .text("signing_algorithm")
        .text("token_profile")
        .text("token_binding")
}

async fn ask_create(State(services): State<Shared>, session: SignedIn) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    Ok(page(&Edit::new(&session, None, empty())))
}

async fn create(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    let wanted: Result<CreateResourceServer, _> = fields(Input::new(&form)).text("name").read();
    let created = match wanted {
        Ok(wanted) => services.admin.create_resource_server(&session.by, wanted).await,
        Err(error) => Err(error),
    };
    match created {
        Ok(server) => Ok(done(&session.path(&["resource-servers", server.name.as_str()]), "registered")),
        Err(error) => {
            let edit = Edit::new(&session, None, form.refused_beside("name", error)?);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

async fn ask_change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    let form = stored(&services.admin.resource_server(&session.by, &name).await?);
    Ok(page(&Edit::new(&session, Some(name), form)))
}

async fn change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    let before = stored(&services.admin.resource_server(&session.by, &name).await?);
    let confirmation = moving(&services, &session, &name, (&form, &before)).await?;
    if let Err(asked) = confirmation.before(&session, (&form, &before)) {
        return Ok(*asked);
    }
    let changed = match fields(Input::change(&form, &before)).read::<UpdateResourceServer>() {
        Ok(update) => {
            services.admin.update_resource_server(&session.by, &name, version(&form)?, update).await
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(done(&session.path(&["resource-servers", name.as_str()]), "changed")),
        Err(AdminError::Stale { .. }) => {
            let now = stored(&services.admin.resource_server(&session.by, &name).await?);
            let clash = Clash::new(form, &now, LABELS);
            let edit = Edit::new(&session, Some(name), clash.form.clone());
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &Edit { clash: Some(clash), ..edit }))
        }
        Err(error) => {
            let edit = Edit::new(&session, Some(name), form.refused_beside("identifier", error)?);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

/// What a change makes others refuse, if it does.
async fn moving(
    services: &Shared,
    session: &SignedIn,
    name: &ResourceServerName,
    (typed, stored): (&Form, &Form),
) -> Result<Confirmation, PageError> {
    let mut asked = taking_away(services, session, name).await?;
    let names = |form: &Form| -> Vec<String> {
        form.lines("permissions")
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect()
    };
    let kept = names(typed);
    let gone = names(stored).into_iter().filter(|permission| !kept.contains(permission));
    let mut breaks: Vec<String> =
        gone.map(|permission| format!("It no longer has the permission {permission}.")).collect();
    for (field, text) in [
        (
            "identifier",
            "Its audience changes: new tokens carry the new one, which verifiers have to expect, and whoever asks for the old one is refused.",
        ),
        (
            "signing_algorithm",
            "New tokens are signed with another algorithm, which verifiers have to accept.",
        ),
        ("token_profile", "New tokens have another type, which verifiers have to accept."),
        (
            "token_binding",
            "The binding of new tokens to a key changes: clients that cannot prove one may be refused.",
        ),
    ] {
        if !typed.agrees(stored, field) {
            breaks.push(text.to_owned());
        }
    }
    if !breaks.is_empty() {
        breaks.append(&mut asked.breaks);
    }
    let title = format!("Change {name}, and let others break?");
    Ok(Confirmation { title, button: "Change it", version: None, breaks, ..asked })
}

/// What breaks without it, and what has to be confirmed.
async fn taking_away(
    services: &Shared,
    session: &SignedIn,
    name: &ResourceServerName,
) -> Result<Confirmation, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    let impact = services.admin.resource_server_impact(&session.by, name).await?;
    let server = services.admin.resource_server(&session.by, name).await?;
    let clients = when::many(impact.clients, "client");
    let tokens = when::many(impact.tokens, "token");
    let least = if impact.at_least { "at least " } else { "" };
    let mut breaks = vec![format!("In this hour and the one before, {least}{clients} got {tokens} for it.")];
    for using in &impact.most {
        breaks.push(format!("{} got {}.", using.client_id, when::many(using.tokens, "token")));
    }
    Ok(Confirmation {
        title: format!("Disable {name}?"),
        section: AT,
        breaks,
        button: "Disable it",
        name: Some(("its name", name.to_string())),
        version: Some(server.version),
        back: session.path(&["resource-servers", name.as_str()]),
    })
}

async fn disabling(
    services: &Shared,
    session: &SignedIn,
    name: &ResourceServerName,
) -> Result<Confirmation, PageError> {
    let mut asked = taking_away(services, session, name).await?;
    asked.breaks.push("From now on nobody gets tokens for it. Enabling it undoes that.".to_owned());
    Ok(asked)
}

async fn ask_disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
) -> Result<Response, PageError> {
    Ok(disabling(&services, &session, &name).await?.ask(&session))
}

async fn disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = disabling(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    switch(&services, &session, &name, (version(&form)?, false)).await
}

async fn enable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    let version = services.admin.resource_server(&session.by, &name).await?.version;
    switch(&services, &session, &name, (version, true)).await
}

async fn switch(
    services: &Shared,
    session: &SignedIn,
    name: &ResourceServerName,
    (version, enabled): (i64, bool),
) -> Result<Response, PageError> {
    let update = UpdateResourceServer { enabled: Some(enabled), ..UpdateResourceServer::default() };
    services.admin.update_resource_server(&session.by, name, version, update).await?;
    let word = if enabled { "enabled" } else { "disabled" };
    Ok(done(&session.path(&["resource-servers", name.as_str()]), word))
}

async fn deletion(
    services: &Shared,
    session: &SignedIn,
    name: &ResourceServerName,
) -> Result<Confirmation, PageError> {
    let impact = services.admin.resource_server_impact(&session.by, name).await?;
    let mut asked = taking_away(services, session, name).await?;
    for role in &impact.roles {
        asked.breaks.push(format!("The role {role} gives something there: take that out of it first."));
    }
    for rule in &impact.rules {
        asked.breaks.push(format!("The exchange rule {rule} names it: change or delete that first."));
    }
    Ok(Confirmation { title: format!("Delete {name}?"), button: "Delete it", ..asked })
}

async fn ask_delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
) -> Result<Response, PageError> {
    Ok(deletion(&services, &session, &name).await?.ask(&session))
}

async fn delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = deletion(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.delete_resource_server(&session.by, &name, version(&form)?).await?;
    Ok(done(&session.path(&["resource-servers"]), "deleted"))
}
