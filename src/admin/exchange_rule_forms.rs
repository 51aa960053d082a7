//! An exchange rule as the API and the command line take it and show it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::federated_credentials::ClaimCondition;
use super::object::object;
use super::{AdminError, nullable, present};
use crate::domain::catalog::Catalog;
use crate::domain::claim_conditions::Conditions;
use crate::domain::condition_warnings;
use crate::domain::error::FieldError;
use crate::domain::exchange_rule::{
    ExchangeMode, ExchangeRule, MOST_ACTORS, OutsideParty, Party, RuleSubject, USUAL_ACTORS,
};
use crate::domain::ids::{
    ClientId, ClientUid, ExchangeRuleName, Permission, ResourceServerName, ResourceServerUid, RoleName,
    TrustedIssuerName,
};
use crate::domain::resource::ResourceServer;
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;

/// The most permissions of one exchange rule.
const MOST_PERMISSIONS: usize = 1_000;

/// The most sources of one exchange rule.
const MOST_SOURCES: usize = 100;

/// A client, or whoever has a role: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields, default)]
#[schema(min_properties = 1, max_properties = 1, example = json!({ "client": "orders" }))]
pub struct PartyName {
    /// This client.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ClientId)]
    pub client: Option<ClientId>,
    /// Every client with this role.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = RoleName)]
    pub role: Option<RoleName>,
}

object!(PartyName);

/// A client, whoever has a role, or whoever the tokens of a trusted issuer are about that fulfil conditions: exactly one
/// of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields, default)]
#[schema(min_properties = 1, max_properties = 2, example = json!({ "client": "billing" }))]
pub struct SubjectName {
    /// This client.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ClientId)]
    pub client: Option<ClientId>,
    /// Every client with this role.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = RoleName)]
    pub role: Option<RoleName>,
    /// Somebody from elsewhere, whom this trusted issuer vouches for. It needs conditions.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = TrustedIssuerName)]
    pub trusted_issuer: Option<TrustedIssuerName>,
    /// Which of its tokens: all must hold.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<ClaimCondition>, min_items = 1, max_items = 20)]
    pub conditions: Option<Vec<ClaimCondition>>,
}

object!(SubjectName);

/// Whoever the tokens of a trusted issuer are about that fulfil conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schema(example = json!({
    "trusted_issuer": "cluster", "conditions": [{ "claim": "sub", "value": "system:serviceaccount:shop:robot" }]
}))]
pub struct OutsideName {
    /// Who vouches for them.
    pub trusted_issuer: TrustedIssuerName,
    /// Which of its tokens: all must hold.
    #[schema(min_items = 1, max_items = 20)]
    pub conditions: Vec<ClaimCondition>,
}

object!(OutsideName);

