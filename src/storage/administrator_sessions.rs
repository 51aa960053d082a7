//! Sign-ins of administrators that last.

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read, within};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::administrator::{AdministratorRole, Session, Stage};
use crate::domain::ids::{AdministratorName, AdministratorUid};
use crate::domain::time::Timestamp;

statements! {
    SESSION_BY_HASH = r"
        SELECT sessions.handle, sessions.stage, sessions.address, sessions.agent, sessions.created_at,
               sessions.used_at, sessions.ends_at, administrators.uid, administrators.name, administrators.role
        FROM administrator_sessions sessions JOIN administrators ON administrators.uid = sessions.administrator
        WHERE sessions.hash = $1 AND administrators.enabled = TRUE";

    SESSIONS_OF = r"
        SELECT sessions.handle, sessions.stage, sessions.address, sessions.agent, sessions.created_at,
               sessions.used_at, sessions.ends_at, administrators.uid, administrators.name, administrators.role
        FROM administrator_sessions sessions JOIN administrators ON administrators.uid = sessions.administrator
        WHERE sessions.administrator = $1 ORDER BY sessions.created_at DESC, sessions.handle LIMIT 100";

    INSERT_SESSION = r"
        INSERT INTO administrator_sessions (hash, handle, administrator, stage, address, agent, created_at, used_at,
            ends_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

    NOTE_SESSION_USE = "UPDATE administrator_sessions SET used_at = $2 WHERE hash = $1 AND used_at < $2";

    DELETE_SESSION = "DELETE FROM administrator_sessions WHERE hash = $1";

    DELETE_SESSION_OF = "DELETE FROM administrator_sessions WHERE administrator = $1 AND handle = $2";

    DELETE_SESSIONS_OF = "DELETE FROM administrator_sessions WHERE administrator = $1";

    FORGET_SESSIONS = "DELETE FROM administrator_sessions WHERE ends_at < $1";
}

/// A session and whose it is.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// It.
    pub session: Session,
    /// Who signed in.
    pub administrator: AdministratorUid,
    /// Their name.
    pub name: AdministratorName,
    /// What they may do.
    pub role: AdministratorRole,
}

#[derive(FromRow)]
struct SessionRow {
    handle: String,
    stage: String,
    address: Option<String>,
    agent: String,
    created_at: i64,
    used_at: i64,
    ends_at: i64,
    uid: Uuid,
    name: String,
    role: String,
}

// === impl SessionRow ===

impl TryFrom<SessionRow> for StoredSession {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            session: Session {
                handle: row.handle,
                stage: Stage::from_word(&row.stage).ok_or_else(|| corrupt("stage", &row.stage))?,
                address: row.address,
                agent: row.agent,
                created_at: Timestamp::from_micros(row.created_at),
                used_at: Timestamp::from_micros(row.used_at),
                ends_at: Timestamp::from_micros(row.ends_at),
            },
            administrator: AdministratorUid(row.uid),
            name: AdministratorName::new(&row.name).map_err(|_| corrupt("name", &row.name))?,
            role: AdministratorRole::from_word(&row.role).ok_or_else(|| corrupt("role", &row.role))?,
        })
    }
}

// === impl Store ===

impl Store {
    /// The session that this is the hash of, if whoever has it is enabled. Whether it lasts is asked elsewhere.
    ///
    /// # Errors
    /// The database is away.
    pub async fn administrator_session(&self, hash: &[u8]) -> Result<Option<StoredSession>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, SessionRow>(SESSION_BY_HASH).bind(hash).fetch_optional(pool).await
        })?;
        row.map(StoredSession::try_from).transpose()
    }

    /// The sessions of an administrator, newest first, a hundred at most.
    ///
    /// # Errors
    /// The database is away.
    pub async fn administrator_sessions(&self, uid: AdministratorUid) -> Result<Vec<Session>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, SessionRow>(SESSIONS_OF).bind(uid.0).fetch_all(pool).await
        })?;
        rows.into_iter().map(|row| StoredSession::try_from(row).map(|stored| stored.session)).collect()
    }
}

// === impl Tx ===

impl Tx {
    /// Adds a session under the hash of what opens it.
    ///
    /// # Errors
    /// The database is away, or the administrator gone.
    pub async fn insert_administrator_session(
        &mut self,
        hash: &[u8],
        administrator: AdministratorUid,
        session: &Session,
    ) -> Result<(), StoreError> {
        within!(self, connection => {
            sqlx::query(INSERT_SESSION)
                .bind(hash)
                .bind(&session.handle)
                .bind(administrator.0)
                .bind(session.stage.as_str())
                .bind(session.address.as_deref())
                .bind(&session.agent)
                .bind(session.created_at.as_micros())
                .bind(session.used_at.as_micros())
                .bind(session.ends_at.as_micros())
                .execute(connection)
                .await
                .map(drop)
        })?;
        Ok(())
    }

    /// Notes that a session is used.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note_session_use(&mut self, hash: &[u8], at: Timestamp) -> Result<(), StoreError> {
        execute!(self, NOTE_SESSION_USE, hash, at.as_micros())?;
        Ok(())
    }

    /// Ends the session of this hash. Answers whether there was one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_session(&mut self, hash: &[u8]) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE_SESSION, hash)? > 0)
    }

    /// Ends the session of this handle, if it is this administrator's. Answers whether there was one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_session_of(&mut self, uid: AdministratorUid, handle: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE_SESSION_OF, uid.0, handle)? > 0)
    }

    /// Ends every session of an administrator, and answers how many there were.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_sessions_of(&mut self, uid: AdministratorUid) -> Result<u64, StoreError> {
        Ok(execute!(self, DELETE_SESSIONS_OF, uid.0)?)
    }

    /// Removes sessions that ended before `now`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_sessions(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(execute!(self, FORGET_SESSIONS, now.as_micros())?)
    }
}
