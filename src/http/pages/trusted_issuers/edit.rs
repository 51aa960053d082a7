//! Registering, changing, switching off and deleting a trusted issuer.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::AT;
use crate::admin::AdminError;
use crate::admin::trusted_issuers::{
    CreateTrustedIssuer, KeyPlace, TrustedIssuerView, UpdateTrustedIssuer, check_typed_keys,
};
use crate::domain::builtin;
use crate::domain::ids::{ClientId, ExchangeRuleName, TrustedIssuerName};
use crate::domain::presets::{PRESETS, Platform, UsualKeys, preset};
use crate::domain::trust::{IssuerProfile, Reuse};
use crate::http::Shared;
use crate::http::pages::change::{Clash, Label, version};
use crate::http::pages::confirm::Confirmation;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named, Query};
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with, when};
use crate::jose::ForeignKey;

/// The fields that say where keys are.
const KEYS: [&str; 4] = ["keys_from", "keys_uri", "keys_file", "keys_jwks"];

/// What decides which tokens count, and what people call it.
const RULES: &[Label] = &[
    ("keys_from", "Keys from"),
    ("keys_uri", "URL of the keys"),
    ("keys_file", "File of the bundle"),
    ("keys_jwks", "Keys"),
    ("algorithms", "Algorithms"),
    ("audience", "Audience"),
    ("max_lifetime", "Longest life"),
    ("leeway", "Clock difference"),
    ("reuse", "Presented again"),
];

const LABELS: &[Label] = &[
    ("description", "Description"),
    RULES[0],
    RULES[1],
    RULES[2],
    RULES[3],
    RULES[4],
    RULES[5],
    RULES[6],
    RULES[7],
    RULES[8],
];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/new-trusted-issuer", get(ask_create).post(create))
        .route("/trusted-issuers/{name}/edit", get(ask_change).post(change))
        .route("/trusted-issuers/{name}/disable", get(ask_disable).post(disable))
        .route("/trusted-issuers/{name}/enable", post(enable))
        .route("/trusted-issuers/{name}/delete", get(ask_delete).post(delete))
}

#[derive(Template)]
#[template(path = "trusted-issuers/edit.html")]
struct Edit {
    frame: Frame,
    /// A new one has none yet.
    name: Option<TrustedIssuerName>,
    form: Form,
    clash: Option<Clash>,
    presets: Vec<(&'static str, &'static str)>,
    /// What is to be known about the platform that was chosen.
    about: Option<&'static str>,
    profiles: Vec<(&'static str, &'static str)>,
    places: Vec<(&'static str, &'static str)>,
    reuses: Vec<(&'static str, &'static str)>,
    algorithms: Vec<(&'static str, &'static str, &'static str)>,
}

// === impl Edit ===

impl Edit {
    fn new(session: &SignedIn, name: Option<TrustedIssuerName>, form: Form) -> Self {
        let title = name.as_ref().map_or("Trust an issuer".to_owned(), |name| format!("Change {name}"));
        let place = |place: &KeyPlace| {
            let text = match place {
                KeyPlace::Discovery => "Where the issuer's metadata says",
                KeyPlace::JwksUri => "At a URL: a JWK Set",
                KeyPlace::Inline => "Registered here",
                KeyPlace::BundleFile => "SPIFFE bundle in a file",
                KeyPlace::BundleEndpoint => "SPIFFE bundle at a URL",
            };
            (place.as_str(), text)
        };
        let presets = PRESETS.iter().map(|preset| (preset.platform.as_str(), preset.title));
        Self {
            frame: session.frame(title, AT),
            clash: None,
            presets: std::iter::once(("", "Another platform")).chain(presets).collect(),
            about: Platform::from_word(form.text("preset")).map(|platform| preset(platform).about),
            profiles: IssuerProfile::ALL.iter().map(|one| (one.as_str(), super::profile(*one))).collect(),
            places: KeyPlace::ALL.iter().map(place).collect(),
            reuses: Reuse::ALL.iter().map(|one| (one.as_str(), super::reuse(*one))).collect(),
            algorithms: ForeignKey::ALGORITHMS.iter().map(|one| (one.as_str(), one.as_str(), "")).collect(),
            name,
            form,
        }
    }
}

/// A form that nobody has filled in, but for what is known about a platform.
fn empty(platform: Option<Platform>) -> Form {
    let known = platform.map(preset);
    let keys = match known.map(|known| known.keys) {
        Some(UsualKeys::BundleEndpoint) => KeyPlace::BundleEndpoint,
        _ => KeyPlace::Discovery,
    };
    let mut form = Form::of([
        ("preset", platform.map_or("", Platform::as_str).to_owned()),
        ("name", platform.map_or("", Platform::as_str).to_owned()),
        ("profile", known.map_or(IssuerProfile::Jwt, |known| known.profile).as_str().to_owned()),
        ("issuer", known.and_then(|known| known.issuer).unwrap_or_default().to_owned()),
        ("keys_from", keys.as_str().to_owned()),
        ("max_lifetime", known.map_or(86_400, |known| known.max_lifetime).to_string()),
        ("leeway", "30".to_owned()),
        ("reuse", known.map_or(Reuse::Once, |known| known.reuse).as_str().to_owned()),
    ]);
    for algorithm in ForeignKey::ALGORITHMS {
        form.put("algorithms", algorithm.as_str());
    }
    form
}

fn stored(issuer: &TrustedIssuerView) -> Form {
    let set = issuer.keys.jwks.as_ref().and_then(|set| serde_json::to_string_pretty(set).ok());
    let mut form = Form::of([
        ("description", issuer.description.clone()),
        ("keys_from", issuer.keys.from.as_str().to_owned()),
        ("keys_uri", issuer.keys.uri.clone().unwrap_or_default()),
        ("keys_file", issuer.keys.file.clone().unwrap_or_default()),
        ("keys_jwks", set.unwrap_or_default()),
        ("audience", issuer.audience.clone().unwrap_or_default()),
        ("max_lifetime", issuer.max_lifetime.to_string()),
        ("leeway", issuer.leeway.to_string()),
        ("reuse", issuer.reuse.as_str().to_owned()),
        ("version", issuer.version.to_string()),
    ]);
    for algorithm in &issuer.algorithms {
        form.put("algorithms", algorithm.as_str());
    }
    form
}

fn fields<'f>(input: Input<'f>, form: &Form) -> Input<'f> {
    input
        .text("description")
        .made_of("keys", &KEYS, keys(form))
        .ticked("algorithms")
        .optional("audience")
        .count("max_lifetime")
        .count("leeway")
        .text("reuse")
}

