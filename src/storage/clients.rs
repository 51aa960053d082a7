//! Clients and their roles.

use sqlx::types::Json;
use uuid::Uuid;

use super::engine::{execute, read};
use super::rows::{ClientRow, ListedClientRow, RegistrationRow};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::certificate_subject::ExpectedSubject;
use crate::domain::client::{AuthMethod, Client, ClientKind, Registration};
use crate::domain::ids::{ClientId, ClientUid, RoleUid};
use crate::domain::time::Timestamp;

statements! {
    CLIENT_BY_ID = r"
        SELECT uid, client_id, description, kind, owner, labels, enabled, expires_at, default_resource_server,
               grant_types, auth_methods, allowed_networks, may_act, token_binding, jwks_uri,
               assertion_type_required, legacy_assertion_audience, may_rotate_own_secrets,
               certificate_subject_kind, certificate_subject, version, created_at, updated_at
        FROM clients WHERE client_id = $1";

    /// In one question, because this is what the first request of every client waits for. Certificates, which few have,
    /// are another: beside secrets and roles they would multiply the rows.
    REGISTRATION = r"
        SELECT clients.uid, clients.client_id, clients.description, clients.kind, clients.owner, clients.labels,
               clients.enabled, clients.expires_at, clients.default_resource_server, clients.grant_types,
               clients.auth_methods, clients.allowed_networks, clients.may_act, clients.token_binding,
               clients.jwks_uri, clients.assertion_type_required, clients.legacy_assertion_audience,
               clients.may_rotate_own_secrets, clients.certificate_subject_kind, clients.certificate_subject,
               clients.version, clients.created_at, clients.updated_at, secrets.secret_id, secrets.hash, secrets.origin,
               secrets.description AS secret_description, secrets.created_at AS secret_created_at,
               secrets.expires_at AS secret_expires_at, secrets.replaced_by, roles.role
        FROM clients
        LEFT JOIN client_secrets AS secrets ON secrets.client = clients.uid
        LEFT JOIN client_roles AS roles ON roles.client = clients.uid
        WHERE clients.client_id = $1
        ORDER BY secrets.created_at DESC, secrets.secret_id, roles.role";

    /// Keyset pages: the place after a client id does not move when others come or go.
    LIST_CLIENTS = r"
        SELECT uid, client_id, description, kind, owner, labels, enabled, expires_at, default_resource_server,
               grant_types, auth_methods, allowed_networks, may_act, token_binding, jwks_uri,
               assertion_type_required, legacy_assertion_audience, may_rotate_own_secrets,
               certificate_subject_kind, certificate_subject, version, created_at, updated_at,
               (SELECT MIN(ending.at) FROM (
                    SELECT expires_at AS at FROM client_secrets
                    WHERE client = clients.uid AND replaced_by IS NULL AND expires_at > $9
                    UNION ALL
                    SELECT expires_at FROM client_keys WHERE client = clients.uid AND expires_at > $9
                    UNION ALL
                    SELECT ends_at FROM client_certificates WHERE client = clients.uid AND ends_at > $9
                    UNION ALL
                    SELECT expires_at FROM federated_credentials WHERE client = clients.uid AND expires_at > $9
                ) AS ending) AS credentials_end_at
        FROM clients
        WHERE client_id > $1
          AND (CAST($2 AS TEXT) IS NULL OR kind = $2)
          AND (CAST($3 AS TEXT) IS NULL OR owner = $3)
          AND (CAST($4 AS TEXT) IS NULL OR labels ->> CAST($4 AS TEXT) = CAST($5 AS TEXT))
          AND (CAST($6 AS TEXT) IS NULL OR search LIKE $6 ESCAPE '\')
          AND (CAST($8 AS BOOLEAN) IS NULL OR enabled = $8)
        ORDER BY client_id
        LIMIT $7";

    COUNT_CLIENTS = "SELECT COUNT(*) FROM clients";

    CLIENT_IDS_AFTER = "SELECT client_id FROM clients WHERE client_id > $1 ORDER BY client_id LIMIT $2";

    INSERT_CLIENT = r"
        INSERT INTO clients (uid, client_id, description, kind, owner, labels, enabled, expires_at,
            default_resource_server, grant_types, auth_methods, allowed_networks,
            version, created_at, updated_at, search, may_act, token_binding, jwks_uri, assertion_type_required,
            legacy_assertion_audience, may_rotate_own_secrets, certificate_subject_kind, certificate_subject)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
            $24)";

    /// Only the version that was read is replaced: a second writer finds no row.
    UPDATE_CLIENT = r"
        UPDATE clients
        SET description = $3, kind = $4, owner = $5, labels = $6, enabled = $7, expires_at = $8,
            default_resource_server = $9, grant_types = $10, auth_methods = $11,
            allowed_networks = $12, version = version + 1, updated_at = $13, search = $14,
            may_act = $15, token_binding = $16, jwks_uri = $17, assertion_type_required = $18,
            legacy_assertion_audience = $19, may_rotate_own_secrets = $20, certificate_subject_kind = $21,
            certificate_subject = $22
        WHERE uid = $1 AND version = $2";

    /// Changes nothing, and lets nobody else change it until the end of the transaction.
    LOCK_CLIENT = "UPDATE clients SET version = version WHERE uid = $1";

    DELETE_CLIENT = "DELETE FROM clients WHERE uid = $1 AND version = $2";

    ROLES_OF_CLIENT = "SELECT role FROM client_roles WHERE client = $1 ORDER BY role";

    ASSIGN_ROLE = r"
        INSERT INTO client_roles (client, role, assigned_at) VALUES ($1, $2, $3)
        ON CONFLICT (client, role) DO NOTHING";

    UNASSIGN_ROLE = "DELETE FROM client_roles WHERE client = $1 AND role = $2";

    CLIENTS_WITH_ROLE = r"
        SELECT clients.client_id FROM client_roles JOIN clients ON clients.uid = client_roles.client
        WHERE client_roles.role = $1 ORDER BY clients.client_id LIMIT $2";
}

