//! What both certificate methods share: how a request presents one.

use std::sync::Arc;

use super::{Presentation, Presented, Proof};
use crate::domain::certificate::PeerCertificate;
use crate::domain::error::OAuthError;
use crate::domain::ids::ClientId;

/// The certificate of a request that names its client, as RFC 8705 §2 wants it: by itself a certificate says nothing
/// about which client is meant.
pub(super) fn presented(
    request: &Presentation<'_>,
    proof: impl FnOnce(Arc<PeerCertificate>) -> Box<dyn Proof>,
) -> Option<Result<Presented, OAuthError>> {
    let certificate = Arc::clone(request.certificate?);
    let Some(client_id) = request.form.get("client_id") else {
        return Some(Err(OAuthError {
            public:
                "send client_id beside the client certificate (RFC 8705 section 2), or another credential"
                    .into(),
            ..OAuthError::invalid_client("the request has a certificate, and no client_id")
        }));
    };
    Some(
        ClientId::new(client_id)
            .map(|client_id| Presented { client_id: Some(client_id), proof: proof(certificate) })
            .map_err(|_| OAuthError::invalid_client("the client_id is not one")),
    )
}
