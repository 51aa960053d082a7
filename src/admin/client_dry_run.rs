//! Use-case: what a client would get for a token request, and why, without a token.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::effective_permissions::{HeldAt, held_by};
use super::longest_lived::{InForce, longest_lived};
use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::claims::{self, AccessTokenClaims, Occasion};
use crate::domain::client::{GrantType, Registration};
use crate::domain::delegation::MayAct;
use crate::domain::error::{ErrorCode, OAuthError};
use crate::domain::ids::{ClientId, CredentialId, ResourceServerName, RoleName};
use crate::domain::policy::{self, Asked, Decision, Grantee};
use crate::domain::scope::Scope;
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;

/// The most resource servers of one request that is tried.
const MOST_TARGETS: usize = 20;

/// A token request to try.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryToken {
    /// The grant: `client_credentials`. For an exchange there is `POST /exchange-rules/dry-run`.
    #[serde(default = "client_credentials")]
    pub grant_type: GrantType,
    /// What would be asked for, space-separated; all that can be had, when absent.
    #[serde(default)]
    #[schema(example = "orders:read")]
    pub scope: Option<String>,
    /// The resource servers that the request would name with `resource` (RFC 8707).
    #[serde(default)]
    #[schema(example = json!(["https://orders.example"]))]
    pub resource: Vec<String>,
    /// Those that it would name with `audience`.
    #[serde(default)]
    pub audience: Vec<String>,
}

const fn client_credentials() -> GrantType {
    GrantType::ClientCredentials
}

/// What a client would get, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedRequest {
    /// Whether there would be a token.
    pub allowed: bool,
    /// The `error` that the client would be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "invalid_scope")]
    pub error: Option<&'static str>,
    /// The `error_description` that the client would be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
    /// Why, in full: what only administrators are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is asked one after the other. The first that does not pass decides.
    pub steps: Vec<TriedStep>,
    /// What the client's roles give it, whatever is asked.
    pub held: Vec<HeldAt>,
    /// Every scope value that was asked for; without any, all that the client has at the token's resource servers.
    pub scope: Vec<TriedValue>,
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TriedToken>,
}

/// One step of the decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedStep {
    /// Which: `client`, `grant_type`, `credential`, `decision`.
    #[schema(example = "client")]
    pub step: &'static str,
    /// Whether it passes.
    pub passes: bool,
    /// What was found.
    #[schema(example = "the client is in force")]
    pub found: String,
}

/// One scope value, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedValue {
    /// The value.
    #[schema(example = "orders:read")]
    pub value: String,
    /// Whether it would be in the token.
    pub granted: bool,
    /// Why, or why not.
    #[schema(example = "the roles order-reader give it at 'orders'")]
    pub why: String,
}

/// A token that a request would give.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedToken {
    /// What it is for.
    #[schema(example = json!(["https://orders.example"]))]
    pub audience: Vec<String>,
    /// What it allows, space-separated.
    #[schema(example = "orders:read")]
    pub scope: String,
    /// The client's roles that give that.
    pub roles: Vec<RoleName>,
    /// How many seconds it lives.
    pub expires_in: i64,
    /// Everything that bounds its life.
    pub bounds: Vec<TriedBound>,
    /// Whether the request must prove a key, and who wants that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the client")]
    pub needs_proof_for: Option<String>,
    /// What it must bring for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "a DPoP proof (RFC 9449 section 5)")]
    pub needs_proof: Option<String>,
    /// The `typ` of its header.
    #[schema(value_type = String, example = "at+jwt")]
    pub typ: &'static str,
    /// The algorithm that signs it, unless no key of it signs yet.
    #[schema(example = "ES256")]
    pub algorithm: String,
    /// Its claims, with `…` where an identifier is made anew for every token.
    #[schema(value_type = Object)]
    pub claims: AccessTokenClaims,
}

/// Something that bounds the life of a token.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedBound {
    /// What bounds it.
    #[schema(example = "the token lifetime of 'orders'")]
    pub by: String,
    /// The latest end that it allows.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// Whether it is the one that decides: no other is earlier.
    pub decides: bool,
}

// === impl Admin ===

