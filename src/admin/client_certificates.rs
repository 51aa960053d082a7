//! What clients are registered with for mutual TLS: the certificates of `self_signed_tls_client_auth`, and the subject
//! of `tls_client_auth`.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::credential_ends::{check_change, check_end, end};
use super::{Admin, AdminError, By, Written, nullable, present, recorded};
use crate::domain::binding::TokenBinding;
use crate::domain::builtin;
use crate::domain::certificate::PeerCertificate;
use crate::domain::certificate_subject::{ExpectedSubject, SubjectKind};
use crate::domain::client::{AuthMethod, CertificateReach, Client};
use crate::domain::client_certificate::{ClientCertificate, MOST_CERTIFICATES, certificate_id, from_pem};
use crate::domain::credential::ends_soon;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::storage::{ChangeKind, StoreError, Tx};

/// The subject that a client's certificate must have, a distinguished name or one alternative name (RFC 8705 §2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateSubject {
    /// Which part of the certificate it is.
    pub kind: SubjectKind,
    /// What stands there: a distinguished name as RFC 4514 writes it, a host name without wildcard, a URI, an address,
    /// or an address of mail.
    #[schema(
        example = "CN=billing,O=Example",
        min_length = 1,
        max_length = 1000,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"
    )]
    pub value: String,
}

/// A certificate to register. It has no `Debug` form: what somebody sends by mistake may hold a private key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCertificate {
    /// The client's own certificate in PEM, without those that lead to an authority, and without the private key.
    #[schema(min_length = 1, max_length = 49152, example = json!(EXAMPLE))]
    pub certificate: String,
    /// A note for people; Jeton only shows it.
    #[serde(default)]
    #[schema(
        example = "deployed 2026-11",
        max_length = 255,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// Its end here; that of its validity alone, when neither this nor `expires_in` is given.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Its end here in seconds from now.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4_294_967_295_u32, example = 7_776_000)]
    pub expires_in: Option<u32>,
}

/// What to change of a certificate. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateCertificate {
    /// A note for people; Jeton only shows it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// Its end here; `null` for that of its validity alone.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<Timestamp>>,
}

/// A registered certificate as people see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CertificateView {
    /// Names it; made from its thumbprint.
    #[schema(example = "k7q2mzxa5b3c")]
    pub certificate_id: CredentialId,
    /// `x5t#S256`: base64url of the SHA-256 of the whole certificate.
    #[schema(example = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2")]
    pub thumbprint: String,
    /// The name in it. It decides nothing: the certificate itself is compared.
    #[schema(example = "CN=billing")]
    pub subject: String,
    /// A note for people; Jeton only shows it.
    #[schema(example = "deployed 2026-11")]
    pub description: String,
    /// The begin of its validity.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// The end of its validity.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The end that was given to it here; that of its validity alone, when null.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
    /// Whether an end of it has come.
    pub expired: bool,
    /// Whether its end comes within `credentials.warn_before`.
    pub expires_soon: bool,
    /// When it last proved the client, up to a minute late; absent when it never has, as far as is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

// === impl CertificateSubject ===

impl CertificateSubject {
    pub(super) fn of(subject: &ExpectedSubject) -> Self {
        Self { kind: subject.kind(), value: subject.as_str().to_owned() }
    }

    /// The subject that it names. What is wrong with it is noted.
    pub(super) fn read(&self, errors: &mut Vec<FieldError>) -> Option<ExpectedSubject> {
        ExpectedSubject::new(self.kind, &self.value).map_err(|error| errors.push(error)).ok()
    }
}

// === impl CertificateView ===

