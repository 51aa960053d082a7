//! Exchange rules: who may pass whose identity on, towards what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read};
use super::rows::{client_id, permission};
use super::{Store, StoreError, Tx, corrupt, of_thing, statements};
use crate::domain::exchange_rule::{ExchangeMode, ExchangeRule, OutsideParty, Party, RuleSubject};
use crate::domain::ids::{
    ClientId, ClientUid, ExchangeRuleName, ExchangeRuleUid, Permission, ResourceServerUid, RoleUid,
    TrustedIssuerUid,
};
use crate::domain::time::Timestamp;

statements! {
    EXCHANGE_RULE_BY_NAME = r"
        SELECT uid, name, description, enabled, expires_at, caller_client, caller_role, subject_client,
               subject_role, subject_issuer, subject_conditions, actor_issuer, actor_conditions, resource_server, mode,
               max_depth, token_lifetime, version, created_at, updated_at
        FROM exchange_rules WHERE name = $1";

    PERMISSIONS_OF_EXCHANGE_RULE = "SELECT permission FROM exchange_rule_permissions WHERE rule = $1";

    SOURCES_OF_EXCHANGE_RULE = "SELECT resource_server FROM exchange_rule_sources WHERE rule = $1";

    ALL_EXCHANGE_RULES = r"
        SELECT uid, name, description, enabled, expires_at, caller_client, caller_role, subject_client,
               subject_role, subject_issuer, subject_conditions, actor_issuer, actor_conditions, resource_server, mode,
               max_depth, token_lifetime, version, created_at, updated_at
        FROM exchange_rules";

    ALL_EXCHANGE_RULE_PERMISSIONS = "SELECT rule, permission FROM exchange_rule_permissions";

    ALL_EXCHANGE_RULE_SOURCES = "SELECT rule, resource_server FROM exchange_rule_sources";

    /// By the names of the rules, so that it is as good for one as for a page.
    CLIENTS_IN_EXCHANGE_RULES = r"
        SELECT clients.uid, clients.client_id
        FROM exchange_rules JOIN clients ON clients.uid = exchange_rules.caller_client
        WHERE exchange_rules.name >= $1 AND exchange_rules.name <= $2
        UNION
        SELECT clients.uid, clients.client_id
        FROM exchange_rules JOIN clients ON clients.uid = exchange_rules.subject_client
        WHERE exchange_rules.name >= $1 AND exchange_rules.name <= $2";

    INSERT_EXCHANGE_RULE = r"
        INSERT INTO exchange_rules (uid, name, description, enabled, expires_at, caller_client, caller_role,
            subject_client, subject_role, subject_issuer, subject_conditions, actor_issuer, actor_conditions,
            resource_server, mode, max_depth, token_lifetime, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

    /// Only the version that was read is replaced. What the rule is for never changes.
    UPDATE_EXCHANGE_RULE = r"
        UPDATE exchange_rules
        SET description = $3, enabled = $4, expires_at = $5, caller_client = $6, caller_role = $7,
            subject_client = $8, subject_role = $9, subject_issuer = $10, subject_conditions = $11,
            actor_issuer = $12, actor_conditions = $13, mode = $14, max_depth = $15, token_lifetime = $16,
            version = version + 1, updated_at = $17
        WHERE uid = $1 AND version = $2";

    DELETE_EXCHANGE_RULE = "DELETE FROM exchange_rules WHERE uid = $1 AND version = $2";

    INSERT_EXCHANGE_RULE_PERMISSION = r"
        INSERT INTO exchange_rule_permissions (rule, resource_server, permission) VALUES ($1, $2, $3)";

    CLEAR_EXCHANGE_RULE_PERMISSIONS = "DELETE FROM exchange_rule_permissions WHERE rule = $1";

    INSERT_EXCHANGE_RULE_SOURCE = r"
        INSERT INTO exchange_rule_sources (rule, resource_server) VALUES ($1, $2)";

    CLEAR_EXCHANGE_RULE_SOURCES = "DELETE FROM exchange_rule_sources WHERE rule = $1";
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
    subject_issuer: Option<Uuid>,
    subject_conditions: Option<String>,
    actor_issuer: Option<Uuid>,
    actor_conditions: Option<String>,
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
        let corrupted = || corrupt("exchange rule", &self.name);
        let party = |client: Option<Uuid>, role: Option<Uuid>| match (client, role) {
            (Some(client), None) => Ok(Party::Client(ClientUid(client))),
            (None, Some(role)) => Ok(Party::Role(RoleUid(role))),
            _ => Err(corrupted()),
        };
        let outside = |issuer: Option<Uuid>, conditions: Option<&str>| match (issuer, conditions) {
            (None, None) => Ok(None),
            (Some(issuer), Some(conditions)) => {
                let conditions = serde_json::from_str(conditions).map_err(|_| corrupted())?;
                Ok(Some(OutsideParty { trusted_issuer: TrustedIssuerUid(issuer), conditions }))
            }
            _ => Err(corrupted()),
        };
        let subject = match outside(self.subject_issuer, self.subject_conditions.as_deref())? {
            None => RuleSubject::Party(party(self.subject_client, self.subject_role)?),
            Some(_) if self.subject_client.or(self.subject_role).is_some() => return Err(corrupted()),
            Some(subject) => RuleSubject::Outside(subject),
        };
        Ok(ExchangeRule {
            uid: ExchangeRuleUid(self.uid),
            caller: party(self.caller_client, self.caller_role)?,
            subject,
            actor: outside(self.actor_issuer, self.actor_conditions.as_deref())?,
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
    /// The database is away, or has one that this version does not understand.
    pub async fn all_exchange_rules(&self) -> Result<Vec<ExchangeRule>, StoreError> {
        self.each_exchange_rule().await?.into_iter().collect()
    }

    /// Every exchange rule, each as far as this version understands it.
    pub(super) async fn each_exchange_rule(
        &self,
    ) -> Result<Vec<Result<ExchangeRule, StoreError>>, StoreError> {
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
            let (uid, name) = (row.uid, row.name.clone());
            let permissions = permissions.remove(&uid).unwrap_or_default();
            row.with(permissions, sources.remove(&uid).unwrap_or_default())
                .map_err(of_thing("exchange rule", &name))
        };
        Ok(rows.into_iter().map(whole).collect())
    }

    /// The exchange rule with this name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn exchange_rule(&self, name: &ExchangeRuleName) -> Result<Option<ExchangeRule>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, RuleRow>(EXCHANGE_RULE_BY_NAME).bind(name.as_str()).fetch_optional(pool).await
        })?;
        let Some(row) = row else { return Ok(None) };
        let given: Vec<String> = read!(self, pool => {
            sqlx::query_scalar(PERMISSIONS_OF_EXCHANGE_RULE).bind(row.uid).fetch_all(pool).await
        })?;
        let named: Vec<Uuid> = read!(self, pool => {
            sqlx::query_scalar(SOURCES_OF_EXCHANGE_RULE).bind(row.uid).fetch_all(pool).await
        })?;
        let permissions = given.iter().map(|text| permission(text)).collect::<Result<_, _>>()?;
        row.with(permissions, named.into_iter().map(ResourceServerUid).collect()).map(Some)
    }

    /// The identifiers of the clients that exchange rules name, from the first rule to the last in the order of
    /// their names, both included.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clients_in_exchange_rules(
        &self,
        first: &ExchangeRuleName,
        last: &ExchangeRuleName,
    ) -> Result<BTreeMap<ClientUid, ClientId>, StoreError> {
        let rows: Vec<(Uuid, String)> = read!(self, pool => {
            sqlx::query_as(CLIENTS_IN_EXCHANGE_RULES)
                .bind(first.as_str())
                .bind(last.as_str())
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter().map(|(uid, id)| Ok((ClientUid(uid), client_id(&id)?))).collect()
    }
}

// === impl Tx ===

impl Tx {
    /// Creates an exchange rule with its permissions and sources.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the name is taken, [`StoreError::InUse`] when something that it
    /// names is gone.
    pub async fn insert_exchange_rule(&mut self, rule: &ExchangeRule) -> Result<(), StoreError> {
        let (caller_client, caller_role) = columns(rule.caller);
        let ((subject_client, subject_role), outside) = match &rule.subject {
            RuleSubject::Party(party) => (columns(*party), None),
            RuleSubject::Outside(party) => ((None, None), Some(party)),
        };
        let (subject_issuer, subject_conditions) = outside_columns(outside);
        let (actor_issuer, actor_conditions) = outside_columns(rule.actor.as_ref());
        execute!(
            self,
            INSERT_EXCHANGE_RULE,
            rule.uid.0,
            rule.name.as_str(),
            &rule.description,
            rule.enabled,
            rule.expires_at.map(Timestamp::as_micros),
            caller_client,
            caller_role,
            subject_client,
            subject_role,
            subject_issuer,
            subject_conditions,
            actor_issuer,
            actor_conditions,
            rule.resource_server.0,
            rule.mode.as_str(),
            i64::from(rule.max_depth),
            rule.token_lifetime.map(seconds),
            rule.version,
            rule.created_at.as_micros(),
            rule.updated_at.as_micros()
        )?;
        self.insert_what_a_rule_names(rule).await
    }

    /// Replaces an exchange rule, all but its name and what it is for, if it still has `rule.version`.
    /// Answers whether it did.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when something that it names is gone.
    pub async fn update_exchange_rule(&mut self, rule: &ExchangeRule) -> Result<bool, StoreError> {
        let (caller_client, caller_role) = columns(rule.caller);
        let ((subject_client, subject_role), outside) = match &rule.subject {
            RuleSubject::Party(party) => (columns(*party), None),
            RuleSubject::Outside(party) => ((None, None), Some(party)),
        };
        let (subject_issuer, subject_conditions) = outside_columns(outside);
        let (actor_issuer, actor_conditions) = outside_columns(rule.actor.as_ref());
        let changed = execute!(
            self,
            UPDATE_EXCHANGE_RULE,
            rule.uid.0,
            rule.version,
            &rule.description,
            rule.enabled,
            rule.expires_at.map(Timestamp::as_micros),
            caller_client,
            caller_role,
            subject_client,
            subject_role,
            subject_issuer,
            subject_conditions,
            actor_issuer,
            actor_conditions,
            rule.mode.as_str(),
            i64::from(rule.max_depth),
            rule.token_lifetime.map(seconds),
            rule.updated_at.as_micros()
        )?;
        if changed == 0 {
            return Ok(false);
        }
        execute!(self, CLEAR_EXCHANGE_RULE_PERMISSIONS, rule.uid.0)?;
        execute!(self, CLEAR_EXCHANGE_RULE_SOURCES, rule.uid.0)?;
        self.insert_what_a_rule_names(rule).await?;
        Ok(true)
    }

    /// Removes an exchange rule if it still has this version. Answers whether it did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_exchange_rule(
        &mut self,
        rule: ExchangeRuleUid,
        version: i64,
    ) -> Result<bool, StoreError> {
        let changed = execute!(self, DELETE_EXCHANGE_RULE, rule.0, version)?;
        Ok(changed == 1)
    }

    async fn insert_what_a_rule_names(&mut self, rule: &ExchangeRule) -> Result<(), StoreError> {
        for permission in &rule.permissions {
            let server = rule.resource_server.0;
            execute!(self, INSERT_EXCHANGE_RULE_PERMISSION, rule.uid.0, server, permission.as_str())?;
        }
        for source in &rule.sources {
            execute!(self, INSERT_EXCHANGE_RULE_SOURCE, rule.uid.0, source.0)?;
        }
        Ok(())
    }
}

/// A party's two columns, of which one is empty: a client, a role.
fn columns(party: Party) -> (Option<Uuid>, Option<Uuid>) {
    match party {
        Party::Client(client) => (Some(client.0), None),
        Party::Role(role) => (None, Some(role.0)),
    }
}

/// The two columns of somebody from elsewhere: a trusted issuer, and conditions as JSON. Both are empty, or none is.
fn outside_columns(party: Option<&OutsideParty>) -> (Option<Uuid>, Option<String>) {
    let conditions = |party: &OutsideParty| serde_json::to_string(&party.conditions).unwrap_or_default();
    party.map(|party| (party.trusted_issuer.0, conditions(party))).unzip()
}

fn seconds(lifetime: Duration) -> i64 {
    i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)
}
