//! Creating, reading, changing and removing exchange rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::exchange_rule_forms::Names;
pub use super::exchange_rule_forms::{
    CreateExchangeRule, ExchangeRuleView, OutsideName, PartyName, SubjectName, UpdateExchangeRule,
};
use super::overtaken::overtaken;
use super::{Admin, AdminError, By, HANDS_OUT, Page, PageRequest, Written, check_search, found};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::exchange_rule::{ExchangeRule, Party, RuleSubject};
use crate::domain::ids::{ExchangeRuleName, ExchangeRuleUid};
use crate::storage::{ChangeKind, StoreError};

/// Why tokens for the API cannot be made exchangeable.
const LETS_EXCHANGE: &str = "only who has every permission of this API can say who exchanges its tokens";

// === impl Admin ===

impl Admin {
    /// Creates an exchange rule.
    ///
    /// # Errors
    /// Wrong fields, a taken name, or permissions of this API beyond the administrator's own.
    pub async fn create_exchange_rule(
        &self,
        by: &By,
        new: CreateExchangeRule,
    ) -> Result<ExchangeRuleView, AdminError> {
        self.require(by, builtin::EXCHANGE_RULES_WRITE).await?;
        let catalog = self.catalog().await?;
        let now = self.ambient.now();
        let mut names = Names::new(&catalog, BTreeMap::new());
        names.check_description(&new.description);
        let caller = self.party(&mut names, "caller", &new.caller).await?;
        let subject = self.subject(&mut names, &new.subject).await?;
        let actor = new.actor.as_ref().and_then(|actor| names.outside_party("actor", actor));
        let server = names.resource_server(&new.resource_server);
        let permissions = names.permissions(server, new.permissions);
        let sources = names.sources(&new.sources);
        names.check_depth(new.max_depth);
        let token_lifetime = self.lifetime(&mut names, new.token_lifetime);
        names.check_end(new.expires_at, now);
        names.verdict()?;
        let (Some(caller), Some(subject), Some(server)) = (caller, subject, server) else {
            return Err(AdminError::moved());
        };
        let rule = ExchangeRule {
            uid: ExchangeRuleUid(self.ambient.uuid()?),
            name: new.name,
            description: new.description,
            enabled: new.enabled,
            expires_at: new.expires_at,
            caller,
            subject,
            actor,
            resource_server: server.uid,
            permissions,
            sources,
            mode: new.mode,
            max_depth: new.max_depth,
            token_lifetime,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        self.require_rule_within(by, &catalog, &rule).await?;
        let mut tx = self.begin().await?;
        tx.insert_exchange_rule(&rule).await.map_err(|error| match error {
            StoreError::AlreadyExists => {
                AdminError::Conflict(format!("an exchange rule '{}' exists already", rule.name))
            }
            other => other.into(),
        })?;
        let view = names.view(&rule)?;
        self.commit(
            tx,
            by,
            Written::of(ChangeKind::Catalog, "exchange_rule.create", &rule.name, None, Some(&view)),
        )
        .await?;
        Ok(view)
    }

    /// An exchange rule.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn exchange_rule(
        &self,
        by: &By,
        name: &ExchangeRuleName,
    ) -> Result<ExchangeRuleView, AdminError> {
        self.require(by, builtin::EXCHANGE_RULES_READ).await?;
        let rule = self.stored_exchange_rule(name).await?;
        let clients = self.store.clients_in_exchange_rules(name, name).await?;
        Names::new(&*self.catalog().await?, clients).view(&rule)
    }

