//! `jeton restore` and `jeton after-restore`: the database goes back to a backup.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::{Offline, interruptible, offline, on, output};
use crate::admin::restored::{Lost, LostChange, Settled, WentBack};
use crate::app;
use crate::config::{Config, Database};
use crate::domain::audit::RestoredKeys;
use crate::domain::backup::{Manifest, name};
use crate::domain::time::Timestamp;
use crate::runtime::backup::{PrivateDirectory, exchange, read_manifest, unpack};
use crate::runtime::clock::Ambient;
use crate::storage::{ClaimedFile, ConnectOptions, Store};

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The directory that `jeton backup` has made.
    #[arg(value_name = "DIR")]
    backup: PathBuf,
    /// Replace the database that is there. It is kept beside the new one.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Debug, Args)]
pub(super) struct AfterRestore {
    /// The time that the database was restored to: that of the backup, or the recovery target.
    #[arg(long, value_name = "TIME", value_parser = time)]
    taken_at: Timestamp,
    #[command(flatten)]
    keys: Keys,
}

/// What becomes of the signing keys, where nothing can tell which of them were withdrawn since.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
struct Keys {
    /// Keep the signing keys: no key, token or client was revoked since the backup.
    #[arg(long)]
    keep_keys: bool,
    /// Withdraw every signing key and make fresh ones: every token that was issued before ends.
    #[arg(long)]
    revoke_keys: bool,
}

/// What was done, for programs.
#[derive(Serialize)]
struct Done {
    taken_at: Timestamp,
    keys: RestoredKeys,
    #[serde(flatten)]
    settled: Settled,
    /// Where the database is that was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<PathBuf>,
    /// What was changed since the backup, and is undone. Absent where nothing can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<Vec<LostChange>>,
}

const UNDECIDED: &str = "nothing here tells what was revoked since the backup, and a key that somebody has stolen would \
     sign again. Look into what you keep of the audit (docs/backup.md#what-was-lost), then say --keep-keys if no key, \
     token or client was revoked since the backup, or --revoke-keys to withdraw every key and make fresh ones, which \
     ends every token that was issued before. Nothing was changed";

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(wanted: Restore, config: &Config, json: bool) -> anyhow::Result<()> {
    if matches!(config.database, Database::Postgres { .. }) {
        bail!(
            "PostgreSQL is restored with its own programs; then `jeton after-restore` settles the rest \
             (docs/backup.md#postgresql)"
        );
    }
    let manifest = read_manifest(&wanted.backup)?;
    app::create_private_directory(config)?;
    let place = config.sqlite_file();
    if !wanted.replace && std::fs::metadata(&place).is_ok_and(|file| file.len() > 0) {
        bail!("{} is there: say --replace to put the backup in its place; it is kept", place.display());
    }
    interruptible(Box::pin(put_back(wanted, (manifest, place), config, json))).await
}

/// Makes the database of the backup beside its place, and puts it there, which nothing interrupts.
async fn put_back(
    Restore { backup, keys, .. }: Restore,
    (manifest, place): (Manifest, PathBuf),
    config: &Config,
    json: bool,
) -> anyhow::Result<()> {
    let ambient = Ambient::system();
    let claimed = ClaimedFile::claim(&place).await?;
    let staging = PrivateDirectory::create(&config.data_dir, "restoring", &ambient)?;
    let staged = stage(&backup, &manifest, &staging).await?;
    let lost = read_lost(&claimed, (&manifest, &staged), ambient.now()).await?;
    let known = lost.is_some();
    let fate = keys.fate(known).context(UNDECIDED)?;
    let (lost, undone) = taken_apart(lost);
    let went_back =
        WentBack { taken_at: manifest.taken_at, sha256: Some(manifest.sha256.clone()), keys: fate, lost };
    let store = Store::connect(&ConnectOptions::Sqlite { path: staged.clone() }).await?;
    store.migrate().await?;
    let mut settled = None;
    on(store, config, async |Offline { admin, by, .. }| {
        settled = Some(admin.settle_restore(by, went_back).await?);
        Ok(())
    })
    .await
    .with_context(|| needs(&manifest))?;
    // What was written is in the write-ahead log.
    anyhow::ensure!(
        ClaimedFile::claim(&staged).await?.is_whole(),
        "what was settled could not be written into {}: is the disk full? Nothing was replaced",
        staged.display()
    );
    if claimed.exists() {
        claimed.fold().await?;
    }
    let aside = name(ambient.now()).replace("jeton-", "replaced-");
    let replaced = exchange(&staged, &place, &aside)?;
    drop(claimed);
    let settled = settled.context("nothing was settled")?;
    let done = Done { taken_at: manifest.taken_at, keys: fate, settled, replaced, undone };
    report(&done, json)
}

/// Settles what a restore with PostgreSQL's programs leaves.
pub(super) async fn after(wanted: AfterRestore, config: &Config, json: bool) -> anyhow::Result<()> {
    let AfterRestore { taken_at, keys } = wanted;
    let fate = keys.fate(false).context(UNDECIDED)?;
    let went_back = WentBack { taken_at, sha256: None, keys: fate, lost: Lost::default() };
    offline(config, async |Offline { admin, by, .. }| {
        let settled = admin.settle_restore(by, went_back).await?;
        report(&Done { taken_at, keys: fate, settled, replaced: None, undone: None }, json)
    })
    .await
}

