//! `jeton keys …`

use clap::Subcommand;

use super::{Offline, offline, output};
use crate::config::Config;
use crate::jose::Algorithm;
use crate::runtime::sealed::Survey;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the signing keys.
    List,
    /// Make the next signing key before its time. It signs when every verifier has it.
    Rotate {
        /// Its algorithm.
        #[arg(long, value_name = "ALG", default_value = "ES256")]
        algorithm: Algorithm,
    },
    /// Withdraw a signing key that somebody else may have.
    Revoke {
        /// Its identifier.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Seal every private key in the database anew, under the current master key.
    Rewrap,
    /// Make a master key in the PKCS#11 token of the configuration. Needs no database.
    #[cfg(feature = "pkcs11")]
    CreateMaster {
        /// The label of the new key, for `master_key_label`.
        label: String,
    },
}

/// What a table of signing keys shows.
const COLUMNS: [&str; 7] =
    ["algorithm", "state", "kid", "created_at", "activates_at", "leaves_at", "live_tokens"];

pub(super) async fn run(command: Command, config: &Config, json: bool) -> anyhow::Result<()> {
    match command {
        Command::List => offline(config, async |offline| list(offline, json).await).await,
        Command::Rotate { algorithm } => {
            offline(config, async |offline| rotate(offline, algorithm, json).await).await
        }
        Command::Revoke { kid } => offline(config, async |offline| revoke(offline, &kid, json).await).await,
        Command::Rewrap => offline(config, async |offline| rewrap(offline, json).await).await,
        #[cfg(feature = "pkcs11")]
        Command::CreateMaster { label } => create_master(config, &label, json).await,
    }
}

async fn list(Offline { admin, by, .. }: &Offline, json: bool) -> anyhow::Result<()> {
    let view = admin.signing_keys(by).await?;
    if json {
        return output::one(&view, json);
    }
    let keys: Vec<_> = view.rings.iter().flat_map(|ring| &ring.keys).collect();
    output::rows(&keys, &COLUMNS, json)?;
    for ring in view.rings {
        if let Some(next) = ring.next_activation_at {
            output::print(&format!("The next {} key signs from {next}.", ring.algorithm))?;
        }
    }
    Ok(())
}

async fn rotate(Offline { admin, by, .. }: &Offline, algorithm: Algorithm, json: bool) -> anyhow::Result<()> {
    let ring = admin.rotate_signing_key(by, algorithm).await?;
    if json { output::one(&ring, json) } else { output::rows(&ring.keys, &COLUMNS, json) }
}

async fn revoke(Offline { admin, by, .. }: &Offline, kid: &str, json: bool) -> anyhow::Result<()> {
    let revoked = admin.revoke_signing_key(by, kid).await?;
    output::one(&revoked, json)?;
    eprintln!(
        "Verifiers may trust what it signed until {}: they keep key sets for so long. Restart them, or empty their \
         caches, to end that sooner.",
        revoked.trusted_until
    );
    Ok(())
}

async fn rewrap(Offline { admin, by, master_keys }: &Offline, json: bool) -> anyhow::Result<()> {
    let done = admin.rewrap(by, master_keys).await?;
    output::one(&done, json)?;
    let current = &done.master_key;
    if done.previous.is_empty() {
        eprintln!(
            "\nEvery sealed key was under the current master key {current} already. Nothing was changed."
        );
        // Which step this is, only the operator knows: another key may be the old or the next one.
        if let Some(progress) = Survey::of(&admin.store).await?.progress(master_keys) {
            eprintln!("{progress}.");
        }
    } else {
        eprintln!(
            "\nEvery sealed key is under the current master key {current} now. Once it is the current one on every \
             replica, take the other master keys out of their configuration. A backup of the database from before \
             opens with the old one only: keep both together."
        );
    }
    Ok(())
}

#[cfg(feature = "pkcs11")]
async fn create_master(config: &Config, label: &str, json: bool) -> anyhow::Result<()> {
    use anyhow::Context;

    use crate::runtime::clock::Ambient;
    use crate::runtime::master_key::create_in_token;

    let settings = config.pkcs11.as_ref().context(
        "say which token: set pkcs11.module, pkcs11.token and pkcs11.pin_file (docs/configuration.md)",
    )?;
    let id = create_in_token(settings, label, &Ambient::system()).await?;
    let made = serde_json::json!({ "token": settings.token, "label": label, "master_key": id.to_string() });
    output::one(&made, json)?;
    eprintln!("\nSet master_key_label to {label}, or other_master_key_labels if it is the next one.");
    Ok(())
}
