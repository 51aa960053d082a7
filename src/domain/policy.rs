//! The decision: what a token may carry (DESIGN §3). Pure, and the only place that grants anything.
//!
//! A token carries what was asked ∩ what the grantee holds, at resource servers that are in force,
//! until the earliest end of anything that stands behind it. Three rules hold whatever is asked, and
//! are property-tested below:
//!
//! 1. every granted permission is held at *every* audience of the token that defines it;
//! 2. every audience of the token is backed by at least one granted permission there;
//! 3. nothing that was asked for is silently left out.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::binding::TokenBinding;
use super::catalog::{Catalog, Holdings};
use super::client::{Client, Registration};
use super::error::{ErrorCode, OAuthError};
use super::ids::{Identifier, Permission, ResourceServerUid, RoleName};
use super::resource::{ResourceServer, TokenProfile};
use super::scope::Scope;
use super::time::Timestamp;
use crate::jose::Algorithm;

/// What a token request asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `scope`; absent means whatever can be had.
    pub scope: Option<Scope>,
    /// `resource` values (RFC 8707): absolute URIs.
    pub resources: Vec<String>,
    /// `audience` values: identifiers of any form.
    pub audiences: Vec<String>,
}

/// Whom the token is for, as the policy sees it. A grant makes it; it is the ceiling of all that follows.
#[derive(Clone, Debug)]
pub struct Grantee<'a> {
    /// What it holds, and through which roles.
    pub holdings: Holdings<'a>,
    /// The audience when the request names none.
    pub default_resource_server: Option<ResourceServerUid>,
    /// The earliest end of what stands behind it: the client, its secret, a subject token.
    pub not_after: Option<Timestamp>,
    /// Whether somebody's identity is passed on: then what ends may be the subject's or the rule's.
    pub passed_on: bool,
}

/// Who wants a token to be bound to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundFor {
    /// The client that gets it.
    Client,
    /// A resource server that it is for.
    ResourceServer(Identifier),
}

/// What a token will carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The identifiers of its resource servers.
    pub audience: Vec<Identifier>,
    /// The granted permissions.
    pub scope: Scope,
    /// The roles that give at least one of them, by name.
    pub roles: Vec<RoleName>,
    /// The end of the token.
    pub expires_at: Timestamp,
    /// The shape of the token.
    pub profile: TokenProfile,
    /// What it is signed with.
    pub algorithm: Algorithm,
    /// What it is signed with instead while no key of that algorithm signs yet.
    pub algorithm_before: Option<Algorithm>,
}

/// Decides what the grantee gets of what was asked, at `now`.
///
/// # Errors
/// `invalid_target` or `invalid_scope`, with a text that tells the caller what to name, and a private
/// reason that tells the administrator what is missing.
pub fn decide(
    catalog: &Catalog,
    grantee: &Grantee<'_>,
    asked: &Asked,
    longest: Duration,
    now: Timestamp,
) -> Result<Decision, OAuthError> {
    let held = Held { catalog, grantee, now };
    let targets = held.targets(asked)?;
    let scope = held.narrow(asked.scope.as_ref(), &targets)?;
    for target in &targets {
        if !held.at(target).any(|permission| scope.contains(permission.as_str())) {
            return Err(invalid_target(format!(
                "nothing would be allowed at '{}'; leave it out, or ask for a scope value that it defines",
                target.identifier
            )));
        }
    }
    let (profile, algorithm) = one_shape(&targets)?;
    let mut before = targets.iter().map(|target| target.signing_algorithm_before);
    let first = before.next().flatten();
    Ok(Decision {
        audience: targets.iter().map(|target| target.identifier.clone()).collect(),
        roles: held.contributing_roles(&scope, &targets),
        scope,
        expires_at: expiry(&targets, grantee, longest, now)?,
        profile,
        algorithm,
        algorithm_before: first.filter(|_| before.all(|other| other == first)),
    })
}

/// Who wants a client's token for this audience to be bound, and how; each of them must be served.
#[must_use]
pub fn bound_for(
    client: &Client,
    catalog: &Catalog,
    audience: &[Identifier],
) -> Vec<(BoundFor, TokenBinding)> {
    let mut wishes = Vec::new();
    if client.token_binding != TokenBinding::Optional {
        wishes.push((BoundFor::Client, client.token_binding));
    }
    let servers = audience.iter().filter_map(|identifier| catalog.by_identifier(identifier.as_str()));
    let strict = servers.filter(|server| server.token_binding != TokenBinding::Optional);
    wishes.extend(
        strict.map(|server| (BoundFor::ResourceServer(server.identifier.clone()), server.token_binding)),
    );
    wishes
}

/// A grantee's holdings at the resource servers that are in force.
struct Held<'a> {
    catalog: &'a Catalog,
    grantee: &'a Grantee<'a>,
    now: Timestamp,
}

type Target = Arc<ResourceServer>;

// === impl Grantee ===