/// Which clients a list shows. Every part narrows it.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    /// Of this kind.
    pub kind: Option<ClientKind>,
    /// Of this owner.
    pub owner: Option<String>,
    /// With this label.
    pub label: Option<(String, String)>,
    /// With this text in the client id, the description or the owner, in any case.
    pub text: Option<String>,
    /// Switched on, or off.
    pub enabled: Option<bool>,
}

/// Where a page starts and how long it is.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The last name of the page before; empty for the first page.
    pub after: String,
    /// The most rows.
    pub limit: u32,
}

// === impl Store ===

impl Store {
    /// The client with this identifier.
    ///
    /// # Errors
    /// The database is away.
    pub async fn client(&self, client_id: &ClientId) -> Result<Option<Client>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, ClientRow>(CLIENT_BY_ID).bind(client_id.as_str()).fetch_optional(pool).await
        })?;
        row.map(Client::try_from).transpose()
    }

    /// A client with its secrets, keys, certificates and roles: all that a token request needs of it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn registration(&self, client_id: &ClientId) -> Result<Option<Registration>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, RegistrationRow>(REGISTRATION).bind(client_id.as_str()).fetch_all(pool).await
        })?;
        let mut found = RegistrationRow::together(rows)?;
        // Another question, but for those alone who need the answer. A change in between makes the directory ask anew.
        if let Some(found) = found.as_mut()
            && found.client.auth_methods.contains(&AuthMethod::PrivateKeyJwt)
        {
            found.keys = self.client_keys(found.client.uid).await?;
        }
        if let Some(found) = found.as_mut()
            && found.client.auth_methods.contains(&AuthMethod::SelfSignedTlsClientAuth)
        {
            found.certificates = self.certificates(found.client.uid).await?;
        }
        if let Some(found) = found.as_mut()
            && found.client.is_federated()
        {
            found.federated = self.federated_credentials(found.client.uid).await?;
        }
        Ok(found)
    }

    /// A page of clients, in the order of their identifiers. Beside each when the first of its credentials ends that
    /// count at `now` and that nothing has replaced.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clients(
        &self,
        filter: &ClientFilter,
        page: &Cursor,
        now: Timestamp,
    ) -> Result<Vec<(Client, Option<Timestamp>)>, StoreError> {
        let kind = filter.kind.map(ClientKind::as_str);
        let (label, value) = filter.label.clone().unzip();
        let text = filter.text.as_deref().map(contains_pattern);
        let rows = read!(self, pool => {
            sqlx::query_as::<_, ListedClientRow>(LIST_CLIENTS)
                .bind(&page.after)
                .bind(kind)
                .bind(&filter.owner)
                .bind(label)
                .bind(value)
                .bind(text)
                .bind(i64::from(page.limit))
                .bind(filter.enabled)
                .bind(now.as_micros())
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter()
            .map(|row| {
                Ok((Client::try_from(row.client)?, row.credentials_end_at.map(Timestamp::from_micros)))
            })
            .collect()
    }

    /// How many clients there are.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_clients(&self) -> Result<u64, StoreError> {
        let count: i64 = read!(self, pool => sqlx::query_scalar(COUNT_CLIENTS).fetch_one(pool).await)?;
        Ok(count.unsigned_abs())
    }

    /// The next `limit` client ids after this text.
    ///
    /// # Errors
    /// The database is away.
    pub async fn client_ids_after(&self, after: &str, limit: u32) -> Result<Vec<ClientId>, StoreError> {
        let rows: Vec<String> = read!(self, pool => {
            sqlx::query_scalar(CLIENT_IDS_AFTER).bind(after).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.iter().map(|id| ClientId::new(id).map_err(|_| corrupt("client id", id))).collect()
    }

    /// The roles of a client.
    ///
    /// # Errors
    /// The database is away.
    pub async fn roles_of(&self, client: ClientUid) -> Result<Vec<RoleUid>, StoreError> {
        let rows: Vec<Uuid> = read!(self, pool => {
            sqlx::query_scalar(ROLES_OF_CLIENT).bind(client.0).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(RoleUid).collect())
    }

    /// The first `limit` clients that have a role, for a message about what removing it would break.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clients_with_role(&self, role: RoleUid, limit: u32) -> Result<Vec<String>, StoreError> {
        Ok(read!(self, pool => {
            sqlx::query_scalar(CLIENTS_WITH_ROLE).bind(role.0).bind(i64::from(limit)).fetch_all(pool).await
        })?)
    }
}

// === impl Tx ===

impl Tx {
    /// Registers a client.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the identifier is taken.
    pub async fn insert_client(&mut self, client: &Client) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_CLIENT,
            client.uid.0,
            client.client_id.as_str(),
            &client.description,
            client.kind.as_str(),
            &client.owner,
            Json(&client.labels),
            client.enabled,
            client.expires_at.map(Timestamp::as_micros),
            client.default_resource_server.map(|server| server.0),
            Json(&client.grant_types),
            Json(&client.auth_methods),
            Json(&client.allowed_networks),
            client.version,
            client.created_at.as_micros(),
            client.updated_at.as_micros(),
            search_text(client),
            client.may_act.as_ref().map(ClientId::as_str),
            client.token_binding.as_str(),
            &client.jwks_uri,
            client.assertion_type_required,
            client.legacy_assertion_audience,
            client.may_rotate_own_secrets,
            client.certificate_subject.as_ref().map(|subject| subject.kind().as_str()),
            client.certificate_subject.as_ref().map(ExpectedSubject::as_str)
        )?;
        Ok(())
    }

    /// Replaces a client's fields if it still has `client.version`; the stored version goes up by one.
    /// Answers whether it did.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when the default resource server is gone.
    pub async fn update_client(&mut self, client: &Client) -> Result<bool, StoreError> {
        let changed = execute!(
            self,
            UPDATE_CLIENT,
            client.uid.0,
            client.version,
            &client.description,
            client.kind.as_str(),
            &client.owner,
            Json(&client.labels),
            client.enabled,
            client.expires_at.map(Timestamp::as_micros),
            client.default_resource_server.map(|server| server.0),
            Json(&client.grant_types),
            Json(&client.auth_methods),
            Json(&client.allowed_networks),
            client.updated_at.as_micros(),
            search_text(client),
            client.may_act.as_ref().map(ClientId::as_str),
            client.token_binding.as_str(),
            &client.jwks_uri,
            client.assertion_type_required,
            client.legacy_assertion_audience,
            client.may_rotate_own_secrets,
            client.certificate_subject.as_ref().map(|subject| subject.kind().as_str()),
            client.certificate_subject.as_ref().map(ExpectedSubject::as_str)
        )?;
        Ok(changed == 1)
    }

    /// Keeps everybody else from changing a client, or adding to it under this lock, until the end of the
    /// transaction. Answers whether it is there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn lock_client(&mut self, client: ClientUid) -> Result<bool, StoreError> {
        let locked = execute!(self, LOCK_CLIENT, client.0)?;
        Ok(locked == 1)
    }

    /// Removes a client with its secrets and role assignments if it still has this version. Answers
    /// whether it did.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when an exchange rule names it.
    pub async fn delete_client(&mut self, client: ClientUid, version: i64) -> Result<bool, StoreError> {
        let shapes = self.shapes_of(client).await?;
        let removed = execute!(self, DELETE_CLIENT, client.0, version)? == 1;
        if removed {
            self.forget_shapes(&shapes).await?;
            self.forget_client_uses(client.0).await?;
        }
        Ok(removed)
    }

    /// Gives a client a role. Answers whether it did not have it yet.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when the client or the role is gone.
    pub async fn assign_role(
        &mut self,
        client: ClientUid,
        role: RoleUid,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = execute!(self, ASSIGN_ROLE, client.0, role.0, at.as_micros())?;
        Ok(changed == 1)
    }

    /// Takes a role away. Answers whether the client had it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn unassign_role(&mut self, client: ClientUid, role: RoleUid) -> Result<bool, StoreError> {
        let changed = execute!(self, UNASSIGN_ROLE, client.0, role.0)?;
        Ok(changed == 1)
    }
}

/// What a text search looks in. Lower case is made here: the engines know only that of ASCII.
fn search_text(client: &Client) -> String {
    let owner = client.owner.as_deref().unwrap_or_default();
    format!("{}\n{}\n{owner}", client.client_id, client.description).to_lowercase()
}

/// A LIKE pattern for "contains this text, in any case", with LIKE's own characters taken literally.
fn contains_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
