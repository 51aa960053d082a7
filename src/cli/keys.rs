//! `jeton keys …`

use anyhow::bail;
use clap::Subcommand;

use super::{Offline, offline, output, whoever};
use crate::admin::By;
use crate::admin::abandoned::{SealedUnder, abandon, sealed_under};
use crate::app;
use crate::config::{Config, Database};
use crate::jose::Algorithm;
use crate::runtime::clock::Ambient;
use crate::runtime::master_key::MasterKeys;
use crate::runtime::sealed::Survey;
use crate::storage::ClaimedFile;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the signing keys.
    List,
    /// Make the next signing key before its time. It signs when every verifier has it.
    Rotate {
        /// What the new key signs with: ES256, ES384, RS256, PS256, EdDSA or ML-DSA-65.
        #[arg(long, value_name = "ALG", default_value = "ES256")]
        algorithm: Algorithm,
    },
    /// Withdraw a signing key that somebody else may have.
    Revoke {
        /// The key's identifier (kid), which `jeton keys list` lists.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Seal every private key in the database anew, under the current master key.
    Rewrap,
    /// Give up what a lost master key seals, so that servers start with fresh keys. Stop them first.
    AbandonMaster {
        /// The id of the lost master key. Without it, this says what each of them seals.
        id: Option<String>,
        /// Lose the signing keys, secrets and second factors that it seals, for ever.
        #[arg(long, requires = "id")]
        lose_what_it_seals: bool,
    },
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
        Command::AbandonMaster { id, lose_what_it_seals } => {
            abandon_master(config, id.as_deref(), lose_what_it_seals, json).await
        }
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

/// Without the use-cases around it: those need the master key.
async fn abandon_master(
    config: &Config,
    id: Option<&str>,
    confirmed: bool,
    json: bool,
) -> anyhow::Result<()> {
    app::require_database(config)?;
    if matches!(config.database, Database::Sqlite) {
        // Nobody else has it open.
        drop(ClaimedFile::claim(&config.sqlite_file()).await?);
    }
    let store = app::connect(config).await?;
    let all = sealed_under(&store).await?;
    let seals = all.iter().map(told).collect::<Vec<_>>().join("\n");
    let Some(id) = id else {
        bail!("say which master key is lost; nothing was changed.\n{seals}");
    };
    let Some(lost) = all.iter().find(|one| one.master_key == id) else {
        bail!("the master key {id} seals nothing in this database; nothing was changed.\n{seals}");
    };
    if MasterKeys::is_configured(config, id).await? {
        bail!(
            "the master key {id} is configured, and opens what it seals: nothing is lost, and nothing was changed. To \
             change it: docs/configuration.md#changing-the-master-key. If somebody else has it: \
             docs/operate/leaked-signing-key.md"
        );
    }
    let lost_text = told(lost);
    if !confirmed {
        bail!(
            "{lost_text}\nNothing was changed. Look for the master key first (docs/operate/lost-master-key.md). If \
             there is none, stop every server, and say --lose-what-it-seals"
        );
    }
    store.migrate().await?;
    abandon(&store, &By::command_line(whoever()), lost, &Ambient::system()).await?;
    store.close().await;
    if json {
        output::one(lost, json)?;
    } else {
        output::print(&lost_text)?;
    }
    eprintln!(
        "\nThis is given up. Set a new master key, keep a copy of it apart, and start: servers make fresh keys.\n\
         - Tokens of before are refused here, and by verifiers that have fetched the key set again. Restart those that \
         refuse fresh tokens.\n\
         - People whose second factor this was cannot sign in, and were signed out: `jeton admin reset-password NAME` \
         makes a link for a new password and a new one.\n\
         - Backups of before open with the lost master key only."
    );
    Ok(())
}

/// What a master key seals, for people.
fn told(sealed: &SealedUnder) -> String {
    let SealedUnder { master_key, signing_keys, audit_keys, shared_secrets, second_factors, .. } = sealed;
    let mut lines = vec![format!("The master key {master_key} seals:")];
    for (names, what) in [
        (signing_keys, "keys that sign tokens"),
        (audit_keys, "keys that sign the audit's checkpoints; those of before stay verifiable"),
        (shared_secrets, "secrets that all servers share"),
        (second_factors, "people's second factors"),
    ] {
        if !names.is_empty() {
            lines.push(format!("  {} {what}: {}", names.len(), names.join(", ")));
        }
    }
    lines.join("\n")
}

#[cfg(feature = "pkcs11")]
async fn create_master(config: &Config, label: &str, json: bool) -> anyhow::Result<()> {
    use anyhow::Context;

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
