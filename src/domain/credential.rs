//! What every sort of credential has in common: it may end, and somebody should hear of that before.

use std::time::Duration;

use super::ids::{ClientId, ClientUid};
use super::time::Timestamp;
use super::words::words;

words! {
    /// A sort of credential that is registered with a client and may end.
    CredentialKind {
        /// A client secret.
        Secret = "secret",
        /// A public key (`private_key_jwt`).
        Key = "key",
        /// A certificate (`self_signed_tls_client_auth`).
        Certificate = "certificate",
        /// A federated credential: tokens of a trusted issuer.
        Federated = "federated",
    }
}

/// A credential that ends, as the watch over them finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndingCredential {
    /// What it is.
    pub kind: CredentialKind,
    /// The client whose credential it is, by database key.
    pub client: ClientUid,
    /// That client, by its public identifier.
    pub client_id: ClientId,
    /// What names it.
    pub credential_id: String,
    /// Its end.
    pub expires_at: Timestamp,
}

/// How many credentials somebody has to do something about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndingCount {
    /// They end soon.
    pub soon: u64,
    /// They have ended.
    pub ended: u64,
}

/// Whether an end is near: it has not come, and comes within this time.
#[must_use]
pub fn ends_soon(expires_at: Option<Timestamp>, now: Timestamp, within: Duration) -> bool {
    expires_at.is_some_and(|end| end > now && end <= now.plus(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soon_is_from_the_warning_to_the_end_itself() {
        let (now, within) = (Timestamp::from_seconds(1_000), Duration::from_secs(100));
        for (end, soon) in [(999, false), (1_000, false), (1_001, true), (1_100, true), (1_101, false)] {
            assert_eq!(ends_soon(Some(Timestamp::from_seconds(end)), now, within), soon, "{end}");
        }
        assert!(!ends_soon(None, now, within));
    }
}
