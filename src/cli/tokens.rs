//! `jeton tokens`

use clap::{Args, Subcommand};

use super::arguments::no_flag;
use super::{Offline, output};
use crate::admin::revocations::RevokeTokens;
use crate::domain::revocation::RevokedKind;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take tokens back before their end: one, a chain of exchanges, or everything that a client has until now.
    Revoke(Which),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// One token, by its jti.
    #[arg(long, value_name = "JTI", allow_hyphen_values = true, value_parser = no_flag)]
    jti: Option<String>,
    /// A chain of exchanges, by its txn.
    #[arg(long, value_name = "TXN", allow_hyphen_values = true, value_parser = no_flag)]
    txn: Option<String>,
    /// Everything that was issued to a client or about it until now, or that it acts in.
    #[arg(long, value_name = "CLIENT_ID", allow_hyphen_values = true, value_parser = no_flag)]
    client: Option<String>,
}

pub(super) async fn run(command: Command, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Command::Revoke(which) = command;
    let (kind, subject) = match which {
        Which { jti: Some(jti), .. } => (RevokedKind::Token, jti),
        Which { txn: Some(txn), .. } => (RevokedKind::Chain, txn),
        Which { client, .. } => (RevokedKind::Client, client.unwrap_or_default()),
    };
    let view = offline.admin.revoke_tokens(&offline.by, RevokeTokens { kind, subject }).await?;
    if json {
        return output::one(&view, true);
    }
    let what = match view.kind {
        RevokedKind::Token | RevokedKind::Chain => {
            format!("The {} {} does not count", view.kind, view.subject)
        }
        // It may get new ones: this is not the switch that turns it off.
        RevokedKind::Client => format!("Nothing that the client {} has got until now counts", view.subject),
    };
    output::print(&format!(
        "{what} any more, wherever this server is asked. Verifiers that look at signatures alone accept a token until \
         it ends, at {} at the latest.",
        view.ends_at
    ))
}
