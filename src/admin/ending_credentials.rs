//! Which credentials end soon, and nobody has replaced.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::credential::{CredentialKind, EndingCredential};
use crate::domain::ids::ClientId;
use crate::domain::time::Timestamp;

/// A credential that somebody has to do something about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndingCredentialView {
    /// The client whose credential it is.
    pub client_id: ClientId,
    /// What sort of credential.
    pub credential: CredentialKind,
    /// The credential's identifier.
    #[schema(example = "k7q2mzxa")]
    pub credential_id: String,
    /// Its end.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl From<EndingCredential> for EndingCredentialView {
    fn from(found: EndingCredential) -> Self {
        let EndingCredential { kind, client_id, credential_id, expires_at, .. } = found;
        Self { client_id, credential: kind, credential_id, expires_at }
    }
}

// === impl Admin ===

impl Admin {
    /// The credentials that end within `credentials.warn_before` and that nothing has replaced, those first that end
    /// first.
    ///
    /// # Errors
    /// `clients:read` is missing, a wrong limit, or the database is away.
    pub async fn ending_credentials(
        &self,
        by: &By,
        limit: Option<u32>,
    ) -> Result<Vec<EndingCredentialView>, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let limit = limit.unwrap_or(50);
        if !(1..=500).contains(&limit) {
            return Err(AdminError::invalid("limit", format!("{limit} is not allowed"), "use 1 to 500"));
        }
        let now = self.ambient.now();
        let found = self.store.ending_credentials(now, now.plus(self.warn_before), limit).await?;
        Ok(found.into_iter().map(Into::into).collect())
    }
}
