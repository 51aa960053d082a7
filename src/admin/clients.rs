//! Registering, reading, changing and removing clients.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::assignments::roles_named;
pub use super::client_forms::{ClientView, CreateClient, UpdateClient};
use super::credential_use::latest;
use super::overtaken::overtaken;
use super::{
    Admin, AdminError, By, CHANGES_STRONGER, HANDS_OUT, Page, PageRequest, Written, check_search,
    exchange_rules, recorded,
};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::client::{Client, check_labels};
use crate::domain::error::FieldError;
use crate::domain::exchange_rule::Party;
use crate::domain::ids::{ClientId, ClientUid, ResourceServerName, ResourceServerUid, RoleName, RoleUid};
use crate::domain::text::{check_text, quoted};
use crate::domain::time::Timestamp;
use crate::storage::{ChangeKind, ClientFilter, StoreError, Tx};

/// The most roles that a client is registered with.
const MOST_ROLES: usize = 100;

/// A client whose fields were checked, and that is not registered yet.
pub(super) struct NewClient {
    pub(super) client: Client,
    pub(super) roles: Vec<RoleUid>,
    role_names: Vec<RoleName>,
}

// === impl NewClient ===

impl NewClient {
    /// Registers it, with its roles.
    pub(super) async fn insert(
        self,
        tx: &mut Tx,
        catalog: &Catalog,
    ) -> Result<(ClientView, Written), AdminError> {
        let Self { client, roles, role_names } = self;
        tx.insert_client(&client).await.map_err(|error| match error {
            StoreError::AlreadyExists => {
                AdminError::Conflict(format!("a client '{}' is registered already", client.client_id))
            }
            other => other.into(),
        })?;
        for role in &roles {
            tx.assign_role(client.uid, *role, client.created_at).await?;
        }
        let client_id = client.client_id.clone();
        let view = ClientView::new(client, catalog);
        let mut after = recorded(&view);
        if let Some(after) = after.as_mut() {
            after["roles"] = recorded(&role_names).unwrap_or_default();
        }
        let written = Written {
            action: "client.create",
            target: client_id.to_string(),
            before: None,
            after,
            change: ChangeKind::Client(client_id),
        };
        Ok((view, written))
    }
}

// === impl Admin ===

impl Admin {
    /// Registers a client, with its roles.
    ///
    /// # Errors
    /// Wrong fields, a taken identifier, unknown roles, or roles beyond the administrator's own.
    pub async fn create_client(&self, by: &By, new: CreateClient) -> Result<ClientView, AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let catalog = self.catalog().await?;
        let new = self.new_client(&catalog, new)?;
        self.require_all_of(by, &catalog, None, &new.roles, HANDS_OUT).await?;
        let mut tx = self.begin().await?;
        let (view, written) = new.insert(&mut tx, &catalog).await?;
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// What is to be registered.
    ///
    /// # Errors
    /// Wrong fields, or unknown roles.
    pub(super) fn new_client(&self, catalog: &Catalog, new: CreateClient) -> Result<NewClient, AdminError> {
        let mut errors = Vec::new();
        if new.roles.len() > MOST_ROLES {
            let problem = format!("{} roles", new.roles.len());
            errors.push(FieldError::new("roles", problem, "use at most 100, and give more afterwards"));
        }
        let roles = roles_named(catalog, &new.roles, &mut errors);
        self.check_jwks_uri(new.jwks_uri.as_deref(), &mut errors);
        let now = self.ambient.now();
        let client = Client {
            uid: ClientUid(self.ambient.uuid()?),
            client_id: new.client_id,
            description: new.description,
            kind: new.kind,
            owner: new.owner,
            labels: new.labels,
            enabled: true,
            expires_at: new.expires_at,
            default_resource_server: default_resource_server(
                catalog,
                new.default_resource_server,
                &mut errors,
            ),
            grant_types: new.grant_types,
            auth_methods: new.auth_methods,
            allowed_networks: networks(&new.allowed_networks, &mut errors),
            may_act: new.may_act,
            token_binding: new.token_binding,
            certificate_subject: new.tls_client_auth_subject.and_then(|subject| subject.read(&mut errors)),
            may_rotate_own_secrets: new.may_rotate_own_secrets,
            jwks_uri: new.jwks_uri,
            assertion_type_required: new.assertion_type_required,
            legacy_assertion_audience: new.legacy_assertion_audience,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        if errors.is_empty() {
            errors.extend(self.wrong_use_of_certificates(&client, None));
        }
        check(&client, now, errors)?;
        Ok(NewClient { client, roles, role_names: new.roles })
    }

    /// A client.
    ///
    /// # Errors
    /// There is none of this identifier.
    pub async fn client(&self, by: &By, client_id: &ClientId) -> Result<ClientView, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let last_used_at = self.store.last_token(client.uid).await?;
        let credential_uses = latest(self.store.last_uses(client.uid).await?);
        let now = self.ambient.now();
        let ends = self.store.first_end_of_credentials(client.uid, now).await?;
        let view = ClientView::new(client, &*self.catalog().await?);
        Ok(ClientView { last_used_at, credential_uses, ..view.ending(ends, now, self.warn_before) })
    }

