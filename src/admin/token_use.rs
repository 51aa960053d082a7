//! Use-cases: which tokens lean on something, for people who are about to take it away. Estimates, from the newest
//! tokens of a few clients.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::impact::UsingClient;
use super::{Admin, AdminError, By};
use crate::domain::acting::SubId;
use crate::domain::builtin;
use crate::domain::claims::AccessTokenClaims;
use crate::domain::client::Client;
use crate::domain::delegation::Act;
use crate::domain::ids::{ClientId, CredentialId, ExchangeRuleName, RoleName, RoleUid};
use crate::domain::revocation::Revoked;
use crate::domain::time::{HOUR, Timestamp};
use crate::runtime::revocations;

/// How many clients are looked at, and how many of the newest tokens of each.
const CLIENTS: u32 = 20;
const TOKENS: u32 = 500;

/// The tokens that lean on something.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct TokenUse {
    /// How many of them have not ended and are not revoked.
    pub live_tokens: u64,
    /// Whether there may be more: only the newest 500 tokens of 20 clients are looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// The clients that got some in the last hour, most first.
    pub last_hour: Vec<UsingClient>,
}

/// What the event of a token says, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Token {
    jti: String,
    txn: String,
    subject: String,
    subject_issuer: Option<String>,
    #[serde(default)]
    actors: Vec<String>,
    #[serde(default)]
    outside_actors: Vec<String>,
    pub(super) audience: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(alias = "secret_id")]
    credential_id: String,
    exchange: Option<Exchanged>,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Exchanged {
    rule: String,
}

/// Some of the newest tokens of a client.
pub(super) struct Newest {
    /// When each was issued, what it is, and whether it counts now.
    pub(super) tokens: Vec<(Timestamp, Token, bool)>,
    /// Whether others may count, too: older ones, or one whose event cannot be read.
    pub(super) more: bool,
}

// === impl Admin ===

impl Admin {
    /// The tokens that a role has put something into.
    ///
    /// # Errors
    /// `roles:read` is missing, there is no such role, or the database is away.
    pub async fn role_use(&self, by: &By, name: &RoleName) -> Result<TokenUse, AdminError> {
        self.require(by, builtin::ROLES_READ).await?;
        let catalog = self.catalog().await?;
        let role = catalog.role_named(name).ok_or_else(|| AdminError::not_found("role", name.as_str()))?;
        let (clients, more) = self.holders(role.uid).await?;
        let role = name.as_str();
        self.token_use(&clients, more, |token| token.roles.iter().any(|other| other == role)).await
    }

    /// The tokens that were exchanged by a rule.
    ///
    /// # Errors
    /// `exchange-rules:read` is missing, there is no such rule, or the database is away.
    pub async fn exchange_rule_use(&self, by: &By, name: &ExchangeRuleName) -> Result<TokenUse, AdminError> {
        let view = self.exchange_rule(by, name).await?;
        let catalog = self.catalog().await?;
        let (clients, more) = match (view.caller.client, view.caller.role) {
            (Some(client_id), _) => (vec![client_id], false),
            (None, Some(role)) => match catalog.role_named(&role) {
                Some(role) => self.holders(role.uid).await?,
                None => (Vec::new(), false),
            },
            (None, None) => (Vec::new(), false),
        };
        let rule = name.as_str();
        let of_rule = |token: &Token| token.exchange.as_ref().is_some_and(|exchanged| exchanged.rule == rule);
        self.token_use(&clients, more, of_rule).await
    }

