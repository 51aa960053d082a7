//! Client secrets: adding, listing, changing, revoking. A secret's text is answered once, when it is added.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};

use super::credential_ends::{check_change, check_end, end};
pub use super::secret_forms::{
    AddSecret, AddedSecret, RotateSecret, RotatedSecret, SecretView, USUAL_OVERLAP, UpdateSecret,
};
use super::{Admin, AdminError, By, HANDS_OUT, Written, recorded};
use crate::domain::builtin;
use crate::domain::client::{Client, ClientSecret, MOST_CHOSEN_SECRETS, MOST_SECRETS};
use crate::domain::error::FieldError;
use crate::domain::foreign_hash::ForeignHash;
use crate::domain::ids::{ClientId, ClientUid, SecretId};
use crate::domain::secret::{self, Form, SecretOrigin};
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::runtime::secrets::hash;
use crate::storage::{ChangeKind, Tx};

/// A secret that is about to be stored, and its text where that is known.
pub(super) struct NewSecret {
    pub(super) secret: ClientSecret,
    pub(super) text: Option<SecretString>,
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
        let client = self.client_to_prove(by, client_id).await?;
        let now = self.ambient.now();
        check(&new, now)?;
        let NewSecret { secret, text } = self.new_secret(new, now).await?;

        let mut tx = self.begin().await?;
        if !tx.lock_client(client.uid).await? {
            return Err(AdminError::not_found("client", client_id.as_str()));
        }
        let stored = tx.secrets(client.uid).await?;
        if let Err(error) = check_count(&stored, secret.origin) {
            drop(tx);
            return Err(self.with_advice(error, &client, &stored).await?);
        }
        tx.insert_secret(client.uid, &secret).await?;
        let view = self.secret_view(&secret, now);
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
        self.secret_views(client.uid).await
    }

    /// Changes a secret's description or its end.
    ///
    /// # Errors
    /// Wrong fields, the client has none of this id, or more authority than the administrator.
    pub async fn update_secret(
        &self,
        by: &By,
        client_id: &ClientId,
        secret_id: &SecretId,
        update: UpdateSecret,
    ) -> Result<SecretView, AdminError> {
        let client = self.client_to_prove(by, client_id).await?;
        let now = self.ambient.now();
        let fix = "name a later time, or revoke the secret";
        check_change((update.description.as_deref(), update.expires_at.flatten()), now, fix)?;
        let mut tx = self.begin().await?;
        let before = lock_secret(&mut tx, &client, secret_id).await?;
        let mut after = before.clone();
        after.description = update.description.unwrap_or(after.description);
        after.expires_at = update.expires_at.unwrap_or(after.expires_at);
        // What does not end is not on its way out.
        after.replaced_by = after.replaced_by.filter(|_| after.expires_at.is_some());
        tx.update_secret(client.uid, &after).await?;
        let view = self.secret_view(&after, now);
        let written = Written {
            action: "client.secret.update",
            target: client_id.to_string(),
            before: recorded(&self.secret_view(&before, now)),
            after: recorded(&view),
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await?;
        Ok(view)
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
        let mut tx = self.begin().await?;
        let secret = lock_secret(&mut tx, &client, secret_id).await?;
        tx.delete_secret(client.uid, secret_id).await?;
        let written = Written {
            action: "client.secret.revoke",
            target: client_id.to_string(),
            before: recorded(&self.secret_view(&secret, self.ambient.now())),
            after: None,
            change: ChangeKind::Client(client_id.clone()),
        };
        self.commit(tx, by, written).await
    }

    /// A client whose credentials are to be changed by whoever may do all that it may.
    pub(super) async fn client_to_prove(&self, by: &By, client_id: &ClientId) -> Result<Client, AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let roles = self.store.roles_of(client.uid).await?;
        self.require_all_of(by, &*self.catalog().await?, Some(client.uid), &roles, HANDS_OUT).await?;
        Ok(client)
    }

    /// A client's secrets with their last uses.
    pub(super) async fn secret_views(&self, client: ClientUid) -> Result<Vec<SecretView>, AdminError> {
        let now = self.ambient.now();
        let secrets = self.store.secrets(client).await?;
        let uses: HashMap<_, _> = self.store.last_uses(client).await?.into_iter().collect();
        let view = |secret: &ClientSecret| SecretView {
            last_used_at: uses.get(secret.secret_id.as_str()).copied(),
            ..self.secret_view(secret, now)
        };
        Ok(secrets.iter().map(view).collect())
    }

    pub(super) fn secret_view(&self, secret: &ClientSecret, now: Timestamp) -> SecretView {
        SecretView::new(secret, now, self.warn_before)
    }

    /// Makes what is to be stored of a secret whose form was checked.
    pub(super) async fn new_secret(&self, new: AddSecret, now: Timestamp) -> Result<NewSecret, AdminError> {
        let expires_at = end(new.expires_at, new.expires_in, now);
        let secret = |secret_id, hash, origin| ClientSecret {
            secret_id,
            hash,
            origin,
            description: new.description,
            created_at: now,
            expires_at,
            replaced_by: None,
        };
        if let Some(foreign) = new.secret_hash {
            let secret = secret(self.random_secret_id()?, foreign, SecretOrigin::Chosen);
            return Ok(NewSecret { secret, text: None });
        }
        let (text, origin, secret_id) = self.secret_text(new.secret)?;
        let hash = {
            let (text, ambient) = (text.clone(), self.ambient.clone());
            tokio::task::spawn_blocking(move || hash(&text, origin, &ambient))
                .await
                .map_err(super::Fault::internal)??
        };
        Ok(NewSecret { secret: secret(secret_id, hash, origin), text: Some(text) })
    }

    fn secret_text(
        &self,
        chosen: Option<SecretString>,
    ) -> Result<(SecretString, SecretOrigin, SecretId), AdminError> {
        if let Some(text) = chosen {
            return Ok((text, SecretOrigin::Chosen, self.random_secret_id()?));
        }
        let text = secret::generate(&self.ambient.bytes::<32>()?);
        match secret::form(&text) {
            Form::Generated(secret_id) => Ok((text, SecretOrigin::Generated, secret_id)),
            _ => Err(super::Fault::internal("a generated secret does not have its own form").into()),
        }
    }

    /// A chosen secret may be guessable, so its id must not be made from it.
    fn random_secret_id(&self) -> Result<SecretId, AdminError> {
        Ok(SecretId::new(self.ambient.uuid()?.simple().to_string())?)
    }

    /// The refusal of one secret more, with which one to remove first.
    pub(super) async fn with_advice(
        &self,
        error: AdminError,
        client: &Client,
        stored: &[ClientSecret],
    ) -> Result<AdminError, AdminError> {
        let AdminError::Conflict(problem) = error else { return Ok(error) };
        let uses: HashMap<_, _> = self.store.last_uses(client.uid).await?.into_iter().collect();
        let last_use = |secret: &ClientSecret| uses.get(secret.secret_id.as_str()).copied();
        let now = self.ambient.now();
        // The first: those that count no more, then what was replaced, then what was used longest ago.
        let least = stored.iter().min_by_key(|secret| {
            (secret.check(now).is_ok(), secret.replaced_by.is_none(), last_use(secret), secret.created_at)
        });
        let Some(secret) = least else { return Ok(AdminError::Conflict(problem)) };
        let why = match (secret.check(now), last_use(secret)) {
            (Err(_), _) => "has expired".to_owned(),
            (Ok(()), None) => "was never used, as far as is counted".to_owned(),
            (Ok(()), Some(at)) => format!("was last used at {at}, longest ago of all"),
        };
        Ok(AdminError::Conflict(format!("{problem}: {} {why}", secret.secret_id)))
    }
}

