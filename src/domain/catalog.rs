//! All resource servers, roles, exchange rules and trusted issuers together: what can be asked for, what a set of
//! roles gives, what may be passed on, and whose tokens count.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::builtin;
use super::exchange_rule::ExchangeRule;
use super::ids::{
    ClientUid, ExchangeRuleName, Permission, ResourceServerName, ResourceServerUid, RoleName, RoleUid,
    TrustedIssuerName, TrustedIssuerUid,
};
use super::outside_identity::Issuers;
use super::resource::ResourceServer;
use super::role::Role;
use super::trust::TrustedIssuer;

/// A consistent snapshot of every resource server, role and exchange rule.
#[derive(Debug, Default)]
pub struct Catalog {
    resource_servers: HashMap<ResourceServerUid, Arc<ResourceServer>>,
    by_identifier: HashMap<String, ResourceServerUid>,
    roles: HashMap<RoleUid, Arc<Role>>,
    exchange_rules: Vec<Arc<ExchangeRule>>,
    /// The places of those towards each resource server.
    rules_towards: HashMap<ResourceServerUid, Vec<usize>>,
    operators: HashMap<ClientUid, BTreeSet<ResourceServerUid>>,
    trusted_issuers: Vec<Arc<TrustedIssuer>>,
    /// The places of those that call themselves the same.
    trusted_by_issuer: HashMap<String, Vec<usize>>,
    /// What is registered besides, and why it is not understood here.
    unread: BTreeSet<Unread>,
}

/// Something that is registered in words that this version does not know: what sort of thing, and why.
pub type Unread = (Sort, String);

/// What there is in a catalog that a newer version may have registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A rule by which identities are passed on.
    ExchangeRule,
    /// Whose tokens count beside our own.
    TrustedIssuer,
    /// What tokens are for.
    ResourceServer,
}

/// What a grantee holds: for each resource server its permissions, and the roles that give each. No role gives what a
/// client has by itself.
pub type Holdings<'a> = BTreeMap<ResourceServerUid, BTreeMap<&'a Permission, Vec<&'a RoleName>>>;

// === impl Catalog ===

impl Catalog {
    /// A snapshot of these.
    #[must_use]
    pub fn new(resource_servers: Vec<ResourceServer>, roles: Vec<Role>) -> Self {
        let by_identifier = resource_servers
            .iter()
            .map(|server| (server.identifier.as_str().to_owned(), server.uid))
            .collect();
        Self {
            by_identifier,
            resource_servers: resource_servers
                .into_iter()
                .map(|server| (server.uid, Arc::new(server)))
                .collect(),
            roles: roles.into_iter().map(|role| (role.uid, Arc::new(role))).collect(),
            exchange_rules: Vec::new(),
            rules_towards: HashMap::new(),
            operators: HashMap::new(),
            trusted_issuers: Vec::new(),
            trusted_by_issuer: HashMap::new(),
            unread: BTreeSet::new(),
        }
    }

    /// The snapshot, which lacks these: a newer version has registered them in words that this one does not know.
    /// Whatever needs one of them is refused.
    #[must_use]
    pub fn without(mut self, unread: BTreeSet<Unread>) -> Self {
        self.unread = unread;
        self
    }

    /// What it lacks.
    #[must_use]
    pub const fn unread(&self) -> &BTreeSet<Unread> {
        &self.unread
    }

    /// The snapshot with whose tokens count beside our own.
    #[must_use]
    pub fn with_trust(mut self, mut issuers: Vec<TrustedIssuer>) -> Self {
        issuers.sort_by(|a, b| a.name.cmp(&b.name));
        for (place, issuer) in issuers.iter().enumerate() {
            self.trusted_by_issuer.entry(issuer.issuer.clone()).or_default().push(place);
        }
        self.trusted_issuers = issuers.into_iter().map(Arc::new).collect();
        self
    }

    /// Every trusted issuer, disabled ones too, in the order of the names.
    #[must_use]
    pub fn trusted_issuers(&self) -> &[Arc<TrustedIssuer>] {
        &self.trusted_issuers
    }

    /// The trusted issuers, disabled ones too, whose tokens call their issuer this, in the order of the names.
    pub fn trusted_issuers_of(&self, issuer: &str) -> impl Iterator<Item = &Arc<TrustedIssuer>> {
        let places = self.trusted_by_issuer.get(issuer).into_iter().flatten();
        places.map(|place| &self.trusted_issuers[*place])
    }

    /// The trusted issuer with this key.
    #[must_use]
    pub fn trusted_issuer(&self, uid: TrustedIssuerUid) -> Option<&Arc<TrustedIssuer>> {
        self.trusted_issuers.iter().find(|issuer| issuer.uid == uid)
    }

