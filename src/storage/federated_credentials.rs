//! Federated credentials of clients, and what finds them.

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read, within};
use super::rows::client_id;
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::claim_conditions::{MatchKey, Shape};
use crate::domain::ids::{ClientId, ClientUid, CredentialId, RoleUid, TrustedIssuerUid};
use crate::domain::time::Timestamp;
use crate::domain::trust::FederatedCredential;

statements! {
    FEDERATED_OF_CLIENT = r"
        SELECT credential_id, trusted_issuer, conditions, description, created_at, expires_at
        FROM federated_credentials WHERE client = $1 ORDER BY created_at DESC, credential_id";

    COUNT_FEDERATED = "SELECT COUNT(*) FROM federated_credentials WHERE client = $1";

    CREDENTIALS_OF_ISSUER = r"
        SELECT clients.client_id, federated_credentials.credential_id, federated_credentials.trusted_issuer,
               federated_credentials.conditions, federated_credentials.description, federated_credentials.created_at,
               federated_credentials.expires_at
        FROM federated_credentials JOIN clients ON clients.uid = federated_credentials.client
        WHERE federated_credentials.trusted_issuer = $1
        ORDER BY federated_credentials.match_key, federated_credentials.client LIMIT $2";

    CLIENTS_BY_MATCH = r"
        SELECT clients.client_id
        FROM federated_credentials JOIN clients ON clients.uid = federated_credentials.client
        WHERE federated_credentials.trusted_issuer = $1 AND federated_credentials.match_key = $2
        ORDER BY federated_credentials.client LIMIT $3";

    CLIENTS_OF_ISSUER = r"
        SELECT DISTINCT clients.client_id
        FROM federated_credentials JOIN clients ON clients.uid = federated_credentials.client
        WHERE federated_credentials.trusted_issuer = $1
        ORDER BY clients.client_id LIMIT $2";

    COUNT_OF_ISSUER =
        "SELECT COUNT(*), COUNT(DISTINCT client) FROM federated_credentials WHERE trusted_issuer = $1";

    ROLES_OF_ISSUER = r"
        SELECT DISTINCT client_roles.role
        FROM federated_credentials JOIN client_roles ON client_roles.client = federated_credentials.client
        WHERE federated_credentials.trusted_issuer = $1";

    ALL_SHAPES = "SELECT trusted_issuer, shape FROM federation_shapes";

    /// One that is there is locked: else it could be forgotten while a credential of it is on its way.
    NOTE_SHAPE = r"
        INSERT INTO federation_shapes (trusted_issuer, shape) VALUES ($1, $2)
        ON CONFLICT (trusted_issuer, shape) DO UPDATE SET shape = excluded.shape";

    LOCK_SHAPE = "UPDATE federation_shapes SET shape = shape WHERE trusted_issuer = $1 AND shape = $2";

    FORGET_SHAPE = r"
        DELETE FROM federation_shapes
        WHERE trusted_issuer = $1 AND shape = $2
          AND NOT EXISTS (SELECT 1 FROM federated_credentials WHERE trusted_issuer = $1 AND shape = $2)";

    SHAPES_OF_CLIENT = r"
        SELECT DISTINCT trusted_issuer, shape FROM federated_credentials WHERE client = $1
        ORDER BY trusted_issuer, shape";

    INSERT_FEDERATED = r"
        INSERT INTO federated_credentials (client, credential_id, trusted_issuer, conditions, shape, match_key,
            description, created_at, expires_at, unwarned_end)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";

    UPDATE_FEDERATED = r"
        UPDATE federated_credentials
        SET description = $3, expires_at = $4,
            unwarned_end = CASE WHEN expires_at IS NOT DISTINCT FROM $4 THEN unwarned_end ELSE $4 END
        WHERE client = $1 AND credential_id = $2";

    DELETE_FEDERATED = "DELETE FROM federated_credentials WHERE client = $1 AND credential_id = $2";
}

#[derive(FromRow)]
struct FederatedRow {
    credential_id: String,
    trusted_issuer: Uuid,
    conditions: String,
    description: String,
    created_at: i64,
    expires_at: Option<i64>,
}

