//! Creating, changing and deleting a role.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use crate::admin::roles::{CreateRole, RoleView, UpdateRole};
use crate::admin::{AdminError, PageRequest};
use crate::domain::builtin;
use crate::domain::ids::RoleName;
use crate::http::Shared;
use crate::http::pages::change::{Clash, Label, removed, version};
use crate::http::pages::confirm::{Confirmation, leaning};
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with, when};

/// The most permissions that are shown as boxes; more are typed.
const BOXES: usize = 300;

const LABELS: &[Label] = &[("description", "Description"), ("permissions", "What it gives")];

/// How tokens lean on a role.
const HELD: &str = "have something from it";

/// What a permission is called in the form: where, and which.
const PAIR: [&str; 2] = ["resource_server", "permission"];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/new-role", get(ask_create).post(create))
        .route("/roles/{name}/edit", get(ask_change).post(change))
        .route("/roles/{name}/delete", get(ask_delete).post(delete))
}

#[derive(Template)]
#[template(path = "roles/edit.html")]
struct Edit {
    frame: Frame,
    /// A new role has none yet.
    name: Option<RoleName>,
    form: Form,
    clash: Option<Clash>,
    /// Every permission there is: value, text, description; nothing where they are too many for boxes.
    choices: Option<Vec<(String, String, String)>>,
}

// === impl Edit ===

impl Edit {
    async fn new(
        services: &Shared,
        session: &SignedIn,
        name: Option<RoleName>,
        form: Form,
    ) -> Result<Self, PageError> {
        let title = name.as_ref().map_or("Create a role".to_owned(), |name| format!("Change {name}"));
        let choices = choices(services, session).await?;
        Ok(Self { frame: session.frame(title, AT), name, form, clash: None, choices })
    }
}

async fn choices(
    services: &Shared,
    session: &SignedIn,
) -> Result<Option<Vec<(String, String, String)>>, PageError> {
    let all = PageRequest { cursor: None, limit: Some(100) };
    let found = services.admin.resource_servers(&session.by, None, &all).await?;
    let each = found.items.iter().flat_map(|server| {
        server.permissions.iter().map(|given| {
            let value = format!("{} {}", server.name, given.permission);
            let text = format!("{}: {}", server.name, given.permission);
            (value, text, given.description.clone())
        })
    });
    let choices: Vec<_> = each.take(BOXES + 1).collect();
    Ok(Some(choices).filter(|choices| choices.len() <= BOXES && found.next_cursor.is_none()))
}

fn stored(role: &RoleView) -> Form {
    let mut form =
        Form::of([("description", role.description.clone()), ("version", role.version.to_string())]);
    for given in &role.permissions {
        form.put("permissions", format!("{} {}", given.resource_server, given.permission));
    }
    form
}

async fn ask_create(State(services): State<Shared>, session: SignedIn) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::ROLES_WRITE).await?;
    Ok(page(&Edit::new(&services, &session, None, Form::default()).await?))
}

async fn create(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::ROLES_WRITE).await?;
    let wanted: Result<CreateRole, _> =
        Input::new(&form).text("name").text("description").pairs("permissions", PAIR).read();
    let created = match wanted {
        Ok(wanted) => services.admin.create_role(&session.by, wanted).await,
        Err(error) => Err(error),
    };
    match created {
        Ok(role) => Ok(done(&session.path(&["roles", role.name.as_str()]), "created")),
        Err(error) => {
            let form = form.refused_beside("name", error)?;
            let edit = Edit::new(&services, &session, None, form).await?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

async fn ask_change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<RoleName>,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::ROLES_WRITE).await?;
    let form = stored(&services.admin.role(&session.by, &name).await?);
    Ok(page(&Edit::new(&services, &session, Some(name), form).await?))
}

async fn change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<RoleName>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::ROLES_WRITE).await?;
    let before = stored(&services.admin.role(&session.by, &name).await?);
    let confirmation = narrowing(&services, &session, &name, removed(&form, &before, "permissions")).await?;
    if let Err(asked) = confirmation.before(&session, (&form, &before)) {
        return Ok(*asked);
    }
    let wanted: Result<UpdateRole, _> =
        Input::change(&form, &before).text("description").pairs("permissions", PAIR).read();
    let changed = match wanted {
        Ok(update) => services.admin.update_role(&session.by, &name, version(&form)?, update).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(done(&session.path(&["roles", name.as_str()]), "changed")),
        Err(AdminError::Stale { .. }) => {
            let now = stored(&services.admin.role(&session.by, &name).await?);
            let clash = Clash::new(form, &now, LABELS);
            let mut edit = Edit::new(&services, &session, Some(name), clash.form.clone()).await?;
            edit.clash = Some(clash);
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &edit))
        }
        Err(error) => {
            let form = form.refused_beside("permissions", error)?;
            let edit = Edit::new(&services, &session, Some(name), form).await?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

/// What a change takes away, if it does.
async fn narrowing(
    services: &Shared,
    session: &SignedIn,
    name: &RoleName,
    removed: Vec<&str>,
) -> Result<Confirmation, PageError> {
    let mut breaks: Vec<String> =
        removed.into_iter().map(|permission| format!("It no longer gives {permission}.")).collect();
    if !breaks.is_empty() {
        let impact = services.admin.role_impact(&session.by, name).await?;
        breaks.push(format!("{} it, and can do that no more.", when::have(impact.clients, "client")));
        breaks.extend(leaning(&services.admin.role_use(&session.by, name).await?, HELD));
        breaks.push("Tokens that are out keep what they say until they end.".to_owned());
    }
    Ok(Confirmation {
        title: format!("Change {name}, and take something away?"),
        section: AT,
        breaks,
        button: "Change it",
        name: Some(("the role's name", name.to_string())),
        version: None,
        back: session.path(&["roles", name.as_str()]),
    })
}

async fn deletion(services: &Shared, session: &SignedIn, name: &RoleName) -> Result<Confirmation, PageError> {
    services.admin.permit(&session.by, builtin::ROLES_WRITE).await?;
    let impact = services.admin.role_impact(&session.by, name).await?;
    let role = services.admin.role(&session.by, name).await?;
    let mut breaks = match impact.clients {
        0 => vec!["Nobody has it.".to_owned()],
        clients => vec![
            format!("{} it: {}.", when::have(clients, "client"), impact.some.join(", ")),
            "It cannot be deleted before they do not: take it away from them first.".to_owned(),
        ],
    };
    breaks.extend(leaning(&services.admin.role_use(&session.by, name).await?, HELD));
    for given in &impact.gives {
        breaks.push(format!("It gives {} at {}.", given.permission, given.resource_server));
    }
    for rule in &impact.rules {
        breaks.push(format!("The exchange rule {rule} names it: it cannot be deleted before that does not."));
    }
    Ok(Confirmation {
        title: format!("Delete the role {name}?"),
        section: AT,
        breaks,
        button: "Delete it",
        name: Some(("the role's name", name.to_string())),
        version: Some(role.version),
        back: session.path(&["roles", name.as_str()]),
    })
}

async fn ask_delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<RoleName>,
) -> Result<Response, PageError> {
    Ok(deletion(&services, &session, &name).await?.ask(&session))
}

async fn delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<RoleName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = deletion(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.delete_role(&session.by, &name, version(&form)?).await?;
    Ok(done(&session.path(&["roles"]), "deleted"))
}
