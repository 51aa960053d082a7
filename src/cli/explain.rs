//! `jeton explain-assertion`: why a platform's token counts here or does not, for people.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::arguments::client_id;
use super::{Offline, output};
use crate::admin::explain::{ExplainAssertion, ExplainedAssertion};
use crate::domain::ids::ClientId;
use crate::domain::text::quoted;
use crate::oauth::outside::{LONGEST, Step, UsedAs, Verdict};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The file that holds the token; - for the standard input. As an argument it would stand in the shell's history.
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
    let named = || format!("reading the token from {}", file.display());
    // One more than is accepted: what is longer is told to be.
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1_000);
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text).with_context(named)?;
    } else {
        std::fs::File::open(file)
            .with_context(named)?
            .take(most)
            .read_to_string(&mut text)
            .with_context(named)?;
    }
    Ok(SecretString::from(text.trim()))
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
