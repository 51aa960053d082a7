//! `jeton clients federation …`

use clap::{Args, Subcommand};

use super::arguments::{End, client_id, timestamp};
use super::preset_parameters::PresetParameters;
use super::trusted_issuers::issuer_name;
use super::{Offline, output};
use crate::admin::AdminError;
use crate::admin::federated_credentials::{
    AddFederatedCredential, ClaimCondition, UpdateFederatedCredential,
};
use crate::domain::claim_conditions::{ClaimPath, Pattern};
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, CredentialId, TrustedIssuerName};
use crate::domain::presets::{Platform, preset};
use crate::domain::time::Timestamp;

#[derive(Debug, Subcommand)]
pub(super) enum Federation {
    /// Say which tokens of a trusted issuer prove a client.
    Add(Add),
    /// List a client's federated credentials, with when each was last used.
    List {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Change what is said of a federated credential, or its end.
    Change {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The credential's identifier, which `jeton clients federation list` lists.
        #[arg(value_parser = credential_id)]
        credential_id: CredentialId,
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
    /// Remove a federated credential. What it proved is refused everywhere from the next second on.
    Remove {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The credential's identifier, which `jeton clients federation list` lists.
        #[arg(value_parser = credential_id)]
        credential_id: CredentialId,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The client's identifier.
    #[arg(value_parser = client_id)]
    client_id: ClientId,
    /// The trusted issuer; the name of the preset, when absent.
    #[arg(long, value_name = "NAME", value_parser = issuer_name, required_unless_present = "preset")]
    issuer: Option<TrustedIssuerName>,
    /// A claim and what it must be, where * stands for any text; may be repeated, and all must hold. For example
    /// `sub=system:serviceaccount:shop:orders`.
    #[arg(
        long = "condition",
        value_name = "CLAIM=TEXT",
        value_parser = condition,
        required_unless_present = "preset"
    )]
    conditions: Vec<ClaimCondition>,
    /// The platform whose conditions the options below make: github, gitlab, kubernetes, google, aws, azure, spiffe,
    /// keycloak or jeton.
    #[arg(long, value_name = "PLATFORM")]
    preset: Option<Platform>,
    #[command(flatten)]
    parameters: PresetParameters,
    /// A note for people; Jeton only shows it.
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    end: End,
}

// === impl Add ===

impl Add {
    fn read(self) -> Result<(ClientId, AddFederatedCredential), AdminError> {
        let mut conditions = self.conditions;
        if let Some(platform) = self.preset {
            let made = preset(platform).conditions(&self.parameters.0).map_err(AdminError::Invalid)?;
            conditions.extend(made.iter().cloned().map(Into::into));
        }
        let trusted_issuer = match (self.issuer, self.preset) {
            (Some(name), _) => name,
            (None, Some(platform)) => TrustedIssuerName::new(platform.as_str())?,
            (None, None) => return Err(FieldError::new("issuer", "it is not named", "add --issuer").into()),
        };
        let new = AddFederatedCredential {
            trusted_issuer,
            conditions,
            description: self.description,
            expires_at: self.end.expires_at,
            expires_in: self.end.expires_in,
        };
        Ok((self.client_id, new))
    }
}

pub(super) async fn run(command: Federation, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Federation::Add(add) => {
            let (client_id, new) = add.read()?;
            output::one(&admin.add_federated_credential(by, &client_id, new).await?, json)
        }
        Federation::List { client_id } => {
            let credentials = admin.federated_credentials(by, &client_id).await?;
            let columns = [
                "credential_id",
                "trusted_issuer",
                "conditions",
                "created_at",
                "expires_at",
                "last_used_at",
                "description",
                "warnings",
            ];
            output::rows(&credentials, &columns, json)
        }
        Federation::Change { client_id, credential_id, description, expires_at, never_expires } => {
            let expires_at = if never_expires { Some(None) } else { expires_at.map(Some) };
            let update = UpdateFederatedCredential { description, expires_at };
            let changed = admin.update_federated_credential(by, &client_id, &credential_id, update).await?;
            output::one(&changed, json)
        }
        Federation::Remove { client_id, credential_id } => {
            admin.remove_federated_credential(by, &client_id, &credential_id).await?;
            if json {
                return output::one(&serde_json::json!({ "removed": credential_id }), json);
            }
            output::print(&format!("federated credential {credential_id} of {client_id} is removed"))
        }
    }
}

fn credential_id(text: &str) -> Result<CredentialId, FieldError> {
    CredentialId::new(text)
}

/// The claim ends at the first `=`.
pub(super) fn condition(text: &str) -> Result<ClaimCondition, String> {
    let (claim, value) = text.split_once('=').ok_or("write CLAIM=TEXT, for example sub=orders")?;
    let claim = ClaimPath::new(claim).map_err(|error| error.to_string())?;
    let value = Pattern::new(value).map_err(|error| error.to_string())?;
    Ok(ClaimCondition { claim, value })
}
