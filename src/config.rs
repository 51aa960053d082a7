//! Configuration: `jeton.toml`, then the environment over it. All errors are told at once, each with
//! the setting, where it came from, and what to write instead; an unknown setting is an error too.

mod administration;
mod credentials;
mod issuer;
mod limits;
mod master_key;
mod otlp;
mod outage;
mod outbound;
mod serving;
mod sso;
mod tls;
mod told;
mod values;
mod written;

pub use self::issuer::Issuer;
pub use self::limits::Limits;
pub use self::master_key::{HeldIn, MasterKeySource, Pkcs11};
pub use self::otlp::{Otlp, Share};
pub use self::outage::{Outage, OutageMode};
pub use self::outbound::{Assertions, Federation, Outbound};
pub use self::serving::Serving;
pub use self::sso::{ClientSecretSource, Upstream};
pub use self::tls::{CertificateHeader, MutualTls, PemPair, TlsSettings};
pub use self::told::ToldSetting;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use self::values::{
    clients, days, is_kubernetes_service_link, issuance, log_directives, log_format, metrics_listener,
    networks, plain_text, required, seconds, threads, truth,
};
use self::written::Written;
use crate::domain::administrator::SignInRules;
use crate::domain::client::CertificateReach;
use crate::domain::schedule::{Schedule, Span, Timing};
use crate::jose::RsaBits;

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The issuer identifier; absent means `http://` or `https://` and the address listened on (development).
    pub issuer: Option<Issuer>,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Where metrics are scraped.
    pub metrics: MetricsListener,
    /// Where SQLite and the generated master key are kept.
    pub data_dir: PathBuf,
    /// Where the data is.
    pub database: Database,
    /// What seals private keys, and opens them; a server on PostgreSQL refuses to start without.
    pub master_key: Option<MasterKeySource>,
    /// What only opens: the master key before, or the next one, while it is being changed.
    pub other_master_keys: Vec<MasterKeySource>,
    /// The PKCS#11 token that master keys and signing keys may be in.
    pub pkcs11: Option<Pkcs11>,
    /// Whether a proxy ends TLS.
    pub behind_tls_proxy: bool,
    /// Proxies that are believed about callers: `X-Forwarded-For`, and the header with certificates if there is one.
    pub trusted_proxies: Vec<IpNet>,
    /// TLS, and whose certificates are trusted.
    pub tls: TlsSettings,
    /// How many threads serve; by what there is to do, if nobody says.
    pub server_threads: Option<NonZeroUsize>,
    /// What connections may take, and how the server stops.
    pub serving: Serving,
    /// The longest lifetime a resource server may ask for.
    pub max_token_lifetime: Duration,
    /// Whether a DPoP proof must have a nonce of ours.
    pub dpop_nonce_required: bool,
    /// When signing keys are made and when they leave.
    pub keys: Schedule,
    /// How long the modulus of a new RSA key is.
    pub rsa_bits: RsaBits,
    /// Where the private parts of new signing keys are kept.
    pub keys_held_in: HeldIn,
    /// Whether a token waits until its event is durable.
    pub audit_issuance: Issuance,
    /// How long audit events are kept; in whole days.
    pub audit_retention: Duration,
    /// What is done while the database is away.
    pub outage: Outage,
    /// How long before its end a credential is said to end soon.
    pub warn_before: Duration,
    /// How people sign in.
    pub sign_in: SignInRules,
    /// The OpenID provider by which people may sign in too.
    pub sso: Option<Upstream>,
    /// What failures and costly checks may take.
    pub limits: Limits,
    /// How client assertions are read.
    pub assertions: Assertions,
    /// What Jeton calls outside, when a registration names it.
    pub outbound: Outbound,
    /// Whose tokens count beside our own.
    pub federation: Federation,
    /// How many clients are kept in memory.
    pub directory_clients: u64,
    /// `tracing` directives, for example `info` or `jeton=debug`.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The collector that traces and logs are sent to, if there is one.
    pub otlp: Option<Otlp>,
    written: Written,
}

/// Where metrics are scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsListener {
    /// Nowhere.
    Off,
    /// At the usual address, if nothing else listens there: several servers on a laptop are no mistake.
    Usual,
    /// At this address; if that is taken, the server does not start.
    At(SocketAddr),
}

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file in the data directory.
    Sqlite,
    /// A server.
    Postgres {
        /// `postgres://…`, possibly with a password.
        url: SecretString,
        /// A file with the password, which then replaces the URL's.
        password_file: Option<PathBuf>,
        /// The most connections of this process.
        max_connections: u32,
    },
}

