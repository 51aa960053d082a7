//! The public keys of clients.

use std::sync::Arc;

use sqlx::FromRow;

use super::engine::{execute, read, within};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::client_key::ClientKey;
use crate::domain::ids::{ClientUid, CredentialId};
use crate::domain::time::Timestamp;
use crate::jose::ForeignKey;

statements! {
    KEYS_OF_CLIENT = r"
        SELECT key_id, public_jwk, description, created_at, expires_at
        FROM client_keys WHERE client = $1 ORDER BY created_at DESC, key_id";

    COUNT_CLIENT_KEYS = "SELECT COUNT(*) FROM client_keys WHERE client = $1";

    KEYS_ARE_ELSEWHERE = "SELECT jwks_uri IS NOT NULL FROM clients WHERE uid = $1";

    INSERT_CLIENT_KEY = r"
        INSERT INTO client_keys (client, key_id, thumbprint, kid, public_jwk, description, created_at, expires_at,
            unwarned_end)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";

    UPDATE_CLIENT_KEY = r"
        UPDATE client_keys
        SET description = $3, expires_at = $4,
            unwarned_end = CASE WHEN expires_at IS NOT DISTINCT FROM $4 THEN unwarned_end ELSE $4 END
        WHERE client = $1 AND key_id = $2";

    DELETE_CLIENT_KEY = "DELETE FROM client_keys WHERE client = $1 AND key_id = $2";
}

#[derive(FromRow)]
struct KeyRow {
    key_id: String,
    public_jwk: String,
    description: String,
    created_at: i64,
    expires_at: Option<i64>,
}

/// What a client has already, when a key is added.
#[derive(Clone, Copy, Debug)]
pub struct KeysHeld {
    /// How many keys it is registered with.
    pub count: i64,
    /// Whether its keys are published elsewhere.
    pub elsewhere: bool,
}

// === impl KeyRow ===

impl TryFrom<KeyRow> for ClientKey {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let key =
            ForeignKey::from_jwk(&row.public_jwk).map_err(|_| corrupt("key of a client", &row.key_id))?;
        Ok(Self {
            key_id: CredentialId::new(&row.key_id).map_err(|_| corrupt("key id", &row.key_id))?,
            key: Arc::new(key),
            description: row.description,
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_micros),
        })
    }
}

// === impl Store ===

impl Store {
    /// The keys that a client is registered with, newest first, expired ones too.
    ///
    /// # Errors
    /// The database is away.
    pub async fn client_keys(&self, client: ClientUid) -> Result<Vec<ClientKey>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, KeyRow>(KEYS_OF_CLIENT).bind(client.0).fetch_all(pool).await
        })?;
        rows.into_iter().map(ClientKey::try_from).collect()
    }
}

// === impl Tx ===

impl Tx {
    /// What a client has. Under [`Tx::lock_client`] it stays so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn keys_held(&mut self, client: ClientUid) -> Result<KeysHeld, StoreError> {
        let count = within!(self, connection => {
            sqlx::query_scalar(COUNT_CLIENT_KEYS).bind(client.0).fetch_one(connection).await
        })?;
        let elsewhere = within!(self, connection => {
            sqlx::query_scalar(KEYS_ARE_ELSEWHERE).bind(client.0).fetch_one(connection).await
        })?;
        Ok(KeysHeld { count, elsewhere })
    }

    /// The keys of a client, newest first. Under [`Tx::lock_client`] they stay so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn client_keys(&mut self, client: ClientUid) -> Result<Vec<ClientKey>, StoreError> {
        let rows = within!(self, connection => {
            sqlx::query_as::<_, KeyRow>(KEYS_OF_CLIENT).bind(client.0).fetch_all(connection).await
        })?;
        rows.into_iter().map(ClientKey::try_from).collect()
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the client has this key or one of its `kid`, [`StoreError::InUse`] when
    /// the client is gone.
    pub async fn insert_client_key(&mut self, client: ClientUid, key: &ClientKey) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_CLIENT_KEY,
            client.0,
            key.key_id.as_str(),
            key.key.thumbprint(),
            key.key.kid(),
            key.key.json(),
            &key.description,
            key.created_at.as_micros(),
            key.expires_at.map(Timestamp::as_micros)
        )?;
        Ok(())
    }

    /// Changes what is said of a key, and its end. Answers whether it was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn update_client_key(
        &mut self,
        client: ClientUid,
        key: &ClientKey,
    ) -> Result<bool, StoreError> {
        let changed = execute!(
            self,
            UPDATE_CLIENT_KEY,
            client.0,
            key.key_id.as_str(),
            &key.description,
            key.expires_at.map(Timestamp::as_micros)
        )?;
        Ok(changed == 1)
    }

    /// Removes a key. Answers whether it was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_client_key(
        &mut self,
        client: ClientUid,
        key: &CredentialId,
    ) -> Result<bool, StoreError> {
        let removed = execute!(self, DELETE_CLIENT_KEY, client.0, key.as_str())? == 1;
        if removed {
            self.forget_secret_uses(client.0, Some(key.as_str())).await?;
        }
        Ok(removed)
    }
}