/// An exchange rule to create.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "orders-to-stock", "description": "Orders look at the stock", "caller": { "client": "orders" },
    "subject": { "client": "billing" }, "resource_server": "stock", "permissions": ["stock:read"]
}))]
pub struct CreateExchangeRule {
    /// Its name, which never changes.
    pub name: ExchangeRuleName,
    /// A note for people; `text` of the list finds it.
    #[serde(default)]
    #[schema(
        example = "Orders look at the stock",
        max_length = 1000,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// Who may exchange.
    pub caller: PartyName,
    /// Whose identity is passed on.
    pub subject: SubjectName,
    /// Who from elsewhere acts, by an actor token of a trusted issuer, without which the rule then allows nothing.
    #[serde(default)]
    pub actor: Option<OutsideName>,
    /// The resource server, by name, that the new token is for. It never changes.
    pub resource_server: ResourceServerName,
    /// The most that the new token allows there: scope values, at least one.
    #[schema(value_type = Vec<Permission>, min_items = 1, max_items = 1000)]
    pub permissions: Vec<Permission>,
    /// Resource servers, by name, whose tokens the caller may exchange although it does not operate them.
    #[serde(default)]
    #[schema(value_type = Vec<ResourceServerName>, max_items = 100)]
    pub sources: Vec<ResourceServerName>,
    /// What the new token says of the caller.
    #[serde(default = "default_mode")]
    pub mode: ExchangeMode,
    /// How many actors the new token may name, one behind the other.
    #[serde(default = "default_depth")]
    #[schema(minimum = 1, maximum = 10, example = 5)]
    pub max_depth: u8,
    /// The most seconds that the new token lives; what the resource server says, when absent.
    #[serde(default)]
    #[schema(minimum = 10, maximum = 4_294_967_295_u32)]
    pub token_lifetime: Option<u32>,
    /// Its end; never, when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether it counts.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

/// What to change of an exchange rule. What is absent stays; `null` takes away what can be absent.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateExchangeRule {
    /// A note for people; `text` of the list finds it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, example = "Orders look at the stock", max_length = 1000, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// Who may exchange.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = PartyName)]
    pub caller: Option<PartyName>,
    /// Whose identity is passed on.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = SubjectName)]
    pub subject: Option<SubjectName>,
    /// Who from elsewhere acts.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<OutsideName>)]
    pub actor: Option<Option<OutsideName>>,
    /// The most that the new token allows; replaces all of it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<Permission>, min_items = 1, max_items = 1000)]
    pub permissions: Option<Vec<Permission>>,
    /// Resource servers, by name, whose tokens the caller may exchange although it does not operate them;
    /// replaces all of them.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<ResourceServerName>, max_items = 100)]
    pub sources: Option<Vec<ResourceServerName>>,
    /// What the new token says of the caller.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = ExchangeMode)]
    pub mode: Option<ExchangeMode>,
    /// How many actors the new token may name, one behind the other.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = u8, minimum = 1, maximum = 10)]
    pub max_depth: Option<u8>,
    /// The most seconds that the new token lives.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, minimum = 10, maximum = 4_294_967_295_u32)]
    pub token_lifetime: Option<Option<u32>>,
    /// Its end.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<Timestamp>>,
    /// Whether it counts.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = bool)]
    pub enabled: Option<bool>,
}

/// An exchange rule as people see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "orders-to-stock", "description": "Orders look at the stock", "caller": { "client": "orders" },
    "subject": { "client": "billing" }, "actor": null, "resource_server": "stock", "permissions": ["stock:read"],
    "sources": [], "warnings": [],
    "mode": "delegation", "max_depth": 5, "token_lifetime": null, "enabled": true, "expires_at": null, "version": 1,
    "created_at": "2026-11-22T08:00:00Z", "updated_at": "2026-11-22T08:00:00Z",
}))]
pub struct ExchangeRuleView {
    /// Its name.
    pub name: ExchangeRuleName,
    /// A note for people; `text` of the list finds it.
    #[schema(example = "Orders look at the stock")]
    pub description: String,
    /// Who may exchange.
    pub caller: PartyName,
    /// Whose identity is passed on.
    pub subject: SubjectName,
    /// Who from elsewhere acts, by an actor token of a trusted issuer; nobody, when null.
    #[schema(required = true)]
    pub actor: Option<OutsideName>,
    /// The resource server, by name, that the new token is for.
    pub resource_server: ResourceServerName,
    /// The most that the new token allows there.
    #[schema(value_type = Vec<Permission>)]
    pub permissions: BTreeSet<Permission>,
    /// Resource servers, by name, whose tokens the caller may exchange although it does not operate them.
    #[schema(value_type = Vec<ResourceServerName>)]
    pub sources: BTreeSet<ResourceServerName>,
    /// What is odd about the conditions on somebody from elsewhere, a sentence each: whom they mean beside those that are
    /// meant. Nothing is refused for it.
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
    /// What the new token says of the caller.
    pub mode: ExchangeMode,
    /// How many actors the new token may name, one behind the other.
    #[schema(example = 5)]
    pub max_depth: u8,
    /// The most seconds that the new token lives; what the resource server says, when null.
    #[schema(required = true)]
    pub token_lifetime: Option<u64>,
    /// Whether it counts.
    pub enabled: bool,
    /// Its end; never, when null.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
    /// Counts changes; the `ETag`.
    pub version: i64,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn default_mode() -> ExchangeMode {
    ExchangeMode::Delegation
}

fn default_depth() -> u8 {
    USUAL_ACTORS
}

fn enabled() -> bool {
    true
}

// === impl PartyName ===

impl PartyName {
    /// This client.
    #[must_use]
    pub fn client(client: ClientId) -> Self {
        Self { client: Some(client), role: None }
    }