impl Admin {
    /// What a token request of a client would give, with every step. Nothing is issued or recorded. The client is
    /// taken to call from where it may, with that of its credentials that lives longest.
    ///
    /// # Errors
    /// `clients:read` is missing, there is no such client, the request is none, or the database is away.
    pub async fn try_token(
        &self,
        by: &By,
        client_id: &ClientId,
        wanted: TryToken,
    ) -> Result<TriedRequest, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let asked = asked(wanted)?;
        let registration = self.registered(client_id).await?;
        let catalog = self.catalog().await?;
        let now = self.ambient.now();
        let mut steps = Steps::default();
        steps.take("client", check_client(&registration, now));
        steps.take("grant_type", check_grant(&registration));
        let credential = longest_lived(&registration, now);
        let found = |credential: &InForce| format!("the client authenticates with {}", credential.name);
        steps.take("credential", credential.as_ref().map(found).map_err(Clone::clone));
        let credential = credential.ok();
        let ends_at = credential.as_ref().and_then(|credential| credential.ends_at);
        let mut grantee = Grantee::of_client(&catalog, &registration, ends_at);
        let credential_id = credential.as_ref().and_then(|credential| credential.id.as_ref());
        if registration.may_rotate_own_secrets(credential_id.map(CredentialId::as_str)) {
            grantee = grantee.with_own_secrets(&catalog);
        }
        let decided = policy::decide(&catalog, &grantee, &asked, self.longest, now);
        steps.take("decision", decided.as_ref().map(decided_text).map_err(Clone::clone));
        let decided = decided.ok();
        let scope = values(&catalog, &grantee, &asked, decided.as_ref());
        let Steps { steps, refused } = steps;
        let token = decided.filter(|_| refused.is_none()).map(|decision| {
            let mut bounds = self.bounds(&catalog, &decision, now);
            bounds
                .extend(registration.client.expires_at.map(|end| ("the end of the client".to_owned(), end)));
            bounds.extend(credential.and_then(|credential| {
                Some((format!("the end of {}", credential.name), credential.ends_at?))
            }));
            token(&catalog, &registration, &decision, bounds, now)
        });
        let (error, error_description, reason) = match refused {
            Some(error) => {
                let description = error.description();
                (Some(error.code.as_str()), Some(description), Some(error.private.into_owned()))
            }
            None => (None, None, None),
        };
        Ok(TriedRequest {
            allowed: token.is_some(),
            error,
            error_description,
            reason,
            steps,
            held: held_by(&catalog, &registration, now),
            scope,
            token,
        })
    }

    /// What bounds every token for these resource servers.
    fn bounds(&self, catalog: &Catalog, decision: &Decision, now: Timestamp) -> Vec<(String, Timestamp)> {
        let servers =
            decision.audience.iter().filter_map(|audience| catalog.by_identifier(audience.as_str()));
        let mut bounds: Vec<_> = servers
            .map(|server| {
                (format!("the token lifetime of '{}'", server.name), now.plus(server.token_lifetime))
            })
            .collect();
        bounds.push(("tokens.max_lifetime".to_owned(), now.plus(self.longest)));
        bounds
    }
}

/// The steps so far, and the first refusal among them.
#[derive(Default)]
struct Steps {
    steps: Vec<TriedStep>,
    refused: Option<OAuthError>,
}

// === impl Steps ===

impl Steps {
    fn take(&mut self, step: &'static str, outcome: Result<String, OAuthError>) {
        let passes = outcome.is_ok();
        let found = match outcome {
            Ok(found) => found,
            Err(error) => {
                let found = error.private.to_string();
                self.refused.get_or_insert(error);
                found
            }
        };
        self.steps.push(TriedStep { step, passes, found });
    }
}

fn asked(wanted: TryToken) -> Result<Asked, AdminError> {
    if wanted.grant_type != GrantType::ClientCredentials {
        let fix = "use client_credentials, or try an exchange at /exchange-rules/dry-run";
        return Err(AdminError::invalid("grant_type", "it is not one that can be tried here", fix));
    }
    for (field, targets) in [("resource", &wanted.resource), ("audience", &wanted.audience)] {
        if targets.len() > MOST_TARGETS {
            return Err(AdminError::invalid(field, format!("{} of them", targets.len()), "name at most 20"));
        }
        targets.iter().try_for_each(|target| check_text(field, target, 1_000))?;
    }
    let scope = Scope::parse(wanted.scope.as_deref())
        .map_err(|error| AdminError::invalid("scope", "it is malformed", error.public))?;
    Ok(Asked { scope, resources: wanted.resource, audiences: wanted.audience })
}

fn check_client(registration: &Registration, now: Timestamp) -> Result<String, OAuthError> {
    match registration.client.check(now) {
        Ok(()) => Ok("the client is in force".to_owned()),
        Err(why) => Err(OAuthError::invalid_client(format!("the client is {}", why.as_str()))),
    }
}

fn check_grant(registration: &Registration) -> Result<String, OAuthError> {
    let grant = GrantType::ClientCredentials;
    if registration.client.grant_types.contains(&grant) {
        return Ok(format!("the client is registered for the grant type {grant}"));
    }
    Err(OAuthError::new(
        ErrorCode::UnauthorizedClient,
        format!("the client is not registered for the grant type {grant}"),
    ))
}

