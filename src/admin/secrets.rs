//! Client secrets: adding, listing, revoking. A secret's text is answered once, when it is added.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::{Admin, AdminError, By, HANDS_OUT, Written, recorded};
use crate::domain::builtin;
use crate::domain::client::{ClientSecret, MOST_CHOSEN_SECRETS, MOST_SECRETS};
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, SecretId};
use crate::domain::secret::{self, Form, SecretOrigin};
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::runtime::secrets::hash;
use crate::storage::ChangeKind;

/// A secret to add.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddSecret {
    /// For people.
    #[serde(default)]
    #[schema(
        example = "deployed 2026-11",
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
    /// A secret chosen by you or exported from elsewhere. Leave it out: a generated one is stronger and
    /// a thousand times cheaper to check.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 16, max_length = 255, pattern = r"^(?!jtn_)[^\u0000-\u001f\u007f-\u009f]*$")]
    pub secret: Option<SecretString>,
}

/// A secret as people see it: everything but the secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SecretView {
    /// Names it; for a generated one, its fingerprint.
    pub secret_id: SecretId,
    /// Who made it up.
    pub origin: SecretOrigin,
    /// For people.
    #[schema(example = "deployed 2026-11")]
    pub description: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Its end; never, when null.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
    /// Whether its end has come.
    pub expired: bool,
    /// When it last proved the client, up to a minute late; absent when it never has, as far as is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// A secret at the one moment when it is shown. It cannot be cloned, and does not print.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddedSecret {
    /// What stays visible.
    #[serde(flatten)]
    pub view: SecretView,
    /// The secret. It is not stored and is never shown again.
    #[serde(serialize_with = "expose")]
    #[schema(value_type = String, example = "jtn_…")]
    pub client_secret: SecretString,
}

/// The one place that writes a secret into an answer.
fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

// === impl SecretView ===

impl SecretView {
    fn new(secret: &ClientSecret, now: Timestamp) -> Self {
        Self {
            secret_id: secret.secret_id.clone(),
            origin: secret.origin,
            description: secret.description.clone(),
            created_at: secret.created_at,
            expires_at: secret.expires_at,
            expired: secret.check(now).is_err(),
            last_used_at: None,
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Adds a secret beside those that the client has, so that a rotation has no gap.
    ///
    /// # Errors
    /// Wrong fields, too many secrets, or a client with more authority than the administrator.
    pub async fn add_secret(
        &self,
        by: &By,
        client_id: &ClientId,
        new: AddSecret,
    ) -> Result<AddedSecret, AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let roles = self.store.roles_of(client.uid).await?;
        self.require_all_of(by, &*self.catalog().await?, Some(client.uid), &roles, HANDS_OUT).await?;
        let now = self.ambient.now();
        let expires_at = check(&new, now)?;
        let (text, origin, secret_id) = self.secret_text(new.secret)?;
        let hash = {
            let (text, ambient) = (text.clone(), self.ambient.clone());
            tokio::task::spawn_blocking(move || hash(&text, origin, &ambient))
                .await
                .map_err(super::Fault::internal)??
        };
        let secret = ClientSecret {
            secret_id,
            hash,
            origin,
            description: new.description,
            created_at: now,
            expires_at,
        };

        let mut tx = self.begin().await?;
        if !tx.lock_client(client.uid).await? {
            return Err(AdminError::not_found("client", client_id.as_str()));
        }
        check_count(tx.count_secrets(client.uid, SecretOrigin::Chosen).await?, origin)?;
        tx.insert_secret(client.uid, &secret).await?;
        let view = SecretView::new(&secret, now);
        let written = Written {
            action: "client.secret.add",
            target: client_id.to_string(),
            before: None,
            after: recorded(&view),
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await?;
        Ok(AddedSecret { view, client_secret: text })
    }

    /// A client's secrets, newest first, expired ones too.
    ///
    /// # Errors
    /// There is no such client.
    pub async fn secrets(&self, by: &By, client_id: &ClientId) -> Result<Vec<SecretView>, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let now = self.ambient.now();
        let secrets = self.store.secrets(client.uid).await?;
        let uses: HashMap<_, _> = self.store.last_uses(client.uid).await?.into_iter().collect();
        let view = |secret: &ClientSecret| SecretView {
            last_used_at: uses.get(secret.secret_id.as_str()).copied(),
            ..SecretView::new(secret, now)
        };
        Ok(secrets.iter().map(view).collect())
    }

    /// Removes a secret. It is refused everywhere within a second.
    ///
    /// # Errors
    /// The client has none of this id.
    pub async fn revoke_secret(
        &self,
        by: &By,
        client_id: &ClientId,
        secret_id: &SecretId,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let missing = || AdminError::not_found("secret", secret_id.as_str());
        let secrets = self.store.secrets(client.uid).await?;
        let secret = secrets.iter().find(|secret| secret.secret_id == *secret_id).ok_or_else(missing)?;
        let mut tx = self.begin().await?;
        if !tx.delete_secret(client.uid, secret_id).await? {
            return Err(missing());
        }
        let written = Written {
            action: "client.secret.revoke",
            target: client_id.to_string(),
            before: recorded(&SecretView::new(secret, self.ambient.now())),
            after: None,
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await
    }

    fn secret_text(
        &self,
        chosen: Option<SecretString>,
    ) -> Result<(SecretString, SecretOrigin, SecretId), AdminError> {
        if let Some(text) = chosen {
            // A chosen secret may be guessable, so its id must not be made from it.
            let id = self.ambient.uuid()?.simple().to_string();
            return Ok((text, SecretOrigin::Chosen, SecretId::new(id)?));
        }
        let text = secret::generate(&self.ambient.bytes::<32>()?);
        match secret::form(&text) {
            Form::Generated(secret_id) => Ok((text, SecretOrigin::Generated, secret_id)),
            _ => Err(super::Fault::internal("a generated secret does not have its own form").into()),
        }
    }
}

fn check_count((all, chosen): (i64, i64), origin: SecretOrigin) -> Result<(), AdminError> {
    if usize::try_from(all).is_ok_and(|all| all >= MOST_SECRETS) {
        return Err(AdminError::Conflict(format!(
            "the client has {MOST_SECRETS} secrets already; revoke one that is no longer used"
        )));
    }
    if origin == SecretOrigin::Chosen
        && usize::try_from(chosen).is_ok_and(|chosen| chosen >= MOST_CHOSEN_SECRETS)
    {
        return Err(AdminError::Conflict(format!(
            "the client has {MOST_CHOSEN_SECRETS} chosen secrets already; revoke one, or leave out 'secret' to have one generated"
        )));
    }
    Ok(())
}

/// Checks a form, and says when the secret's end is.
fn check(new: &AddSecret, now: Timestamp) -> Result<Option<Timestamp>, AdminError> {
    let mut errors: Vec<FieldError> =
        check_text("description", &new.description, 255).err().into_iter().collect();
    errors.extend(new.secret.as_ref().and_then(|text| secret::check_chosen(text).err()));
    let end = new.expires_in.map(|seconds| now.plus(Duration::from_secs(seconds.into()))).or(new.expires_at);
    if new.expires_at.is_some() && new.expires_in.is_some() {
        errors.push(FieldError::new("expires_in", "expires_at is given too", "give one of them"));
    } else if end.is_some_and(|end| end <= now) {
        let field = if new.expires_in.is_some() { "expires_in" } else { "expires_at" };
        errors.push(FieldError::new(field, "it is not in the future", "name a later time, or leave it out"));
    }
    if errors.is_empty() { Ok(end) } else { Err(AdminError::Invalid(errors)) }
}