    /// Whoever has this role.
    #[must_use]
    pub fn role(role: RoleName) -> Self {
        Self { client: None, role: Some(role) }
    }
}

// === impl SubjectName ===

impl From<PartyName> for SubjectName {
    fn from(party: PartyName) -> Self {
        Self { client: party.client, role: party.role, ..Self::default() }
    }
}

impl From<OutsideName> for SubjectName {
    fn from(outside: OutsideName) -> Self {
        let OutsideName { trusted_issuer, conditions } = outside;
        Self { trusted_issuer: Some(trusted_issuer), conditions: Some(conditions), ..Self::default() }
    }
}

// === impl CreateExchangeRule ===

impl CreateExchangeRule {
    /// A rule with every default.
    #[must_use]
    pub fn named(
        name: ExchangeRuleName,
        caller: PartyName,
        subject: SubjectName,
        resource_server: ResourceServerName,
        permissions: Vec<Permission>,
    ) -> Self {
        Self {
            name,
            description: String::new(),
            caller,
            subject,
            actor: None,
            resource_server,
            permissions,
            sources: Vec::new(),
            mode: default_mode(),
            max_depth: default_depth(),
            token_lifetime: None,
            expires_at: None,
            enabled: enabled(),
        }
    }
}

/// The names of what rules name, known so far, and what is wrong with a form, found so far.
pub(super) struct Names<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) clients: BTreeMap<ClientUid, ClientId>,
    pub(super) errors: Vec<FieldError>,
}

// === impl Names ===

impl<'a> Names<'a> {
    pub(super) fn new(catalog: &'a Catalog, clients: BTreeMap<ClientUid, ClientId>) -> Self {
        Self { catalog, clients, errors: Vec::new() }
    }

    /// The rule in names.
    ///
    /// # Errors
    /// Something that it names was removed in the meantime.
    pub(super) fn view(&self, rule: &ExchangeRule) -> Result<ExchangeRuleView, AdminError> {
        let server = |uid: ResourceServerUid| {
            self.catalog.resource_server(uid).map(|server| server.name.clone()).ok_or(AdminError::STALE)
        };
        Ok(ExchangeRuleView {
            name: rule.name.clone(),
            description: rule.description.clone(),
            caller: self.party(rule.caller).ok_or(AdminError::STALE)?,
            subject: match &rule.subject {
                RuleSubject::Party(party) => self.party(*party).ok_or(AdminError::STALE)?.into(),
                RuleSubject::Outside(party) => self.outside(party)?.into(),
            },
            actor: rule.actor.as_ref().map(|party| self.outside(party)).transpose()?,
            resource_server: server(rule.resource_server)?,
            permissions: rule.permissions.clone(),
            sources: rule.sources.iter().map(|uid| server(*uid)).collect::<Result<_, _>>()?,
            warnings: self.warnings(rule),
            mode: rule.mode,
            max_depth: rule.max_depth,
            token_lifetime: rule.token_lifetime.map(|lifetime| lifetime.as_secs()),
            enabled: rule.enabled,
            expires_at: rule.expires_at,
            version: rule.version,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        })
    }

    fn party(&self, party: Party) -> Option<PartyName> {
        match party {
            Party::Client(uid) => self.clients.get(&uid).cloned().map(PartyName::client),
            Party::Role(uid) => self.catalog.role(uid).map(|role| PartyName::role(role.name.clone())),
        }
    }