    /// The tokens that a client got with one of its credentials.
    ///
    /// # Errors
    /// `clients:read` is missing, there is no such client, or the database is away.
    pub async fn credential_use(
        &self,
        by: &By,
        client_id: &ClientId,
        credential_id: &CredentialId,
    ) -> Result<TokenUse, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        self.stored_client(client_id).await?;
        let used = |token: &Token| token.credential_id == credential_id.as_str();
        self.token_use(std::slice::from_ref(client_id), false, used).await
    }

    /// The tokens of a client that one of its roles has put something into.
    ///
    /// # Errors
    /// `clients:read` is missing, there is no such client, or the database is away.
    pub async fn assignment_use(
        &self,
        by: &By,
        client_id: &ClientId,
        role: &RoleName,
    ) -> Result<TokenUse, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        self.stored_client(client_id).await?;
        let with_role = |token: &Token| token.roles.iter().any(|other| other == role.as_str());
        self.token_use(std::slice::from_ref(client_id), false, with_role).await
    }

    /// Some of the clients that have a role, and whether there are more.
    async fn holders(&self, role: RoleUid) -> Result<(Vec<ClientId>, bool), AdminError> {
        let names = self.store.clients_with_role(role, CLIENTS + 1).await?;
        let more = names.len() > CLIENTS as usize;
        let clients = names.into_iter().take(CLIENTS as usize).filter_map(|name| ClientId::new(name).ok());
        Ok((clients.collect(), more))
    }

    async fn token_use(
        &self,
        clients: &[ClientId],
        more: bool,
        counts: impl Fn(&Token) -> bool,
    ) -> Result<TokenUse, AdminError> {
        let now = self.ambient.now();
        let hour_ago = now.minus(HOUR);
        let mut found = TokenUse { at_least: more, ..TokenUse::default() };
        let revoked = revocations::live(&self.store, now).await?;
        for client_id in clients {
            // Deleted just now: then nothing of it counts.
            let Some(client) = self.store.client(client_id).await? else { continue };
            let newest = self.newest_tokens(&client, &revoked, now, TOKENS).await?;
            found.at_least |= newest.more;
            let mut tokens = 0;
            for (at, _, live) in newest.tokens.iter().filter(|(_, token, _)| counts(token)) {
                found.live_tokens += u64::from(*live);
                tokens += u64::from(*at >= hour_ago);
            }
            if tokens > 0 {
                found.last_hour.push(UsingClient { client_id: client_id.to_string(), tokens });
            }
        }
        found.last_hour.sort_by_key(|using| std::cmp::Reverse(using.tokens));
        Ok(found)
    }

    /// The newest tokens of a client: those that may still live, and those of the last hour.
    pub(super) async fn newest_tokens(
        &self,
        client: &Client,
        revoked: &Revoked,
        now: Timestamp,
        most: u32,
    ) -> Result<Newest, AdminError> {
        // What is older has ended, unless tokens.max_lifetime was lowered a moment ago.
        let since = now.minus(self.longest.max(HOUR)).max(client.created_at);
        let events = self.store.tokens_of(&client.client_id, since, most).await?;
        let mut newest = Newest { tokens: Vec::new(), more: events.len() >= most as usize };
        let mark = client.token_mark();
        for (at, text) in events {
            let Ok(token) = serde_json::from_str::<Token>(&text) else {
                // Altered, or of another version: that token may count, too.
                newest.more = true;
                continue;
            };
            // Not of an earlier registration of the same name.
            if token.jti.starts_with(&mark) {
                let live = token.expires_at > now && revoked.find(&token.claims(client, at)).is_none();
                newest.tokens.push((at, token, live));
            }
        }
        Ok(newest)
    }
}

// === impl Token ===

impl Token {
    /// What of its claims says whether it is revoked.
    fn claims(&self, client: &Client, at: Timestamp) -> AccessTokenClaims {
        // Whom it means, no revocation asks; that it is no client, all do.
        let outside = |sub: &String| SubId::IssSub { iss: String::new(), sub: sub.clone() };
        let actors = self
            .actors
            .iter()
            .rev()
            .map(|sub| (sub.clone(), self.outside_actors.contains(sub).then(|| outside(sub))));
        AccessTokenClaims {
            iss: String::new(),
            exp: self.expires_at.as_seconds(),
            aud: self.audience.iter().cloned().collect(),
            sub: self.subject.clone(),
            sub_id: self.subject_issuer.is_some().then(|| outside(&self.subject)),
            client_id: client.client_id.clone(),
            iat: at.as_seconds(),
            jti: self.jti.clone(),
            txn: self.txn.clone(),
            scope: None,
            roles: Vec::new(),
            client_kind: client.kind,
            act: actors.fold(None, |act, (sub, sub_id)| Some(Act { sub, sub_id, act: act.map(Box::new) })),
            may_act: None,
            cnf: None,
        }
    }
}
