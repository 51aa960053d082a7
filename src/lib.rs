//! Jeton.
pub mod config;
pub mod domain;
pub mod jose;
pub mod oauth;
pub mod runtime;
pub mod storage;