fn decided_text(decision: &Decision) -> String {
    let audience: Vec<&str> = decision.audience.iter().map(AsRef::as_ref).collect();
    format!("a token for {} with the scope '{}'", audience.join(" and "), decision.scope)
}

/// What became of each value, told from what is registered. What is granted, the decision says alone.
fn values(
    catalog: &Catalog,
    grantee: &Grantee<'_>,
    asked: &Asked,
    decided: Option<&Decision>,
) -> Vec<TriedValue> {
    let targets = decided.map(|decision| decision.audience.as_slice()).unwrap_or_default();
    let targets: Vec<_> =
        targets.iter().filter_map(|audience| catalog.by_identifier(audience.as_str())).collect();
    let all = || {
        let held = targets.iter().filter_map(|server| grantee.holdings.get(&server.uid));
        held.flat_map(|held| held.keys().map(|value| (*value).clone())).collect()
    };
    let values: Scope = asked.scope.clone().unwrap_or_else(all);
    let is_granted = |value: &str| decided.is_some_and(|decision| decision.scope.contains(value));
    let mut told = Vec::new();
    for value in values.iter() {
        let mut given = Vec::new();
        let mut missing = Vec::new();
        let mut defining: Vec<_> =
            catalog.resource_servers().filter(|server| server.permissions.contains_key(value)).collect();
        defining.sort_by(|a, b| a.name.cmp(&b.name));
        for server in defining {
            match grantee.holdings.get(&server.uid).and_then(|held| held.get(value)) {
                Some(roles) => given.push(given_text(&server.name, roles, server.enabled)),
                None => missing.push(format!("no role of the client gives it at '{}'", server.name)),
            }
        }
        let why = match (given.is_empty(), missing.is_empty()) {
            (true, true) => "no resource server defines it".to_owned(),
            _ => given.into_iter().chain(missing).collect::<Vec<_>>().join("; "),
        };
        told.push(TriedValue { value: value.to_string(), granted: is_granted(value.as_str()), why });
    }
    told
}

fn given_text(server: &ResourceServerName, roles: &[&RoleName], enabled: bool) -> String {
    if roles.is_empty() {
        return format!("by its registration at '{server}'");
    }
    let mut names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    names.sort_unstable();
    let noun = if names.len() == 1 { "role" } else { "roles" };
    let disabled = if enabled { "" } else { ", which is disabled" };
    format!("by the {noun} {} at '{server}'{disabled}", names.join(", "))
}

fn token(
    catalog: &Catalog,
    registration: &Registration,
    decision: &Decision,
    bounds: Vec<(String, Timestamp)>,
    now: Timestamp,
) -> TriedToken {
    let client = &registration.client;
    let api = catalog.api().map_or("", |api| api.identifier.as_str());
    // No token has it: whatever stands here cannot be taken for one.
    let made_anew = format!("{}…", client.token_mark());
    let occasion = Occasion {
        issuer: builtin::issuer_of(api),
        client_id: &client.client_id,
        client_kind: client.kind,
        subject: client.client_id.as_str(),
        sub_id: None,
        jti: made_anew.clone(),
        txn: made_anew,
        act: None,
        may_act: client.may_act.as_ref().map(MayAct::client),
        cnf: None,
        now,
    };
    let claims = claims::build(occasion, decision);
    let bounds = bounds.into_iter().map(|(by, ends_at)| TriedBound {
        by,
        ends_at,
        decides: ends_at == decision.expires_at,
    });
    let wishes = policy::bound_for(client, catalog, &decision.audience);
    TriedToken {
        audience: decision.audience.iter().map(ToString::to_string).collect(),
        scope: decision.scope.to_string(),
        roles: decision.roles.clone(),
        expires_in: claims.exp - claims.iat,
        bounds: bounds.collect(),
        needs_proof_for: listed(wishes.iter().map(|(who, _)| who.to_string())),
        needs_proof: listed(wishes.iter().filter_map(|(_, binding)| binding.needs()).map(str::to_owned)),
        typ: decision.profile.token_type().as_str(),
        algorithm: decision.algorithm.to_string(),
        claims,
    }
}

/// What is wanted, each thing once; nothing, where nothing is.
fn listed(wanted: impl Iterator<Item = String>) -> Option<String> {
    let wanted: BTreeSet<_> = wanted.collect();
    (!wanted.is_empty()).then(|| wanted.into_iter().collect::<Vec<_>>().join(" and "))
}
