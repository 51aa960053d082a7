//! Creating, changing, switching off and deleting an exchange rule.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::AT;
use crate::admin::exchange_rules::{CreateExchangeRule, ExchangeRuleView, PartyName, UpdateExchangeRule};
use crate::admin::federated_credentials::ClaimCondition;
use crate::admin::token_use::TokenUse;
use crate::admin::{AdminError, PageRequest};
use crate::domain::builtin;
use crate::domain::exchange_rule::{ExchangeMode, USUAL_ACTORS};
use crate::domain::ids::ExchangeRuleName;
use crate::http::Shared;
use crate::http::pages::change::{Clash, Label, removed, version};
use crate::http::pages::confirm::{Confirmation, leaning};
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with, when};

/// How many resource servers are suggested.
const SUGGESTED: u32 = 200;

/// How tokens lean on a rule.
const EXCHANGED: &str = "were exchanged by it";

const LIVE_ON: &str = "Tokens that were exchanged by it live on until they end.";

const LABELS: &[Label] = &[
    ("description", "Description"),
    ("caller_is", "The caller is a"),
    ("caller", "Caller"),
    ("subject_is", "The subject is a"),
    ("subject", "Subject"),
    ("subject_conditions", "Conditions on the subject's token"),
    ("actor", "Issuer of the actor token"),
    ("actor_conditions", "Conditions on the actor token"),
    ("permissions", "Permissions"),
    ("sources", "Sources"),
    ("mode", "Mode"),
    ("max_depth", "Actors"),
    ("token_lifetime", "Token lifetime"),
    ("expires_at", "End"),
];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/new-exchange-rule", get(ask_create).post(create))
        .route("/exchange-rules/{name}/edit", get(ask_change).post(change))
        .route("/exchange-rules/{name}/disable", get(ask_disable).post(disable))
        .route("/exchange-rules/{name}/enable", post(enable))
        .route("/exchange-rules/{name}/delete", get(ask_delete).post(delete))
}

#[derive(Template)]
#[template(path = "exchange-rules/edit.html")]
struct Edit {
    frame: Frame,
    /// A new one has none yet.
    name: Option<ExchangeRuleName>,
    form: Form,
    clash: Option<Clash>,
    ways: [(&'static str, &'static str); 2],
    subjects: [(&'static str, &'static str); 3],
    modes: Vec<(&'static str, &'static str)>,
    resource_servers: Vec<String>,
}

// === impl Edit ===

impl Edit {
    async fn new(
        services: &Shared,
        session: &SignedIn,
        name: Option<ExchangeRuleName>,
        form: Form,
    ) -> Result<Self, PageError> {
        let title =
            name.as_ref().map_or("Create an exchange rule".to_owned(), |name| format!("Change {name}"));
        let mode = |mode: &ExchangeMode| match mode {
            ExchangeMode::Delegation => (mode.as_str(), "Delegation: the token says who acts for whom"),
            ExchangeMode::Impersonation => (mode.as_str(), "Impersonation: the caller does not show in it"),
        };
        let page = PageRequest { cursor: None, limit: Some(SUGGESTED) };
        let servers = services.admin.resource_servers(&session.by, None, &page).await?;
        Ok(Self {
            frame: session.frame(title, AT),
            name,
            form,
            clash: None,
            ways: [("client", "One client"), ("role", "Whoever has a role")],
            subjects: [
                ("client", "One client"),
                ("role", "Whoever has a role"),
                ("trusted_issuer", "Somebody from elsewhere"),
            ],
            modes: ExchangeMode::ALL.iter().map(mode).collect(),
            resource_servers: servers.items.into_iter().map(|server| server.name.to_string()).collect(),
        })
    }
}

fn empty() -> Form {
    Form::of([
        ("caller_is", "client".to_owned()),
        ("subject_is", "client".to_owned()),
        ("mode", ExchangeMode::Delegation.as_str().to_owned()),
        ("max_depth", USUAL_ACTORS.to_string()),
    ])
}

fn named(party: &PartyName) -> (String, String) {
    match (&party.client, &party.role) {
        (_, Some(role)) => ("role".to_owned(), role.to_string()),
        (client, None) => ("client".to_owned(), client.as_ref().map(ToString::to_string).unwrap_or_default()),
    }
}

