//! Grants (RFC 6749 §1.3). A grant says who the token is about and how much of the authority may be
//! used; the pipeline in [`super::token`] does everything else, so that no grant can forget a step.

mod client_credentials;
mod jwt_bearer;
mod token_exchange;

use super::Boxed;
use super::client_auth::{self, Authenticated};
use super::form::Form;
use super::live::LiveTokens;
use super::outside::OutsideTokens;
use super::possession::Possession;
use crate::domain::acting::SubId;
use crate::domain::audit::ExchangeRecord;
use crate::domain::catalog::Catalog;
use crate::domain::client::GrantType;
use crate::domain::delegation::{Act, MayAct};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::policy::{Asked, Grantee};
use crate::domain::time::Timestamp;
use crate::storage::UsedId;

/// Every grant. Discovery, registration and the audit follow from this list.
pub static GRANTS: &[&dyn Grant] =
    &[&client_credentials::ClientCredentials, &token_exchange::TokenExchange, &jwt_bearer::JwtBearer];

/// One way to ask for a token.
pub trait Grant: Send + Sync {
    /// Its `grant_type`.
    fn grant_type(&self) -> GrantType;

    /// Whom the token is about, and its ceilings. The client is authenticated, in force and registered
    /// for this grant.
    fn resolve<'a>(&'a self, context: &'a Context<'a>) -> Boxed<'a, Result<Resolved<'a>, Failure>>;

    /// What is answered when a trusted issuer's token of the request was used before. Where the grant itself takes
    /// none, it was the client's assertion.
    fn used_before(&self) -> OAuthError {
        client_auth::used_before()
    }
}

/// What a grant has to go by.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who asks.
    pub client: &'a Authenticated,
    /// What the request says.
    pub form: &'a Form,
    /// What is registered.
    pub catalog: &'a Catalog,
    /// What the request asks for.
    pub asked: &'a Asked,
    /// Which tokens of ours count.
    pub tokens: &'a LiveTokens,
    /// Which tokens of trusted issuers count.
    pub outside: &'a OutsideTokens,
    /// The keys that the request proves, which the token will be bound to.
    pub possession: &'a Possession,
    /// When.
    pub now: Timestamp,
}

/// A grant's answer.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// Who the token is about (`sub`).
    pub subject: String,
    /// The same in the words of a trusted issuer, if it is somebody from elsewhere.
    pub sub_id: Option<SubId>,
    /// The chain that it continues; a new one, when absent.
    pub txn: Option<String>,
    /// The ceilings.
    pub grantee: Grantee<'a>,
    /// Who acts for the subject.
    pub act: Option<Act>,
    /// Who alone may act for it.
    pub may_act: Option<MayAct>,
    /// What was exchanged, if something was.
    pub exchange: Option<Box<ExchangeRecord>>,
    /// What sort of token it is, where the request could choose.
    pub issued_type: Option<&'static str>,
    /// What of the request counts once, beside the client's credential and its proof.
    pub used: Vec<UsedId>,
}

/// The grant with this `grant_type`.
#[must_use]
pub fn find(grant_type: &str) -> Option<&'static dyn Grant> {
    GRANTS.iter().copied().find(|grant| grant.grant_type().as_str() == grant_type)
}
