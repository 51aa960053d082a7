//! `jeton explain-assertion`: why a platform's token counts here or does not, for people.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::arguments::client_id;
use super::{Offline, input, output};
use crate::admin::explain::{ExplainAssertion, ExplainedAssertion};
use crate::domain::ids::ClientId;
use crate::domain::text::quoted;
use crate::oauth::outside::{LONGEST, Step, UsedAs, Verdict};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The file that holds the token; `-` for standard input. As an argument it would stand in the shell's history.
    file: PathBuf,
    /// The client that it is meant to prove; found by the token, when absent.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    client: Option<ClientId>,
    /// What it is presented as: `client_assertion`, `spiffe_assertion`, `grant` or `subject_token`.
    #[arg(long, value_name = "USE", default_value = "client_assertion")]
    used_as: UsedAs,
}

pub(super) async fn run(wanted: Explain, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Explain { file, client, used_as } = wanted;
    let assertion = read(&file)?;
    let wanted = ExplainAssertion { assertion, client_id: client, used_as };
    let explained = offline.admin.explain(&offline.by, wanted).await?;
    if json {
        output::one(&explained, true)?;
    } else {
        output::print(&told(&explained))?;
    }
    if !explained.accepted {
        bail!("the token would not be accepted");
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<SecretString> {
    // More than counts, for what stands around it.
    let text = input::read(file, "a token", LONGEST + 1_000)?;
    Ok(SecretString::from(text.expose_secret().trim()))
}

fn told(explained: &ExplainedAssertion) -> String {
    let mut lines = vec![match (explained.accepted, &explained.client_id) {
        (true, Some(client_id)) => format!("It would be accepted, as {client_id}."),
        (true, None) => "It would be accepted.".to_owned(),
        (false, _) => "It would not be accepted.".to_owned(),
    }];
    let signed = |step: &Step| step.check == "signature" && step.verdict == Verdict::Held;
    if let Some(name) = explained.trusted_issuer.as_ref().filter(|_| explained.steps.iter().any(signed)) {
        lines.push(format!("Its signature was verified: its issuer is trusted as {name}."));
    }
    for step in &explained.steps {
        let verdict = match step.verdict {
            Verdict::Held => "yes",
            Verdict::Failed => "NO",
            Verdict::Skipped => "-",
        };
        lines.push(format!("{verdict:<4} {:<14} {}", step.check, quoted(&step.found)));
        if step.verdict != Verdict::Held {
            lines.push(format!("     {:<14} {}", "wanted", step.wanted));
        }
        if let Some(mend) = &step.mend {
            lines.push(format!("     {:<14} {mend}", "mend"));
        }
    }
    lines.join("\n")
}
