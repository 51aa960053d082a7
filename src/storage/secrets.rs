//! Client secrets: their hashes.

use secrecy::{ExposeSecret, SecretString};

use super::engine::{execute, read, within};
use super::rows::SecretRow;
use super::{Store, StoreError, Tx, statements};
use crate::domain::client::ClientSecret;
use crate::domain::ids::{ClientUid, SecretId};
use crate::domain::time::Timestamp;

statements! {
    SECRETS_OF_CLIENT = r"
        SELECT secret_id, hash, origin, description, created_at, expires_at, replaced_by
        FROM client_secrets WHERE client = $1 ORDER BY created_at DESC, secret_id";

    INSERT_SECRET = r"
        INSERT INTO client_secrets (client, secret_id, hash, origin, description, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";

    /// A later end is brought forward, an earlier one stays.
    REPLACE_SECRET = r"
        UPDATE client_secrets
        SET expires_at = CASE WHEN expires_at <= $3 THEN expires_at ELSE $3 END, replaced_by = $4, warned = TRUE
        WHERE client = $1 AND secret_id = $2";

    /// Another end is warned of anew, unless something has replaced the secret.
    UPDATE_SECRET = r"
        UPDATE client_secrets
        SET description = $3, expires_at = $4, replaced_by = $5,
            warned = CAST($5 AS TEXT) IS NOT NULL OR (warned AND expires_at IS NOT DISTINCT FROM $4)
        WHERE client = $1 AND secret_id = $2";

    /// Of several replicas that have verified the same secret one finds what it has read.
    REHASH_SECRET = "UPDATE client_secrets SET hash = $4 WHERE client = $1 AND secret_id = $2 AND hash = $3";

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

    /// The secrets of a client, newest first. Under [`Tx::lock_client`] they stay so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn secrets(&mut self, client: ClientUid) -> Result<Vec<ClientSecret>, StoreError> {
        let rows = within!(self, connection => {
            sqlx::query_as::<_, SecretRow>(SECRETS_OF_CLIENT).bind(client.0).fetch_all(connection).await
        })?;
        rows.into_iter().map(ClientSecret::try_from).collect()
    }

    /// Lets a secret end at `end` if it does not end before, and says what has replaced it. Nobody is warned of that end.
    ///
    /// # Errors
    /// The database is away.
    pub async fn replace_secret(
        &mut self,
        client: ClientUid,
        secret: &SecretId,
        end: Timestamp,
        by: &SecretId,
    ) -> Result<(), StoreError> {
        execute!(self, REPLACE_SECRET, client.0, secret.as_str(), end.as_micros(), by.as_str())?;
        Ok(())
    }

    /// Changes a secret's description, its end, and what has replaced it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn update_secret(
        &mut self,
        client: ClientUid,
        secret: &ClientSecret,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            UPDATE_SECRET,
            client.0,
            secret.secret_id.as_str(),
            &secret.description,
            secret.expires_at.map(Timestamp::as_micros),
            secret.replaced_by.as_ref().map(SecretId::as_str)
        )?;
        Ok(())
    }

    /// Stores another hash of a secret, if it still has the one before. Answers whether it had.
    ///
    /// # Errors
    /// The database is away.
    pub async fn rehash_secret(
        &mut self,
        client: ClientUid,
        secret: &SecretId,
        (before, after): (&SecretString, &SecretString),
    ) -> Result<bool, StoreError> {
        let changed = execute!(
            self,
            REHASH_SECRET,
            client.0,
            secret.as_str(),
            before.expose_secret(),
            after.expose_secret()
        )?;
        Ok(changed == 1)
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
