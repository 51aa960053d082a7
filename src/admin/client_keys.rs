//! The public keys that clients are registered with: adding, listing, changing, removing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::credential_ends::{check_change, check_end, end};
use super::{Admin, AdminError, By, Written, nullable, present};
use crate::domain::builtin;
use crate::domain::client::Client;
use crate::domain::client_key::{ClientKey, MOST_KEYS, key_id};
use crate::domain::credential::ends_soon;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, ForeignKey, ForeignKeyError, Object};
use crate::storage::{ChangeKind, StoreError, Tx};

/// The most bytes of a key in PEM form: four times those of an RSA key of 8192 bits.
const LONGEST_PEM: usize = 10_000;

/// A public key to add. It has no `Debug` form: what somebody sends by mistake may be private.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
    "description": "deployed 2026-11", "expires_in": 7_776_000,
}))]
pub struct AddKey {
    /// The key as a JWK (RFC 7517), with its public members alone. This or `pem`.
    #[serde(default)]
    #[schema(value_type = Option<ClientPublicKey>)]
    pub jwk: Option<Object>,
    /// The key in PEM form (`BEGIN PUBLIC KEY`). This or `jwk`.
    #[serde(default)]
    #[schema(max_length = 10_000)]
    pub pem: Option<String>,
    /// A note for people; Jeton only shows it.
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
}

/// What to change of a key. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateKey {
    /// A note for people; Jeton only shows it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// Its end; `null` for never.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<Timestamp>>,
}

/// A registered key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeyView {
    /// Names it; a fingerprint of the key.
    pub key_id: CredentialId,
    /// What assertions call it: the JWK's own `kid`, or else its thumbprint.
    #[schema(example = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")]
    pub kid: String,
    /// What sort of key it is.
    #[schema(example = "EC P-256")]
    pub key_type: String,
    /// What may be signed with it.
    pub algorithms: Vec<Algorithm>,
    /// The public key.
    #[schema(value_type = ClientPublicKey)]
    pub jwk: Value,
    /// A note for people; Jeton only shows it.
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
    /// Whether its end comes within `credentials.warn_before`.
    pub expires_soon: bool,
    /// When it last proved the client, up to a minute late; absent when it never has, as far as is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// A public key as a JWK (RFC 7517), for OpenAPI.
#[derive(ToSchema)]
#[schema(example = json!({
    "kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}))]
#[expect(dead_code, reason = "describes the form for OpenAPI")]
struct ClientPublicKey {
    /// Its type.
    #[schema(pattern = "^(EC|RSA|OKP)$")]
    kty: String,
}

// === impl AddKey ===

impl AddKey {
    /// A key of which somebody gives the text: a JWK, or PEM.
    ///
    /// # Errors
    /// It looks like a JWK and is none.
    pub fn of_text(text: &str) -> Result<Self, AdminError> {
        if !text.trim_start().starts_with('{') {
            return Ok(Self { pem: Some(text.to_owned()), ..Self::default() });
        }
        let jwk = Object::parse(text.as_bytes()).ok_or_else(|| refused("jwk", ForeignKeyError::NotAJwk))?;
        Ok(Self { jwk: Some(jwk), ..Self::default() })
    }
}

// === impl KeyView ===