    /// A page of exchange rules, in the order of their names.
    ///
    /// # Errors
    /// A wrong cursor or limit.
    pub async fn exchange_rules(
        &self,
        by: &By,
        text: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<ExchangeRuleView>, AdminError> {
        self.require(by, builtin::EXCHANGE_RULES_READ).await?;
        check_search("q", text)?;
        let catalog = self.catalog().await?;
        let all = catalog.exchange_rules().iter();
        let found: Vec<Arc<ExchangeRule>> = all
            .filter(|rule| text.is_none_or(|text| found(text, &[rule.name.as_str(), &rule.description])))
            .cloned()
            .collect();
        let Page { items, next_cursor } = Page::of(found, page, |rule| rule.name.as_str())?;
        let clients = match (items.first(), items.last()) {
            (Some(first), Some(last)) => {
                self.store.clients_in_exchange_rules(&first.name, &last.name).await?
            }
            _ => BTreeMap::new(),
        };
        let names = Names::new(&catalog, clients);
        // A rule that was removed just now may have left without its client.
        Ok(Page { items: items.iter().filter_map(|rule| names.view(rule).ok()).collect(), next_cursor })
    }

    /// Changes an exchange rule that still has the expected version.
    ///
    /// # Errors
    /// Wrong fields, permissions of this API beyond the administrator's own, or somebody else changed it.
    pub async fn update_exchange_rule(
        &self,
        by: &By,
        name: &ExchangeRuleName,
        version: i64,
        update: UpdateExchangeRule,
    ) -> Result<ExchangeRuleView, AdminError> {
        self.require(by, builtin::EXCHANGE_RULES_WRITE).await?;
        let catalog = self.catalog().await?;
        let before = self.stored_exchange_rule(name).await?;
        if before.version != version {
            return Err(self.overtaken_exchange_rule(by, name).await);
        }
        let mut rule = before.clone();
        let mut names = self.names(&catalog, name).await?;
        if let Some(caller) = update.caller {
            rule.caller = self.party(&mut names, "caller", &caller).await?.unwrap_or(rule.caller);
        }
        if let Some(subject) = update.subject {
            rule.subject = self.subject(&mut names, &subject).await?.unwrap_or(rule.subject);
        }
        if let Some(actor) = update.actor {
            rule.actor = actor.and_then(|actor| names.outside_party("actor", &actor));
        }
        if let Some(permissions) = update.permissions {
            let server = catalog.resource_server(rule.resource_server).ok_or(AdminError::STALE)?;
            rule.permissions = names.permissions(Some(server), permissions);
        }
        if let Some(sources) = update.sources {
            rule.sources = names.sources(&sources);
        }
        if let Some(lifetime) = update.token_lifetime {
            rule.token_lifetime = self.lifetime(&mut names, lifetime);
        }
        rule.description = update.description.unwrap_or(rule.description);
        rule.mode = update.mode.unwrap_or(rule.mode);
        rule.max_depth = update.max_depth.unwrap_or(rule.max_depth);
        rule.expires_at = update.expires_at.unwrap_or(rule.expires_at);
        rule.enabled = update.enabled.unwrap_or(rule.enabled);
        names.check_description(&rule.description);
        names.check_depth(rule.max_depth);
        names.check_end(rule.expires_at, before.created_at);
        names.verdict()?;
        self.require_rule_within(by, &catalog, &rule).await?;
        match self.replace_exchange_rule(by, "exchange_rule.update", &names, &before, rule).await {
            Err(AdminError::Stale { .. }) => Err(self.overtaken_exchange_rule(by, name).await),
            outcome => outcome,
        }
    }

    /// Switches an exchange rule on or off, whatever its version: an emergency does not wait for an edit.
    ///
    /// # Errors
    /// There is none of this name; or, to switch it on, permissions of this API beyond the administrator's own.
    pub async fn set_exchange_rule_enabled(
        &self,
        by: &By,
        name: &ExchangeRuleName,
        enabled: bool,
    ) -> Result<ExchangeRuleView, AdminError> {
        self.require(by, builtin::EXCHANGE_RULES_WRITE).await?;
        let action = if enabled { "exchange_rule.enable" } else { "exchange_rule.disable" };
        loop {
            let catalog = self.catalog().await?;
            let before = self.stored_exchange_rule(name).await?;
            let names = self.names(&catalog, name).await?;
            if before.enabled == enabled {
                return names.view(&before);
            }
            if enabled {
                self.require_rule_within(by, &catalog, &before).await?;
            }
            let rule = ExchangeRule { enabled, ..before.clone() };
            match self.replace_exchange_rule(by, action, &names, &before, rule).await {
                Err(AdminError::Stale { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// Removes an exchange rule that still has the expected version.
    ///
    /// # Errors
    /// There is none of this name, or somebody else changed it.
    pub async fn delete_exchange_rule(
        &self,
        by: &By,
        name: &ExchangeRuleName,
        version: i64,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::EXCHANGE_RULES_WRITE).await?;
        let rule = self.stored_exchange_rule(name).await?;
        let catalog = self.catalog().await?;
        let view = self.names(&catalog, name).await?.view(&rule)?;
        let mut tx = self.begin().await?;
        if !tx.delete_exchange_rule(rule.uid, version).await? {
            drop(tx);
            return Err(self.overtaken_exchange_rule(by, name).await);
        }
        self.commit(tx, by, Written::of(ChangeKind::Catalog, "exchange_rule.delete", name, Some(&view), None))
            .await
    }

    async fn replace_exchange_rule(
        &self,
        by: &By,
        action: &'static str,
        names: &Names<'_>,
        before: &ExchangeRule,
        mut rule: ExchangeRule,
    ) -> Result<ExchangeRuleView, AdminError> {
        rule.updated_at = self.ambient.now();
        let mut tx = self.begin().await?;
        if !tx.update_exchange_rule(&rule).await? {
            return Err(AdminError::STALE);
        }
        rule.version += 1;
        let view = names.view(&rule)?;
        let before = names.view(before)?;
        self.commit(tx, by, Written::of(ChangeKind::Catalog, action, &rule.name, Some(&before), Some(&view)))
            .await?;
        Ok(view)
    }

    /// Why a change is refused that is based on another version.
    async fn overtaken_exchange_rule(&self, by: &By, name: &ExchangeRuleName) -> AdminError {
        let now = async {
            let (rule, catalog) = (self.stored_exchange_rule(name).await?, self.catalog().await?);
            self.names(&catalog, name).await?.view(&rule)
        };
        overtaken(by, builtin::EXCHANGE_RULES_READ, now.await, |view| view.version)
    }

    async fn stored_exchange_rule(&self, name: &ExchangeRuleName) -> Result<ExchangeRule, AdminError> {
        let found = self.store.exchange_rule(name).await?;
        found.ok_or_else(|| AdminError::not_found("exchange rule", name.as_str()))
    }

    async fn names<'a>(
        &self,
        catalog: &'a Catalog,
        rule: &ExchangeRuleName,
    ) -> Result<Names<'a>, AdminError> {
        Ok(Names::new(catalog, self.store.clients_in_exchange_rules(rule, rule).await?))
    }

    /// Whom a form means. What is wrong with it is noted.
    async fn party(
        &self,
        names: &mut Names<'_>,
        field: &'static str,
        party: &PartyName,
    ) -> Result<Option<Party>, AdminError> {
        match (&party.client, &party.role) {
            (Some(client_id), None) => {
                let Some(client) = self.store.client(client_id).await? else {
                    names.wrong(field, format!("there is no client '{client_id}'"), "register it first");
                    return Ok(None);
                };
                names.clients.insert(client.uid, client.client_id);
                Ok(Some(Party::Client(client.uid)))
            }
            (None, Some(name)) => {
                let role = names.catalog.role_named(name).map(|role| Party::Role(role.uid));
                if role.is_none() {
                    names.wrong(field, format!("there is no role '{name}'"), "create the role first");
                }
                Ok(role)
            }
            (client, _) => {
                let problem =
                    if client.is_some() { "it names a client and a role" } else { "it names nobody" };
                names.wrong(
                    field,
                    problem,
                    "write either \"client\" with a client id or \"role\" with a role",
                );
                Ok(None)
            }
        }
    }

    /// Whose identity a form means. What is wrong with it is noted.
    async fn subject(
        &self,
        names: &mut Names<'_>,
        subject: &SubjectName,
    ) -> Result<Option<RuleSubject>, AdminError> {
        const FIELD: &str = "subject";
        let SubjectName { client, role, trusted_issuer, conditions } = subject;
        let Some(issuer) = trusted_issuer else {
            if conditions.is_some() {
                let fix = "name the trusted issuer whose tokens they are about, or leave them out";
                names.wrong(FIELD, "it has conditions and no \"trusted_issuer\"", fix);
                return Ok(None);
            }
            let party = PartyName { client: client.clone(), role: role.clone() };
            return Ok(self.party(names, FIELD, &party).await?.map(RuleSubject::Party));
        };
        if client.is_some() || role.is_some() {
            let fix = "write one of \"client\", \"role\" and \"trusted_issuer\"";
            names.wrong(FIELD, "it names a trusted issuer and somebody registered here", fix);
            return Ok(None);
        }
        let outside = OutsideName {
            trusted_issuer: issuer.clone(),
            conditions: conditions.clone().unwrap_or_default(),
        };
        Ok(names.outside_party(FIELD, &outside).map(RuleSubject::Outside))
    }

    /// The longest lifetime that a form allows. What is wrong with it is noted.
    fn lifetime(&self, names: &mut Names<'_>, seconds: Option<u32>) -> Option<Duration> {
        let lifetime = Duration::from_secs(seconds?.into());
        names.errors.extend(self.wrong_lifetime(lifetime));
        Some(lifetime)
    }

    /// Refuses a rule that lets more of this API through than the administrator has, and one by which its tokens
    /// can be exchanged, unless the administrator has all of it.
    async fn require_rule_within(
        &self,
        by: &By,
        catalog: &Catalog,
        rule: &ExchangeRule,
    ) -> Result<(), AdminError> {
        let Some(api) = catalog.api() else { return Ok(()) };
        if rule.resource_server == api.uid {
            let permissions: Vec<_> = rule.permissions.iter().collect();
            self.require_all(by, &permissions, HANDS_OUT).await?;
        }
        if rule.sources.contains(&api.uid) {
            let permissions: Vec<_> = api.permissions.keys().collect();
            self.require_all(by, &permissions, LETS_EXCHANGE).await?;
        }
        Ok(())
    }
}

/// The first five of the exchange rules that this is true of, for a message about what removing something
/// would break; nothing, if there are none.
pub(super) fn among(catalog: &Catalog, concerned: impl Fn(&ExchangeRule) -> bool) -> Option<String> {
    let rules = catalog.exchange_rules().iter();
    let names: Vec<&str> =
        rules.filter(|rule| concerned(rule)).map(|rule| rule.name.as_str()).take(5).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
