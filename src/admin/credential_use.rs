//! When credentials of a client were last used, those that are on no list among them: the subject of its certificate, and
//! keys that it publishes itself.

use std::cmp::Reverse;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::CredentialId;
use crate::domain::time::Timestamp;

/// How many are shown. A client that publishes its keys itself may have had any number of them.
const MOST: usize = 100;

/// When a credential was last used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CredentialUse {
    /// Which one, as in the audit: one of its secrets, keys, certificates or federated credentials; a key at its
    /// `jwks_uri`; or the kind of its certificate's subject (`san-dns`).
    pub credential_id: CredentialId,
    /// When, up to a minute late.
    #[schema(value_type = String, format = DateTime)]
    pub last_used_at: Timestamp,
}

/// The latest first.
pub(super) fn latest(mut uses: Vec<(CredentialId, Timestamp)>) -> Vec<CredentialUse> {
    uses.sort_unstable_by_key(|(_, at)| Reverse(*at));
    let shown = uses.into_iter().take(MOST);
    shown.map(|(credential_id, last_used_at)| CredentialUse { credential_id, last_used_at }).collect()
}
