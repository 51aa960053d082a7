//! `jeton clients key …`

use std::path::PathBuf;

use clap::Subcommand;
use secrecy::ExposeSecret;

use super::arguments::{End, client_id, timestamp};
use super::{Offline, input, output};
use crate::admin::client_keys::{AddKey, UpdateKey};
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;

/// The most of a file that is read: a key has a few hundred bytes.
const LARGEST: usize = 64 * 1_024;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Add a public key, as `openssl pkey -pubout` prints it or as a JWK.
    Add {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The file with the key; `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A note for people; Jeton only shows it.
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        end: End,
    },
    /// List a client's keys, with when each was last used.
    List {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Change what is said of a key, or its end.
    Change {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The key's identifier, which `jeton clients key list` lists.
        #[arg(value_parser = key_id)]
        key_id: CredentialId,
        /// A note for people; Jeton only shows it.
        #[arg(long)]
        description: Option<String>,
        /// Its end, for example 2027-01-01T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "never_expires")]
        expires_at: Option<Timestamp>,
        /// It has no end.
        #[arg(long)]
        never_expires: bool,
    },
    /// Remove a key. It is refused everywhere from the next second on.
    Remove {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The key's identifier, which `jeton clients key list` lists.
        #[arg(value_parser = key_id)]
        key_id: CredentialId,
    },
}

pub(super) async fn run(key: Key, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match key {
        Key::Add { client_id, file, description, end: End { expires_at, expires_in } } => {
            let text = input::read(&file, "a public key in PEM or as a JWK", LARGEST)?;
            let key = AddKey::of_text(text.expose_secret())?;
            let new = AddKey { description, expires_at, expires_in, ..key };
            output::one(&admin.add_key(by, &client_id, new).await?, json)
        }
        Key::List { client_id } => {
            let keys = admin.keys(by, &client_id).await?;
            let columns =
                ["key_id", "kid", "key_type", "created_at", "expires_at", "last_used_at", "description"];
            output::rows(&keys, &columns, json)
        }
        Key::Change { client_id, key_id, description, expires_at, never_expires } => {
            let expires_at = if never_expires { Some(None) } else { expires_at.map(Some) };
            let update = UpdateKey { description, expires_at };
            output::one(&admin.update_key(by, &client_id, &key_id, update).await?, json)
        }
        Key::Remove { client_id, key_id } => {
            admin.remove_key(by, &client_id, &key_id).await?;
            if json {
                return output::one(&serde_json::json!({ "removed": key_id }), json);
            }
            output::print(&format!("key {key_id} of {client_id} is removed"))
        }
    }
}

fn key_id(text: &str) -> Result<CredentialId, FieldError> {
    CredentialId::new(text)
}
