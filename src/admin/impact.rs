//! Use-cases: what breaks when something registered is switched off or removed. Estimates for people who are about to
//! do it: from the statistics, and from the newest of a client's tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::roles::GivenPermission;
use super::statistics::DelegationView;
use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::client::Client;
use crate::domain::exchange_rule::{ExchangeRule, Party};
use crate::domain::ids::{ClientId, ExchangeRuleName, ResourceServerName, RoleName, TrustedIssuerName};
use crate::domain::time::{DAY, HOUR, Timestamp};
use crate::runtime::revocations;
use crate::storage::{AUDIENCE_ROWS, Side, Span};

/// How many of a client's newest tokens are looked at.
const TOKENS: u32 = 3_000;

/// How many clients or edges are listed.
const LISTED: u32 = 100;

/// What breaks without a client.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientImpact {
    /// The client.
    pub client_id: ClientId,
    /// How many of its tokens have not ended and are not revoked.
    pub live_tokens: u64,
    /// Whether there may be more of them, and more in the last hour: only the newest 3,000 tokens are looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// What it got tokens for in the last hour, most first.
    pub resource_servers: Vec<UsedResourceServer>,
    /// Who has passed its identity on in the last day, up to a minute late.
    pub passed_on_by: Vec<DelegationView>,
    /// Whose identity it has passed on in the last day, up to a minute late.
    pub passes_on: Vec<DelegationView>,
    /// The exchange rules that name it: it cannot be deleted while they do.
    pub rules: Vec<ExchangeRuleName>,
    /// The resource servers that it operates.
    pub operates: Vec<ResourceServerName>,
}

/// A resource server that a client got tokens for.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsedResourceServer {
    /// Its audience value.
    #[schema(example = "https://orders.example")]
    pub identifier: String,
    /// Its name, while it is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_server: Option<ResourceServerName>,
    /// How many tokens for it.
    pub tokens: u64,
    /// When the last was issued.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
}

/// What breaks without a resource server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResourceServerImpact {
    /// The resource server.
    pub resource_server: ResourceServerName,
    /// How many clients got tokens for it in this hour and the one before, up to a minute late.
    pub clients: u64,
    /// How many tokens they got.
    pub tokens: u64,
    /// Whether there may be more: only so many clients are counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// The clients, a hundred at most, most tokens first.
    pub most: Vec<UsingClient>,
    /// The roles that give something there.
    pub roles: Vec<RoleName>,
    /// The exchange rules that name it: it cannot be deleted while they do.
    pub rules: Vec<ExchangeRuleName>,
}

/// A client that got tokens for a resource server.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsingClient {
    /// The client's identifier.
    #[schema(example = "billing")]
    pub client_id: String,
    /// How many tokens it got.
    pub tokens: u64,
}

/// What breaks without a role.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoleImpact {
    /// The role.
    pub role: RoleName,
    /// How many clients have it.
    pub clients: u64,
    /// Some of them, a hundred at most, in the order of their names.
    #[schema(example = json!(["billing"]))]
    pub some: Vec<String>,
    /// What it gives them.
    pub gives: Vec<GivenPermission>,
    /// The exchange rules that name it: it cannot be deleted while they do.
    pub rules: Vec<ExchangeRuleName>,
}

/// What breaks without a trusted issuer.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrustedIssuerImpact {
    /// The trusted issuer.
    pub trusted_issuer: TrustedIssuerName,
    /// How many federated credentials name it: it cannot be deleted while they do.
    pub federated_credentials: u64,
    /// How many clients have them.
    pub clients: u64,
    /// Some of those, a hundred at most, in the order of their names.
    #[schema(example = json!(["billing"]))]
    pub some: Vec<ClientId>,
    /// The exchange rules whose subject or actor is somebody of it: it cannot be deleted while they are.
    pub rules: Vec<ExchangeRuleName>,
}

// === impl Admin ===

