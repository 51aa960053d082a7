//! Black-box tests, one binary: real servers on free ports, each with a database of its own, on both
//! engines, with the time in the test's hand.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

mod admin_pages;
mod admin_sign_in;
mod algorithm_switch;
mod api_access;
mod api_clients;
mod api_registry;
mod architecture;
mod audit;
mod audit_events;
mod audit_people;
mod audit_schema;
mod audit_verify;
mod audit_watch;
mod backup;
mod buffered;
mod changed_meanwhile;
mod chromium;
mod cli;
mod cli_input;
mod cli_registry;
mod cli_secrets;
mod connections;
mod directory;
mod discovery;
mod docs;
mod doctor;
mod dpop;
mod exchange_rules;
mod federation;
mod federation_registry;
mod fuzz;
mod issuer_keys;
mod ledger_kill;
mod ledger_load;
mod ledger_lost;
mod ledger_once;
mod ledger_tamper;
mod limits;
mod master_key;
mod metrics;
mod metrics_traffic;
mod mutual_tls;
mod openapi;
mod operators;
mod otlp;
mod outage;
mod packages;
#[cfg(feature = "pkcs11")]
mod pkcs11_keys;
mod private_key_jwt;
mod processes;
mod protected_resource;
mod refusals;
mod retention;
mod rotation;
mod rotation_kill;
mod secrecy;
mod signing_keys;
mod signing_keys_api;
mod single_sign_on;
mod spiffe_x509;
mod standing;
mod statistics;
mod stopping;
mod storage;
mod threat_model;
mod tls;
mod token;
mod token_client_auth;
mod token_errors;
mod token_exchange;
