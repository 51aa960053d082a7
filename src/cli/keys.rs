//! `jeton keys …`

use clap::Subcommand;

use super::{Offline, offline, output};
use crate::config::Config;
use crate::runtime::sealed::Survey;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Seal every private key in the database anew, under the current master key.
    Rewrap,
    /// Make a master key in the PKCS#11 token of the configuration. Needs no database.
    #[cfg(feature = "pkcs11")]
    CreateMaster {
        /// The label of the new key, for `master_key_label`.
        label: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Rewrap => offline(config, async |offline| rewrap(offline, json).await).await,
        #[cfg(feature = "pkcs11")]
        Command::CreateMaster { label } => create_master(config, &label, json).await,
    }
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
