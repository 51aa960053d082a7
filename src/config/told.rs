//! Settings as people are told them. Nothing secret, and nothing that holds a secret: where the database is says its
//! engine alone.

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::{Config, Database, HeldIn, Issuance, LogFormat, MasterKeySource, MetricsListener, Upstream};
use crate::domain::allowance::Allowance;
use crate::domain::schedule::Span;

/// A setting that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldSetting {
    /// What it is called in `jeton.toml`.
    pub name: &'static str,
    /// Its value, or what that amounts to.
    pub value: String,
}

// === impl Config ===

impl Config {
    /// What is in force.
    #[must_use]
    pub fn told(&self) -> Vec<ToldSetting> {
        let span = |span: Duration| Span(span).to_string();
        let file = |path: &Path| path.display().to_string();
        let none = || "none".to_owned();
        let issuer = self.issuer.as_ref().map_or("the address listened on", |issuer| issuer.as_str());
        let database = match &self.database {
            Database::Sqlite => "SQLite, a file in the data directory",
            Database::Postgres { .. } => "PostgreSQL",
        };
        let master_key = match &self.master_key {
            None => "none".to_owned(),
            Some(MasterKeySource::Managed(_)) => "a file that was made in the data directory".to_owned(),
            Some(MasterKeySource::File(path)) => format!("the file {}", path.display()),
            Some(MasterKeySource::Value(_)) => "from the environment".to_owned(),
            Some(MasterKeySource::Token(label)) => format!("{label} in the PKCS#11 token"),
        };
        let metrics = match self.metrics {
            MetricsListener::Off => "off".to_owned(),
            MetricsListener::Usual => "the usual address, if it is free".to_owned(),
            MetricsListener::At(address) => address.to_string(),
        };
        let issuance = match self.audit_issuance {
            Issuance::Durable => "durable",
            Issuance::Buffered => "buffered",
        };
        let held_in = match self.keys_held_in {
            HeldIn::Database => "database",
            HeldIn::Pkcs11 => "pkcs11",
        };
        let or_off = |allowed: Option<Allowance>| {
            allowed.map_or_else(|| "off".to_owned(), |allowed| allowed.to_string())
        };
        let required = |needed: bool| if needed { "required" } else { "optional" }.to_owned();
        let log_format = if self.log_format == LogFormat::Json { "json" } else { "text" };
        let mut told = vec![
            ("issuer", issuer.to_owned()),
            ("listen", self.listen.to_string()),
            ("metrics.listen", metrics),
            ("data_dir", self.data_dir.display().to_string()),
            ("database_url", database.to_owned()),
            ("master_key", master_key),
            ("server.trusted_proxies", listed(&self.trusted_proxies)),
            ("tls.certificate", self.tls.main.as_ref().map_or_else(none, |pair| file(&pair.certificate))),
            ("mtls.listen", self.tls.mutual.as_ref().map_or_else(none, |mutual| mutual.listen.to_string())),
            ("mtls.client_ca", self.tls.client_ca.as_deref().map_or_else(none, file)),
            (
                "server.client_certificate_header",
                self.tls.header.map_or_else(none, |header| header.name().to_owned()),
            ),
            ("tokens.max_lifetime", span(self.max_token_lifetime)),
            ("dpop.nonce", required(self.dpop_nonce_required)),
            ("keys.rotate_every", span(self.keys.every())),
            ("keys.publish_ahead", span(self.keys.lead())),
            ("keys.verifier_cache", span(self.keys.verifier_cache())),
            ("keys.clock_tolerance", span(self.keys.clock_tolerance())),
            ("keys.rsa_bits", self.rsa_bits.to_string()),
            ("keys.held_in", held_in.to_owned()),
            ("audit.issuance", issuance.to_owned()),
            ("audit.retention", span(self.audit_retention)),
            ("credentials.warn_before", span(self.warn_before)),
            ("admin.session_idle", span(self.sign_in.idle)),
            ("admin.session_lifetime", span(self.sign_in.lifetime)),
            ("admin.second_factor", required(self.sign_in.second_factor_required)),
            ("sso.issuer", self.sso.as_ref().map_or_else(|| "none".to_owned(), |sso| sso.issuer.clone())),
            ("limits.failures_per_client", or_off(self.limits.failures_per_client)),
            ("limits.failures_per_address", or_off(self.limits.failures_per_address)),
            (
                "limits.costly_checks",
                self.limits
                    .costly_checks
                    .map_or_else(|| "half of the cores".to_owned(), |at_once| at_once.to_string()),
            ),
            ("limits.costly_waiting", self.limits.costly_waiting.to_string()),
            ("assertions.max_lifetime", span(self.assertions.max_lifetime)),
            ("outbound.allow_http", self.outbound.outside.allow_http.to_string()),
            ("outbound.allowed_networks", listed(&self.outbound.outside.allowed_networks)),
            ("outbound.keys_stale_for", span(self.outbound.keys_stale_for)),
            ("outbound.keys_cooldown", span(self.outbound.keys_cooldown)),
            ("federation.bundle_dir", self.federation.bundle_dir.as_deref().map_or_else(none, file)),
            ("directory.clients", self.directory_clients.to_string()),
            ("log.level", self.log_level.clone()),
            ("log.format", log_format.to_owned()),
        ];
        told.extend(self.outage.told());
        told.extend(self.serving_told());
        told.extend(self.otlp_told());
        if let Some(Upstream { client_id, scopes, mapping, .. }) = &self.sso {
            told.extend([
                ("sso.client_id", client_id.clone()),
                ("sso.scopes", scopes.join(", ")),
                ("sso.role_claim", mapping.role_claim.as_str().to_owned()),
                ("sso.administrators", mapping.administrators.join(", ")),
                ("sso.auditors", mapping.auditors.join(", ")),
                ("sso.name_claim", mapping.name_claim.as_str().to_owned()),
            ]);
        }
        told.into_iter().map(|(name, value)| ToldSetting { name, value }).collect()
    }
}

