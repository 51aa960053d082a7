//! `jeton backup`: a copy of the database, while a server goes on.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{interruptible, output, whoever};
use crate::admin::By;
use crate::admin::restored::record_backup;
use crate::app;
use crate::config::{Config, Database, MasterKeySource};
use crate::domain::backup::Manifest;
use crate::runtime::backup::Draft;
use crate::runtime::clock::Ambient;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Where to: a directory that is made; in one that exists, the backup gets a name with the time.
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

/// What was done.
#[derive(Serialize)]
struct Made {
    backup: PathBuf,
    #[serde(flatten)]
    manifest: Manifest,
}

/// No migration and no master key: a backup is taken before an upgrade, and by whoever has no key.
pub(super) async fn run(Backup { place }: Backup, config: &Config, json: bool) -> anyhow::Result<()> {
    if matches!(config.database, Database::Postgres { .. }) {
        bail!(
            "PostgreSQL has programs of its own for that, pg_dump and base backups: docs/backup.md has the commands, \
             and how to restore"
        );
    }
    app::require_database(config)?;
    let taken = interruptible(async {
        let ambient = Ambient::system();
        let store = app::connect(config).await?;
        let draft = Draft::take(&store, &place, &ambient).await?;
        // Nothing leaves unrecorded: the event is durable before the backup has its name.
        record_backup(&store, &By::command_line(whoever()), draft.manifest(), &ambient).await?;
        store.close().await;
        Ok(draft)
    });
    let draft = taken.await?;
    let (backup, manifest) = draft.publish()?;
    let note = what_to_keep(&manifest, config.master_key.as_ref());
    output::one(&Made { backup, manifest }, json)?;
    eprintln!("\n{note}");
    Ok(())
}

/// What a backup is worth nothing without.
fn what_to_keep(manifest: &Manifest, master_key: Option<&MasterKeySource>) -> String {
    let mut note = match (manifest.master_keys.as_slice(), master_key) {
        ([], _) => "Nothing is sealed in it yet, so that no master key belongs to it.".to_owned(),
        (ids, source) => format!(
            "It opens with the master key {} and is worth nothing without. That is not in it, so that whoever finds \
             the backup cannot sign tokens: keep {} in another place.",
            ids.join(" and "),
            match source {
                Some(MasterKeySource::Managed(path) | MasterKeySource::File(path)) =>
                    format!("a copy of {}", path.display()),
                Some(MasterKeySource::Token(label)) =>
                    format!("a backup of the PKCS#11 token with the key {label}"),
                Some(MasterKeySource::Value(_)) | None => "a copy of JETON_MASTER_KEY".to_owned(),
            }
        ),
    };
    if !manifest.pkcs11_tokens.is_empty() {
        let _ = write!(
            note,
            " Signing keys are in the PKCS#11 token {}, and not in it.",
            manifest.pkcs11_tokens.join(" and ")
        );
    }
    note.push_str(" Neither are the configuration, certificates, and files with bundles or passwords.");
    note
}
