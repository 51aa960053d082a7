//! People who administer.

use secrecy::{ExposeSecret, SecretString};
use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read, within};
use super::{Cursor, Store, StoreError, Tx, corrupt, statements};
use crate::domain::administrator::{Administrator, AdministratorRole, ExternalIdentity};
use crate::domain::ids::{AdministratorName, AdministratorUid};
use crate::domain::time::Timestamp;

statements! {
    ADMINISTRATOR_BY_NAME = r"
        SELECT uid, name, role, enabled, password_hash, second_factor, code_step, external_issuer, external_subject,
               signed_in_at, version, created_at, updated_at
        FROM administrators WHERE name = $1";

    ADMINISTRATOR_BY_UID = r"
        SELECT uid, name, role, enabled, password_hash, second_factor, code_step, external_issuer, external_subject,
               signed_in_at, version, created_at, updated_at
        FROM administrators WHERE uid = $1";

    ADMINISTRATOR_BY_EXTERNAL = r"
        SELECT uid, name, role, enabled, password_hash, second_factor, code_step, external_issuer, external_subject,
               signed_in_at, version, created_at, updated_at
        FROM administrators WHERE external_issuer = $1 AND external_subject = $2";

    ADMINISTRATORS_AFTER = r"
        SELECT uid, name, role, enabled, password_hash, second_factor, code_step, external_issuer, external_subject,
               signed_in_at, version, created_at, updated_at
        FROM administrators WHERE name > $1 ORDER BY name LIMIT $2";

    /// Whoever may not make others does not count.
    ANY_ADMINISTRATOR = "SELECT EXISTS (SELECT 1 FROM administrators WHERE role = 'administrator')";

    ANOTHER_ADMINISTRATOR = r"
        SELECT EXISTS (SELECT 1 FROM administrators WHERE uid <> $1 AND role = 'administrator')";

    INSERT_ADMINISTRATOR = r"
        INSERT INTO administrators (uid, name, role, enabled, password_hash, second_factor, code_step,
            external_issuer, external_subject, signed_in_at, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

    /// Only the version that was read is replaced.
    UPDATE_ADMINISTRATOR = r"
        UPDATE administrators SET role = $3, enabled = $4, version = version + 1, updated_at = $5
        WHERE uid = $1 AND version = $2";

    /// Whoever else may change everything here, and has something to sign in with.
    ANOTHER_WHO_SIGNS_IN = r"
        SELECT EXISTS (
            SELECT 1 FROM administrators WHERE uid <> $1 AND role = 'administrator' AND enabled = TRUE
                AND (password_hash IS NOT NULL OR external_issuer IS NOT NULL))";

    SET_PASSWORD = r"
        UPDATE administrators SET password_hash = $2, updated_at = $3, version = version + 1 WHERE uid = $1";

    SET_SECOND_FACTOR = r"
        UPDATE administrators SET second_factor = $2, code_step = $3, updated_at = $4, version = version + 1
        WHERE uid = $1";

    /// Locks the row, if the account is what it was when it was read.
    HOLD_ADMINISTRATOR = r"
        UPDATE administrators SET version = version WHERE uid = $1 AND version = $2 AND enabled = TRUE";

    /// A one-time code counts once, on whichever replica.
    COUNT_CODE = "UPDATE administrators SET code_step = $2 WHERE uid = $1 AND code_step < $2";

    NOTE_SIGN_IN = "UPDATE administrators SET signed_in_at = $2 WHERE uid = $1";

    INSERT_RECOVERY_CODE = "INSERT INTO recovery_codes (administrator, hash) VALUES ($1, $2)";

    /// A recovery code counts once, on whichever replica.
    COUNT_RECOVERY_CODE = "DELETE FROM recovery_codes WHERE administrator = $1 AND hash = $2";

    CLEAR_RECOVERY_CODES = "DELETE FROM recovery_codes WHERE administrator = $1";

    LEFT_RECOVERY_CODES = "SELECT COUNT(*) FROM recovery_codes WHERE administrator = $1";

    DELETE_ADMINISTRATOR = "DELETE FROM administrators WHERE uid = $1 AND version = $2";
}

#[derive(FromRow)]
pub(super) struct AdministratorRow {
    uid: Uuid,
    name: String,
    role: String,
    enabled: bool,
    password_hash: Option<String>,
    second_factor: Option<Vec<u8>>,
    code_step: i64,
    external_issuer: Option<String>,
    external_subject: Option<String>,
    signed_in_at: Option<i64>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

// === impl AdministratorRow ===

impl TryFrom<AdministratorRow> for Administrator {
    type Error = StoreError;

    fn try_from(row: AdministratorRow) -> Result<Self, StoreError> {
        let external = row.external_issuer.zip(row.external_subject);
        Ok(Self {
            uid: AdministratorUid(row.uid),
            name: AdministratorName::new(&row.name).map_err(|_| corrupt("name", &row.name))?,
            role: AdministratorRole::from_word(&row.role).ok_or_else(|| corrupt("role", &row.role))?,
            enabled: row.enabled,
            password_hash: row.password_hash.map(SecretString::from),
            second_factor: row.second_factor,
            code_step: row.code_step,
            external: external.map(|(issuer, subject)| ExternalIdentity { issuer, subject }),
            signed_in_at: row.signed_in_at.map(Timestamp::from_micros),
            version: row.version,
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
        })
    }
}

// === impl Store ===

impl Store {
    /// The administrator of this name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn administrator(&self, name: &AdministratorName) -> Result<Option<Administrator>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, AdministratorRow>(ADMINISTRATOR_BY_NAME)
                .bind(name.as_str())
                .fetch_optional(pool)
                .await
        })?;
        row.map(Administrator::try_from).transpose()
    }

    /// The administrator with this key.
    ///
    /// # Errors
    /// The database is away.
    pub async fn administrator_by_uid(
        &self,
        uid: AdministratorUid,
    ) -> Result<Option<Administrator>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, AdministratorRow>(ADMINISTRATOR_BY_UID).bind(uid.0).fetch_optional(pool).await
        })?;
        row.map(Administrator::try_from).transpose()
    }

    /// The administrator whom another provider vouches for under this identity.
    ///
    /// # Errors
    /// The database is away.
    pub async fn administrator_by_external(
        &self,
        identity: &ExternalIdentity,
    ) -> Result<Option<Administrator>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, AdministratorRow>(ADMINISTRATOR_BY_EXTERNAL)
                .bind(&identity.issuer)
                .bind(&identity.subject)
                .fetch_optional(pool)
                .await
        })?;
        row.map(Administrator::try_from).transpose()
    }

    /// Administrators in the order of their names.
    ///
    /// # Errors
    /// The database is away.
    pub async fn administrators(&self, cursor: &Cursor) -> Result<Vec<Administrator>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, AdministratorRow>(ADMINISTRATORS_AFTER)
                .bind(&cursor.after)
                .bind(i64::from(cursor.limit))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter().map(Administrator::try_from).collect()
    }

    /// How many recovery codes are left.
    ///
    /// # Errors
    /// The database is away.
    pub async fn recovery_codes_left(&self, of: AdministratorUid) -> Result<i64, StoreError> {
        Ok(read!(self, pool => sqlx::query_scalar(LEFT_RECOVERY_CODES).bind(of.0).fetch_one(pool).await)?)
    }

    /// Whether there is anybody at all who may change everything, now or once they can sign in.
    ///
    /// # Errors
    /// The database is away.
    pub async fn has_administrators(&self) -> Result<bool, StoreError> {
        Ok(read!(self, pool => sqlx::query_scalar(ANY_ADMINISTRATOR).fetch_one(pool).await)?)
    }
}