    /// What is odd about whom a rule means from elsewhere.
    fn warnings(&self, rule: &ExchangeRule) -> Vec<String> {
        let mut warnings = Vec::new();
        for party in rule.outside() {
            let Some(issuer) = self.catalog.trusted_issuer(party.trusted_issuer) else { continue };
            for warning in condition_warnings::of_conditions(issuer, &party.conditions) {
                // Subject and actor may have the same.
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        warnings
    }

    fn outside(&self, party: &OutsideParty) -> Result<OutsideName, AdminError> {
        let issuer = self.catalog.trusted_issuer(party.trusted_issuer).ok_or(AdminError::STALE)?;
        Ok(OutsideName {
            trusted_issuer: issuer.name.clone(),
            conditions: party.conditions.iter().cloned().map(Into::into).collect(),
        })
    }

    /// Whom a form means from elsewhere. What is wrong with it is noted.
    pub(super) fn outside_party(&mut self, field: &'static str, named: &OutsideName) -> Option<OutsideParty> {
        let name = &named.trusted_issuer;
        let issuer = self.catalog.trusted_issuer_named(name).map(|issuer| issuer.uid);
        if issuer.is_none() {
            self.wrong(field, format!("there is no trusted issuer '{name}'"), "register it first");
        }
        let conditions = Conditions::new(named.conditions.iter().cloned().map(Into::into).collect());
        let conditions = conditions.map_err(|error| self.errors.push(error.in_field(field))).ok();
        issuer.zip(conditions).map(|(trusted_issuer, conditions)| OutsideParty { trusted_issuer, conditions })
    }

    /// What a rule is for.
    pub(super) fn resource_server(&mut self, name: &ResourceServerName) -> Option<&'a ResourceServer> {
        let found = self.catalog.by_name(name);
        if found.is_none() {
            self.errors.push(no_resource_server("resource_server", name));
        }
        found.map(|server| &**server)
    }

    pub(super) fn sources(&mut self, names: &[ResourceServerName]) -> BTreeSet<ResourceServerUid> {
        if names.len() > MOST_SOURCES {
            self.wrong("sources", format!("{} resource servers", names.len()), "use at most 100");
            return BTreeSet::new();
        }
        let mut sources = BTreeSet::new();
        for name in names {
            match self.catalog.by_name(name) {
                Some(server) => drop(sources.insert(server.uid)),
                None => self.errors.push(no_resource_server("sources", name)),
            }
        }
        sources
    }

    pub(super) fn permissions(
        &mut self,
        server: Option<&ResourceServer>,
        list: Vec<Permission>,
    ) -> BTreeSet<Permission> {
        if list.is_empty() {
            self.wrong("permissions", "it is empty", "name at least one, or disable the rule");
        }
        if list.len() > MOST_PERMISSIONS {
            self.wrong("permissions", format!("{} permissions", list.len()), "use at most 1000");
            return BTreeSet::new();
        }
        for permission in &list {
            if let Some(server) = server.filter(|server| !server.permissions.contains_key(permission)) {
                let problem = format!("'{}' defines no permission '{permission}'", server.name);
                self.wrong("permissions", problem, "add it to the resource server first");
            }
        }
        list.into_iter().collect()
    }

    pub(super) fn check_description(&mut self, text: &str) {
        self.errors.extend(check_text("description", text, 1_000).err());
    }

    pub(super) fn check_depth(&mut self, depth: u8) {
        if !(1..=MOST_ACTORS).contains(&depth) {
            self.wrong("max_depth", format!("{depth} is not allowed"), "use 1 to 10");
        }
    }

    /// An end that lies before the rule's beginning is a slip of the pen.
    pub(super) fn check_end(&mut self, end: Option<Timestamp>, beginning: Timestamp) {
        if end.is_some_and(|end| end <= beginning) {
            self.wrong("expires_at", "it lies before the rule was created", "name a later time");
        }
    }

    pub(super) fn wrong(&mut self, field: &'static str, problem: impl Into<String>, fix: &'static str) {
        self.errors.push(FieldError::new(field, problem, fix));
    }

    /// Nothing, if nothing is wrong.
    ///
    /// # Errors
    /// All that is.
    pub(super) fn verdict(&mut self) -> Result<(), AdminError> {
        let errors = std::mem::take(&mut self.errors);
        if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
    }
}

fn no_resource_server(field: &'static str, name: &ResourceServerName) -> FieldError {
    FieldError::new(field, format!("there is no resource server '{name}'"), "register it first")
}
