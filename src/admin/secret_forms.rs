//! Client secrets as the API, the command line and the pages take and show them.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::{nullable, present};
use crate::domain::client::ClientSecret;
use crate::domain::credential::ends_soon;
use crate::domain::foreign_hash::ForeignScheme;
use crate::domain::ids::SecretId;
use crate::domain::secret::SecretOrigin;
use crate::domain::time::Timestamp;

/// How long a secret that was replaced goes on counting, when nobody says: a day, in which every deployment of a
/// client has read the new one.
pub const USUAL_OVERLAP: Duration = Duration::from_hours(24);

/// A secret to add.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddSecret {
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
    /// A secret chosen by you or exported from elsewhere. Leave it out: a generated one is stronger and
    /// a thousand times cheaper to check.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 16, max_length = 255, pattern = r"^(?!jtn_)[^\u0000-\u001f\u007f-\u009f]*$")]
    pub secret: Option<SecretString>,
    /// A secret as another server has hashed it: bcrypt, or PBKDF2 in Hydra's form. When it is presented for the first
    /// time it is hashed anew.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 300, pattern = r"^\$(?:2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}|pbkdf2-sha(?:256|512)\$i=[0-9]+,l=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+)$")]
    pub secret_hash: Option<SecretString>,
}

/// A secret to put in place of others.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// A note for people; Jeton only shows it.
    #[serde(default)]
    #[schema(
        example = "rotated 2026-11",
        max_length = 255,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// The end of the new secret. When neither this nor `expires_in` is given, it lives as long as the one that it
    /// replaces was to live.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The end of the new secret in seconds from now.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4_294_967_295_u32, example = 7_776_000)]
    pub expires_in: Option<u32>,
    /// Which secrets it replaces; the newest that counts, when absent or empty.
    #[serde(default)]
    #[schema(value_type = Vec<SecretId>, max_items = 10, example = json!([]))]
    pub secret_ids: Vec<SecretId>,
    /// For how many seconds those go on counting; a day, when absent. One that ends before then is not prolonged.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 31_536_000, example = 86_400)]
    pub overlap: Option<u32>,
}

/// What to change of a secret. What is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateSecret {
    /// A note for people; Jeton only shows it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, example = "deployed 2026-11", max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// Its end; `null` for never.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<Timestamp>>,
}

/// A secret as people see it: everything but the secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SecretView {
    /// Names it; for a generated one, its fingerprint.
    pub secret_id: SecretId,
    /// Who made it up.
    pub origin: SecretOrigin,
    /// How another server has hashed it; absent once it was presented, and for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported_as: Option<ForeignScheme>,
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
    /// The secret that a rotation has put in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<SecretId>,
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
    /// The secret. It is not stored and is never shown again. Absent where only its hash was given.
    #[serde(serialize_with = "expose", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "jtn_…")]
    pub client_secret: Option<SecretString>,
}

/// A new secret at the one moment when it is shown, and those that it replaces.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotatedSecret {
    /// The new one.
    #[serde(flatten)]
    pub added: AddedSecret,
    /// Those that it replaces, with their ends.
    pub replaces: Vec<SecretView>,
}

/// The one place that writes a secret into an answer.
#[expect(clippy::ref_option, reason = "what serde passes")]
fn expose<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ExposeSecret::expose_secret).serialize(serializer)
}

// === impl SecretView ===

impl SecretView {
    /// What people see of it now; its end comes soon when that is within `warn_before`.
    pub(super) fn new(secret: &ClientSecret, now: Timestamp, warn_before: Duration) -> Self {
        Self {
            secret_id: secret.secret_id.clone(),
            origin: secret.origin,
            imported_as: ForeignScheme::of(secret.hash.expose_secret()),
            description: secret.description.clone(),
            created_at: secret.created_at,
            expires_at: secret.expires_at,
            expired: secret.check(now).is_err(),
            expires_soon: ends_soon(secret.expires_at, now, warn_before),
            replaced_by: secret.replaced_by.clone(),
            last_used_at: None,
        }
    }
}