/// Where keys are, as the API takes it: fields that are empty were not meant.
fn keys(form: &Form) -> Value {
    let mut keys = Map::from_iter([("from".to_owned(), json!(form.text("keys_from")))]);
    for (member, field) in [("uri", "keys_uri"), ("file", "keys_file")] {
        let text = form.text(field).trim();
        if !text.is_empty() {
            keys.insert(member.to_owned(), json!(text));
        }
    }
    let set = form.text("keys_jwks").trim();
    if !set.is_empty() {
        // What is no JSON is no JWK Set either, and is told as such.
        keys.insert("jwks".to_owned(), serde_json::from_str(set).unwrap_or_else(|_| json!("")));
    }
    Value::Object(keys)
}

/// The form with what is wrong beside its fields. Keys that are refused are not shown again: they may be private.
fn refused(mut form: Form, beside: &'static str, error: AdminError) -> Result<Form, PageError> {
    let AdminError::Invalid(errors) = error else { return form.refused_beside(beside, error) };
    let errors = errors.into_iter().map(|error| {
        let field = match &*error.field {
            "keys" => "keys_from".to_owned(),
            other => other.replace('.', "_"),
        };
        error.in_field(field)
    });
    let errors: Vec<_> = errors.collect();
    if errors.iter().any(|error| error.field == "keys_jwks") {
        form.replace("keys_jwks", "");
    }
    form.refused(AdminError::Invalid(errors))
}

/// The form without its keys, if they are none that may be shown again. This comes before everything else, whatever
/// else is wrong: a confirmation, both versions side by side and the form itself repeat what was typed.
fn without_unfit_keys(form: Form, profile: IssuerProfile) -> Result<Form, Form> {
    let mut typed = form.all("keys_jwks").iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let Some(error) = typed.find_map(|text| check_typed_keys(profile, text).err()) else {
        return Ok(form);
    };
    let mut form = form;
    form.replace("keys_jwks", "");
    Err(form.with_error(error.in_field("keys_jwks")))
}

async fn ask_create(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::TRUSTED_ISSUERS_WRITE).await?;
    let platform = query.given("preset").and_then(|word| Platform::from_word(&word));
    Ok(page(&Edit::new(&session, None, empty(platform))))
}

async fn create(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::TRUSTED_ISSUERS_WRITE).await?;
    let profile = form.text("profile").parse().unwrap_or(IssuerProfile::Jwt);
    let form = match without_unfit_keys(form, profile) {
        Ok(form) => form,
        Err(form) => {
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Edit::new(&session, None, form)));
        }
    };
    let wanted: Result<CreateTrustedIssuer, _> =
        fields(Input::new(&form), &form).text("name").text("profile").text("issuer").read();
    let created = match wanted {
        Ok(wanted) => services.admin.create_trusted_issuer(&session.by, wanted).await,
        Err(error) => Err(error),
    };
    match created {
        Ok(issuer) => Ok(done(&session.path(&["trusted-issuers", issuer.name.as_str()]), "registered")),
        Err(error) => {
            let edit = Edit::new(&session, None, refused(form, "name", error)?);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

async fn ask_change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::TRUSTED_ISSUERS_WRITE).await?;
    let form = stored(&services.admin.trusted_issuer(&session.by, &name).await?);
    Ok(page(&Edit::new(&session, Some(name), form)))
}