    /// A page of clients, in the order of their identifiers.
    ///
    /// # Errors
    /// A wrong cursor or limit.
    pub async fn clients(
        &self,
        by: &By,
        filter: &ClientFilter,
        page: &PageRequest,
    ) -> Result<Page<ClientView>, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let (cursor, limit) = page.cursor()?;
        check_search("q", filter.text.as_deref())?;
        check_search("owner", filter.owner.as_deref())?;
        if let Some((name, value)) = &filter.label {
            check_labels(&BTreeMap::from([(name.clone(), value.clone())])).map_err(|errors| {
                AdminError::Invalid(errors.into_iter().map(|error| error.in_field("label")).collect())
            })?;
        }
        let catalog = self.catalog().await?;
        let now = self.ambient.now();
        let clients = self.store.clients(filter, &cursor, now).await?;
        let views = clients
            .into_iter()
            .map(|(client, ends)| ClientView::new(client, &catalog).ending(ends, now, self.warn_before))
            .collect();
        Ok(Page::new(views, limit, |view: &ClientView| view.client_id.as_str()))
    }

    /// Changes a client that still has the expected version.
    ///
    /// # Errors
    /// Wrong fields, or somebody else changed it in between.
    pub async fn update_client(
        &self,
        by: &By,
        client_id: &ClientId,
        version: i64,
        update: UpdateClient,
    ) -> Result<ClientView, AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let catalog = self.catalog().await?;
        let before = self.stored_client(client_id).await?;
        if before.version != version {
            return Err(self.overtaken_client(by, client_id).await);
        }
        let mut client = before.clone();
        let mut errors = Vec::new();
        if let Some(default) = update.default_resource_server {
            client.default_resource_server = default_resource_server(&catalog, default, &mut errors);
        }
        if let Some(texts) = update.allowed_networks {
            client.allowed_networks = networks(&texts, &mut errors);
        }
        client.kind = update.kind.unwrap_or(client.kind);
        client.description = update.description.unwrap_or(client.description);
        client.owner = update.owner.unwrap_or(client.owner);
        client.labels = update.labels.unwrap_or(client.labels);
        client.enabled = update.enabled.unwrap_or(client.enabled);
        client.expires_at = update.expires_at.unwrap_or(client.expires_at);
        client.grant_types = update.grant_types.unwrap_or(client.grant_types);
        client.auth_methods = update.auth_methods.unwrap_or(client.auth_methods);
        client.may_act = update.may_act.unwrap_or(client.may_act);
        client.token_binding = update.token_binding.unwrap_or(client.token_binding);
        client.may_rotate_own_secrets =
            update.may_rotate_own_secrets.unwrap_or(client.may_rotate_own_secrets);
        if let Some(uri) = update.jwks_uri {
            self.check_jwks_uri(uri.as_deref(), &mut errors);
            client.jwks_uri = uri;
        }
        client.assertion_type_required =
            update.assertion_type_required.unwrap_or(client.assertion_type_required);
        client.legacy_assertion_audience =
            update.legacy_assertion_audience.unwrap_or(client.legacy_assertion_audience);
        if let Some(subject) = update.tls_client_auth_subject {
            client.certificate_subject = subject.and_then(|subject| subject.read(&mut errors));
        }
        if errors.is_empty() {
            errors.extend(self.wrong_use_of_certificates(&client, Some(&before)));
        }
        check(&client, before.created_at, errors)?;
        self.require_power_over(by, &catalog, &before).await?;
        match self.replace_client(by, "client.update", &catalog, before, client).await {
            Err(AdminError::Stale { .. }) => Err(self.overtaken_client(by, client_id).await),
            outcome => outcome,
        }
    }

    /// Switches a client on or off, whatever its version: an emergency does not wait for an edit.
    ///
    /// # Errors
    /// There is none of this identifier.
    pub async fn set_client_enabled(
        &self,
        by: &By,
        client_id: &ClientId,
        enabled: bool,
    ) -> Result<ClientView, AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let catalog = self.catalog().await?;
        let action = if enabled { "client.enable" } else { "client.disable" };
        loop {
            let before = self.stored_client(client_id).await?;
            if before.enabled == enabled {
                return Ok(ClientView::new(before, &catalog));
            }
            if enabled {
                self.require_power_over(by, &catalog, &before).await?;
            }
            let client = Client { enabled, ..before.clone() };
            match self.replace_client(by, action, &catalog, before, client).await {
                Err(AdminError::Stale { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// Removes a client that still has the expected version, with its secrets and roles.
    ///
    /// # Errors
    /// There is none of this identifier, an exchange rule names it, or somebody else changed it in between.
    pub async fn delete_client(&self, by: &By, client_id: &ClientId, version: i64) -> Result<(), AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let catalog = self.catalog().await?;
        let named = Party::Client(client.uid);
        let rules = exchange_rules::among(&catalog, |rule| rule.names(named));
        let mut tx = self.begin().await?;
        let removed = tx.delete_client(client.uid, version).await.map_err(|error| match (error, rules) {
            (StoreError::InUse, Some(rules)) => AdminError::Conflict(format!(
                "exchange rules name the client '{client_id}' (among them {rules}); \
                 change or delete them first, or disable the client"
            )),
            (other, _) => other.into(),
        })?;
        if !removed {
            drop(tx);
            return Err(self.overtaken_client(by, client_id).await);
        }
        let view = ClientView::new(client, &catalog);
        let written = Written {
            action: "client.delete",
            target: client_id.to_string(),
            before: recorded(&view),
            after: None,
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await
    }

    /// Refuses to change a client that may do more in this API than the administrator: lifting its end or
    /// its networks would hand out its authority. Disabling and deleting only take away.
    async fn require_power_over(
        &self,
        by: &By,
        catalog: &Catalog,
        client: &Client,
    ) -> Result<(), AdminError> {
        let roles = self.store.roles_of(client.uid).await?;
        self.require_all_of(by, catalog, Some(client.uid), &roles, CHANGES_STRONGER).await
    }

    async fn replace_client(
        &self,
        by: &By,
        action: &'static str,
        catalog: &Catalog,
        before: Client,
        mut client: Client,
    ) -> Result<ClientView, AdminError> {
        client.updated_at = self.ambient.now();
        let mut tx = self.begin().await?;
        if !tx.update_client(&client).await? {
            return Err(AdminError::STALE);
        }
        if client.jwks_uri.is_some() && tx.keys_held(client.uid).await?.count > 0 {
            let fix = "remove them first, or leave jwks_uri out";
            return Err(AdminError::invalid("jwks_uri", "the client is registered with keys", fix));
        }
        client.version += 1;
        let client_id = client.client_id.clone();
        let view = ClientView::new(client, catalog);
        let written = Written {
            action,
            target: client_id.to_string(),
            before: recorded(&ClientView::new(before, catalog)),
            after: recorded(&view),
            change: ChangeKind::Client(client_id),
        };
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// Notes what is wrong with where a client's keys are.
    fn check_jwks_uri(&self, uri: Option<&str>, errors: &mut Vec<FieldError>) {
        errors.extend(uri.and_then(|uri| self.outside.check("jwks_uri", uri).err()));
    }

    /// Why a change is refused that is based on another version.
    async fn overtaken_client(&self, by: &By, client_id: &ClientId) -> AdminError {
        let now =
            async { Ok(ClientView::new(self.stored_client(client_id).await?, &*self.catalog().await?)) };
        overtaken(by, builtin::CLIENTS_READ, now.await, |view| view.version)
    }

    pub(super) async fn stored_client(&self, client_id: &ClientId) -> Result<Client, AdminError> {
        self.store.client(client_id).await?.ok_or_else(|| AdminError::not_found("client", client_id.as_str()))
    }
}

/// Checks what holds for every client, new or changed, beside what was found wrong already.
fn check(client: &Client, not_before: Timestamp, mut errors: Vec<FieldError>) -> Result<(), AdminError> {
    errors.extend(check_labels(&client.labels).err().unwrap_or_default());
    errors.extend(check_text("description", &client.description, 1_000).err());
    errors.extend(client.owner.as_deref().and_then(|owner| check_text("owner", owner, 255).err()));
    if client.grant_types.is_empty() {
        errors.push(FieldError::new(
            "grant_types",
            "it is empty",
            "name at least one, or disable the client",
        ));
    }
    if client.auth_methods.is_empty() {
        errors.push(FieldError::new(
            "auth_methods",
            "it is empty",
            "name at least one, or disable the client",
        ));
    }
    if client.may_act.as_ref() == Some(&client.client_id) {
        errors.push(FieldError::new("may_act", "it is the client itself", "name another client, or none"));
    }
    if client.expires_at.is_some_and(|end| end <= not_before) {
        errors.push(FieldError::new("expires_at", "it lies before the registration", "name a later time"));
    }
    if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
}

/// The networks that a form names. What is wrong with them is noted.
fn networks(texts: &[String], errors: &mut Vec<FieldError>) -> Vec<IpNet> {
    const MOST: usize = 100;
    if texts.len() > MOST {
        errors.push(FieldError::new(
            "allowed_networks",
            format!("{} networks", texts.len()),
            "use at most 100",
        ));
        return Vec::new();
    }
    let mut networks = Vec::new();
    for text in texts {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network.trunc()),
            Err(_) => errors.push(FieldError::new(
                "allowed_networks",
                format!("'{}' is not an address or network", quoted(text)),
                "write 10.0.0.0/8 or 192.0.2.7",
            )),
        }
    }
    networks
}

/// The resource server that a form names as the default. What is wrong with it is noted.
fn default_resource_server(
    catalog: &Catalog,
    name: Option<ResourceServerName>,
    errors: &mut Vec<FieldError>,
) -> Option<ResourceServerUid> {
    let name = name?;
    let server = catalog.by_name(&name).map(|server| server.uid);
    if server.is_none() {
        errors.push(FieldError::new(
            "default_resource_server",
            format!("there is no resource server '{name}'"),
            "register it first",
        ));
    }
    server
}
