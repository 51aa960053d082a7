//! `client_credentials` (RFC 6749 §4.4): the client asks for itself.

use super::{Context, Grant, Resolved};
use crate::domain::client::GrantType;
use crate::domain::delegation::MayAct;
use crate::domain::error::Failure;
use crate::domain::policy::Grantee;
use crate::oauth::Boxed;

pub(super) struct ClientCredentials;

// === impl ClientCredentials ===

impl Grant for ClientCredentials {
    fn grant_type(&self) -> GrantType {
        GrantType::ClientCredentials
    }

    fn resolve<'a>(&'a self, context: &'a Context<'a>) -> Boxed<'a, Result<Resolved<'a>, Failure>> {
        let resolved = for_itself(context);
        Box::pin(async move { Ok(resolved) })
    }
}

/// What a client gets that asks for itself.
pub(super) fn for_itself<'a>(context: &'a Context<'a>) -> Resolved<'a> {
    let registration = &context.client.registration;
    let client = &registration.client;
    let credential_id = &context.client.credential.credential_id;
    let mut grantee = Grantee::of_client(context.catalog, registration, context.client.credential.not_after);
    if registration.may_rotate_own_secrets(Some(credential_id.as_str())) {
        grantee = grantee.with_own_secrets(context.catalog);
    }
    Resolved {
        subject: client.client_id.as_str().to_owned(),
        sub_id: None,
        txn: None,
        act: None,
        may_act: client.may_act.as_ref().map(MayAct::client),
        exchange: None,
        issued_type: None,
        used: Vec::new(),
        grantee,
    }
}