/// Whether a token waits until its event is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuance {
    /// It does: nothing leaves unrecorded.
    Durable,
    /// It does not: the event is written within a tenth of a second, and lost if the process dies before.
    Buffered,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people to read.
    Text,
    /// One JSON object a line.
    Json,
}

/// One wrong setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    setting: String,
    origin: String,
    advice: String,
}

/// Everything that is wrong with the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<Problem>);

// === impl Config ===

impl Config {
    /// What the server knows of its callers' certificates.
    #[must_use]
    pub const fn certificate_reach(&self) -> CertificateReach {
        let TlsSettings { mutual, header, client_ca, .. } = &self.tls;
        match (mutual.is_some() || header.is_some(), client_ca.is_some()) {
            (false, _) => CertificateReach::None,
            (true, false) => CertificateReach::Shown,
            (true, true) => CertificateReach::Trusted,
        }
    }

    /// The file of SQLite.
    #[must_use]
    pub fn sqlite_file(&self) -> PathBuf {
        self.data_dir.join(SQLITE_FILE)
    }

    /// Reads the file and the environment.
    ///
    /// # Errors
    /// Every wrong, contradictory or unknown setting.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Settings { has_pkcs11: cfg!(feature = "pkcs11"), ..Settings::default() };
        if let Some(path) = file {
            settings.read_file(path);
        }
        settings.read_environment(environment);
        let written = settings.values.iter().map(|(name, (text, _))| (name, text.as_str()));
        let written = Written::of(written);
        let config = settings.config(written);
        settings.finish(config)
    }
}

/// What the file of SQLite is called, in the data directory and in a backup.
pub const SQLITE_FILE: &str = "jeton.db";

/// The usual place of exporters of OpenTelemetry's metrics.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// One connection that listens for changes, four that load clients, one for the ledger, two for what is done in
/// the background.
const LEAST_CONNECTIONS: u32 = 8;

// === impl MetricsListener ===

impl MetricsListener {
    /// Where it is to be, if anywhere.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::Usual => Some(METRICS),
            Self::At(address) => Some(address),
        }
    }
}

/// Settings as texts under dotted names, with where each came from.
#[derive(Default)]
struct Settings {
    values: BTreeMap<String, (String, String)>,
    problems: Vec<Problem>,
    /// Whether this program was built with PKCS#11.
    has_pkcs11: bool,
}

// === impl Settings ===

impl Settings {
    fn read_file(&mut self, path: &Path) {
        let origin = path.display().to_string();
        let table = std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| {
            // The error's own text quotes the line, and a line may hold a secret.
            text.parse::<toml::Table>().map_err(|error| {
                let line = error
                    .span()
                    .map_or(1, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
                format!("line {line}: {}", error.message())
            })
        });
        match table {
            Ok(table) => self.flatten("", &table, &origin),
            Err(problem) => self.refuse("the file", &origin, problem),
        }
    }

