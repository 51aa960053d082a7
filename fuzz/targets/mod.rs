//! What is fuzzed: each target takes any bytes, and panics when something is not as it must be.
//!
//! A new target is a file here, a line in [`TARGETS`], and a folder of inputs to begin with under `fuzz/corpus/`.
//! libFuzzer runs them (`scripts/fuzz`), and `cargo test` runs them over the corpus and what is near it
//! (`tests/it/fuzz.rs`).

mod assertion;
mod basic;
mod dpop;
mod form;
mod jwt;
mod spiffe;
mod subject;

use jeton::domain::error::OAuthError;
use jeton::oauth::client_auth::{self, Offered, Presentation};
use jeton::oauth::form::Form;

/// Takes any bytes, and panics when something is not as it must be.
pub(crate) type Target = fn(&[u8]);

/// Every target by its name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("basic", basic::run),
    ("form", form::run),
    ("jwt", jwt::run),
    ("dpop", dpop::run),
    ("assertion", assertion::run),
    ("subject", subject::run),
    ("spiffe", spiffe::run),
];

/// What a request with these headers and this body presents.
fn present(authorization: &[&[u8]], form: &Form) -> Result<Offered, OAuthError> {
    client_auth::present(&Presentation { authorization, form, certificate: None, grants: true })
}
