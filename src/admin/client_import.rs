//! Registering many clients at once, with the secrets that they have elsewhere: all of them, or none.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde::Serialize;

use super::clients::{CreateClient, NewClient};
use super::secrets::{self, AddSecret};
use super::{Admin, AdminError, By, HANDS_OUT, Written, recorded};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::client::{ClientSecret, MOST_CHOSEN_SECRETS};
use crate::domain::error::FieldError;
use crate::domain::foreign_hash::ForeignScheme;
use crate::domain::ids::ClientId;
use crate::domain::time::Timestamp;
use crate::storage::ChangeKind;

/// The most clients of one import: they are registered in one transaction.
pub const MOST_IMPORTED: usize = 10_000;

/// A client to register, and where it stands in what is imported.
#[derive(Debug)]
pub struct ImportedClient {
    /// Counted from one.
    pub line: usize,
    /// The client.
    pub client: CreateClient,
    /// Switched on.
    pub enabled: bool,
    /// What it proves itself with.
    pub secrets: Vec<AddSecret>,
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ImportedView {
    /// Counted from one.
    pub line: usize,
    /// The client.
    pub client_id: ClientId,
    /// Its secrets: how they were hashed, or that they were plain text.
    pub secrets: Vec<&'static str>,
}

/// A client of which nothing is wrong.
struct Checked {
    new: NewClient,
    secrets: Vec<AddSecret>,
    view: ImportedView,
}

// === impl Admin ===

impl Admin {
    /// Registers clients with their secrets, all in one transaction, unless this is a dry run.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line; nothing was registered then.
    pub async fn import_clients(
        &self,
        by: &By,
        clients: Vec<ImportedClient>,
        dry_run: bool,
    ) -> Result<Vec<ImportedView>, AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let catalog = self.catalog().await?;
        let now = self.ambient.now();
        let checked = self.check_all(by, &catalog, clients, now).await?;
        if dry_run {
            return Ok(checked.into_iter().map(|checked| checked.view).collect());
        }
        // Before the transaction: costly hashes must not hold others up.
        let mut ready = Vec::new();
        for Checked { new, secrets, view } in checked {
            let mut stored = Vec::new();
            for secret in secrets {
                stored.push(self.new_secret(secret, now).await?.secret);
            }
            ready.push((new, stored, view));
        }
        self.register_all(by, &catalog, ready, now).await
    }

    async fn register_all(
        &self,
        by: &By,
        catalog: &Catalog,
        clients: Vec<(NewClient, Vec<ClientSecret>, ImportedView)>,
        now: Timestamp,
    ) -> Result<Vec<ImportedView>, AdminError> {
        let mut tx = self.begin().await?;
        let mut views = Vec::new();
        for (new, secrets, view) in clients {
            let uid = new.client.uid;
            let (_, written) = new.insert(&mut tx, catalog).await?;
            let (event, change) = written.event(by);
            self.leave(&mut tx, by, event, &change).await?;
            for secret in secrets {
                tx.insert_secret(uid, &secret).await?;
                let written = Written {
                    action: "client.secret.add",
                    target: view.client_id.to_string(),
                    before: None,
                    after: recorded(&self.secret_view(&secret, now)),
                    change: ChangeKind::Client(view.client_id.clone()),
                };
                let (event, change) = written.event(by);
                self.leave(&mut tx, by, event, &change).await?;
            }
            views.push(view);
        }
        self.finish_all(tx, by).await?;
        Ok(views)
    }

    /// All of them, if nothing is wrong with any.
    async fn check_all(
        &self,
        by: &By,
        catalog: &Catalog,
        clients: Vec<ImportedClient>,
        now: Timestamp,
    ) -> Result<Vec<Checked>, AdminError> {
        if clients.len() > MOST_IMPORTED {
            let problem = format!("{} clients", clients.len());
            return Err(AdminError::invalid(
                "the file",
                problem,
                "split it: at most 10000 are imported at once",
            ));
        }
        let (mut checked, mut errors) = (Vec::new(), Vec::new());
        let mut lines: BTreeMap<ClientId, usize> = BTreeMap::new();
        for imported in clients {
            let ImportedClient { line, client, enabled, secrets } = imported;
            let client_id = client.client_id.clone();
            let mut wrong: Vec<FieldError> = Vec::new();
            if let Some(first) = lines.insert(client_id.clone(), line) {
                let problem = format!("'{client_id}' stands in line {first} too");
                wrong.push(FieldError::new("client_id", problem, "leave one of them out"));
            }
            if self.store.client(&client_id).await?.is_some() {
                let problem = format!("a client '{client_id}' is registered already");
                wrong.push(FieldError::new(
                    "client_id",
                    problem,
                    "leave the line out, or delete that client",
                ));
            }
            let view = ImportedView { line, client_id, secrets: secrets.iter().map(sort).collect() };
            wrong.extend(check_secrets(&secrets, now)?);
            let new = match self.new_client(catalog, client) {
                Ok(new) => Some(new),
                Err(AdminError::Invalid(found)) => {
                    wrong.extend(found);
                    None
                }
                Err(other) => return Err(other),
            };
            errors.extend(wrong.into_iter().map(|error| {
                let field = format!("line {line}: {}", error.field);
                error.in_field(field)
            }));
            if let Some(mut new) = new {
                self.require_all_of(by, catalog, None, &new.roles, HANDS_OUT).await?;
                new.client.enabled = enabled;
                checked.push(Checked { new, secrets, view });
            }
        }
        if errors.is_empty() { Ok(checked) } else { Err(AdminError::Invalid(errors)) }
    }
}

/// How a secret is given.
fn sort(secret: &AddSecret) -> &'static str {
    match (&secret.secret_hash, &secret.secret) {
        (Some(hash), _) => ForeignScheme::of(hash.expose_secret()).map_or("a hash", ForeignScheme::as_str),
        (None, Some(_)) => "plain text",
        (None, None) => "generated",
    }
}

/// What is wrong with a client's secrets.
fn check_secrets(secrets: &[AddSecret], now: Timestamp) -> Result<Vec<FieldError>, AdminError> {
    let mut errors = Vec::new();
    for (place, secret) in secrets.iter().enumerate() {
        if secret.secret.is_none() && secret.secret_hash.is_none() {
            errors.push(FieldError::new(
                format!("secrets[{place}]"),
                "it has neither secret nor secret_hash",
                "give one of them; a generated secret is added afterwards, and shown once",
            ));
        }
        match secrets::check(secret, now) {
            Err(AdminError::Invalid(found)) => errors.extend(found.into_iter().map(|error| {
                let field = format!("secrets[{place}].{}", error.field);
                error.in_field(field)
            })),
            other => other?,
        }
    }
    // All of them are chosen ones, by somebody else.
    if secrets.len() > MOST_CHOSEN_SECRETS {
        errors.push(FieldError::new(
            "secrets",
            format!("{} secrets", secrets.len()),
            "bring at most 2 along; more would make each wrong secret dearer to refuse",
        ));
    }
    Ok(errors)
}
