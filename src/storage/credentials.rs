//! Credentials that end: which are to be warned of, how many there are, which end next. Each kind of credential is one
//! entry of [`SOURCES`], with its own texts; every one of them reads a bounded part of an index, which a test asks both
//! engines about.

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read};
use super::rows::client_id;
use super::{Store, StoreError, Tx, statements};
use crate::domain::credential::{CredentialKind, EndingCount, EndingCredential};
use crate::domain::ids::ClientUid;
use crate::domain::time::Timestamp;

statements! {
    SECRETS_TO_WARN_OF = r"
        SELECT secrets.client, clients.client_id, secrets.secret_id AS credential_id, secrets.expires_at
        FROM client_secrets AS secrets JOIN clients ON clients.uid = secrets.client
        WHERE secrets.expires_at IS NOT NULL AND NOT secrets.warned AND secrets.expires_at <= $1
        ORDER BY secrets.expires_at LIMIT $2";

    /// With the end that was read: another one is to be warned of when it is near. Of several replicas one finds it.
    SECRET_WARNED = r"
        UPDATE client_secrets SET warned = TRUE
        WHERE client = $1 AND secret_id = $2 AND expires_at = $3 AND NOT warned";

    COUNT_ENDING_SECRETS = r"
        SELECT COUNT(*) FROM (
            SELECT 1 AS one FROM client_secrets
            WHERE expires_at IS NOT NULL AND replaced_by IS NULL AND expires_at > $1 AND expires_at <= $2 LIMIT $3
        ) AS bounded";

    ENDING_SECRETS = r"
        SELECT secrets.client, clients.client_id, secrets.secret_id AS credential_id, secrets.expires_at
        FROM client_secrets AS secrets JOIN clients ON clients.uid = secrets.client
        WHERE secrets.expires_at IS NOT NULL AND secrets.replaced_by IS NULL
          AND secrets.expires_at > $1 AND secrets.expires_at <= $2
        ORDER BY secrets.expires_at LIMIT $3";

    /// The same as in the list of clients.
    FIRST_END_OF_CREDENTIALS = r"
        SELECT MIN(ending.at) FROM (
            SELECT expires_at AS at FROM client_secrets
            WHERE client = $1 AND replaced_by IS NULL AND expires_at > $2
            UNION ALL
            SELECT expires_at FROM client_keys WHERE client = $1 AND expires_at > $2
            UNION ALL
            SELECT ends_at FROM client_certificates WHERE client = $1 AND ends_at > $2
            UNION ALL
            SELECT expires_at FROM federated_credentials WHERE client = $1 AND expires_at > $2
        ) AS ending";

    KEYS_TO_WARN_OF = r"
        SELECT ending.client, clients.client_id, ending.key_id AS credential_id, ending.unwarned_end AS expires_at
        FROM client_keys AS ending JOIN clients ON clients.uid = ending.client
        WHERE ending.unwarned_end <= $1
        ORDER BY ending.unwarned_end LIMIT $2";

    KEY_WARNED = r"
        UPDATE client_keys SET unwarned_end = NULL
        WHERE client = $1 AND key_id = $2 AND unwarned_end = $3";

    COUNT_ENDING_KEYS = r"
        SELECT COUNT(*) FROM (
            SELECT 1 AS one FROM client_keys WHERE expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2 LIMIT $3
        ) AS bounded";

    ENDING_KEYS = r"
        SELECT ending.client, clients.client_id, ending.key_id AS credential_id, ending.expires_at AS expires_at
        FROM client_keys AS ending JOIN clients ON clients.uid = ending.client
        WHERE ending.expires_at IS NOT NULL AND ending.expires_at > $1 AND ending.expires_at <= $2
        ORDER BY ending.expires_at LIMIT $3";

    CERTIFICATES_TO_WARN_OF = r"
        SELECT ending.client, clients.client_id, ending.certificate_id AS credential_id, ending.unwarned_end AS expires_at
        FROM client_certificates AS ending JOIN clients ON clients.uid = ending.client
        WHERE ending.unwarned_end <= $1
        ORDER BY ending.unwarned_end LIMIT $2";

    CERTIFICATE_WARNED = r"
        UPDATE client_certificates SET unwarned_end = NULL
        WHERE client = $1 AND certificate_id = $2 AND unwarned_end = $3";

    COUNT_ENDING_CERTIFICATES = r"
        SELECT COUNT(*) FROM (
            SELECT 1 AS one FROM client_certificates WHERE ends_at > $1 AND ends_at <= $2 LIMIT $3
        ) AS bounded";

    ENDING_CERTIFICATES = r"
        SELECT ending.client, clients.client_id, ending.certificate_id AS credential_id, ending.ends_at AS expires_at
        FROM client_certificates AS ending JOIN clients ON clients.uid = ending.client
        WHERE ending.ends_at > $1 AND ending.ends_at <= $2
        ORDER BY ending.ends_at LIMIT $3";

    FEDERATED_TO_WARN_OF = r"
        SELECT ending.client, clients.client_id, ending.credential_id, ending.unwarned_end AS expires_at
        FROM federated_credentials AS ending JOIN clients ON clients.uid = ending.client
        WHERE ending.unwarned_end <= $1
        ORDER BY ending.unwarned_end LIMIT $2";

    FEDERATED_WARNED = r"
        UPDATE federated_credentials SET unwarned_end = NULL
        WHERE client = $1 AND credential_id = $2 AND unwarned_end = $3";

    COUNT_ENDING_FEDERATED = r"
        SELECT COUNT(*) FROM (
            SELECT 1 AS one FROM federated_credentials
            WHERE expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2 LIMIT $3
        ) AS bounded";

    ENDING_FEDERATED = r"
        SELECT ending.client, clients.client_id, ending.credential_id, ending.expires_at AS expires_at
        FROM federated_credentials AS ending JOIN clients ON clients.uid = ending.client
        WHERE ending.expires_at IS NOT NULL AND ending.expires_at > $1 AND ending.expires_at <= $2
        ORDER BY ending.expires_at LIMIT $3";
}

