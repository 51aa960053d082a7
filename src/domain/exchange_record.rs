//! What the audit says of a token exchange.

use serde::Serialize;
use utoipa::ToSchema;

use super::exchange_rule::ExchangeMode;
use super::ids::{ExchangeRuleName, TrustedIssuerName};

/// What a token was exchanged for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExchangeRecord {
    /// The rule that allowed it.
    #[schema(value_type = String)]
    pub rule: ExchangeRuleName,
    /// Whether the caller shows in the new token.
    pub mode: ExchangeMode,
    /// The subject token, if that was ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_jti: Option<String>,
    /// The subject token, if a trusted issuer made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_token: Option<OutsideTokenRecord>,
    /// The actor token, if there was one, and it was ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_jti: Option<String>,
    /// The actor token, if there was one, and a trusted issuer made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_token: Option<OutsideTokenRecord>,
}

/// A token that a trusted issuer made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutsideTokenRecord {
    /// The issuer's name here.
    #[schema(value_type = String)]
    pub trusted_issuer: TrustedIssuerName,
    /// What the issuer calls the token, if it calls it something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}
