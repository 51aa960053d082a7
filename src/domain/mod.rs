//! The rules, pure: no I/O, no async, no wall clock. Whatever depends on time takes it as an argument.
//!
//! Everything that decides about authority lives here, so that it can be read in one sitting and
//! property-tested without a server.

pub mod acting;
mod actor;
pub mod administrator;
pub mod allowance;
pub mod audit;
mod audit_columns;
pub mod back_off;
pub mod binding;
pub mod builtin;
pub mod catalog;
pub mod certificate;
pub mod certificate_subject;
pub mod chain;
pub mod chain_check;
pub mod claim_conditions;
pub mod claims;
pub mod client;
pub mod client_certificate;
pub mod client_key;
pub mod condition_warnings;
pub mod credential;
pub mod delegation;
pub mod distinguished_name;
pub mod error;
pub mod exchange_record;
pub mod exchange_rule;
pub mod exchange_tree;
mod fingerprint;
pub mod foreign_hash;
pub mod ids;
pub mod outside;
pub mod outside_identity;
pub mod password;
pub mod policy;
pub mod presets;
pub mod resource;
pub mod revocation;
pub mod role;
pub mod rotation;
pub mod schedule;
pub mod scope;
pub mod second_factor;
pub mod secret;
pub mod single_sign_on;
pub mod spiffe;
pub mod standing;
pub mod tally;
pub mod text;
pub mod time;
pub mod token_id;
pub mod trust;
pub(crate) mod words;
mod written_event;
pub mod x509_svid;
