//! The federated credentials of clients: which tokens of trusted issuers prove them. Adding, listing, changing, removing.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::credential_ends::{check_change, check_end, end};
use super::object::object;
use super::{Admin, AdminError, By, Written, nullable, present};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::claim_conditions::{ClaimPath, Condition, Conditions, Pattern};
use crate::domain::client::{AuthMethod, Client, GrantType};
use crate::domain::condition_warnings;
use crate::domain::credential::ends_soon;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, CredentialId, TrustedIssuerName};
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::domain::trust::{
    FederatedCredential, IssuerProfile, MOST_FEDERATED, TrustedIssuer, credential_id,
};
use crate::storage::{ChangeKind, StoreError, Tx};

/// A condition on a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schema(example = json!({ "claim": "repository", "value": "octo-org/octo-repo" }))]
pub struct ClaimCondition {
    /// Which claim: its name, or a JSON pointer to something within one.
    pub claim: ClaimPath,
    /// What it must be, where `*` stands for any text. Of a list, what one of its members must be.
    pub value: Pattern,
}

object!(ClaimCondition);

/// A federated credential to add.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "trusted_issuer": "github-actions",
    "conditions": [
        { "claim": "repository_id", "value": "74" }, { "claim": "environment", "value": "prod" }
    ],
    "description": "the deployment", "expires_in": 7_776_000
}))]
pub struct AddFederatedCredential {
    /// Whose tokens.
    pub trusted_issuer: TrustedIssuerName,
    /// Which of them. All must hold.
    #[schema(min_items = 1, max_items = 20)]
    pub conditions: Vec<ClaimCondition>,
    /// A note for people; Jeton only shows it.
    #[serde(default)]
    #[schema(
        example = "the deployment",
        max_length = 255,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// Its end; never, when neither this nor `expires_in` is given.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Its end in seconds from now.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4_294_967_295_u32, example = 7_776_000)]
    pub expires_in: Option<u32>,
}

/// What to change of a federated credential. What is absent stays. Other conditions are another credential.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateFederatedCredential {
    /// A note for people; Jeton only shows it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// Its end; `null` for never.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<Timestamp>>,
}

/// A federated credential as people see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FederatedCredentialView {
    /// Names it; a fingerprint.
    pub credential_id: CredentialId,
    /// Whose tokens.
    pub trusted_issuer: TrustedIssuerName,
    /// Whether tokens of that issuer count at all.
    pub issuer_enabled: bool,
    /// Which of them. All must hold.
    pub conditions: Vec<ClaimCondition>,
    /// A note for people; Jeton only shows it.
    #[schema(example = "the deployment")]
    pub description: String,
    /// What is odd, a sentence each: that the client is registered for nothing that takes such a token, and whom the
    /// conditions mean beside those that are meant. Nothing is refused for it.
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Its end; never, when null.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
    /// Whether its end has come.
    pub expired: bool,
    /// Whether its end comes within `credentials.warn_before`.
    pub expires_soon: bool,
    /// When it last proved the client, up to a minute late; absent when it never has, as far as is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

impl From<ClaimCondition> for Condition {
    fn from(ClaimCondition { claim, value }: ClaimCondition) -> Self {
        Self { claim, value }
    }
}

impl From<Condition> for ClaimCondition {
    fn from(Condition { claim, value }: Condition) -> Self {
        Self { claim, value }
    }
}

// === impl FederatedCredentialView ===