// === impl Tx ===

impl Tx {
    /// Adds an administrator.
    ///
    /// # Errors
    /// The name or the external identity is taken, or the database is away.
    pub async fn insert_administrator(&mut self, new: &Administrator) -> Result<(), StoreError> {
        let external = new.external.as_ref();
        execute!(
            self,
            INSERT_ADMINISTRATOR,
            new.uid.0,
            new.name.as_str(),
            new.role.as_str(),
            new.enabled,
            new.password_hash.as_ref().map(|hash| hash.expose_secret().to_owned()),
            new.second_factor.as_deref(),
            new.code_step,
            external.map(|identity| identity.issuer.as_str()),
            external.map(|identity| identity.subject.as_str()),
            new.signed_in_at.map(Timestamp::as_micros),
            new.version,
            new.created_at.as_micros(),
            new.updated_at.as_micros(),
        )?;
        Ok(())
    }

    /// Whether somebody else may change everything, now or once they can sign in. It stays so when
    /// [`Tx::stop_changes`] was called before.
    ///
    /// # Errors
    /// The database is away.
    pub async fn has_administrators_beside(&mut self, uid: AdministratorUid) -> Result<bool, StoreError> {
        Ok(within!(self, connection => {
            sqlx::query_scalar(ANOTHER_ADMINISTRATOR).bind(uid.0).fetch_one(connection).await
        })?)
    }