/// Copies the backup's database beside the place that it is for, and checks it.
async fn stage(backup: &Path, manifest: &Manifest, staging: &PrivateDirectory) -> anyhow::Result<PathBuf> {
    let staged = unpack(backup, manifest, staging).await?;
    let copy = Store::open_copy(&staged).await?;
    let (damage, schema) = (copy.damage().await, copy.schema().await);
    copy.close().await;
    if let Some(damage) = damage? {
        bail!("the backup's database is damaged: {damage}; use another backup");
    }
    let (applied, known, _) = schema?;
    Manifest { schema: applied.max(manifest.schema), ..manifest.clone() }
        .check(known)
        .with_context(|| format!("the backup {} cannot be used", backup.display()))?;
    Ok(staged)
}

/// What the database that is replaced says of the time since the backup, if it can say anything.
async fn read_lost(
    claimed: &ClaimedFile,
    (manifest, staged): (&Manifest, &Path),
    now: Timestamp,
) -> anyhow::Result<Option<Lost>> {
    let Some(replaced) = claimed.open().await else { return Ok(None) };
    // An older version of the tables may lack what is looked for: then it says nothing.
    let copy = Store::open_copy(staged).await?;
    let lost = Lost::read(&replaced, (manifest, &copy), now).await.unwrap_or(None);
    copy.close().await;
    replaced.close().await;
    Ok(lost)
}

fn taken_apart(lost: Option<Lost>) -> (Lost, Option<Vec<LostChange>>) {
    match lost {
        Some(mut lost) => {
            let changes = std::mem::take(&mut lost.changes);
            (lost, Some(changes))
        }
        None => (Lost::default(), None),
    }
}

/// What a backup needs beside itself, for whoever lacks it.
fn needs(manifest: &Manifest) -> String {
    match manifest.master_keys.as_slice() {
        [] => "the database was not replaced".to_owned(),
        ids => format!(
            "the database was not replaced; this backup opens with the master key {}",
            ids.join(" and ")
        ),
    }
}

fn report(done: &Done, json: bool) -> anyhow::Result<()> {
    if json {
        output::one(done, true)?;
    } else {
        output::print(&told(done))?;
    }
    if let Some(until) = done.settled.trusted_until {
        eprintln!(
            "\nVerifiers may trust the withdrawn keys until {until}, and refuse fresh tokens until they fetch the key \
             set again: restart them, or empty their caches, to end that sooner."
        );
    }
    Ok(())
}

/// What happened, for people.
fn told(done: &Done) -> String {
    let Done { taken_at, keys, settled, replaced, undone } = done;
    let mut lines = vec![format!("The database is as it was at {taken_at}.")];
    if let Some(replaced) = replaced {
        lines.push(format!(
            "The one before is in {}; `JETON_DATA_DIR={} jeton audit export` has its audit.",
            replaced.display(),
            replaced.display()
        ));
    }
    lines.push(match keys {
        RestoredKeys::Kept => format!(
            "Signing keys are kept. What was revoked since counts again until {} at the latest; `jeton tokens revoke` \
             and `jeton keys revoke` take it back.",
            settled.tokens_until
        ),
        RestoredKeys::CarriedOver => format!(
            "Revoked again, as in the database before: {} signing keys, {} tokens, chains and clients.",
            settled.revoked_keys.len(),
            settled.revocations
        ),
        RestoredKeys::Revoked => format!(
            "Every signing key is withdrawn ({}), with every token that was issued before; fresh ones sign.",
            settled.revoked_keys.len()
        ),
    });
    match undone {
        Some(undone) if undone.is_empty() => lines.push("Nothing was changed since the backup.".to_owned()),
        Some(undone) => {
            lines.push("These changes are undone; what was switched off by them is on again:".to_owned());
            lines.extend(
                undone.iter().map(|LostChange { at, action, target }| format!("  {at}  {action}  {target}")),
            );
        }
        None => lines.push(
            "Every change since then is undone: what was disabled, removed or rotated is as before \
             (docs/backup.md#what-was-lost)."
                .to_owned(),
        ),
    }
    lines.push(
        "Assertions and proofs that were made before count no more. People have to sign in again.".to_owned(),
    );
    lines.join("\n")
}

// === impl Keys ===

impl Keys {
    /// What becomes of the keys. `None` when nobody has said, and nothing tells what was revoked since.
    const fn fate(self, known: bool) -> Option<RestoredKeys> {
        match (self.keep_keys, self.revoke_keys, known) {
            (_, true, _) => Some(RestoredKeys::Revoked),
            // What is known to be revoked is, whatever else is kept.
            (_, false, true) => Some(RestoredKeys::CarriedOver),
            (true, false, false) => Some(RestoredKeys::Kept),
            (false, false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_knowledge_somebody_has_to_decide_about_the_keys() {
        let keys = |keep_keys, revoke_keys| Keys { keep_keys, revoke_keys };
        assert_eq!(keys(false, false).fate(false), None);
        assert_eq!(keys(true, false).fate(false), Some(RestoredKeys::Kept));
        assert_eq!(keys(false, true).fate(false), Some(RestoredKeys::Revoked));
        assert_eq!(keys(false, false).fate(true), Some(RestoredKeys::CarriedOver));
        assert_eq!(keys(true, false).fate(true), Some(RestoredKeys::CarriedOver), "a withdrawn key stays so");
        assert_eq!(keys(false, true).fate(true), Some(RestoredKeys::Revoked));
    }
}