/// A client's secret as nobody else changes it until the end of the transaction.
async fn lock_secret(tx: &mut Tx, client: &Client, secret_id: &SecretId) -> Result<ClientSecret, AdminError> {
    if !tx.lock_client(client.uid).await? {
        return Err(AdminError::not_found("client", client.client_id.as_str()));
    }
    let stored = tx.secrets(client.uid).await?;
    let found = stored.into_iter().find(|secret| secret.secret_id == *secret_id);
    found.ok_or_else(|| AdminError::not_found("secret", secret_id.as_str()))
}

/// Whether a client may have one secret more.
pub(super) fn check_count(stored: &[ClientSecret], origin: SecretOrigin) -> Result<(), AdminError> {
    if stored.len() >= MOST_SECRETS {
        return Err(AdminError::Conflict(format!(
            "the client has {MOST_SECRETS} secrets already; revoke one that is no longer used"
        )));
    }
    let chosen = stored.iter().filter(|secret| secret.origin == SecretOrigin::Chosen).count();
    if origin == SecretOrigin::Chosen && chosen >= MOST_CHOSEN_SECRETS {
        return Err(AdminError::Conflict(format!(
            "the client has {MOST_CHOSEN_SECRETS} chosen secrets already; revoke one, or leave out 'secret' to have one generated"
        )));
    }
    Ok(())
}

/// Checks a form.
pub(super) fn check(new: &AddSecret, now: Timestamp) -> Result<(), AdminError> {
    let mut errors: Vec<FieldError> =
        check_text("description", &new.description, 255).err().into_iter().collect();
    errors.extend(new.secret.as_ref().and_then(|text| secret::check_chosen(text).err()));
    if let Some(hash) = &new.secret_hash {
        errors.extend(ForeignHash::parse(hash.expose_secret()).err());
        if new.secret.is_some() {
            errors.push(FieldError::new("secret_hash", "secret is given too", "give one of them"));
        }
    }
    errors.extend(check_end(new.expires_at, new.expires_in, now));
    if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
}