/// A credential, and whose it is.
#[derive(FromRow)]
struct OwnedRow {
    client_id: String,
    #[sqlx(flatten)]
    credential: FederatedRow,
}

// === impl FederatedRow ===

impl TryFrom<FederatedRow> for FederatedCredential {
    type Error = StoreError;

    fn try_from(row: FederatedRow) -> Result<Self, StoreError> {
        let id = &row.credential_id;
        Ok(Self {
            credential_id: CredentialId::new(id).map_err(|_| corrupt("federated credential", id))?,
            trusted_issuer: TrustedIssuerUid(row.trusted_issuer),
            conditions: serde_json::from_str(&row.conditions)
                .map_err(|_| corrupt("conditions of the credential", id))?,
            description: row.description,
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_micros),
        })
    }
}

// === impl Store ===

impl Store {
    /// The federated credentials of a client, newest first, expired ones too.
    ///
    /// # Errors
    /// The database is away.
    pub async fn federated_credentials(
        &self,
        client: ClientUid,
    ) -> Result<Vec<FederatedCredential>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, FederatedRow>(FEDERATED_OF_CLIENT).bind(client.0).fetch_all(pool).await
        })?;
        rows.into_iter().map(FederatedCredential::try_from).collect()
    }

    /// Federated credentials of this issuer, with the clients whose they are, at most `limit`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn credentials_of_issuer(
        &self,
        issuer: TrustedIssuerUid,
        limit: u32,
    ) -> Result<Vec<(ClientId, FederatedCredential)>, StoreError> {
        let rows: Vec<OwnedRow> = read!(self, pool => {
            sqlx::query_as(CREDENTIALS_OF_ISSUER).bind(issuer.0).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.into_iter().map(|row| Ok((client_id(&row.client_id)?, row.credential.try_into()?))).collect()
    }

    /// The clients that have a credential of this issuer that is found by this key, at most `limit`. Whether all its
    /// conditions hold its registration says.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clients_by_match(
        &self,
        issuer: TrustedIssuerUid,
        key: &MatchKey,
        limit: u32,
    ) -> Result<Vec<ClientId>, StoreError> {
        let ids: Vec<String> = read!(self, pool => {
            sqlx::query_scalar(CLIENTS_BY_MATCH)
                .bind(issuer.0)
                .bind(key.as_str())
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await
        })?;
        ids.iter().map(|id| client_id(id)).collect()
    }

    /// How many federated credentials name this issuer.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_of_issuer(&self, issuer: TrustedIssuerUid) -> Result<u64, StoreError> {
        Ok(self.counts_of_issuer(issuer).await?.0.unsigned_abs())
    }

    async fn counts_of_issuer(&self, issuer: TrustedIssuerUid) -> Result<(i64, i64), StoreError> {
        Ok(read!(self, pool => sqlx::query_as(COUNT_OF_ISSUER).bind(issuer.0).fetch_one(pool).await)?)
    }

    /// How many clients tokens of this issuer prove, and the first of them in the order of their identifiers.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clients_of_issuer(
        &self,
        issuer: TrustedIssuerUid,
        limit: u32,
    ) -> Result<(u64, Vec<ClientId>), StoreError> {
        let (_, count) = self.counts_of_issuer(issuer).await?;
        let ids: Vec<String> = read!(self, pool => {
            sqlx::query_scalar(CLIENTS_OF_ISSUER).bind(issuer.0).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        Ok((count.unsigned_abs(), ids.iter().map(|id| client_id(id)).collect::<Result<_, _>>()?))
    }

    /// Every role that some client has whom tokens of this issuer prove.
    ///
    /// # Errors
    /// The database is away.
    pub async fn roles_of_issuer(&self, issuer: TrustedIssuerUid) -> Result<Vec<RoleUid>, StoreError> {
        let roles: Vec<Uuid> = read!(self, pool => {
            sqlx::query_scalar(ROLES_OF_ISSUER).bind(issuer.0).fetch_all(pool).await
        })?;
        Ok(roles.into_iter().map(RoleUid).collect())
    }

    /// Every shape that the conditions of an issuer's credentials have.
    ///
    /// # Errors
    /// The database is away.
    pub async fn federation_shapes(&self) -> Result<Vec<(TrustedIssuerUid, Shape)>, StoreError> {
        let rows: Vec<(Uuid, String)> =
            read!(self, pool => sqlx::query_as(ALL_SHAPES).fetch_all(pool).await)?;
        let known = |(issuer, text): (Uuid, String)| {
            let shape = Shape::from_text(&text);
            if shape.is_none() {
                tracing::warn!(shape = text, "a newer version's shape of conditions is passed over");
            }
            Some((TrustedIssuerUid(issuer), shape?))
        };
        Ok(rows.into_iter().filter_map(known).collect())
    }
}

// === impl Tx ===

impl Tx {
    /// The federated credentials of a client, newest first. Under [`Tx::lock_client`] they stay so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn federated_credentials(
        &mut self,
        client: ClientUid,
    ) -> Result<Vec<FederatedCredential>, StoreError> {
        let rows = within!(self, connection => {
            sqlx::query_as::<_, FederatedRow>(FEDERATED_OF_CLIENT).bind(client.0).fetch_all(connection).await
        })?;
        rows.into_iter().map(FederatedCredential::try_from).collect()
    }

    /// How many federated credentials a client has. Under [`Tx::lock_client`] it stays so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_federated(&mut self, client: ClientUid) -> Result<i64, StoreError> {
        Ok(within!(self, connection => {
            sqlx::query_scalar(COUNT_FEDERATED).bind(client.0).fetch_one(connection).await
        })?)
    }

    /// Adds a federated credential.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the client has one with these conditions, [`StoreError::InUse`] when the
    /// client or the issuer is gone.
    pub async fn insert_federated_credential(
        &mut self,
        client: ClientUid,
        credential: &FederatedCredential,
    ) -> Result<(), StoreError> {
        let shape = credential.conditions.shape().to_text();
        execute!(self, NOTE_SHAPE, credential.trusted_issuer.0, &shape)?;
        execute!(
            self,
            INSERT_FEDERATED,
            client.0,
            credential.credential_id.as_str(),
            credential.trusted_issuer.0,
            serde_json::to_string(&credential.conditions).unwrap_or_default(),
            shape,
            credential.conditions.match_key().as_str(),
            &credential.description,
            credential.created_at.as_micros(),
            credential.expires_at.map(Timestamp::as_micros)
        )?;
        Ok(())
    }

    /// Changes what is said of a federated credential, and its end. Answers whether it was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn update_federated_credential(
        &mut self,
        client: ClientUid,
        credential: &FederatedCredential,
    ) -> Result<bool, StoreError> {
        let changed = execute!(
            self,
            UPDATE_FEDERATED,
            client.0,
            credential.credential_id.as_str(),
            &credential.description,
            credential.expires_at.map(Timestamp::as_micros)
        )?;
        Ok(changed == 1)
    }

    /// Removes a federated credential. Answers whether it was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_federated_credential(
        &mut self,
        client: ClientUid,
        credential: &CredentialId,
    ) -> Result<bool, StoreError> {
        let shapes = self.shapes_of(client).await?;
        let removed = execute!(self, DELETE_FEDERATED, client.0, credential.as_str())? == 1;
        if removed {
            self.forget_shapes(&shapes).await?;
            self.forget_secret_uses(client.0, Some(credential.as_str())).await?;
        }
        Ok(removed)
    }

    /// The shapes of a client's federated credentials. Under [`Tx::lock_client`] they stay so.
    pub(super) async fn shapes_of(&mut self, client: ClientUid) -> Result<Vec<(Uuid, String)>, StoreError> {
        Ok(within!(self, connection => {
            sqlx::query_as(SHAPES_OF_CLIENT).bind(client.0).fetch_all(connection).await
        })?)
    }

    /// Removes those of these shapes that no credential has any more.
    pub(super) async fn forget_shapes(&mut self, shapes: &[(Uuid, String)]) -> Result<(), StoreError> {
        for (issuer, shape) in shapes {
            // First, and in a statement of its own: what was on its way until now is seen by the next.
            execute!(self, LOCK_SHAPE, issuer, shape)?;
            execute!(self, FORGET_SHAPE, issuer, shape)?;
        }
        Ok(())
    }
}