impl FederatedCredentialView {
    fn new(
        credential: &FederatedCredential,
        (issuer, client): (&TrustedIssuer, &Client),
        now: Timestamp,
        warn_before: Duration,
    ) -> Self {
        let mut warnings: Vec<String> = no_method(issuer.profile, client).into_iter().collect();
        warnings.extend(condition_warnings::of_conditions(issuer, &credential.conditions));
        Self {
            credential_id: credential.credential_id.clone(),
            trusted_issuer: issuer.name.clone(),
            issuer_enabled: issuer.enabled,
            conditions: credential.conditions.iter().cloned().map(Into::into).collect(),
            description: credential.description.clone(),
            warnings,
            created_at: credential.created_at,
            expires_at: credential.expires_at,
            expired: credential.check(now).is_err(),
            expires_soon: ends_soon(credential.expires_at, now, warn_before),
            last_used_at: None,
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Says that tokens of a trusted issuer prove a client, beside the credentials that it has.
    ///
    /// # Errors
    /// Wrong fields, too many credentials, or a client that has more authority than the administrator.
    pub async fn add_federated_credential(
        &self,
        by: &By,
        client_id: &ClientId,
        new: AddFederatedCredential,
    ) -> Result<FederatedCredentialView, AdminError> {
        let client = self.client_to_prove(by, client_id).await?;
        let catalog = self.catalog().await?;
        let now = self.ambient.now();
        let (credential, issuer) = read(new, &catalog, now)?;
        let mut tx = self.begin().await?;
        if !tx.lock_client(client.uid).await? {
            return Err(AdminError::not_found("client", client_id.as_str()));
        }
        let count = tx.count_federated(client.uid).await?;
        if usize::try_from(count).is_ok_and(|count| count >= MOST_FEDERATED) {
            return Err(AdminError::Conflict(format!(
                "the client has {MOST_FEDERATED} federated credentials already; remove one that is no longer used"
            )));
        }
        tx.insert_federated_credential(client.uid, &credential).await.map_err(|error| match error {
            StoreError::AlreadyExists => AdminError::Conflict(
                "the client has a federated credential of this issuer with these conditions already"
                    .to_owned(),
            ),
            StoreError::InUse => AdminError::Conflict(format!(
                "the trusted issuer '{}' was removed in the meantime; register it again",
                issuer.name
            )),
            other @ StoreError::Fault(_) => other.into(),
        })?;
        let view = FederatedCredentialView::new(&credential, (&issuer, &client), now, self.warn_before);
        let change = ChangeKind::Federation(client_id.clone());
        let written = Written::of(change, "client.federated_credential.add", client_id, None, Some(&view));
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// A client's federated credentials, newest first, expired ones too.
    ///
    /// # Errors
    /// There is no such client.
    pub async fn federated_credentials(
        &self,
        by: &By,
        client_id: &ClientId,
    ) -> Result<Vec<FederatedCredentialView>, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let credentials = self.store.federated_credentials(client.uid).await?;
        let catalog = self.catalog().await?;
        let uses: HashMap<_, _> = self.store.last_uses(client.uid).await?.into_iter().collect();
        let mut views = Vec::new();
        for credential in &credentials {
            // One that was added a moment ago may have an issuer that the catalog does not know yet.
            let Some(issuer) = catalog.trusted_issuer(credential.trusted_issuer) else {
                return Err(AdminError::STALE);
            };
            views.push(FederatedCredentialView {
                last_used_at: uses.get(&credential.credential_id).copied(),
                ..FederatedCredentialView::new(
                    credential,
                    (issuer, &client),
                    self.ambient.now(),
                    self.warn_before,
                )
            });
        }
        Ok(views)
    }

    /// Changes what is said of a federated credential, and its end.
    ///
    /// # Errors
    /// Wrong fields, or the client has no such credential.
    pub async fn update_federated_credential(
        &self,
        by: &By,
        client_id: &ClientId,
        id: &CredentialId,
        update: UpdateFederatedCredential,
    ) -> Result<FederatedCredentialView, AdminError> {
        // A later end hands out what the client may do for longer.
        let client = self.client_to_prove(by, client_id).await?;
        let now = self.ambient.now();
        let fix = "name a later time, or remove the credential";
        check_change((update.description.as_deref(), update.expires_at.flatten()), now, fix)?;
        let catalog = self.catalog().await?;
        let mut tx = self.begin().await?;
        let before = lock_federated(&mut tx, &client, id).await?;
        let issuer = catalog.trusted_issuer(before.trusted_issuer).ok_or(AdminError::STALE)?;
        let mut credential = before.clone();
        credential.description = update.description.unwrap_or(credential.description);
        credential.expires_at = update.expires_at.unwrap_or(credential.expires_at);
        tx.update_federated_credential(client.uid, &credential).await?;
        let view = FederatedCredentialView::new(&credential, (issuer, &client), now, self.warn_before);
        let before = FederatedCredentialView::new(&before, (issuer, &client), now, self.warn_before);
        // Whom a token finds stays the same.
        let change = ChangeKind::Client(client_id.clone());
        let action = "client.federated_credential.update";
        self.commit(tx, by, Written::of(change, action, client_id, Some(&before), Some(&view))).await?;
        Ok(view)
    }

    /// Removes a federated credential, the last one too. What it proved is refused everywhere within a second.
    ///
    /// # Errors
    /// The client has no such credential.
    pub async fn remove_federated_credential(
        &self,
        by: &By,
        client_id: &ClientId,
        id: &CredentialId,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let catalog = self.catalog().await?;
        let mut tx = self.begin().await?;
        let credential = lock_federated(&mut tx, &client, id).await?;
        let issuer = catalog.trusted_issuer(credential.trusted_issuer).ok_or(AdminError::STALE)?;
        tx.delete_federated_credential(client.uid, id).await?;
        let now = self.ambient.now();
        let before = FederatedCredentialView::new(&credential, (issuer, &client), now, self.warn_before);
        let change = ChangeKind::Federation(client_id.clone());
        let action = "client.federated_credential.remove";
        self.commit(tx, by, Written::of(change, action, client_id, Some(&before), None)).await
    }
}

/// That a client may do nothing with the tokens of an issuer of this profile, if it is so.
fn no_method(profile: IssuerProfile, client: &Client) -> Option<String> {
    let takes = match profile {
        IssuerProfile::Jwt => {
            client.grant_types.contains(&GrantType::JwtBearer)
                || client.auth_methods.contains(&AuthMethod::FederatedJwt)
        }
        IssuerProfile::Spiffe => client.is_federated(),
    };
    let methods = match profile {
        IssuerProfile::Jwt => "federated_jwt",
        IssuerProfile::Spiffe => "spiffe_jwt, spiffe_x509 or federated_jwt",
    };
    (!takes).then(|| {
        format!(
            "The client is registered for no method that takes it, so it does not count: add {methods} to the client's \
             authentication methods."
        )
    })
}

/// A client's federated credential as nobody else changes it until the end of the transaction.
async fn lock_federated(
    tx: &mut Tx,
    client: &Client,
    id: &CredentialId,
) -> Result<FederatedCredential, AdminError> {
    if !tx.lock_client(client.uid).await? {
        return Err(AdminError::not_found("client", client.client_id.as_str()));
    }
    let credentials = tx.federated_credentials(client.uid).await?;
    let found = credentials.into_iter().find(|credential| credential.credential_id == *id);
    found.ok_or_else(|| AdminError::not_found("federated credential", id.as_str()))
}

/// The credential of a form, and whose tokens it is about.
fn read(
    new: AddFederatedCredential,
    catalog: &Catalog,
    now: Timestamp,
) -> Result<(FederatedCredential, TrustedIssuer), AdminError> {
    let mut errors: Vec<FieldError> =
        check_text("description", &new.description, 255).err().into_iter().collect();
    errors.extend(check_end(new.expires_at, new.expires_in, now));
    let issuer = catalog.trusted_issuer_named(&new.trusted_issuer);
    if issuer.is_none() {
        let problem = format!("there is no trusted issuer '{}'", new.trusted_issuer);
        errors.push(FieldError::new("trusted_issuer", problem, "register it first"));
    }
    let conditions = Conditions::new(new.conditions.into_iter().map(Into::into).collect());
    match (issuer, conditions) {
        (Some(issuer), Ok(conditions)) if errors.is_empty() => Ok((
            FederatedCredential {
                credential_id: credential_id(issuer.uid, &conditions),
                trusted_issuer: issuer.uid,
                conditions,
                description: new.description,
                created_at: now,
                expires_at: end(new.expires_at, new.expires_in, now),
            },
            TrustedIssuer::clone(issuer),
        )),
        (_, conditions) => {
            errors.extend(conditions.err());
            Err(AdminError::Invalid(errors))
        }
    }
}
