//! Trusted issuers: whose tokens count here, beside our own.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read};
use super::{Store, StoreError, Tx, corrupt, of_thing, statements};
use crate::domain::ids::{TrustedIssuerName, TrustedIssuerUid};
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, KeySource, Reuse, TrustedIssuer};
use crate::jose::Algorithm;

statements! {
    TRUSTED_ISSUER_BY_NAME = r"
        SELECT uid, name, description, enabled, profile, issuer, keys_from, keys_at, algorithms, audience,
            max_lifetime, leeway, reuse, version, created_at, updated_at
        FROM trusted_issuers WHERE name = $1";

    ALL_TRUSTED_ISSUERS = r"
        SELECT uid, name, description, enabled, profile, issuer, keys_from, keys_at, algorithms, audience,
            max_lifetime, leeway, reuse, version, created_at, updated_at
        FROM trusted_issuers";

    INSERT_TRUSTED_ISSUER = r"
        INSERT INTO trusted_issuers (uid, name, description, enabled, profile, issuer, keys_from, keys_at, algorithms,
            audience, max_lifetime, leeway, reuse, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

    /// Only the version that was read is replaced. Whose tokens they are never changes: another issuer is another
    /// registration.
    UPDATE_TRUSTED_ISSUER = r"
        UPDATE trusted_issuers
        SET description = $3, enabled = $4, keys_from = $5, keys_at = $6, algorithms = $7, audience = $8,
            max_lifetime = $9, leeway = $10, reuse = $11, version = version + 1, updated_at = $12
        WHERE uid = $1 AND version = $2";

    DELETE_TRUSTED_ISSUER = "DELETE FROM trusted_issuers WHERE uid = $1 AND version = $2";
}

#[derive(FromRow)]
struct IssuerRow {
    uid: Uuid,
    name: String,
    description: String,
    enabled: bool,
    profile: String,
    issuer: String,
    keys_from: String,
    keys_at: Option<String>,
    algorithms: String,
    audience: Option<String>,
    max_lifetime: i64,
    leeway: i64,
    reuse: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

// === impl IssuerRow ===

impl TryFrom<IssuerRow> for TrustedIssuer {
    type Error = StoreError;

    fn try_from(row: IssuerRow) -> Result<Self, StoreError> {
        let algorithms: Result<BTreeSet<Algorithm>, _> =
            row.algorithms.split_whitespace().map(str::parse).collect();
        let keys = match (row.keys_from.as_str(), row.keys_at) {
            ("discovery", None) => KeySource::Discovery,
            ("jwks_uri", Some(url)) => KeySource::JwksUri(url),
            ("inline", Some(set)) => KeySource::Inline(set),
            ("bundle_file", Some(name)) => KeySource::BundleFile(name),
            ("bundle_endpoint", Some(url)) => KeySource::BundleEndpoint(url),
            _ => return Err(corrupt("keys of a trusted issuer", &row.name)),
        };
        Ok(Self {
            uid: TrustedIssuerUid(row.uid),
            name: TrustedIssuerName::new(&row.name).map_err(|_| corrupt("name", &row.name))?,
            description: row.description,
            enabled: row.enabled,
            profile: IssuerProfile::from_word(&row.profile)
                .ok_or_else(|| corrupt("issuer profile", &row.profile))?,
            issuer: row.issuer,
            keys,
            algorithms: algorithms.map_err(|_| corrupt("algorithms", &row.algorithms))?,
            audience: row.audience,
            max_lifetime: Duration::from_secs(row.max_lifetime.unsigned_abs()),
            leeway: Duration::from_secs(row.leeway.unsigned_abs()),
            reuse: Reuse::from_word(&row.reuse).ok_or_else(|| corrupt("reuse", &row.reuse))?,
            version: row.version,
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
        })
    }
}

// === impl Store ===

impl Store {
    /// Every trusted issuer, in no order.
    ///
    /// # Errors
    /// The database is away, or has one that this version does not understand.
    pub async fn all_trusted_issuers(&self) -> Result<Vec<TrustedIssuer>, StoreError> {
        self.each_trusted_issuer().await?.into_iter().collect()
    }

    /// Every trusted issuer, each as far as this version understands it.
    pub(super) async fn each_trusted_issuer(
        &self,
    ) -> Result<Vec<Result<TrustedIssuer, StoreError>>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, IssuerRow>(ALL_TRUSTED_ISSUERS).fetch_all(pool).await
        })?;
        let whole = |row: IssuerRow| {
            let name = row.name.clone();
            TrustedIssuer::try_from(row).map_err(of_thing("trusted issuer", &name))
        };
        Ok(rows.into_iter().map(whole).collect())
    }

    /// The trusted issuer with this name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn trusted_issuer(
        &self,
        name: &TrustedIssuerName,
    ) -> Result<Option<TrustedIssuer>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, IssuerRow>(TRUSTED_ISSUER_BY_NAME).bind(name.as_str()).fetch_optional(pool).await
        })?;
        row.map(TrustedIssuer::try_from).transpose()
    }
}

// === impl Tx ===

impl Tx {
    /// Registers a trusted issuer.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the name is taken.
    pub async fn insert_trusted_issuer(&mut self, issuer: &TrustedIssuer) -> Result<(), StoreError> {
        let (keys_from, keys_at) = columns(&issuer.keys);
        execute!(
            self,
            INSERT_TRUSTED_ISSUER,
            issuer.uid.0,
            issuer.name.as_str(),
            &issuer.description,
            issuer.enabled,
            issuer.profile.as_str(),
            &issuer.issuer,
            keys_from,
            keys_at,
            words(&issuer.algorithms),
            &issuer.audience,
            seconds(issuer.max_lifetime),
            seconds(issuer.leeway),
            issuer.reuse.as_str(),
            issuer.version,
            issuer.created_at.as_micros(),
            issuer.updated_at.as_micros()
        )?;
        Ok(())
    }

    /// Replaces a trusted issuer, all but its name, profile and issuer, if it still has `issuer.version`. Answers
    /// whether it did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn update_trusted_issuer(&mut self, issuer: &TrustedIssuer) -> Result<bool, StoreError> {
        let (keys_from, keys_at) = columns(&issuer.keys);
        let changed = execute!(
            self,
            UPDATE_TRUSTED_ISSUER,
            issuer.uid.0,
            issuer.version,
            &issuer.description,
            issuer.enabled,
            keys_from,
            keys_at,
            words(&issuer.algorithms),
            &issuer.audience,
            seconds(issuer.max_lifetime),
            seconds(issuer.leeway),
            issuer.reuse.as_str(),
            issuer.updated_at.as_micros()
        )?;
        Ok(changed == 1)
    }

    /// Removes a trusted issuer, if it still has this version. Answers whether it did.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a federated credential or an exchange rule names it.
    pub async fn delete_trusted_issuer(
        &mut self,
        uid: TrustedIssuerUid,
        version: i64,
    ) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE_TRUSTED_ISSUER, uid.0, version)? == 1)
    }
}

fn columns(keys: &KeySource) -> (&'static str, Option<&str>) {
    match keys {
        KeySource::Discovery => ("discovery", None),
        KeySource::JwksUri(url) => ("jwks_uri", Some(url)),
        KeySource::Inline(set) => ("inline", Some(set)),
        KeySource::BundleFile(name) => ("bundle_file", Some(name)),
        KeySource::BundleEndpoint(url) => ("bundle_endpoint", Some(url)),
    }
}

fn words(algorithms: &BTreeSet<Algorithm>) -> String {
    algorithms.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(" ")
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
