//! Certificates that clients are registered with.

use sqlx::FromRow;

use super::engine::{execute, read, within};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::client_certificate::ClientCertificate;
use crate::domain::ids::{ClientUid, CredentialId};
use crate::domain::time::Timestamp;

statements! {
    CERTIFICATES_OF_CLIENT = r"
        SELECT certificate_id, thumbprint, subject, description, not_before, not_after, created_at, expires_at
        FROM client_certificates WHERE client = $1 ORDER BY created_at DESC, certificate_id";

    COUNT_CERTIFICATES = "SELECT COUNT(*) FROM client_certificates WHERE client = $1";

    INSERT_CERTIFICATE = r"
        INSERT INTO client_certificates (client, certificate_id, der, thumbprint, subject, description, not_before,
            not_after, created_at, expires_at, ends_at, unwarned_end)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)";

    UPDATE_CERTIFICATE = r"
        UPDATE client_certificates
        SET description = $3, expires_at = $4, ends_at = $5,
            unwarned_end = CASE WHEN ends_at = $5 THEN unwarned_end ELSE $5 END
        WHERE client = $1 AND certificate_id = $2";

    DELETE_CERTIFICATE = "DELETE FROM client_certificates WHERE client = $1 AND certificate_id = $2";
}

#[derive(FromRow)]
struct CertificateRow {
    certificate_id: String,
    thumbprint: String,
    subject: String,
    description: String,
    not_before: i64,
    not_after: i64,
    created_at: i64,
    expires_at: Option<i64>,
}

// === impl CertificateRow ===

impl TryFrom<CertificateRow> for ClientCertificate {
    type Error = StoreError;

    fn try_from(row: CertificateRow) -> Result<Self, StoreError> {
        let id = &row.certificate_id;
        Ok(Self {
            certificate_id: CredentialId::new(id).map_err(|_| corrupt("certificate id", id))?,
            thumbprint: row.thumbprint,
            subject: row.subject,
            description: row.description,
            not_before: Timestamp::from_micros(row.not_before),
            not_after: Timestamp::from_micros(row.not_after),
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_micros),
        })
    }
}

// === impl Store ===

impl Store {
    /// The certificates of a client, newest first, those out of force too.
    ///
    /// # Errors
    /// The database is away.
    pub async fn certificates(&self, client: ClientUid) -> Result<Vec<ClientCertificate>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, CertificateRow>(CERTIFICATES_OF_CLIENT).bind(client.0).fetch_all(pool).await
        })?;
        rows.into_iter().map(ClientCertificate::try_from).collect()
    }
}

// === impl Tx ===

impl Tx {
    /// Adds a certificate, with its encoding.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the client has it, [`StoreError::InUse`] when the client is gone.
    pub async fn insert_certificate(
        &mut self,
        client: ClientUid,
        certificate: &ClientCertificate,
        der: &[u8],
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_CERTIFICATE,
            client.0,
            certificate.certificate_id.as_str(),
            der,
            &certificate.thumbprint,
            &certificate.subject,
            &certificate.description,
            certificate.not_before.as_micros(),
            certificate.not_after.as_micros(),
            certificate.created_at.as_micros(),
            certificate.expires_at.map(Timestamp::as_micros),
            certificate.ends_at().as_micros()
        )?;
        Ok(())
    }

    /// The certificates of a client, newest first. Under [`Tx::lock_client`] they stay so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn certificates(&mut self, client: ClientUid) -> Result<Vec<ClientCertificate>, StoreError> {
        let rows = within!(self, connection => {
            sqlx::query_as::<_, CertificateRow>(CERTIFICATES_OF_CLIENT).bind(client.0).fetch_all(connection).await
        })?;
        rows.into_iter().map(ClientCertificate::try_from).collect()
    }

    /// Changes what is said of a certificate, and its end here.
    ///
    /// # Errors
    /// The database is away.
    pub async fn update_certificate(
        &mut self,
        client: ClientUid,
        certificate: &ClientCertificate,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            UPDATE_CERTIFICATE,
            client.0,
            certificate.certificate_id.as_str(),
            &certificate.description,
            certificate.expires_at.map(Timestamp::as_micros),
            certificate.ends_at().as_micros()
        )?;
        Ok(())
    }

    /// How many certificates a client has. Under [`Tx::lock_client`] it stays so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_certificates(&mut self, client: ClientUid) -> Result<i64, StoreError> {
        Ok(within!(self, connection => {
            sqlx::query_scalar(COUNT_CERTIFICATES).bind(client.0).fetch_one(connection).await
        })?)
    }

    /// Removes a certificate. Answers whether it was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_certificate(
        &mut self,
        client: ClientUid,
        certificate: &CredentialId,
    ) -> Result<bool, StoreError> {
        let removed = execute!(self, DELETE_CERTIFICATE, client.0, certificate.as_str())? == 1;
        if removed {
            self.forget_secret_uses(client.0, Some(certificate.as_str())).await?;
        }
        Ok(removed)
    }
}
