//! `jeton clients secret …`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::arguments::{End, client_id, seconds, secret_id, timestamp};
use super::{Offline, input, output};
use crate::admin::secrets::{AddSecret, RotateSecret, UpdateSecret};
use crate::domain::ids::{ClientId, SecretId};
use crate::domain::time::Timestamp;

/// The most of a file that is read; the use-case takes less.
const LARGEST: usize = 64 * 1_024;

#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Add a generated secret, which is printed once, or one that the client has elsewhere.
    Add(Add),
    /// Add a generated secret in place of others, which go on counting for a while.
    Rotate(Rotate),
    /// Change a secret's description or its end.
    Update {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The secret's identifier, which `jeton clients show` lists.
        #[arg(value_parser = secret_id)]
        secret_id: SecretId,
        /// A note for people; Jeton only shows it.
        #[arg(long)]
        description: Option<String>,
        /// Its end, for example 2027-01-01T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "never_expires")]
        expires_at: Option<Timestamp>,
        /// It has no end any more.
        #[arg(long)]
        never_expires: bool,
    },
    /// Revoke a secret. It is refused everywhere from the next second on.
    Revoke {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The secret's identifier, which `jeton clients show` lists.
        #[arg(value_parser = secret_id)]
        secret_id: SecretId,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The client's identifier.
    #[arg(value_parser = client_id)]
    client_id: ClientId,
    /// A note for people; Jeton only shows it.
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    end: End,
    /// A file with the secret that the client has elsewhere, in plain text; `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "hash_file")]
    secret_file: Option<PathBuf>,
    /// A file with a hash that another server has made of it (bcrypt, or PBKDF2 in Hydra's form); `-` for standard input.
    #[arg(long, value_name = "FILE")]
    hash_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The client's identifier.
    #[arg(value_parser = client_id)]
    client_id: ClientId,
    /// A secret that the new one replaces; may be repeated. The newest that counts, when absent.
    #[arg(long = "replaces", value_name = "SECRET_ID", value_parser = secret_id)]
    secret_ids: Vec<SecretId>,
    /// For how many seconds the old ones go on counting; a day, when absent.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    overlap: Option<u32>,
    /// A note for people; Jeton only shows it.
    #[arg(long, default_value = "")]
    description: String,
    /// The end of the new secret, for example 2027-01-01T00:00:00Z. Without this and --expires-in it lives as long as
    /// the one that it replaces was to.
    #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "expires_in")]
    expires_at: Option<Timestamp>,
    /// The end of the new secret in seconds from now.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    expires_in: Option<u32>,
}

pub(super) async fn run(command: Secret, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Secret::Add(Add { client_id, description, end, secret_file, hash_file }) => {
            let new = AddSecret {
                description,
                expires_at: end.expires_at,
                expires_in: end.expires_in,
                secret: secret_file.as_deref().map(read).transpose()?,
                secret_hash: hash_file.as_deref().map(read).transpose()?,
            };
            let generated = new.secret.is_none() && new.secret_hash.is_none();
            let mut added = admin.add_secret(by, &client_id, new).await?;
            if !generated {
                // Whoever brought it has it.
                added.client_secret = None;
            }
            output::one(&added, json)?;
            if generated && !json {
                shown_once();
            }
            Ok(())
        }
        Secret::Rotate(rotate) => {
            let Rotate { client_id, secret_ids, overlap, description, expires_at, expires_in } = rotate;
            let wanted = RotateSecret { description, expires_at, expires_in, secret_ids, overlap };
            output::one(&admin.rotate_secret(by, &client_id, wanted).await?, json)?;
            if !json {
                shown_once();
            }
            Ok(())
        }
        Secret::Update { client_id, secret_id, description, expires_at, never_expires } => {
            let expires_at = if never_expires { Some(None) } else { expires_at.map(Some) };
            let update = UpdateSecret { description, expires_at };
            output::one(&admin.update_secret(by, &client_id, &secret_id, update).await?, json)
        }
        Secret::Revoke { client_id, secret_id } => {
            admin.revoke_secret(by, &client_id, &secret_id).await?;
            if json {
                return output::one(&json!({ "revoked": secret_id }), json);
            }
            output::print(&format!("secret {secret_id} of {client_id} is revoked"))
        }
    }
}

pub(super) fn shown_once() {
    eprintln!("\nThe secret is not stored and cannot be shown again.");
}

/// A secret from a file, without the line's end after it.
fn read(file: &Path) -> anyhow::Result<SecretString> {
    let text = input::read(file, "a client's secret", LARGEST)?;
    Ok(SecretString::from(text.expose_secret().trim_end_matches(['\r', '\n'])))
}
