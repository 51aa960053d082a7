//! Tokens of trusted issuers in an exchange: who somebody is elsewhere, whom no role stands behind here.

use super::super::Context;
use super::{Acts, Origin, Passed, Presented, Who, check_actor};
use crate::domain::binding::Confirmation;
use crate::domain::delegation::SubjectToken;
use crate::domain::error::{Failure, OAuthError};
use crate::domain::exchange_record::OutsideTokenRecord;
use crate::domain::outside_identity::OutsideIdentity;
use crate::domain::scope::Scope;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::oauth::live::About;
use crate::oauth::outside::{NotAccepted, OutsideToken, UsedAs};

/// A token that was verified, and whom it is about.
struct Verified {
    identity: OutsideIdentity,
    ends_at: Timestamp,
    origin: Origin,
}

/// Whose identity it passes on.
pub(super) async fn subject(context: &Context<'_>, presented: Presented<'_>) -> Result<Passed, Failure> {
    let Verified { identity, ends_at, origin } = verified(context, presented).await?;
    if let Some(cnf) = confirmation(&identity, presented.name)? {
        context.possession.check_proven(&cnf, presented.token, presented.name)?;
    }
    let token = SubjectToken {
        audience: Vec::new(),
        scope: Scope::default(),
        from_outside: true,
        ends_at,
        act: identity.act()?,
        may_act: identity.may_act(&context.tokens.issuer, context.catalog)?,
    };
    // That a rule lets something through is what comes next.
    let about = About::Outside { identity, let_through: true };
    Ok(Passed { about, token, txn: None, origin })
}

/// Who acts according to it.
pub(super) async fn actor(context: &Context<'_>, presented: Presented<'_>) -> Result<Acts, Failure> {
    let Verified { identity, ends_at, origin } = verified(context, presented).await?;
    let cnf = confirmation(&identity, presented.name)?;
    check_actor(context, presented, cnf.as_ref(), identity.claims.get("act").is_some())?;
    Ok(Acts { who: Who::Outside(identity), ends_at, origin })
}

/// A token that a trusted issuer made for this server, and that counts.
async fn verified(
    context: &Context<'_>,
    Presented { name, token, .. }: Presented<'_>,
) -> Result<Verified, Failure> {
    let refuse = |why: &str| {
        OAuthError::invalid_request(format!(
            "the {name} is not accepted; send a current one of this server, or of an issuer that it trusts"
        ))
        .because(format!("{name}: {why}"))
    };
    let verified = context.outside.verify(token, UsedAs::SubjectToken, context.now).await;
    let OutsideToken { issuer, claims, subject, jti, ends_at, used } = match verified {
        Ok(verified) => verified,
        Err(NotAccepted::Refused(why)) => return Err(refuse(&why).into()),
        Err(NotAccepted::Fault(fault)) => return Err(fault.into()),
    };
    let record = OutsideTokenRecord { trusted_issuer: issuer.name.clone(), jti: jti.as_deref().map(quoted) };
    let identity = OutsideIdentity::new(context.catalog, issuer, subject, claims)?;
    Ok(Verified { identity, ends_at, origin: Origin::Outside(record, used) })
}

/// The keys that a token is bound to (RFC 7800), in whatever way its issuer writes that down.
fn confirmation(identity: &OutsideIdentity, name: &str) -> Result<Option<Confirmation>, OAuthError> {
    let Some(cnf) = identity.claims.get("cnf") else { return Ok(None) };
    let cnf = serde_json::from_value(cnf.clone()).map_err(|_| {
        OAuthError::invalid_request(format!("the {name} is bound in a way that is not checked here"))
    })?;
    Ok(Some(cnf))
}