fn stored(rule: &ExchangeRuleView) -> Form {
    let (caller_is, caller) = named(&rule.caller);
    let party = PartyName { client: rule.subject.client.clone(), role: rule.subject.role.clone() };
    let (subject_is, subject) = match &rule.subject.trusted_issuer {
        Some(issuer) => ("trusted_issuer".to_owned(), issuer.to_string()),
        None => named(&party),
    };
    let actor = rule.actor.as_ref();
    let permissions: Vec<_> = rule.permissions.iter().map(ToString::to_string).collect();
    let sources: Vec<_> = rule.sources.iter().map(ToString::to_string).collect();
    Form::of([
        ("description", rule.description.clone()),
        ("caller_is", caller_is),
        ("caller", caller),
        ("subject_is", subject_is),
        ("subject", subject),
        ("subject_conditions", lines(rule.subject.conditions.as_deref().unwrap_or_default())),
        ("actor", actor.map(|actor| actor.trusted_issuer.to_string()).unwrap_or_default()),
        ("actor_conditions", actor.map(|actor| lines(&actor.conditions)).unwrap_or_default()),
        ("permissions", permissions.join("\n")),
        ("sources", sources.join("\n")),
        ("mode", rule.mode.as_str().to_owned()),
        ("max_depth", rule.max_depth.to_string()),
        ("token_lifetime", rule.token_lifetime.map(|seconds| seconds.to_string()).unwrap_or_default()),
        ("expires_at", when::field(rule.expires_at)),
        ("version", rule.version.to_string()),
    ])
}

/// Conditions as they are written in a form: the claim and what it must be, one on a line.
fn lines(conditions: &[ClaimCondition]) -> String {
    let lines: Vec<_> = conditions.iter().map(|it| format!("{} = {}", it.claim, it.value)).collect();
    lines.join("\n")
}

fn fields(input: Input<'_>) -> Input<'_> {
    input
        .text("description")
        .party("caller", "caller_is")
        .subject("subject", "subject_is", "subject_conditions")
        .outside("actor", "actor_conditions")
        .lines("permissions")
        .lines("sources")
        .text("mode")
        .count("max_depth")
        .number("token_lifetime")
        .time("expires_at")
}

async fn ask_create(State(services): State<Shared>, session: SignedIn) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::EXCHANGE_RULES_WRITE).await?;
    Ok(page(&Edit::new(&services, &session, None, empty()).await?))
}

async fn create(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::EXCHANGE_RULES_WRITE).await?;
    let wanted: Result<CreateExchangeRule, _> =
        fields(Input::new(&form)).text("name").text("resource_server").read();
    let created = match wanted {
        Ok(wanted) => services.admin.create_exchange_rule(&session.by, wanted).await,
        Err(error) => Err(error),
    };
    match created {
        Ok(rule) => Ok(done(&session.path(&["exchange-rules", rule.name.as_str()]), "created")),
        Err(error) => {
            let edit = Edit::new(&services, &session, None, form.refused_beside("name", error)?).await?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

async fn ask_change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::EXCHANGE_RULES_WRITE).await?;
    let form = stored(&services.admin.exchange_rule(&session.by, &name).await?);
    Ok(page(&Edit::new(&services, &session, Some(name), form).await?))
}

async fn change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::EXCHANGE_RULES_WRITE).await?;
    let before = stored(&services.admin.exchange_rule(&session.by, &name).await?);
    let confirmation = narrowing(&services, &session, &name, (&form, &before)).await?;
    if let Err(asked) = confirmation.before(&session, (&form, &before)) {
        return Ok(*asked);
    }
    let changed = match fields(Input::change(&form, &before)).read::<UpdateExchangeRule>() {
        Ok(update) => services.admin.update_exchange_rule(&session.by, &name, version(&form)?, update).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(done(&session.path(&["exchange-rules", name.as_str()]), "changed")),
        Err(AdminError::Stale { .. }) => {
            let now = stored(&services.admin.exchange_rule(&session.by, &name).await?);
            let clash = Clash::new(form, &now, LABELS);
            let mut edit = Edit::new(&services, &session, Some(name), clash.form.clone()).await?;
            edit.clash = Some(clash);
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &edit))
        }
        Err(error) => {
            let form = form.refused_beside("description", error)?;
            let edit = Edit::new(&services, &session, Some(name), form).await?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
        }
    }
}

async fn ask_disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Response, PageError> {
    Ok(disabling(&services, &session, &name).await?.ask(&session))
}

async fn disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = disabling(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.set_exchange_rule_enabled(&session.by, &name, false).await?;
    Ok(done(&session.path(&["exchange-rules", name.as_str()]), "disabled"))
}

async fn enable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Response, PageError> {
    services.admin.set_exchange_rule_enabled(&session.by, &name, true).await?;
    Ok(done(&session.path(&["exchange-rules", name.as_str()]), "enabled"))
}

