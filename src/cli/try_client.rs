//! `jeton clients try`: what a client would get, for people.

use clap::Args;

use super::{Offline, output};
use crate::admin::client_dry_run::{TriedRequest, TryToken};
use crate::domain::client::GrantType;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, RoleName};

#[derive(Debug, Args)]
pub(super) struct Try {
    /// The client's identifier.
    #[arg(value_parser = client_id)]
    client_id: ClientId,
    /// The scope values that it would ask for, with spaces between; all that can be had, when absent.
    #[arg(long)]
    scope: Option<String>,
    /// A resource server that it would name with `resource`; may be repeated.
    #[arg(long = "resource", value_name = "IDENTIFIER")]
    resources: Vec<String>,
    /// A resource server that it would name with `audience`; may be repeated.
    #[arg(long = "audience", value_name = "IDENTIFIER")]
    audiences: Vec<String>,
}

pub(super) async fn run(wanted: Try, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Try { client_id, scope, resources, audiences } = wanted;
    let request = TryToken {
        grant_type: GrantType::ClientCredentials,
        scope,
        resource: resources,
        audience: audiences,
    };
    let tried = offline.admin.try_token(&offline.by, &client_id, request).await?;
    if json { output::one(&tried, true) } else { output::print(&told(&tried)) }
}

fn told(tried: &TriedRequest) -> String {
    let mut lines = Vec::new();
    match &tried.token {
        Some(token) => {
            lines.push("There would be a token:".to_owned());
            lines.push(format!("  for      {}", token.audience.join(" ")));
            lines.push(format!("  scope    {}", token.scope));
            let roles: Vec<&str> = token.roles.iter().map(RoleName::as_str).collect();
            lines.push(format!("  roles    {}", roles.join(" ")));
            let deciding = token.bounds.iter().filter(|bound| bound.decides);
            let by: Vec<&str> = deciding.map(|bound| bound.by.as_str()).collect();
            lines.push(format!("  seconds  {}, by {}", token.expires_in, by.join(" and ")));
            if let (Some(who), Some(what)) = (&token.needs_proof_for, &token.needs_proof) {
                lines.push(format!("  binding  {who} wants {what} with the request"));
            }
        }
        None => lines.push(format!(
            "There would be no token ({}): {}",
            tried.error.unwrap_or_default(),
            tried.reason.as_deref().unwrap_or_default()
        )),
    }
    for step in &tried.steps {
        lines.push(format!("{:<12} {:<4} {}", step.step, if step.passes { "yes" } else { "NO" }, step.found));
    }
    for value in &tried.scope {
        let verdict = if value.granted { "granted" } else { "not granted" };
        lines.push(format!("{}: {verdict}: {}", value.value, value.why));
    }
    lines.join("\n")
}

fn client_id(text: &str) -> Result<ClientId, FieldError> {
    ClientId::new(text)
}