    fn flatten(&mut self, prefix: &str, table: &toml::Table, origin: &str) {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            match value {
                toml::Value::Table(inner) => self.flatten(&format!("{name}."), inner, origin),
                value => match plain_text(value) {
                    Some(text) => {
                        self.values.insert(name, (text, origin.to_owned()));
                    }
                    None => {
                        self.refuse(&name, origin, "use a text, a number, a truth value or a list of texts");
                    }
                },
            }
        }
    }

    fn read_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("JETON_") else { continue };
            if rest == "CONFIG" || rest.starts_with("TEST_") || is_kubernetes_service_link(rest) {
                continue;
            }
            self.values.insert(rest.replace("__", ".").to_ascii_lowercase(), (value, name));
        }
    }

    /// Reads every known setting; a wrong one is noted and counts as not given.
    fn config(&mut self, written: Written) -> Config {
        let issuer_is_meant = self.is_set("issuer");
        let issuer = self.take("issuer", Issuer::parse);
        let listen = self.take("listen", |text| {
            text.parse().map_err(|_| "write an address and a port, for example 127.0.0.1:8080".to_owned())
        });
        let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
        let metrics = self.take("metrics.listen", metrics_listener).unwrap_or(MetricsListener::Usual);
        let data_dir =
            self.take("data_dir", |text| Ok(PathBuf::from(text))).unwrap_or_else(|| "jeton-data".into());
        let database = self.database();
        let master_keys = self.master_keys(&database, &data_dir);
        let behind_tls_proxy = self.take("server.behind_tls_proxy", truth).unwrap_or(false);
        let tls_is_meant = self.is_set("tls.certificate") || self.is_set("tls.key");
        if !listen.ip().is_loopback() && !behind_tls_proxy && !tls_is_meant {
            self.refuse(
                "listen",
                &listen.to_string(),
                "without TLS, listen on 127.0.0.1; or set tls.certificate and tls.key, or server.behind_tls_proxy = true \
                 when a proxy ends TLS before Jeton",
            );
        }
        let proxies_are_meant = self.is_set("server.trusted_proxies");
        let trusted_proxies = self.take("server.trusted_proxies", networks).unwrap_or_default();
        let tls = self.tls(listen, proxies_are_meant);
        match &issuer {
            Some(issuer) if tls.main.is_some() && issuer.as_str().starts_with("http:") => {
                self.refuse("issuer", issuer.as_str(), "write it with https: the server speaks TLS");
            }
            None if tls.main.is_some() && !issuer_is_meant && listen.ip().is_unspecified() => {
                self.refuse(
                    "issuer",
                    "issuer",
                    "set it to the URL that callers use: the server listens everywhere",
                );
            }
            _ => {}
        }
        let server_threads = self.take("server.threads", threads);
        let serving = self.serving();
        let max_token_lifetime = self.take("tokens.max_lifetime", seconds).unwrap_or(Duration::from_hours(1));
        let dpop_nonce_required = self.take("dpop.nonce", required).unwrap_or(true);
        let keys = self.keys(max_token_lifetime);
        let rsa_bits = self.take("keys.rsa_bits", str::parse).unwrap_or_default();
        let keys_held_in = self.held_in(master_keys.pkcs11.as_ref());
        let audit_issuance = self.take("audit.issuance", issuance).unwrap_or(Issuance::Durable);
        let audit_retention = self.take("audit.retention", days).unwrap_or(Duration::from_hours(24 * 400));
        let outage = self.outage(&data_dir, &keys);
        let warn_before = self.warn_before();
        let sign_in = self.sign_in();
        let sso = self.sso();
        let limits = self.limits();
        let assertions = self.assertions();
        let outbound = self.outbound();
        let federation = self.federation();
        let directory_clients = self.take("directory.clients", clients).unwrap_or(50_000);
        let log_level = self.take("log.level", log_directives).unwrap_or_else(|| "info".to_owned());
        let log_format = self.take("log.format", log_format).unwrap_or(LogFormat::Text);
        let otlp = self.otlp();
        Config {
            issuer,
            listen,
            metrics,
            data_dir,
            database,
            master_key: master_keys.current,
            other_master_keys: master_keys.others,
            pkcs11: master_keys.pkcs11,
            behind_tls_proxy,
            trusted_proxies,
            tls,
            server_threads,
            serving,
            max_token_lifetime,
            dpop_nonce_required,
            keys,
            rsa_bits,
            keys_held_in,
            audit_issuance,
            audit_retention,
            outage,
            warn_before,
            sign_in,
            sso,
            limits,
            assertions,
            outbound,
            federation,
            directory_clients,
            log_level,
            log_format,
            otlp,
            written,
        }
    }

    fn keys(&mut self, longest_token: Duration) -> Schedule {
        let usual = Timing::usual(longest_token);
        let mut span =
            |name: &str, usual| self.take(name, |text| text.parse().map(|Span(span)| span)).unwrap_or(usual);
        let timing = Timing {
            every: span("keys.rotate_every", usual.every),
            lead: span("keys.publish_ahead", usual.lead),
            verifier_cache: span("keys.verifier_cache", usual.verifier_cache),
            clock_tolerance: span("keys.clock_tolerance", usual.clock_tolerance),
            verifier_leeway: span("keys.verifier_leeway", usual.verifier_leeway),
            longest_token,
        };
        Schedule::new(timing).unwrap_or_else(|problem| {
            self.refuse(problem.setting(), "keys", problem.to_string());
            Schedule::usual(longest_token)
        })
    }

    fn database(&mut self) -> Database {
        let url = self.take("database_url", |text| {
            let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
            else {
                return Err("write postgres://user@host/database, or leave it out for SQLite".to_owned());
            };
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            if authority.rsplit('@').next().is_some_and(|hosts| hosts.contains(',')) {
                return Err(
                    "write one host, which leads to the primary: docs/scaling.md names what does".to_owned()
                );
            }
            Ok(SecretString::from(text.to_owned()))
        });
        let password_file = self.take("database_password_file", |text| Ok(PathBuf::from(text)));
        let max_connections = self.take("database_max_connections", |text| {
            text.parse()
                .ok()
                .filter(|n| (LEAST_CONNECTIONS..=1_000).contains(n))
                .ok_or("write a number from 8 to 1000".to_owned())
        });
        match url {
            Some(url) => {
                Database::Postgres { url, password_file, max_connections: max_connections.unwrap_or(10) }
            }
            None => Database::Sqlite,
        }
    }

    /// Whether somebody has written a setting, right or wrong. What is wrong is told once, not again as missing.
    fn is_set(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|(text, _)| !text.is_empty())
    }

    /// Whether one of these settings was refused.
    fn refused(&self, names: &[&str]) -> bool {
        self.problems.iter().any(|problem| names.contains(&problem.setting.as_str()))
    }

    /// Reads one setting and takes it off the list; an empty text is as good as none.
    fn take<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (text, origin) = self.values.remove(name)?;
        if text.is_empty() {
            return None;
        }
        parse(&text).map_err(|problem| self.refuse(name, &origin, problem)).ok()
    }

    fn refuse(&mut self, setting: &str, origin: &str, advice: impl Into<String>) {
        self.problems.push(Problem {
            setting: setting.to_owned(),
            origin: origin.to_owned(),
            advice: advice.into(),
        });
    }

    fn finish(mut self, config: Config) -> Result<Config, ConfigError> {
        for (name, (_, origin)) in std::mem::take(&mut self.values) {
            self.refuse(&name, &origin, "there is no such setting; docs/configuration.md lists them all");
        }
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigError(self.problems)) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not usable:")?;
        for Problem { setting, origin, advice } in &self.0 {
            write!(f, "\n  {setting} ({origin}): {advice}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(None, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn nothing_is_needed_for_sqlite_on_loopback() {
        let config = load(&[]).unwrap();
        assert!(matches!(config.database, Database::Sqlite));
        assert!(
            matches!(config.master_key, Some(MasterKeySource::Managed(path)) if path.ends_with("master.key"))
        );
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let error = load(&[
            ("JETON_ISSUER", "http://id.example.com"),
            ("JETON_LISTEN", "here"),
            ("JETON_SERVER__BEHIND_TLS_PROXY", "perhaps"),
            ("JETON_LOG__LEVLE", "debug"),
        ])
        .unwrap_err();
        assert_eq!(error.0.len(), 4, "{error}");
        let text = error.to_string();
        for part in ["issuer", "listen", "server.behind_tls_proxy", "log.levle"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_database_is_at_one_host() {
        assert!(load(&[("JETON_DATABASE_URL", "postgres://jeton:a,b@db/jeton?sslmode=require")]).is_ok());
        let error = load(&[("JETON_DATABASE_URL", "postgres://jeton@one,two:5433/jeton")]).unwrap_err();
        assert!(error.to_string().contains("write one host"), "{error}");
    }

    #[test]
    fn another_than_loopback_needs_tls_before_it() {
        assert!(load(&[("JETON_LISTEN", "0.0.0.0:8080")]).is_err());
        assert!(
            load(&[("JETON_LISTEN", "0.0.0.0:8080"), ("JETON_SERVER__BEHIND_TLS_PROXY", "true")]).is_ok()
        );
    }

    #[test]
    fn the_environment_of_a_kubernetes_service_called_jeton_is_not_ours() {
        assert!(
            load(&[
                ("JETON_PORT", "tcp://10.0.0.1:80"),
                ("JETON_SERVICE_HOST", "10.0.0.1"),
                ("JETON_PORT_80_TCP_ADDR", "x"),
                ("JETON_POSTGRES_PORT", "tcp://10.0.0.2:5432"),
                ("JETON_POSTGRES_PORT_5432_TCP_PROTO", "tcp"),
            ])
            .is_ok()
        );
    }

    #[test]
    fn how_people_sign_in_is_kept_within_reason() {
        fn sign_in(environment: &[(&str, &str)]) -> Result<SignInRules, ConfigError> {
            load(environment).map(|config| config.sign_in)
        }
        assert_eq!(sign_in(&[]).unwrap(), SignInRules::default());
        let short = sign_in(&[("JETON_ADMIN__SESSION_LIFETIME", "10m")]).unwrap();
        assert_eq!((short.idle, short.lifetime), (Duration::from_mins(10), Duration::from_mins(10)));
        assert!(!sign_in(&[("JETON_ADMIN__SECOND_FACTOR", "optional")]).unwrap().second_factor_required);
        for bad in [
            ("JETON_ADMIN__SESSION_IDLE", "25h"),
            ("JETON_ADMIN__SESSION_IDLE", "0s"),
            ("JETON_ADMIN__SESSION_LIFETIME", "8d"),
            ("JETON_ADMIN__SECOND_FACTOR", "no"),
        ] {
            assert!(sign_in(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let config =
            load(&[("JETON_DATABASE_URL", "postgres://u:hunter2@h/d"), ("JETON_MASTER_KEY", "sesame")])
                .unwrap();
        let text = format!("{config:?}");
        assert!(!text.contains("hunter2") && !text.contains("sesame"), "{text}");
    }
}