fn listed(networks: &[IpNet]) -> String {
    let texts: Vec<_> = networks.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting that people are told is one that they can look up: by its name, and by that in the environment.
    #[test]
    fn what_is_told_is_in_the_reference() {
        const REFERENCE: &str = include_str!("../../docs/configuration.md");
        // Single sign-on and telemetry tell the rest of theirs where they are set up.
        let environment = [
            ("JETON_ISSUER", "https://id.example.com"),
            ("JETON_OTLP__ENDPOINT", "http://otel:4318"),
            ("JETON_SSO__ISSUER", "https://sso.example.com"),
            ("JETON_SSO__CLIENT_ID", "jeton"),
            ("JETON_SSO__CLIENT_SECRET", "s3cret-word"),
            ("JETON_SSO__ROLE_CLAIM", "groups"),
            ("JETON_SSO__ADMINISTRATORS", "admins"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let told = Config::load(None, environment.to_vec()).unwrap().told();
        let rows = REFERENCE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
        let rows: Vec<_> =
            rows.filter_map(|(names, rest)| Some((format!("`{names}"), rest.split_once(" | ")?.0))).collect();
        for setting in &told {
            let name = format!("`{}`", setting.name);
            let variable = format!("`JETON_{}`", setting.name.to_uppercase().replace('.', "__"));
            let row = rows.iter().find(|(names, _)| names.split(", ").any(|other| other == name));
            let (_, variables) = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {name}"));
            assert!(variables.split(", ").any(|other| other == variable), "{name}: {variables}");
        }
        for conditional in ["sso.name_claim", "otlp.logs", "outage.grace", "server.threads"] {
            assert!(told.iter().any(|setting| setting.name == conditional), "{conditional}");
        }
    }

    #[test]
    fn no_secret_is_told() {
        let environment = [
            ("JETON_DATABASE_URL", "postgres://jeton:s3cret-word@db.internal/jeton"),
            ("JETON_MASTER_KEY", &"0a".repeat(32)),
            ("JETON_ISSUER", "https://id.example.com"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let told = Config::load(None, environment.to_vec()).unwrap().told();
        let all = format!("{told:?}");
        assert!(!all.contains("s3cret") && !all.contains("0a0a") && !all.contains("db.internal"), "{all}");
        assert!(all.contains("https://id.example.com") && all.contains("PostgreSQL"), "{all}");
    }
}
