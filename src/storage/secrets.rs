//! Client secrets: their hashes.

use secrecy::ExposeSecret;

use super::engine::{execute, read, within};
use super::rows::SecretRow;
use super::{Store, StoreError, Tx, statements};
use crate::domain::client::ClientSecret;
use crate::domain::ids::{ClientUid, SecretId};
use crate::domain::secret::SecretOrigin;
use crate::domain::time::Timestamp;

statements! {
    SECRETS_OF_CLIENT = r"
        SELECT secret_id, hash, origin, description, created_at, expires_at
        FROM client_secrets WHERE client = $1 ORDER BY created_at DESC, secret_id";

    COUNT_SECRETS = "SELECT COUNT(*) FROM client_secrets WHERE client = $1";

    COUNT_SECRETS_OF_ORIGIN = "SELECT COUNT(*) FROM client_secrets WHERE client = $1 AND origin = $2";

    INSERT_SECRET = r"
        INSERT INTO client_secrets (client, secret_id, hash, origin, description, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";

    DELETE_SECRET = "DELETE FROM client_secrets WHERE client = $1 AND secret_id = $2";
}

// === impl Store ===

impl Store {
    /// The secrets of a client, newest first, expired ones too.
    ///
    /// # Errors
    /// The database is away.
    pub async fn secrets(&self, client: ClientUid) -> Result<Vec<ClientSecret>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, SecretRow>(SECRETS_OF_CLIENT).bind(client.0).fetch_all(pool).await
        })?;
        rows.into_iter().map(ClientSecret::try_from).collect()
    }
}

// === impl Tx ===

impl Tx {
    /// Adds a secret.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the client has one of this id, [`StoreError::InUse`] when the
    /// client is gone.
    pub async fn insert_secret(
        &mut self,
        client: ClientUid,
        secret: &ClientSecret,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_SECRET,
            client.0,
            secret.secret_id.as_str(),
            secret.hash.expose_secret(),
            secret.origin.as_str(),
            &secret.description,
            secret.created_at.as_micros(),
            secret.expires_at.map(Timestamp::as_micros)
        )?;
        Ok(())
    }

    /// How many secrets a client has: all, and of this origin. Under [`Tx::lock_client`] it stays so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_secrets(
        &mut self,
        client: ClientUid,
        origin: SecretOrigin,
    ) -> Result<(i64, i64), StoreError> {
        let all = within!(self, connection => {
            sqlx::query_scalar(COUNT_SECRETS).bind(client.0).fetch_one(connection).await
        })?;
        let of_origin = within!(self, connection => {
            sqlx::query_scalar(COUNT_SECRETS_OF_ORIGIN)
                .bind(client.0)
                .bind(origin.as_str())
                .fetch_one(connection)
                .await
        })?;
        Ok((all, of_origin))
    }

    /// Removes a secret. Answers whether it was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_secret(&mut self, client: ClientUid, secret: &SecretId) -> Result<bool, StoreError> {
        let removed = execute!(self, DELETE_SECRET, client.0, secret.as_str())? == 1;
        if removed {
            self.forget_secret_uses(client.0, Some(secret.as_str())).await?;
        }
        Ok(removed)
    }
}