    /// The trusted issuer with this name.
    #[must_use]
    pub fn trusted_issuer_named(&self, name: &TrustedIssuerName) -> Option<&Arc<TrustedIssuer>> {
        self.trusted_issuers.iter().find(|issuer| issuer.name == *name)
    }

    /// The snapshot with who may exchange what, and who operates which resource server.
    #[must_use]
    pub fn with_exchange(
        mut self,
        mut rules: Vec<ExchangeRule>,
        operators: impl IntoIterator<Item = (ClientUid, ResourceServerUid)>,
    ) -> Self {
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        for (place, rule) in rules.iter().enumerate() {
            self.rules_towards.entry(rule.resource_server).or_default().push(place);
        }
        self.exchange_rules = rules.into_iter().map(Arc::new).collect();
        for (client, server) in operators {
            self.operators.entry(client).or_default().insert(server);
        }
        self
    }

    /// Every exchange rule, in the order of the names.
    #[must_use]
    pub fn exchange_rules(&self) -> &[Arc<ExchangeRule>] {
        &self.exchange_rules
    }

    /// The exchange rules towards a resource server, in the order of the names.
    pub fn exchange_rules_towards(&self, server: ResourceServerUid) -> impl Iterator<Item = &ExchangeRule> {
        let places = self.rules_towards.get(&server).into_iter().flatten();
        places.map(|place| &*self.exchange_rules[*place])
    }

    /// The exchange rule with this name.
    #[must_use]
    pub fn exchange_rule(&self, name: &ExchangeRuleName) -> Option<&Arc<ExchangeRule>> {
        self.exchange_rules.iter().find(|rule| rule.name == *name)
    }

    /// Who operates a resource server.
    pub fn operators_of(&self, server: ResourceServerUid) -> impl Iterator<Item = ClientUid> {
        let operators = self.operators.iter().filter(move |(_, servers)| servers.contains(&server));
        operators.map(|(client, _)| *client)
    }

    /// Whether a client operates a resource server.
    #[must_use]
    pub fn operates(&self, client: ClientUid, server: ResourceServerUid) -> bool {
        self.operators.get(&client).is_some_and(|servers| servers.contains(&server))
    }

    /// The resource server with this key.
    #[must_use]
    pub fn resource_server(&self, uid: ResourceServerUid) -> Option<&Arc<ResourceServer>> {
        self.resource_servers.get(&uid)
    }

    /// The resource server with exactly this identifier.
    #[must_use]
    pub fn by_identifier(&self, identifier: &str) -> Option<&Arc<ResourceServer>> {
        self.resource_server(*self.by_identifier.get(identifier)?)
    }

    /// The resource server with this name.
    #[must_use]
    pub fn by_name(&self, name: &ResourceServerName) -> Option<&Arc<ResourceServer>> {
        self.resource_servers.values().find(|server| server.name == *name)
    }

    /// Every resource server, in no order.
    pub fn resource_servers(&self) -> impl Iterator<Item = &Arc<ResourceServer>> {
        self.resource_servers.values()
    }

    /// Every role, in no order.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// The role with this key.
    #[must_use]
    pub fn role(&self, uid: RoleUid) -> Option<&Arc<Role>> {
        self.roles.get(&uid)
    }

    /// The role with this name.
    #[must_use]
    pub fn role_named(&self, name: &RoleName) -> Option<&Arc<Role>> {
        self.roles.values().find(|role| role.name == *name)
    }

    /// The built-in resource server, Jeton's own API.
    #[must_use]
    pub fn api(&self) -> Option<&Arc<ResourceServer>> {
        self.resource_servers.values().find(|server| server.builtin)
    }

    /// What is held, and beside it what a client has without any role that may rotate its own secrets.
    #[must_use]
    pub fn with_own_secrets<'a>(&'a self, mut holdings: Holdings<'a>) -> Holdings<'a> {
        if let Some(api) = self.api()
            && let Some((permission, _)) = api.permissions.get_key_value(builtin::OWN_SECRETS)
        {
            holdings.entry(api.uid).or_default().entry(permission).or_default();
        }
        holdings
    }

    /// What these roles give. A role that is gone gives nothing.
    #[must_use]
    pub fn holdings(&self, roles: &[RoleUid]) -> Holdings<'_> {
        let mut holdings = Holdings::new();
        for role in roles.iter().filter_map(|uid| self.roles.get(uid)) {
            for (server, permission) in &role.permissions {
                holdings.entry(*server).or_default().entry(permission).or_default().push(&role.name);
            }
        }
        holdings
    }
}

impl Issuers for Catalog {
    fn named(&self, name: &TrustedIssuerName) -> Option<Arc<TrustedIssuer>> {
        self.trusted_issuer_named(name).cloned()
    }

    fn called(&self, issuer: &str) -> Vec<Arc<TrustedIssuer>> {
        self.trusted_issuers_of(issuer).cloned().collect()
    }
}