impl KeyView {
    fn new(key: &ClientKey, now: Timestamp, warn_before: Duration) -> Self {
        Self {
            key_id: key.key_id.clone(),
            kid: key.key.kid().to_owned(),
            key_type: key.key.description().to_owned(),
            algorithms: key.key.algorithms().collect(),
            jwk: serde_json::from_str(key.key.json()).unwrap_or_default(),
            description: key.description.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            expired: key.check(now).is_err(),
            expires_soon: ends_soon(key.expires_at, now, warn_before),
            last_used_at: None,
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Adds a public key beside those that the client has, so that a rotation has no gap.
    ///
    /// # Errors
    /// Wrong fields, too many keys, a client whose keys are published elsewhere or that has more authority than the
    /// administrator.
    pub async fn add_key(&self, by: &By, client_id: &ClientId, new: AddKey) -> Result<KeyView, AdminError> {
        let client = self.client_to_prove(by, client_id).await?;
        let now = self.ambient.now();
        let key = read(new, now)?;
        let mut tx = self.begin().await?;
        if !tx.lock_client(client.uid).await? {
            return Err(AdminError::not_found("client", client_id.as_str()));
        }
        let held = tx.keys_held(client.uid).await?;
        if held.elsewhere {
            return Err(AdminError::Conflict(
                "the client's keys are at its jwks_uri: add the key there, or take jwks_uri away first"
                    .to_owned(),
            ));
        }
        if usize::try_from(held.count).is_ok_and(|count| count >= MOST_KEYS) {
            return Err(AdminError::Conflict(format!(
                "the client has {MOST_KEYS} keys already; remove one that is no longer used"
            )));
        }
        tx.insert_client_key(client.uid, &key).await.map_err(|error| match error {
            StoreError::AlreadyExists => {
                AdminError::Conflict("the client has this key already, or another one of its kid".to_owned())
            }
            other => other.into(),
        })?;
        let view = KeyView::new(&key, now, self.warn_before);
        let change = ChangeKind::Client(client_id.clone());
        let written = Written::of(change, "client.key.add", client_id, None, Some(&view));
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// A client's keys, newest first, expired ones too.
    ///
    /// # Errors
    /// There is no such client.
    pub async fn keys(&self, by: &By, client_id: &ClientId) -> Result<Vec<KeyView>, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let now = self.ambient.now();
        let keys = self.store.client_keys(client.uid).await?;
        let uses: HashMap<_, _> = self.store.last_uses(client.uid).await?.into_iter().collect();
        let view = |key: &ClientKey| KeyView {
            last_used_at: uses.get(&key.key_id).copied(),
            ..KeyView::new(key, now, self.warn_before)
        };
        Ok(keys.iter().map(view).collect())
    }

    /// Changes what is said of a key, and its end.
    ///
    /// # Errors
    /// Wrong fields, or the client has no such key.
    pub async fn update_key(
        &self,
        by: &By,
        client_id: &ClientId,
        key_id: &CredentialId,
        update: UpdateKey,
    ) -> Result<KeyView, AdminError> {
        // A later end hands out what the client may do for longer.
        let client = self.client_to_prove(by, client_id).await?;
        let now = self.ambient.now();
        let fix = "name a later time, or remove the key";
        check_change((update.description.as_deref(), update.expires_at.flatten()), now, fix)?;
        let mut tx = self.begin().await?;
        let before = lock_key(&mut tx, &client, key_id).await?;
        let mut key = before.clone();
        key.description = update.description.unwrap_or(key.description);
        key.expires_at = update.expires_at.unwrap_or(key.expires_at);
        tx.update_client_key(client.uid, &key).await?;
        let view = KeyView::new(&key, now, self.warn_before);
        let change = ChangeKind::Client(client_id.clone());
        let before = KeyView::new(&before, now, self.warn_before);
        let written = Written::of(change, "client.key.update", client_id, Some(&before), Some(&view));
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// Removes a key, the last one too. It is refused everywhere within a second.
    ///
    /// # Errors
    /// The client has no such key.
    pub async fn remove_key(
        &self,
        by: &By,
        client_id: &ClientId,
        key_id: &CredentialId,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let mut tx = self.begin().await?;
        let key = lock_key(&mut tx, &client, key_id).await?;
        tx.delete_client_key(client.uid, key_id).await?;
        let before = KeyView::new(&key, self.ambient.now(), self.warn_before);
        let change = ChangeKind::Client(client_id.clone());
        let written = Written::of(change, "client.key.remove", client_id, Some(&before), None);
        self.commit(tx, by, written).await
    }
}

/// A client's key as nobody else changes it until the end of the transaction.
async fn lock_key(tx: &mut Tx, client: &Client, key_id: &CredentialId) -> Result<ClientKey, AdminError> {
    if !tx.lock_client(client.uid).await? {
        return Err(AdminError::not_found("client", client.client_id.as_str()));
    }
    let keys = tx.client_keys(client.uid).await?;
    let found = keys.into_iter().find(|key| key.key_id == *key_id);
    found.ok_or_else(|| AdminError::not_found("key", key_id.as_str()))
}

/// The key of a form. None of the errors quotes it.
fn read(new: AddKey, now: Timestamp) -> Result<ClientKey, AdminError> {
    let mut errors: Vec<FieldError> =
        check_text("description", &new.description, 255).err().into_iter().collect();
    errors.extend(check_end(new.expires_at, new.expires_in, now));
    let key = match (new.jwk, new.pem) {
        (Some(jwk), None) => ForeignKey::from_object(jwk).map_err(|error| refused("jwk", error)),
        (None, Some(pem)) if pem.len() > LONGEST_PEM => Err(refused("pem", ForeignKeyError::NotPem)),
        (None, Some(pem)) => ForeignKey::from_pem(&pem).map_err(|error| refused("pem", error)),
        (Some(_), Some(_)) => {
            Err(AdminError::invalid("pem", "there is a jwk too", "give the key in one form"))
        }
        (None, None) => Err(AdminError::invalid("jwk", "there is no key", "give a public key as jwk or pem")),
    };
    match key {
        Ok(key) if errors.is_empty() => Ok(ClientKey {
            key_id: key_id(&key),
            key: Arc::new(key),
            description: new.description,
            created_at: now,
            expires_at: end(new.expires_at, new.expires_in, now),
        }),
        Err(AdminError::Invalid(of_key)) => {
            errors.extend(of_key);
            Err(AdminError::Invalid(errors))
        }
        Err(other) => Err(other),
        Ok(_) => Err(AdminError::Invalid(errors)),
    }
}

fn refused(field: &'static str, error: ForeignKeyError) -> AdminError {
    let fix = match error {
        ForeignKeyError::Private => {
            "make a new pair, because whoever saw this one can use it, and send the public key alone: \
             `openssl pkey -in key.pem -pubout`"
        }
        ForeignKeyError::NotPem => "write what `openssl pkey -in key.pem -pubout` prints",
        ForeignKeyError::NotAJwk => {
            "write one JWK such as {\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"…\", \"y\": \"…\"}"
        }
        ForeignKeyError::Unfit => "use such a key; P-256 (ES256) suits most libraries",
        ForeignKeyError::OtherUse => "leave use and key_ops out, or say sig and verify",
        ForeignKeyError::OtherAlgorithm => "leave alg out, or name one of ES256, ES384, RS256, PS256, EdDSA",
        ForeignKeyError::KeyId => "leave kid out, or write one",
    };
    AdminError::invalid(field, error.to_string(), fix)
}