/// What breaks without it, and what has to be confirmed.
async fn taking_away(
    services: &Shared,
    session: &SignedIn,
    name: &ExchangeRuleName,
) -> Result<Confirmation, PageError> {
    services.admin.permit(&session.by, builtin::EXCHANGE_RULES_WRITE).await?;
    let rule = services.admin.exchange_rule(&session.by, name).await?;
    let (caller, subject) = (super::party(&rule.caller), super::subject(&rule.subject));
    let mut breaks = leaning(&used(services, session, name).await?, EXCHANGED);
    breaks.push(format!(
        "The caller ({caller}) can no longer exchange a token of the subject ({subject}) for one at {}, unless another rule allows it.",
        rule.resource_server
    ));
    breaks.push(LIVE_ON.to_owned());
    Ok(Confirmation {
        title: format!("Delete the exchange rule {name}?"),
        section: AT,
        breaks,
        button: "Delete it",
        name: Some(("the rule's name", name.to_string())),
        version: Some(rule.version),
        back: session.path(&["exchange-rules", name.as_str()]),
    })
}

async fn used(services: &Shared, session: &SignedIn, name: &ExchangeRuleName) -> Result<TokenUse, PageError> {
    Ok(services.admin.exchange_rule_use(&session.by, name).await?)
}

async fn disabling(
    services: &Shared,
    session: &SignedIn,
    name: &ExchangeRuleName,
) -> Result<Confirmation, PageError> {
    let mut asked = taking_away(services, session, name).await?;
    asked.breaks.push("Enabling it undoes that.".to_owned());
    let title = format!("Disable the exchange rule {name}?");
    Ok(Confirmation { title, button: "Disable it", version: None, ..asked })
}

/// What a change takes away, if it does.
async fn narrowing(
    services: &Shared,
    session: &SignedIn,
    name: &ExchangeRuleName,
    (typed, stored): (&Form, &Form),
) -> Result<Confirmation, PageError> {
    let mut breaks = Vec::new();
    for permission in removed(typed, stored, "permissions") {
        breaks.push(format!("It no longer allows {permission}."));
    }
    for source in removed(typed, stored, "sources") {
        breaks.push(format!(
            "Tokens of {source} are no longer exchanged by it, unless the caller operates that."
        ));
    }
    for (field, text) in [
        ("caller", "Another may exchange by it than before; who did no longer may."),
        ("subject", "It is about another identity than before; that of before is no longer passed on by it."),
        ("subject_conditions", "Other tokens of the issuer count than before."),
        ("actor", "Another acts by it than before, or an actor token is wanted now."),
        ("actor_conditions", "Other actor tokens count than before."),
        ("mode", "Its mode changes: whoever reads act in the new tokens finds another, or none."),
        ("expires_at", "Its end changes."),
    ] {
        let way = if field == "caller" { "caller_is" } else { "subject_is" };
        let of_party = ["caller", "subject"].contains(&field) && !typed.agrees(stored, way);
        let never = field == "expires_at" && typed.text(field).is_empty();
        if (of_party || !typed.agrees(stored, field)) && !never {
            breaks.push(text.to_owned());
        }
    }
    if lowered(typed, stored, "max_depth") {
        breaks.push("Fewer may act one for another than before: longer chains are refused.".to_owned());
    }
    if lowered(typed, stored, "token_lifetime") {
        breaks
            .push("New tokens last less long than before: callers have to exchange again sooner.".to_owned());
    }
    if !breaks.is_empty() {
        breaks.extend(leaning(&used(services, session, name).await?, EXCHANGED));
        breaks.push(LIVE_ON.to_owned());
    }
    Ok(Confirmation {
        title: format!("Change {name}, and take something away?"),
        section: AT,
        breaks,
        button: "Change it",
        name: Some(("the rule's name", name.to_string())),
        version: None,
        back: session.path(&["exchange-rules", name.as_str()]),
    })
}

/// Whether a number is less than before; none at all is more than any.
fn lowered(typed: &Form, stored: &Form, field: &str) -> bool {
    let number = |form: &Form| form.text(field).trim().parse::<u64>().ok();
    number(typed).is_some_and(|typed| number(stored).is_none_or(|stored| typed < stored))
}

async fn ask_delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Response, PageError> {
    Ok(taking_away(&services, &session, &name).await?.ask(&session))
}

async fn delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = taking_away(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.delete_exchange_rule(&session.by, &name, version(&form)?).await?;
    Ok(done(&session.path(&["exchange-rules"]), "deleted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_before_is_lowered() {
        let form = |text: &str| Form::of([("max_depth", text.to_owned())]);
        for (typed, stored, less) in [
            ("3", "5", true),
            ("5", "5", false),
            ("6", "5", false),
            ("60", "", true),
            ("", "60", false),
            ("x", "5", false),
        ] {
            assert_eq!(lowered(&form(typed), &form(stored), "max_depth"), less, "{typed} for {stored}");
        }
    }
}
