//! Exchange rules, and which clients operate which resource servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::read;
use super::rows::permission;
use super::{Store, StoreError, corrupt, statements};
use crate::domain::exchange_rule::{ExchangeMode, ExchangeRule, Party};
use crate::domain::ids::{
    ClientUid, ExchangeRuleName, ExchangeRuleUid, Permission, ResourceServerUid, RoleUid,
};
use crate::domain::time::Timestamp;

statements! {
    ALL_EXCHANGE_RULES = r"
        SELECT uid, name, description, enabled, expires_at, caller_client, caller_role, subject_client,
               subject_role, resource_server, mode, max_depth, token_lifetime, version, created_at, updated_at
        FROM exchange_rules";

    ALL_EXCHANGE_RULE_PERMISSIONS = "SELECT rule, permission FROM exchange_rule_permissions";

    ALL_EXCHANGE_RULE_SOURCES = "SELECT rule, resource_server FROM exchange_rule_sources";

    ALL_OPERATORS = "SELECT client, resource_server FROM operators";
}

#[derive(FromRow)]
struct RuleRow {
    uid: Uuid,
    name: String,
    description: String,
    enabled: bool,
    expires_at: Option<i64>,
    caller_client: Option<Uuid>,
    caller_role: Option<Uuid>,
    subject_client: Option<Uuid>,
    subject_role: Option<Uuid>,
    resource_server: Uuid,
    mode: String,
    max_depth: i64,
    token_lifetime: Option<i64>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

// === impl RuleRow ===

impl RuleRow {
    fn with(
        self,
        permissions: BTreeSet<Permission>,
        sources: BTreeSet<ResourceServerUid>,
    ) -> Result<ExchangeRule, StoreError> {
        let party = |client: Option<Uuid>, role: Option<Uuid>| match (client, role) {
            (Some(client), None) => Ok(Party::Client(ClientUid(client))),
            (None, Some(role)) => Ok(Party::Role(RoleUid(role))),
            _ => Err(corrupt("exchange rule", &self.name)),
        };
        Ok(ExchangeRule {
            uid: ExchangeRuleUid(self.uid),
            caller: party(self.caller_client, self.caller_role)?,
            subject: party(self.subject_client, self.subject_role)?,
            name: ExchangeRuleName::new(&self.name).map_err(|_| corrupt("name", &self.name))?,
            description: self.description,
            enabled: self.enabled,
            expires_at: self.expires_at.map(Timestamp::from_micros),
            resource_server: ResourceServerUid(self.resource_server),
            permissions,
            sources,
            mode: ExchangeMode::from_word(&self.mode).ok_or_else(|| corrupt("exchange mode", &self.mode))?,
            max_depth: u8::try_from(self.max_depth).map_err(|_| corrupt("depth", self.max_depth))?,
            token_lifetime: self.token_lifetime.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
            version: self.version,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

// === impl Store ===

impl Store {
    /// Every exchange rule.
    ///
    /// # Errors
    /// The database is away.
    pub async fn all_exchange_rules(&self) -> Result<Vec<ExchangeRule>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, RuleRow>(ALL_EXCHANGE_RULES).fetch_all(pool).await
        })?;
        let given: Vec<(Uuid, String)> =
            read!(self, pool => sqlx::query_as(ALL_EXCHANGE_RULE_PERMISSIONS).fetch_all(pool).await)?;
        let named: Vec<(Uuid, Uuid)> =
            read!(self, pool => sqlx::query_as(ALL_EXCHANGE_RULE_SOURCES).fetch_all(pool).await)?;
        let mut permissions: BTreeMap<Uuid, BTreeSet<Permission>> = BTreeMap::new();
        for (rule, text) in given {
            permissions.entry(rule).or_default().insert(permission(&text)?);
        }
        let mut sources: BTreeMap<Uuid, BTreeSet<ResourceServerUid>> = BTreeMap::new();
        for (rule, server) in named {
            sources.entry(rule).or_default().insert(ResourceServerUid(server));
        }
        let whole = |row: RuleRow| {
            let uid = row.uid;
            row.with(permissions.remove(&uid).unwrap_or_default(), sources.remove(&uid).unwrap_or_default())
        };
        rows.into_iter().map(whole).collect()
    }

    /// Which client operates which resource server.
    ///
    /// # Errors
    /// The database is away.
    pub async fn all_operators(&self) -> Result<Vec<(ClientUid, ResourceServerUid)>, StoreError> {
        let rows: Vec<(Uuid, Uuid)> =
            read!(self, pool => sqlx::query_as(ALL_OPERATORS).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(|(client, server)| (ClientUid(client), ResourceServerUid(server))).collect())
    }
}