impl<'a> Grantee<'a> {
    /// A client that asks for itself, with a credential that ends then.
    #[must_use]
    pub fn of_client(
        catalog: &'a Catalog,
        registration: &Registration,
        credential_ends_at: Option<Timestamp>,
    ) -> Self {
        Self {
            holdings: catalog.holdings(&registration.roles),
            default_resource_server: registration.client.default_resource_server,
            not_after: [registration.client.expires_at, credential_ends_at].into_iter().flatten().min(),
            passed_on: false,
        }
    }

    /// The same, when it may rotate its own secrets.
    #[must_use]
    pub fn with_own_secrets(self, catalog: &'a Catalog) -> Self {
        Self { holdings: catalog.with_own_secrets(self.holdings), ..self }
    }
}

// === impl BoundFor ===

impl fmt::Display for BoundFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("the client"),
            Self::ResourceServer(identifier) => write!(f, "'{identifier}'"),
        }
    }
}

// === impl Held ===

impl Held<'_> {
    /// The permissions held at one resource server.
    fn at(&self, target: &Target) -> impl Iterator<Item = &Permission> {
        self.grantee.holdings.get(&target.uid).into_iter().flat_map(|held| held.keys().copied())
    }

    fn holds(&self, target: &Target, permission: &Permission) -> bool {
        self.grantee.holdings.get(&target.uid).is_some_and(|held| held.contains_key(permission))
    }

    fn has_by_a_role(&self, target: &Target) -> bool {
        let held = self.grantee.holdings.get(&target.uid);
        held.is_some_and(|held| held.values().any(|roles| !roles.is_empty()))
    }

    /// Every resource server where something is held, in force, ordered by name for stable answers.
    fn reachable(&self) -> Vec<&Target> {
        let mut reachable: Vec<_> = self
            .grantee
            .holdings
            .keys()
            .filter_map(|uid| self.catalog.resource_server(*uid))
            .filter(|server| server.check(self.now).is_ok())
            .collect();
        reachable.sort_by(|a, b| a.name.cmp(&b.name));
        reachable
    }

    /// The resource servers that the token is for: the named ones, else those that the scope decides
    /// (RFC 9068 §3), else the default or only one.
    fn targets(&self, asked: &Asked) -> Result<Vec<Target>, OAuthError> {
        if let Some(fault) = asked.resources.iter().find_map(|resource| malformed_resource(resource)) {
            return Err(fault);
        }
        let mut named: Vec<Target> = Vec::new();
        for identifier in asked.resources.iter().chain(&asked.audiences) {
            let target = self.named(identifier)?;
            if !named.iter().any(|other| other.uid == target.uid) {
                named.push(target);
            }
        }
        if !named.is_empty() {
            return Ok(named);
        }
        let one = match &asked.scope {
            Some(scope) => self.implied_by(scope)?,
            None => self.default_or_only()?,
        };
        Ok(vec![one])
    }

    /// The named resource server. The public text is the same whether it is unknown, disabled or not
    /// granted, so that asking does not map out what is registered.
    fn named(&self, identifier: &str) -> Result<Target, OAuthError> {
        let refuse = |why: String| {
            invalid_target(format!(
                "'{}' is not a resource server that this client may get tokens for",
                identifier.chars().take(100).collect::<String>()
            ))
            .because(why)
        };
        let target = self
            .catalog
            .by_identifier(identifier)
            .ok_or_else(|| refuse(format!("no resource server has the identifier '{identifier}'")))?;
        if let Err(why) = target.check(self.now) {
            return Err(refuse(format!("resource server '{}' is {}", target.name, why.as_str())));
        }
        if self.at(target).next().is_none() {
            return Err(refuse(format!("no role of the client gives a permission at '{}'", target.name)));
        }
        Ok(Arc::clone(target))
    }

    /// The one resource server that all of `scope` belongs to.
    fn implied_by(&self, scope: &Scope) -> Result<Target, OAuthError> {
        let reachable = self.reachable();
        if let Some(value) =
            scope.iter().find(|value| !reachable.iter().any(|server| self.holds(server, value)))
        {
            return Err(ungranted(value));
        }
        let candidates: Vec<_> = reachable
            .into_iter()
            .filter(|server| scope.iter().all(|value| self.holds(server, value)))
            .collect();
        match candidates.as_slice() {
            [only] => Ok(Arc::clone(only)),
            [] => Err(OAuthError::new(
                ErrorCode::InvalidScope,
                "the scope values belong to different resource servers; name them with resource, or ask separately",
            )),
            several => self.default_among(several).ok_or_else(|| ambiguous(several)),
        }
    }

    fn default_or_only(&self) -> Result<Target, OAuthError> {
        let reachable = self.reachable();
        if let Some(uid) = self.grantee.default_resource_server {
            return self.default_among(&reachable).ok_or_else(|| {
                let name = self.catalog.resource_server(uid).map_or("?", |server| server.name.as_str());
                invalid_target("this client may not get tokens for its default resource server; name another with resource or audience")
                    .because(format!("default resource server '{name}' is disabled, or no role gives a permission there"))
            });
        }
        // Leave to rotate its own secrets must not make a request ambiguous that was not: it is named, or asked for.
        let by_roles: Vec<_> = reachable.into_iter().filter(|server| self.has_by_a_role(server)).collect();
        match by_roles.as_slice() {
            [only] => Ok(Arc::clone(only)),
            [] => Err(invalid_target("this client may not get tokens for any resource server")
                .because("no role of the client gives a permission at a resource server that is in force")),
            several => Err(ambiguous(several)),
        }
    }

    fn default_among(&self, servers: &[&Target]) -> Option<Target> {
        let default = self.grantee.default_resource_server?;
        servers.iter().find(|server| server.uid == default).map(|server| Arc::clone(server))
    }

    /// The granted scope: all that was asked or an error; without a scope, all that can be granted.
    fn narrow(&self, asked: Option<&Scope>, targets: &[Target]) -> Result<Scope, OAuthError> {
        let grantable = |value: &Permission| {
            let mut defining =
                targets.iter().filter(|target| target.permissions.contains_key(value)).peekable();
            defining.peek().is_some() && defining.all(|target| self.holds(target, value))
        };
        match asked {
            Some(scope) => match scope.iter().find(|value| !grantable(value)) {
                Some(value) => Err(ungranted(value)),
                None => Ok(scope.clone()),
            },
            None => Ok(targets
                .iter()
                .flat_map(|target| self.at(target))
                .filter(|value| grantable(value))
                .cloned()
                .collect()),
        }
    }

    fn contributing_roles(&self, scope: &Scope, targets: &[Target]) -> Vec<RoleName> {
        let roles: BTreeSet<&RoleName> = targets
            .iter()
            .filter_map(|target| self.grantee.holdings.get(&target.uid))
            .flatten()
            .filter(|(permission, _)| scope.contains(permission.as_str()))
            .flat_map(|(_, roles)| roles.iter().copied())
            .collect();
        roles.into_iter().cloned().collect()
    }
}