/// One kind of credential.
struct Source {
    kind: CredentialKind,
    /// Those whose end was not warned of and comes before `$1`; `$2` of them.
    to_warn_of: &'static str,
    /// That credential `$2` of client `$1` was warned of its end `$3`.
    warned: &'static str,
    /// How many that nothing has replaced end after `$1` and until `$2`; at most `$3`.
    count: &'static str,
    /// Which, soonest first.
    ending: &'static str,
}

const SOURCES: &[Source] = &[
    Source {
        kind: CredentialKind::Secret,
        to_warn_of: SECRETS_TO_WARN_OF,
        warned: SECRET_WARNED,
        count: COUNT_ENDING_SECRETS,
        ending: ENDING_SECRETS,
    },
    Source {
        kind: CredentialKind::Key,
        to_warn_of: KEYS_TO_WARN_OF,
        warned: KEY_WARNED,
        count: COUNT_ENDING_KEYS,
        ending: ENDING_KEYS,
    },
    Source {
        kind: CredentialKind::Certificate,
        to_warn_of: CERTIFICATES_TO_WARN_OF,
        warned: CERTIFICATE_WARNED,
        count: COUNT_ENDING_CERTIFICATES,
        ending: ENDING_CERTIFICATES,
    },
    Source {
        kind: CredentialKind::Federated,
        to_warn_of: FEDERATED_TO_WARN_OF,
        warned: FEDERATED_WARNED,
        count: COUNT_ENDING_FEDERATED,
        ending: ENDING_FEDERATED,
    },
];

/// How many credentials of a kind are counted: beyond, the number says no more than that there are many.
pub const MOST_COUNTED: u32 = 10_000;

#[derive(FromRow)]
struct EndingRow {
    client: Uuid,
    client_id: String,
    credential_id: String,
    expires_at: i64,
}

// === impl EndingRow ===

impl EndingRow {
    fn of(self, kind: CredentialKind) -> Result<EndingCredential, StoreError> {
        Ok(EndingCredential {
            kind,
            client: ClientUid(self.client),
            client_id: client_id(&self.client_id)?,
            credential_id: self.credential_id,
            expires_at: Timestamp::from_micros(self.expires_at),
        })
    }
}

fn source(kind: CredentialKind) -> Result<&'static Source, StoreError> {
    SOURCES.iter().find(|source| source.kind == kind).ok_or_else(|| super::corrupt("credential kind", kind))
}

// === impl Store ===

impl Store {
    /// Some credentials of a kind that end before `before`, or have, and whose end nobody was warned of.
    ///
    /// # Errors
    /// The database is away.
    pub async fn credentials_to_warn_of(
        &self,
        kind: CredentialKind,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<EndingCredential>, StoreError> {
        let sql = source(kind)?.to_warn_of;
        let rows: Vec<EndingRow> = read!(self, pool => {
            sqlx::query_as(sql).bind(before.as_micros()).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.into_iter().map(|row| row.of(kind)).collect()
    }

    /// How many credentials of a kind end until `soon`, and how many have ended; [`MOST_COUNTED`] at most.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_ending_credentials(
        &self,
        kind: CredentialKind,
        now: Timestamp,
        soon: Timestamp,
    ) -> Result<EndingCount, StoreError> {
        let sql = source(kind)?.count;
        let mut counts = [0; 2];
        for (count, (from, to)) in
            counts.iter_mut().zip([(now.as_micros(), soon.as_micros()), (i64::MIN, now.as_micros())])
        {
            let counted: i64 = read!(self, pool => {
                sqlx::query_scalar(sql).bind(from).bind(to).bind(i64::from(MOST_COUNTED)).fetch_one(pool).await
            })?;
            *count = counted.unsigned_abs();
        }
        Ok(EndingCount { soon: counts[0], ended: counts[1] })
    }

    /// When the first of a client's credentials ends that counts and that nothing has replaced, if any of them does.
    ///
    /// # Errors
    /// The database is away.
    pub async fn first_end_of_credentials(
        &self,
        client: ClientUid,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let end: Option<i64> = read!(self, pool => {
            sqlx::query_scalar(FIRST_END_OF_CREDENTIALS)
                .bind(client.0)
                .bind(now.as_micros())
                .fetch_one(pool)
                .await
        })?;
        Ok(end.map(Timestamp::from_micros))
    }

    /// Credentials of every kind that end after `now` and until `soon`, those first that end first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ending_credentials(
        &self,
        now: Timestamp,
        soon: Timestamp,
        limit: u32,
    ) -> Result<Vec<EndingCredential>, StoreError> {
        let mut found = Vec::new();
        for source in SOURCES {
            let rows: Vec<EndingRow> = read!(self, pool => {
                sqlx::query_as(source.ending)
                    .bind(now.as_micros())
                    .bind(soon.as_micros())
                    .bind(i64::from(limit))
                    .fetch_all(pool)
                    .await
            })?;
            for row in rows {
                found.push(row.of(source.kind)?);
            }
        }
        found.sort_by_key(|credential| credential.expires_at);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }
}

// === impl Tx ===

impl Tx {
    /// Notes that the end of a credential was warned of. Answers whether nobody had, and it still is its end.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note_warning(&mut self, of: &EndingCredential) -> Result<bool, StoreError> {
        let sql = source(of.kind)?.warned;
        Ok(execute!(self, sql, of.client.0, &of.credential_id, of.expires_at.as_micros())? == 1)
    }
}
