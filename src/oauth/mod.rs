//! The OAuth protocol, without HTTP: requests in, answers or refusals out.
//!
//! | standard | where |
//! |---|---|
//! | RFC 6749 §2.3 client authentication, RFC 7523 assertions | [`client_auth`] |
//! | RFC 6749 §3.2, §5 token endpoint | [`token`] |
//! | RFC 6749 §4.4 client credentials | [`grants`] |
//! | RFC 6750 bearer tokens for our own API | [`access`] |
//! | RFC 7800, RFC 8705 §3 bound tokens | [`possession`] |
//! | RFC 7009 revocation | [`revocation`] |
//! | RFC 7662 introspection, RFC 9701 signed answers | [`introspection`] |
//! | RFC 7523 §3, SPIFFE JWT-SVID: tokens of trusted issuers | [`outside`] |
//! | RFC 8693 token exchange | [`grants`] |
//! | RFC 9449 DPoP | [`dpop`] |
//! | RFC 8414, OpenID Connect Discovery | [`discovery`] |

pub mod access;
pub mod client_auth;
pub mod discovery;
pub mod dpop;
mod foreign_jwt;
pub mod form;
pub mod grants;
pub mod introspection;
pub mod live;
pub mod outside;
pub mod possession;
pub mod protected_resource;
pub mod request;
pub mod revocation;
pub mod token;

use std::future::Future;
use std::pin::Pin;

/// A future behind a pointer, so that grants and methods can stand in one list.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
