//! `jeton clients certificate …`

use std::path::PathBuf;

use clap::Subcommand;
use secrecy::ExposeSecret;

use super::arguments::{End, client_id, timestamp};
use super::{Offline, input, output};
use crate::admin::client_certificates::{AddCertificate, CertificateSubject, UpdateCertificate};
use crate::domain::certificate_subject::{ExpectedSubject, SubjectKind};
use crate::domain::client_certificate::LONGEST_PEM;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a certificate. Whoever holds its key is the client.
    Add {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The file with the certificate, in PEM; `-` for standard input.
        file: PathBuf,
        /// A note for people; Jeton only shows it.
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        end: End,
    },
    /// List a client's certificates, newest first.
    List {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Change what is said of a certificate, or its end here.
    Change {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The certificate's identifier, which `jeton clients certificate list` lists.
        #[arg(value_parser = certificate_id)]
        certificate_id: CredentialId,
        /// A note for people; Jeton only shows it.
        #[arg(long)]
        description: Option<String>,
        /// Its end here, for example 2027-01-01T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "never_expires")]
        expires_at: Option<Timestamp>,
        /// It has no end but that of its validity.
        #[arg(long)]
        never_expires: bool,
    },
    /// Remove a certificate. It is refused everywhere from the next second on.
    Remove {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The certificate's identifier, which `jeton clients certificate list` lists.
        #[arg(value_parser = certificate_id)]
        certificate_id: CredentialId,
    },
}

pub(super) async fn run(command: Command, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Command::Add { client_id, file, description, end: End { expires_at, expires_in } } => {
            let pem = input::read(&file, "a certificate in PEM", LONGEST_PEM)?;
            let certificate = pem.expose_secret().to_owned();
            let new = AddCertificate { certificate, description, expires_at, expires_in };
            output::one(&admin.add_certificate(by, &client_id, new).await?, json)
        }
        Command::List { client_id } => output::rows(
            &admin.certificates(by, &client_id).await?,
            &[
                "certificate_id",
                "subject",
                "not_after",
                "expires_at",
                "expired",
                "last_used_at",
                "description",
            ],
            json,
        ),
        Command::Change { client_id, certificate_id, description, expires_at, never_expires } => {
            let expires_at = if never_expires { Some(None) } else { expires_at.map(Some) };
            let update = UpdateCertificate { description, expires_at };
            output::one(&admin.update_certificate(by, &client_id, &certificate_id, update).await?, json)
        }
        Command::Remove { client_id, certificate_id } => {
            admin.remove_certificate(by, &client_id, &certificate_id).await?;
            if json {
                return output::one(&serde_json::json!({ "removed": certificate_id }), json);
            }
            output::print(&format!("certificate {certificate_id} of {client_id} is removed"))
        }
    }
}

fn certificate_id(text: &str) -> Result<CredentialId, FieldError> {
    CredentialId::new(text)
}

/// Reads `KIND=TEXT`, so that what no certificate can have is refused before anything else.
pub(super) fn subject(text: &str) -> Result<CertificateSubject, String> {
    let (kind, value) =
        text.split_once('=').ok_or("write KIND=TEXT, for example san_dns=billing.example.com")?;
    let kind: SubjectKind = kind.parse()?;
    ExpectedSubject::new(kind, value).map_err(|error| error.to_string())?;
    Ok(CertificateSubject { kind, value: value.to_owned() })
}