/// RFC 8707 §2: an absolute URI without a fragment.
fn malformed_resource(resource: &str) -> Option<OAuthError> {
    match Url::parse(resource) {
        Ok(uri) if uri.fragment().is_none() => None,
        Ok(_) => Some(invalid_target("resource must not have a fragment")),
        Err(_) => {
            Some(invalid_target("resource must be an absolute URI; name other identifiers with audience"))
        }
    }
}

/// One token has one shape and one signature, so its resource servers must agree on both.
fn one_shape(targets: &[Target]) -> Result<(TokenProfile, Algorithm), OAuthError> {
    let mut shapes = targets.iter().map(|target| (target.token_profile, target.signing_algorithm));
    let first = shapes.next().ok_or_else(|| invalid_target("no resource server was named"))?;
    if shapes.any(|shape| shape != first) {
        return Err(invalid_target(
            "these resource servers want different token profiles or signing algorithms; ask for one token each",
        ));
    }
    Ok(first)
}

/// The shortest of the targets' lifetimes, never past the end of what stands behind the grantee.
fn expiry(
    targets: &[Target],
    grantee: &Grantee<'_>,
    longest: Duration,
    now: Timestamp,
) -> Result<Timestamp, OAuthError> {
    let lifetime = targets.iter().map(|target| target.token_lifetime).fold(longest, Duration::min);
    let end = now.plus(lifetime);
    let end = grantee.not_after.map_or(end, |not_after| end.min(not_after));
    if end.as_seconds() <= now.as_seconds() {
        // A JWT counts whole seconds: such a token would be expired when it arrives.
        if grantee.passed_on {
            return Err(ended());
        }
        return Err(OAuthError::invalid_client("the client or its credential ends within this second"));
    }
    Ok(end)
}

/// What stands behind an exchange ends before the new token could be of use: the subject token, an actor's, a client, or
/// the rule.
pub(super) fn ended() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, NOT_ALLOWED)
        .because("what stands behind the exchange ends within this second")
}

/// The same whatever is missing, so that asking does not map out the rules.
pub(super) const NOT_ALLOWED: &str = "this client may not exchange this token for one for that resource server; an administrator makes exchange rules";

fn invalid_target(public: impl Into<std::borrow::Cow<'static, str>>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, public)
}

fn ungranted(value: &Permission) -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidScope,
        format!(
            "the scope value '{value}' is unknown, or not granted to this client at the named resource servers"
        ),
    )
}

fn ambiguous(candidates: &[&Target]) -> OAuthError {
    let names: Vec<_> = candidates.iter().take(5).map(|server| server.identifier.as_str()).collect();
    invalid_target(format!(
        "name the resource server with resource or audience; one of: {}",
        names.join(", ")
    ))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