    /// Whether somebody else may change everything and can sign in. It stays so when [`Tx::stop_changes`] was called
    /// before.
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_administered_beside(&mut self, uid: AdministratorUid) -> Result<bool, StoreError> {
        Ok(within!(self, connection => {
            sqlx::query_scalar(ANOTHER_WHO_SIGNS_IN).bind(uid.0).fetch_one(connection).await
        })?)
    }

    /// Keeps an account as it was read until the end of the transaction, if it still has this version and is enabled:
    /// what was decided on it is decided on what is stored. Call it first. Answers whether it is so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn hold_administrator(
        &mut self,
        uid: AdministratorUid,
        version: i64,
    ) -> Result<bool, StoreError> {
        Ok(execute!(self, HOLD_ADMINISTRATOR, uid.0, version)? > 0)
    }

    /// Changes role and standing of an administrator who still has this version. Answers whether it did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn update_administrator(&mut self, changed: &Administrator) -> Result<bool, StoreError> {
        let (uid, version, role) = (changed.uid.0, changed.version, changed.role.as_str());
        let at = changed.updated_at.as_micros();
        Ok(execute!(self, UPDATE_ADMINISTRATOR, uid, version, role, changed.enabled, at)? > 0)
    }

    /// Removes an administrator who still has this version, with sessions and links. Answers whether it did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_administrator(
        &mut self,
        uid: AdministratorUid,
        version: i64,
    ) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE_ADMINISTRATOR, uid.0, version)? > 0)
    }

    /// Gives an administrator a password.
    ///
    /// # Errors
    /// The database is away.
    pub async fn set_password(
        &mut self,
        uid: AdministratorUid,
        hash: &SecretString,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, SET_PASSWORD, uid.0, hash.expose_secret(), at.as_micros())?;
        Ok(())
    }

    /// Gives an administrator a second factor, whose codes up to this step do not count, or takes it away.
    ///
    /// # Errors
    /// The database is away.
    pub async fn set_second_factor(
        &mut self,
        uid: AdministratorUid,
        sealed: Option<&[u8]>,
        step: i64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, SET_SECOND_FACTOR, uid.0, sealed, step, at.as_micros())?;
        Ok(())
    }

    /// Uses a one-time code up. Answers whether it was not.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_code(&mut self, uid: AdministratorUid, step: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, COUNT_CODE, uid.0, step)? > 0)
    }

    /// Notes when somebody signed in.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note_sign_in(&mut self, uid: AdministratorUid, at: Timestamp) -> Result<(), StoreError> {
        execute!(self, NOTE_SIGN_IN, uid.0, at.as_micros())?;
        Ok(())
    }

    /// Replaces the recovery codes by others, of which these are the hashes.
    ///
    /// # Errors
    /// The database is away.
    pub async fn replace_recovery_codes(
        &mut self,
        uid: AdministratorUid,
        hashes: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        execute!(self, CLEAR_RECOVERY_CODES, uid.0)?;
        for hash in hashes {
            execute!(self, INSERT_RECOVERY_CODE, uid.0, &hash[..])?;
        }
        Ok(())
    }

    /// Uses a recovery code up. Answers whether it was one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_recovery_code(
        &mut self,
        uid: AdministratorUid,
        hash: &[u8],
    ) -> Result<bool, StoreError> {
        Ok(execute!(self, COUNT_RECOVERY_CODE, uid.0, hash)? > 0)
    }
}
