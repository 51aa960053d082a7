//! What changed, in order, for every replica to read.

use std::borrow::Cow;

use sqlx::FromRow;

use super::engine::{execute, read, within};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::ids::ClientId;
use crate::domain::revocation::RevokedKind;
use crate::domain::time::Timestamp;

statements! {
    /// Locks the counter until the end of the transaction: numbers become visible in their order.
    NEXT_CHANGE = "UPDATE counters SET value = value + 1 WHERE name = 'changes' RETURNING value";

    /// The same lock, without a number.
    STOP_CHANGES = "UPDATE counters SET value = value WHERE name = 'changes'";

    INSERT_CHANGE = "INSERT INTO changes (seq, kind, subject, at) VALUES ($1, $2, $3, $4)";

    CHANGES_FROM = "SELECT seq, kind, subject, at FROM changes WHERE seq >= $1 ORDER BY seq LIMIT $2";

    LATEST_CHANGE = "SELECT seq, kind, subject, at FROM changes ORDER BY seq DESC LIMIT 1";

    /// The last migration that a program must know to run on this schema. Migrations keep it (CONTRIBUTING.md).
    OLDEST_SCHEMA = "SELECT value FROM counters WHERE name = 'oldest_schema'";

    /// The newest stays for ever: a replica that missed everything notices the gap before it.
    FORGET_CHANGES = r"
        DELETE FROM changes
        WHERE at < $1 AND seq < (SELECT value FROM counters WHERE name = 'changes')";
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// One client, its secrets or its roles.
    Client(ClientId),
    /// One client's federated credentials: which tokens prove it, and so who is found by a token.
    Federation(ClientId),
    /// A resource server, a role, an exchange rule or a trusted issuer.
    Catalog,
    /// A signing key.
    Keys,
    /// The secret of the nonces for DPoP proofs.
    Nonces,
    /// Something that was taken back.
    Revocation(RevokedKind, String),
    /// Somebody who administers. Nothing in memory depends on it: sessions are read from the store.
    Administrator,
    /// Something that only a newer version knows.
    Unknown,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order, without gaps.
    pub seq: i64,
    /// What it is about.
    pub kind: ChangeKind,
    /// When it was made: in a database that went back, another one may have its place.
    pub at: Timestamp,
}

#[derive(FromRow)]
struct ChangeRow {
    seq: i64,
    kind: String,
    subject: String,
    at: i64,
}

// === impl ChangeKind ===

impl ChangeKind {
    fn columns(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Self::Client(client_id) => ("client", client_id.as_str().into()),
            Self::Federation(client_id) => ("federation", client_id.as_str().into()),
            Self::Catalog => ("catalog", "".into()),
            Self::Keys => ("keys", "".into()),
            Self::Nonces => ("nonces", "".into()),
            Self::Revocation(kind, subject) => ("revocation", format!("{kind} {subject}").into()),
            Self::Administrator => ("administrator", "".into()),
            Self::Unknown => ("unknown", "".into()),
        }
    }
}

// === impl ChangeRow ===

impl TryFrom<ChangeRow> for Change {
    type Error = StoreError;

    fn try_from(row: ChangeRow) -> Result<Self, StoreError> {
        let kind = match row.kind.as_str() {
            "client" => ChangeKind::Client(
                ClientId::new(&row.subject).map_err(|_| corrupt("client id", &row.subject))?,
            ),
            "federation" => ChangeKind::Federation(
                ClientId::new(&row.subject).map_err(|_| corrupt("client id", &row.subject))?,
            ),
            "catalog" => ChangeKind::Catalog,
            "keys" => ChangeKind::Keys,
            "nonces" => ChangeKind::Nonces,
            "administrator" => ChangeKind::Administrator,
            "revocation" => {
                let parts = row.subject.split_once(' ');
                let parts = parts.and_then(|(kind, subject)| Some((RevokedKind::from_word(kind)?, subject)));
                parts.map_or(ChangeKind::Unknown, |(kind, subject)| {
                    ChangeKind::Revocation(kind, subject.to_owned())
                })
            }
            _ => ChangeKind::Unknown,
        };
        Ok(Self { seq: row.seq, kind, at: Timestamp::from_micros(row.at) })
    }
}

// === impl Store ===

impl Store {
    /// The changes from `seq` on, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn changes_from(&self, seq: i64, limit: u32) -> Result<Vec<Change>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, ChangeRow>(CHANGES_FROM).bind(seq).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.into_iter().map(Change::try_from).collect()
    }

    /// The latest change, if there ever was one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn latest_change(&self) -> Result<Option<Change>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, ChangeRow>(LATEST_CHANGE).fetch_optional(pool).await
        })?;
        row.map(Change::try_from).transpose()
    }

    /// The last migration that a program must know to run on this schema, where a migration has said so.
    pub(super) async fn oldest_schema(&self) -> Result<Option<i64>, StoreError> {
        Ok(read!(self, pool => sqlx::query_scalar(OLDEST_SCHEMA).fetch_optional(pool).await)?)
    }
}

// === impl Tx ===

impl Tx {
    /// Notes that something changed, so that every replica learns of it. Call it last: it locks the
    /// one counter that puts all changes in order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note_change(&mut self, change: &ChangeKind, at: Timestamp) -> Result<(), StoreError> {
        let seq: i64 =
            within!(self, connection => sqlx::query_scalar(NEXT_CHANGE).fetch_one(connection).await)?;
        let (kind, subject) = change.columns();
        execute!(self, INSERT_CHANGE, seq, kind, &*subject, at.as_micros())?;
        self.changed = true;
        Ok(())
    }

    /// Waits until no other change is under way, and lets none pass until the end of the transaction: what is read
    /// after it is what every change before has left. Call it after everything that writes, but before
    /// [`Tx::note_change`], which takes the same lock.
    ///
    /// # Errors
    /// The database is away.
    pub async fn stop_changes(&mut self) -> Result<(), StoreError> {
        execute!(self, STOP_CHANGES)?;
        Ok(())
    }

    /// Removes changes from before `end`, which every replica has long read, but for the newest one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_changes(&mut self, end: Timestamp) -> Result<(), StoreError> {
        execute!(self, FORGET_CHANGES, end.as_micros())?;
        Ok(())
    }
}