async fn change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::TRUSTED_ISSUERS_WRITE).await?;
    let issuer = services.admin.trusted_issuer(&session.by, &name).await?;
    let form = match without_unfit_keys(form, issuer.profile) {
        Ok(form) => form,
        Err(form) => {
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Edit::new(&session, Some(name), form)));
        }
    };
    let before = stored(&issuer);
    let confirmation = changing(&services, &session, &name, (&form, &before)).await?;
    if let Err(asked) = confirmation.before(&session, (&form, &before)) {
        return Ok(*asked);
    }
    let changed = match fields(Input::change(&form, &before), &form).read::<UpdateTrustedIssuer>() {
        Ok(update) => services.admin.update_trusted_issuer(&session.by, &name, version(&form)?, update).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(done(&session.path(&["trusted-issuers", name.as_str()]), "changed")),
        Err(AdminError::Stale { .. }) => {
            let now = stored(&services.admin.trusted_issuer(&session.by, &name).await?);
            let clash = Clash::new(form, &now, LABELS);
            let mut edit = Edit::new(&session, Some(name), clash.form.clone());
            edit.clash = Some(clash);
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &edit))
        }
        Err(error) => {
            let edit = Edit::new(&session, Some(name), refused(form, "description", error)?);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

async fn ask_disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Response, PageError> {
    Ok(disabling(&services, &session, &name).await?.ask(&session))
}

async fn disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = disabling(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.set_trusted_issuer_enabled(&session.by, &name, false).await?;
    Ok(done(&session.path(&["trusted-issuers", name.as_str()]), "disabled"))
}

async fn enable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Response, PageError> {
    services.admin.set_trusted_issuer_enabled(&session.by, &name, true).await?;
    Ok(done(&session.path(&["trusted-issuers", name.as_str()]), "enabled"))
}

async fn ask_delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Response, PageError> {
    Ok(taking_away(&services, &session, &name).await?.ask(&session))
}

async fn delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = taking_away(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.delete_trusted_issuer(&session.by, &name, version(&form)?).await?;
    Ok(done(&session.path(&["trusted-issuers"]), "deleted"))
}

/// Whom its tokens prove and which exchange rules they are for, in sentences.
async fn proven(
    services: &Shared,
    session: &SignedIn,
    name: &TrustedIssuerName,
) -> Result<Vec<String>, PageError> {
    let used = services.admin.trusted_issuer_impact(&session.by, name).await?;
    let mut told = Vec::new();
    if used.clients == 0 {
        told.push("No client has a federated credential of it.".to_owned());
    } else {
        let some: Vec<&str> = used.some.iter().take(10).map(ClientId::as_str).collect();
        let among = if used.clients > some.len() as u64 { "Among them: " } else { "" };
        told.push(format!("Its tokens prove {}.", when::many(used.clients, "client")));
        told.push(format!("{among}{}.", some.join(", ")));
    }
    if !used.rules.is_empty() {
        let rules: Vec<&str> = used.rules.iter().map(ExchangeRuleName::as_str).collect();
        told.push(format!("Exchange rules that name it: {}.", rules.join(", ")));
    }
    Ok(told)
}

/// What breaks without it, and what has to be confirmed.
async fn taking_away(
    services: &Shared,
    session: &SignedIn,
    name: &TrustedIssuerName,
) -> Result<Confirmation, PageError> {
    services.admin.permit(&session.by, builtin::TRUSTED_ISSUERS_WRITE).await?;
    let issuer = services.admin.trusted_issuer(&session.by, name).await?;
    let mut breaks = vec!["Its tokens count nowhere from the next second on.".to_owned()];
    breaks.extend(proven(services, session, name).await?);
    breaks.push(
        "Tokens that clients got with one live on until they end; those about somebody from elsewhere are no longer \
         answered as active."
            .to_owned(),
    );
    Ok(Confirmation {
        title: format!("Delete the trusted issuer {name}?"),
        section: AT,
        breaks,
        button: "Delete it",
        name: Some(("the issuer's name", name.to_string())),
        version: Some(issuer.version),
        back: session.path(&["trusted-issuers", name.as_str()]),
    })
}

async fn disabling(
    services: &Shared,
    session: &SignedIn,
    name: &TrustedIssuerName,
) -> Result<Confirmation, PageError> {
    let mut asked = taking_away(services, session, name).await?;
    asked.breaks.push("Enabling it undoes that.".to_owned());
    let title = format!("Disable the trusted issuer {name}?");
    Ok(Confirmation { title, button: "Disable it", version: None, ..asked })
}

/// What a change may break, if it may.
async fn changing(
    services: &Shared,
    session: &SignedIn,
    name: &TrustedIssuerName,
    (typed, stored): (&Form, &Form),
) -> Result<Confirmation, PageError> {
    let other = RULES.iter().filter(|(field, _)| !typed.agrees(stored, field));
    let mut breaks: Vec<String> = other
        .map(|(_, label)| format!("{label}: another value decides which of its tokens count."))
        .collect();
    if !breaks.is_empty() {
        breaks.extend(proven(services, session, name).await?);
    }
    Ok(Confirmation {
        title: format!("Change the trusted issuer {name}?"),
        section: AT,
        breaks,
        button: "Change it",
        name: Some(("the issuer's name", name.to_string())),
        version: None,
        back: session.path(&["trusted-issuers", name.as_str(), "edit"]),
    })
}
