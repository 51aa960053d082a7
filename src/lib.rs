//! Jeton.
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
