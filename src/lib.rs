//! Jeton: an OAuth 2 / OpenID Connect authorization server for non-human identities.
//!
//! # The map
//!
//! Downward only, and a test (`tests/it/architecture.rs`) reads the `use` lines:
//!
//! ```text
//! cli → app → http → { oauth, admin } → runtime → storage → domain          leaves: jose, config
//! ```
//!
//! | layer | what it is |
//! |---|---|
//! | [`domain`] | the rules, pure: who may what, what a token says |
//! | [`storage`] | the only SQL, one text for PostgreSQL and SQLite |
//! | [`runtime`] | what lives as long as the process: clock, directory, keyring, ledger, refusals, failures, upkeep, audit key, master keys |
//! | [`oauth`] | the protocol, without HTTP: the token pipeline, grants, client authentication |
//! | [`admin`] | the use-cases behind the REST API and the command line |
//! | [`http`] | axum: bytes in, answers out |
//! | [`app`] | puts it all together, starts and stops it |
//! | [`cli`] | the program |
//! | [`jose`], [`config`] | signing and verifying; settings |
//!
//! # RFC → file
//!
//! | standard | file |
//! |---|---|
//! | RFC 6749 OAuth 2.0 | `oauth/token.rs`, `oauth/form.rs`, `oauth/client_auth/`, `oauth/grants/` |
//! | RFC 6585 limits | `oauth/client_auth/guard.rs`, `runtime/failures/` |
//! | RFC 6750 bearer tokens (our API) | `oauth/access.rs`, `http/extract.rs` |
//! | RFC 7009 revocation | `oauth/revocation.rs`, `domain/revocation.rs` |
//! | RFC 7515, 7517, 7519, 7638, 8037, 9964 JOSE | `jose/` |
//! | RFC 7521, 7523, 10070 client assertions | `oauth/client_auth/private_key_jwt.rs`, `oauth/client_auth/assertion.rs` |
//! | RFC 7662 introspection, RFC 9701 signed answers | `oauth/introspection.rs`, `oauth/live.rs` |
//! | RFC 8414, OpenID Connect Discovery | `oauth/discovery.rs` |
//! | RFC 8693 token exchange | `oauth/grants/token_exchange.rs`, `domain/delegation.rs`, `domain/exchange_tree.rs` |
//! | RFC 8705 client certificates, bound tokens | `oauth/client_auth/`, `oauth/possession.rs`, `domain/certificate_subject.rs`, `domain/client_certificate.rs` |
//! | RFC 8705 certificates of clients, RFC 9440 told by a proxy | `domain/certificate.rs`, `runtime/tls/`, `http/handshakes.rs`, `http/client_certificate/` |
//! | RFC 8707 resource indicators | `domain/policy.rs` |
//! | RFC 9068 JWT access tokens | `domain/claims.rs`, `domain/policy.rs` |
//! | OpenID Connect Core, RFC 7636 PKCE, RFC 9207 `iss` | people signing in: `runtime/provider.rs`, `admin/single_sign_on.rs` |
//! | RFC 9106 Argon2 | `runtime/secrets.rs` |
//! | RFC 9110 ETag and If-Match | `http/extract.rs` |
//! | RFC 9449 DPoP | `oauth/dpop.rs`, `jose/embedded.rs`, `runtime/nonces.rs` |
//! | RFC 9457 problem details | `http/error.rs` |
//! | RFC 9728 protected resource metadata | `oauth/protected_resource.rs` |
//! | W3C Trace Context (`traceparent`) | `http/middleware.rs` |
//!
//! # The walk of one token request
//!
//! `authenticate → resolve → decide → bind → sign → record → answer`
//!
//! 1. `http::oauth` bounds the body and hands over bytes, headers and the caller's address.
//! 2. [`oauth::token`] is the only pipeline; it has one exit, where success and refusal are recorded alike.
//! 3. [`oauth::client_auth`] asks each method to *present*; exactly one does; it *verifies* against the
//!    client that [`runtime::directory`] has in memory.
//! 4. The grant ([`oauth::grants`]) *resolves* whom the token is about, and the ceilings.
//! 5. [`domain::policy`] decides, purely.
//! 6. [`domain::claims`] builds, [`runtime::keyring`] signs with a key that was parsed once.
//! 7. [`runtime::ledger`] chains the event and makes it durable; a refusal comes to it through
//!    [`runtime::refusals`], which counts those that repeat. `docs/audit.md` has the chain.
//! 8. The answer leaves, `Cache-Control: no-store`.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod jose;
pub mod oauth;
pub mod runtime;
pub mod storage;
pub mod telemetry;
