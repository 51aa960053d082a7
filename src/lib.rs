//! Jeton: an OAuth 2 / OpenID Connect authorization server for non-human identities.
//!
//! # The map
//!
//! Downward only, and a test (`tests/it/architecture.rs`) reads the `use` lines:
//!
//! ```text
//! cli → app → http → { oauth, admin } → runtime → { storage, config } → domain → jose
//! ```
//!
//! | layer | what it is |
//! |---|---|
//! | [`jose`] | signing and verifying |
//! | [`domain`] | the rules, pure: who may what, what a token says |
//! | [`config`] | the settings |
//! | [`storage`] | the only SQL, one text for PostgreSQL and SQLite |
//! | [`runtime`] | what lives as long as the process: clock, directory, keyring, ledger, refusals, failures, upkeep, audit key, master keys |
//! | [`telemetry`] | logs and traces, which `cli`, `app` and `http` use |
//! | [`oauth`] | the protocol, without HTTP: the token pipeline, grants, client authentication |
//! | [`admin`] | the use-cases behind the REST API, the pages and the command line |
//! | [`http`] | axum: bytes in, answers out |
//! | [`app`] | puts it all together, starts and stops it |
//! | [`cli`] | the program |
//!
//! Which file implements which standard: `docs/architecture.md`, *Where a standard lives*.
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
