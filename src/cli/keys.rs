//! `jeton keys …`

use clap::Subcommand;

use super::{Offline, output};
use crate::jose::Algorithm;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the signing keys.
    List,
    /// Make the next signing key before its time. It signs when every verifier has it.
    Rotate {
        /// Its algorithm.
        #[arg(long, value_name = "ALG", default_value = "ES256")]
        algorithm: Algorithm,
    },
    /// Withdraw a signing key that somebody else may have.
    Revoke {
        /// Its identifier.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

pub(super) async fn run(command: Command, Offline { admin, by }: &Offline, json: bool) -> anyhow::Result<()> {
    const COLUMNS: [&str; 7] =
        ["algorithm", "state", "kid", "created_at", "activates_at", "leaves_at", "live_tokens"];
    match command {
        Command::List => {
            let view = admin.signing_keys(by).await?;
            if json {
                return output::one(&view, json);
            }
            let keys: Vec<_> = view.rings.iter().flat_map(|ring| &ring.keys).collect();
            output::rows(&keys, &COLUMNS, json)?;
            for ring in view.rings {
                if let Some(next) = ring.next_activation_at {
                    output::print(&format!("The next {} key signs from {next}.", ring.algorithm))?;
                }
            }
            Ok(())
        }
        Command::Rotate { algorithm } => {
            let ring = admin.rotate_signing_key(by, algorithm).await?;
            if json { output::one(&ring, json) } else { output::rows(&ring.keys, &COLUMNS, json) }
        }
        Command::Revoke { kid } => {
            let revoked = admin.revoke_signing_key(by, &kid).await?;
            output::one(&revoked, json)?;
            eprintln!(
                "Verifiers may trust what it signed until {}: they keep key sets for so long. Restart them, or empty \
                 their caches, to end that sooner.",
                revoked.trusted_until
            );
            Ok(())
        }
    }
}