impl Admin {
    /// What breaks when a client is disabled or deleted.
    ///
    /// # Errors
    /// `clients:read` is missing, there is no such client, or the database is away.
    pub async fn client_impact(&self, by: &By, client_id: &ClientId) -> Result<ClientImpact, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let catalog = self.catalog().await?;
        let now = self.ambient.now();
        let (live, at_least, resource_servers) = self.recent_tokens(&client, &catalog, now).await?;
        let (passed_on_by, passes_on) = self.passages(client_id, now).await?;
        let named = Party::Client(client.uid);
        let servers = self.store.operated_by(client.uid).await?;
        let servers = servers.iter().filter_map(|uid| catalog.resource_server(*uid));
        let mut operates: Vec<_> = servers.map(|server| server.name.clone()).collect();
        operates.sort();
        Ok(ClientImpact {
            client_id: client_id.clone(),
            live_tokens: live,
            at_least,
            resource_servers,
            passed_on_by,
            passes_on,
            rules: rules(&catalog, |rule| rule.names(named)),
            operates,
        })
    }

    /// What breaks when a resource server is disabled or deleted.
    ///
    /// # Errors
    /// `resource-servers:read` is missing, there is no such resource server, or the database is away.
    pub async fn resource_server_impact(
        &self,
        by: &By,
        name: &ResourceServerName,
    ) -> Result<ResourceServerImpact, AdminError> {
        let server = self.registered_resource_server(by, name).await?;
        let catalog = self.catalog().await?;
        let hour = self.ambient.now().start_of_hour();
        let hours = [hour.minus(HOUR), hour];
        let (all, most) = self.store.audience_use(server.identifier.as_str(), hours, LISTED).await?;
        let giving =
            catalog.roles().filter(|role| role.permissions.iter().any(|(uid, _)| *uid == server.uid));
        let mut roles: Vec<_> = giving.map(|role| role.name.clone()).collect();
        roles.sort();
        let using =
            |(client_id, tokens): (String, i64)| UsingClient { client_id, tokens: tokens.unsigned_abs() };
        Ok(ResourceServerImpact {
            resource_server: server.name,
            clients: all.clients.unsigned_abs(),
            tokens: all.tokens.unsigned_abs(),
            at_least: all.rows_seen >= i64::from(AUDIENCE_ROWS),
            most: most.into_iter().map(using).collect(),
            roles,
            rules: rules(&catalog, |rule| {
                rule.resource_server == server.uid || rule.sources.contains(&server.uid)
            }),
        })
    }

    /// What breaks when a role is deleted.
    ///
    /// # Errors
    /// `roles:read` is missing, there is no such role, or the database is away.
    pub async fn role_impact(&self, by: &By, name: &RoleName) -> Result<RoleImpact, AdminError> {
        self.require(by, builtin::ROLES_READ).await?;
        let catalog = self.catalog().await?;
        let role = catalog.role_named(name).ok_or_else(|| AdminError::not_found("role", name.as_str()))?;
        let named = Party::Role(role.uid);
        let given = role.permissions.iter().filter_map(|(server, permission)| {
            let resource_server = catalog.resource_server(*server)?.name.clone();
            Some(GivenPermission { resource_server, permission: permission.clone() })
        });
        Ok(RoleImpact {
            role: name.clone(),
            clients: self.store.count_with_role(role.uid).await?,
            some: self.store.clients_with_role(role.uid, LISTED).await?,
            gives: given.collect(),
            rules: rules(&catalog, |rule| rule.names(named)),
        })
    }

    /// What breaks when a trusted issuer is disabled: federated credentials, and exchange rules.
    ///
    /// # Errors
    /// `trusted-issuers:read` is missing, there is no such issuer, or the database is away.
    pub async fn trusted_issuer_impact(
        &self,
        by: &By,
        name: &TrustedIssuerName,
    ) -> Result<TrustedIssuerImpact, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_READ).await?;
        let issuer = self.stored_trusted_issuer(name).await?;
        let federated_credentials = self.store.count_of_issuer(issuer.uid).await?;
        let (clients, some) = self.store.clients_of_issuer(issuer.uid, LISTED).await?;
        let catalog = self.catalog().await?;
        let rules = rules(&catalog, |rule| rule.outside().any(|party| party.trusted_issuer == issuer.uid));
        Ok(TrustedIssuerImpact { trusted_issuer: issuer.name, federated_credentials, clients, some, rules })
    }

    /// How many of a client's tokens live, whether there may be more, and what they were for in the last hour.
    async fn recent_tokens(
        &self,
        client: &Client,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Result<(u64, bool, Vec<UsedResourceServer>), AdminError> {
        let hour_ago = now.minus(HOUR);
        let revoked = revocations::live(&self.store, now).await?;
        let newest = self.newest_tokens(client, &revoked, now, TOKENS).await?;
        let live = newest.tokens.iter().filter(|(.., live)| *live).count() as u64;
        let mut used: BTreeMap<String, (u64, Timestamp)> = BTreeMap::new();
        for (at, token, _) in newest.tokens.into_iter().filter(|(at, ..)| *at >= hour_ago) {
            for audience in token.audience {
                let (tokens, last) = used.entry(audience).or_insert((0, at));
                *tokens += 1;
                *last = at.max(*last);
            }
        }
        let mut used: Vec<_> = used
            .into_iter()
            .map(|(identifier, (tokens, last_at))| UsedResourceServer {
                resource_server: catalog.by_identifier(&identifier).map(|server| server.name.clone()),
                identifier,
                tokens,
                last_at,
            })
            .collect();
        used.sort_by_key(|server| std::cmp::Reverse(server.tokens));
        Ok((live, newest.more, used))
    }

    /// Who has passed a client's identity on in the last day, and whose it has passed on.
    async fn passages(
        &self,
        client_id: &ClientId,
        now: Timestamp,
    ) -> Result<(Vec<DelegationView>, Vec<DelegationView>), AdminError> {
        let day_ago = now.minus(DAY);
        let span = Span { from: day_ago.start_of_day(), to: now.plus(Duration::from_micros(1)) };
        let client_id = client_id.as_str();
        let (mut passed_on_by, _) = self.edges(span, &[Side::Subject(client_id)], LISTED).await?;
        let (mut passes_on, _) = self.edges(span, &[Side::Actor(client_id)], LISTED).await?;
        passed_on_by.retain(|edge| edge.last_at >= day_ago);
        passes_on.retain(|edge| edge.last_at >= day_ago);
        Ok((passed_on_by, passes_on))
    }
}

/// The rules that are concerned, by name.
fn rules(catalog: &Catalog, concerned: impl Fn(&ExchangeRule) -> bool) -> Vec<ExchangeRuleName> {
    let rules = catalog.exchange_rules().iter();
    rules.filter(|rule| concerned(rule)).map(|rule| rule.name.clone()).collect()
}