impl CertificateView {
    fn new(certificate: &ClientCertificate, now: Timestamp, warn_before: Duration) -> Self {
        let ended = certificate.expires_at.is_some_and(|end| end <= now) || certificate.not_after < now;
        Self {
            certificate_id: certificate.certificate_id.clone(),
            thumbprint: certificate.thumbprint.clone(),
            subject: certificate.subject.clone(),
            description: certificate.description.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            created_at: certificate.created_at,
            expires_at: certificate.expires_at,
            expired: ended,
            expires_soon: ends_soon(Some(certificate.ends_at()), now, warn_before),
            last_used_at: None,
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Registers a certificate beside those that the client has, so that a rotation has no gap.
    ///
    /// # Errors
    /// Wrong fields, too many certificates, or a client with more authority than the administrator.
    pub async fn add_certificate(
        &self,
        by: &By,
        client_id: &ClientId,
        new: AddCertificate,
    ) -> Result<CertificateView, AdminError> {
        let client = self.client_to_prove(by, client_id).await?;
        let now = self.ambient.now();
        let (read, expires_at) = check(&new, now)?;
        let certificate = ClientCertificate {
            certificate_id: certificate_id(&read.der)?,
            thumbprint: read.thumbprint,
            subject: read.subject.chars().take(1_000).collect(),
            description: new.description,
            not_before: read.not_before,
            not_after: read.not_after,
            created_at: now,
            expires_at,
        };
        let mut tx = self.begin().await?;
        if !tx.lock_client(client.uid).await? {
            return Err(AdminError::not_found("client", client_id.as_str()));
        }
        if usize::try_from(tx.count_certificates(client.uid).await?).is_ok_and(|all| all >= MOST_CERTIFICATES)
        {
            return Err(AdminError::Conflict(format!(
                "the client has {MOST_CERTIFICATES} certificates already; remove one that is no longer used"
            )));
        }
        tx.insert_certificate(client.uid, &certificate, &read.der).await.map_err(|error| match error {
            StoreError::AlreadyExists => AdminError::Conflict(format!(
                "the client has this certificate already, as {}; change that to give it another end",
                certificate.certificate_id
            )),
            other => other.into(),
        })?;
        let view = CertificateView::new(&certificate, now, self.warn_before);
        let written = Written {
            action: "client.certificate.add",
            target: client_id.to_string(),
            before: None,
            after: recorded(&view),
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// A client's certificates, newest first, those out of force too.
    ///
    /// # Errors
    /// There is no such client.
    pub async fn certificates(
        &self,
        by: &By,
        client_id: &ClientId,
    ) -> Result<Vec<CertificateView>, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let now = self.ambient.now();
        let certificates = self.store.certificates(client.uid).await?;
        let uses: HashMap<String, Timestamp> = self
            .store
            .last_uses(client.uid)
            .await?
            .into_iter()
            .map(|(credential, at)| (credential.to_string(), at))
            .collect();
        let view = |certificate: &ClientCertificate| CertificateView {
            last_used_at: uses.get(certificate.certificate_id.as_str()).copied(),
            ..CertificateView::new(certificate, now, self.warn_before)
        };
        Ok(certificates.iter().map(view).collect())
    }

    /// Changes what is said of a certificate, and its end here.
    ///
    /// # Errors
    /// Wrong fields, the client has none of this id, or it has more authority than the administrator.
    pub async fn update_certificate(
        &self,
        by: &By,
        client_id: &ClientId,
        certificate_id: &CredentialId,
        update: UpdateCertificate,
    ) -> Result<CertificateView, AdminError> {
        // A later end hands out what the client may do for longer.
        let client = self.client_to_prove(by, client_id).await?;
        let now = self.ambient.now();
        let fix = "name a later time, or remove the certificate";
        check_change((update.description.as_deref(), update.expires_at.flatten()), now, fix)?;
        let mut tx = self.begin().await?;
        let before = lock_certificate(&mut tx, &client, certificate_id).await?;
        let mut after = before.clone();
        after.description = update.description.unwrap_or(after.description);
        after.expires_at = update.expires_at.unwrap_or(after.expires_at);
        tx.update_certificate(client.uid, &after).await?;
        let view = CertificateView::new(&after, now, self.warn_before);
        let written = Written {
            action: "client.certificate.update",
            target: client_id.to_string(),
            before: recorded(&CertificateView::new(&before, now, self.warn_before)),
            after: recorded(&view),
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// Removes a certificate. It is refused everywhere within a second.
    ///
    /// # Errors
    /// The client has none of this id.
    pub async fn remove_certificate(
        &self,
        by: &By,
        client_id: &ClientId,
        certificate_id: &CredentialId,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let mut tx = self.begin().await?;
        let certificate = lock_certificate(&mut tx, &client, certificate_id).await?;
        tx.delete_certificate(client.uid, certificate_id).await?;
        let written = Written {
            action: "client.certificate.remove",
            target: client_id.to_string(),
            before: recorded(&CertificateView::new(&certificate, self.ambient.now(), self.warn_before)),
            after: None,
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await
    }

    /// What is wrong with how a client, new or changed, uses certificates. What it could do before it may keep.
    pub(super) fn wrong_use_of_certificates(
        &self,
        client: &Client,
        before: Option<&Client>,
    ) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for method in &client.auth_methods {
            let is_new = before.is_none_or(|before| !before.auth_methods.contains(method));
            if is_new && self.reach < method.needs() {
                errors.push(FieldError::new(
                    "auth_methods",
                    format!("{method} cannot work here: {}", self.reach.why_not(method.needs())),
                    "configure that first (docs/mutual-tls.md), or name another method",
                ));
            }
        }
        if client.auth_methods.contains(&AuthMethod::TlsClientAuth) && client.certificate_subject.is_none() {
            errors.push(FieldError::new(
                "tls_client_auth_subject",
                "tls_client_auth needs the subject of the client's certificates",
                "name it, for example {\"kind\": \"san_dns\", \"value\": \"billing.example.com\"}",
            ));
        }
        errors.extend(self.wrong_binding(client.token_binding, before.map(|before| before.token_binding)));
        errors
    }

    /// What is wrong with a binding that is wanted: nobody can be asked for certificates that do not arrive.
    pub(super) fn wrong_binding(
        &self,
        wanted: TokenBinding,
        before: Option<TokenBinding>,
    ) -> Option<FieldError> {
        let cannot =
            wanted == TokenBinding::Mtls && before != Some(wanted) && self.reach < CertificateReach::Shown;
        cannot.then(|| {
            FieldError::new(
                "token_binding",
                format!("mtls cannot work here: {}", self.reach.why_not(CertificateReach::Shown)),
                "configure that first (docs/mutual-tls.md), or choose dpop or either",
            )
        })
    }
}

/// A client's certificate as nobody else changes it until the end of the transaction.
async fn lock_certificate(
    tx: &mut Tx,
    client: &Client,
    certificate_id: &CredentialId,
) -> Result<ClientCertificate, AdminError> {
    if !tx.lock_client(client.uid).await? {
        return Err(AdminError::not_found("client", client.client_id.as_str()));
    }
    let certificates = tx.certificates(client.uid).await?;
    let found = certificates.into_iter().find(|one| one.certificate_id == *certificate_id);
    found.ok_or_else(|| AdminError::not_found("certificate", certificate_id.as_str()))
}

/// Checks a form: the certificate in it, and its end here.
fn check(new: &AddCertificate, now: Timestamp) -> Result<(PeerCertificate, Option<Timestamp>), AdminError> {
    let mut errors: Vec<FieldError> =
        check_text("description", &new.description, 255).err().into_iter().collect();
    errors.extend(check_end(new.expires_at, new.expires_in, now));
    match from_pem(&new.certificate) {
        Ok(read) if read.not_after < now => {
            let problem = format!("its validity ended at {}", read.not_after);
            errors.push(FieldError::new("certificate", problem, "register one that is in force"));
        }
        Ok(read) if errors.is_empty() => {
            return Ok((read, end(new.expires_at, new.expires_in, now)));
        }
        Ok(_) => {}
        Err(error) => errors.push(error),
    }
    Err(AdminError::Invalid(errors))
}

/// A certificate for OpenAPI: of a key that nobody has, in force for a hundred years.
const EXAMPLE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBezCCASGgAwIBAgIUJbSn/Ry/v1SPEOIfgOD3H8J+4B4wCgYIKoZIzj0EAwIw\n\
EjEQMA4GA1UEAwwHYmlsbGluZzAgFw0yNjExMjcxOTA2MzNaGA8yMTI2MTEwMzE5\n\
MDYzM1owEjEQMA4GA1UEAwwHYmlsbGluZzBZMBMGByqGSM49AgEGCCqGSM49AwEH\n\
A0IABJjgHMFvKjuvvSXEnukCodUcOOQgRzObCK7+HB6n9DuKJuPn2wBQghwSl961\n\
HZONY2a0gy6TEKV4CjrKwvNigDGjUzBRMB0GA1UdDgQWBBRn7dY2bW2JLZJnv/1O\n\
ohcIaIXddTAfBgNVHSMEGDAWgBRn7dY2bW2JLZJnv/1OohcIaIXddTAPBgNVHRMB\n\
Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDW0oVkdcKiVNwfFiM4tWENJvFH\n\
dH/o0lZuZOH1+EZulAIgCV5S7cOETmJixu5qzADgbb4MftaBy0EVREQCRgXK1jU=\n\
-----END CERTIFICATE-----\n\
";
