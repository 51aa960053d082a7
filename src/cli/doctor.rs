//! `jeton doctor`: gathers what can be known without changing anything, and has `domain::doctor` judge it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::CACHE_CONTROL;
use serde_json::Value;
use tokio::task::JoinSet;

use super::output;
use crate::app;
use crate::config::{Config, Database, MasterKeySource};
use crate::domain::certificate::PeerCertificate;
use crate::domain::credential::CredentialKind;
use crate::domain::doctor::{self, Line, PublishedFacts, State};
use crate::domain::doctor_trust::{self, ProxyFacts};
use crate::domain::rotation::{KeyState, state};
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::runtime::issuers::{Outbound, ShownCertificate};
use crate::runtime::master_key::MasterKeys;
use crate::runtime::meters::{free_at, most_files};
use crate::runtime::sealed::Survey;
use crate::runtime::tls::Tls;
use crate::storage::{Cursor, Store};

/// The most administrators that are looked at.
const PEOPLE: u32 = 500;

/// The most trusted issuers whose keys are asked for.
const ISSUERS: usize = 100;

/// Looks at everything, and at what is left when something is away.
pub(super) async fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let ambient = Ambient::system();
    // Whoever reads this has a configuration: a wrong one is refused before.
    let mut lines = vec![Line::ok("configuration", "every setting is known and fits the others")];
    lines.extend(machine(config));
    lines.extend(tls(config, &ambient));
    let mut kids = None;
    match open(config).await {
        Ok(store) => {
            lines.extend(database(config, &store, &ambient).await);
            kids = published_keys(&store, &ambient).await;
            store.close().await;
        }
        Err(problem) => lines.push(Line::wrong("database", problem)),
    }
    lines.extend(outside(config, kids.as_ref(), ambient.now()).await);
    let code = doctor::exit_code(&lines);
    if json {
        output::rows(&lines, &["check", "state", "says"], true)?;
    } else {
        let word = |state| match state {
            State::Ok => "ok",
            State::Advice => "advice",
            State::Unknown => "unknown",
            State::Wrong => "WRONG",
        };
        let text: Vec<_> = lines
            .iter()
            .map(|line| format!("{:<8} {:<15} {}", word(line.state), line.check, line.says))
            .collect();
        output::print(&text.join("\n"))?;
    }
    Ok(ExitCode::from(code))
}

/// Connects, and makes nothing.
async fn open(config: &Config) -> Result<Store, String> {
    app::require_database(config).map_err(|fault| fault.to_string())?;
    app::connect_to_read(config)
        .await
        .map_err(|fault| format!("{fault}: is it running, and are URL and password right?"))
}

async fn database(config: &Config, store: &Store, ambient: &Ambient) -> Vec<Line> {
    let mut lines = vec![Line::ok("database", format!("{} answers", store.engine()))];
    let now = ambient.now();
    let tolerance = config.keys.clock_tolerance();
    match store.schema().await {
        Ok(schema) => lines.push(doctor::schema(schema)),
        Err(_) => lines.push(Line::advice("schema", "there are no tables yet: the first start makes them")),
    }
    match store.clock().await {
        Ok(Some(theirs)) => lines.push(doctor::clock(now, theirs, tolerance)),
        Ok(None) => lines.push(Line::ok("clock", "the database is in this process: there is no other clock")),
        Err(error) => lines.push(Line::unanswered("clock", &error)),
    }
    if let Database::Postgres { max_connections, .. } = config.database {
        match store.postgres_facts().await {
            Ok(Some(facts)) => lines.extend(doctor::postgres(&facts, max_connections)),
            Ok(None) => {}
            Err(error) => lines.push(Line::unanswered("postgresql", &error)),
        }
    }
    lines.push(master_key(config, store, ambient).await);
    match store.newest_event().await {
        Ok(newest) => {
            let newest = newest.map(|newest| newest.at);
            lines.push(doctor::audit(newest, now, tolerance));
            match store.signed_until().await {
                Ok(signed) => lines.extend(doctor_trust::checkpoint(newest, signed, now)),
                Err(error) => lines.push(Line::unanswered("checkpoint", &error)),
            }
        }
        Err(error) => lines.push(Line::unanswered("audit", &error)),
    }
    lines.extend(rotation(config, store, now).await);
    lines.push(credentials(config, store, now).await);
    lines.extend(trusted_issuers(config, store, ambient).await);
    match store.administrators(&Cursor { after: String::new(), limit: PEOPLE }).await {
        Ok(people) => {
            let without = people.iter().filter(|person| {
                person.enabled && person.password_hash.is_some() && person.second_factor.is_none()
            });
            let without: Vec<_> = without.map(|person| person.name.to_string()).collect();
            lines.push(doctor::administrators(&without));
        }
        Err(error) => lines.push(Line::unanswered("administrators", &error)),
    }
    lines
}

/// Whether each key that signs is followed by another in time.
async fn rotation(config: &Config, store: &Store, now: Timestamp) -> Vec<Line> {
    let keys = match store.signing_keys().await {
        Ok(keys) => keys,
        Err(error) => return vec![Line::unanswered("rotation", &error)],
    };
    let rings = keys.chunk_by(|a, b| a.algorithm == b.algorithm).filter_map(|ring| {
        let lives: Vec<_> = ring.iter().map(|key| key.life.clone()).collect();
        doctor_trust::rotation(ring.first()?.algorithm, &lives, &config.keys, now)
    });
    rings.collect()
}

/// What of the clients' credentials ends soon.
async fn credentials(config: &Config, store: &Store, now: Timestamp) -> Line {
    let soon = now.plus(config.warn_before);
    let mut counts = Vec::new();
    for kind in CredentialKind::ALL.iter().copied() {
        match store.count_ending_credentials(kind, now, soon).await {
            Ok(count) => counts.push((kind, count.soon)),
            Err(error) => return Line::unanswered("credentials", &error),
        }
    }
    doctor_trust::credentials(&counts)
}

/// Whether the keys of trusted issuers can be had, as a server gets them.
async fn trusted_issuers(config: &Config, store: &Store, ambient: &Ambient) -> Vec<Line> {
    let mut issuers = match store.all_trusted_issuers().await {
        Ok(issuers) => issuers,
        Err(error) => return vec![Line::unanswered("trusted issuers", &error)],
    };
    issuers.retain(|issuer| issuer.enabled);
    let left_out = issuers.len().saturating_sub(ISSUERS);
    issuers.truncate(ISSUERS);
    if issuers.is_empty() {
        return Vec::new();
    }
    let (keys, count) = (app::issuer_keys(config, ambient), issuers.len());
    let mut asking = JoinSet::new();
    for issuer in issuers {
        let keys = Arc::clone(&keys);
        asking.spawn(async move {
            let problem = keys.keys(&issuer).await.err()?;
            Some((issuer.name.to_string(), problem.to_string()))
        });
    }
    let mut problems: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    problems.sort_unstable();
    doctor_trust::issuer_keys(count, left_out, &problems)
}

/// Whether the configured master key opens what is sealed. None is made.
async fn master_key(config: &Config, store: &Store, ambient: &Ambient) -> Line {
    const CHECK: &str = "master key";
    let survey = match Survey::of(store).await {
        Ok(survey) => survey,
        Err(fault) => return Line::unanswered(CHECK, &fault),
    };
    match &config.master_key {
        Some(MasterKeySource::Managed(path)) if survey.is_empty() && !path.exists() => {
            return Line::ok(CHECK, format!("the first start makes {}", path.display()));
        }
        _ => {}
    }
    let keys = match MasterKeys::load(config, false, ambient).await {
        Ok(keys) => keys,
        Err(fault) => return Line::wrong(CHECK, fault.to_string()),
    };
    match survey.check(&keys) {
        Ok(()) => Line::ok(CHECK, format!("it opens what is sealed: {keys}; keep a copy apart")),
        Err(fault) => Line::wrong(CHECK, fault.to_string()),
    }
}

/// The keys that should be published, as the database says.
async fn published_keys(store: &Store, ambient: &Ambient) -> Option<BTreeSet<String>> {
    let keys = store.signing_keys().await.ok()?;
    let now = ambient.now();
    let mut kids = BTreeSet::new();
    for ring in keys.chunk_by(|a, b| a.algorithm == b.algorithm) {
        let lives: Vec<_> = ring.iter().map(|key| key.life.clone()).collect();
        for (index, key) in lives.iter().enumerate() {
            if matches!(state(&lives, index, now), KeyState::Pending | KeyState::Active | KeyState::Retired) {
                kids.insert(key.kid.to_string());
            }
        }
    }
    Some(kids)
}

/// What verifiers get from the issuer's URL.
async fn outside(config: &Config, kids: Option<&BTreeSet<String>>, now: Timestamp) -> Vec<Line> {
    let Some(issuer) = &config.issuer else {
        let says =
            "no issuer is set, which is for development: set JETON_ISSUER to the URL that verifiers use";
        return vec![Line::advice("issuer", says)];
    };
    let issuer = issuer.as_str();
    match fetch(issuer).await {
        Ok(facts) => {
            let mut lines = doctor::published(issuer, &facts, kids, config.keys.verifier_cache());
            let shown = format!("the certificate that {issuer} shows");
            lines.extend(facts.certificate_ends.map(|end| doctor::end(&shown, end, now)));
            lines
        }
        Err(problem) => {
            let says = format!(
                "{problem}; verifiers need {issuer} over TLS that they trust and without redirects: look at the \
                 server, the proxy, the name, and the certificate's chain"
            );
            vec![Line::wrong("issuer", says)]
        }
    }
}

async fn fetch(issuer: &str) -> Result<PublishedFacts, String> {
    let outbound = Outbound::new(issuer).map_err(|fault| fault.to_string())?;
    let get = async |url: String| {
        let request = Request::get(&url).body(Vec::new()).map_err(|error| error.to_string())?;
        let answer = outbound.call(request).await.map_err(|error| format!("{url}: {error}"))?;
        if !answer.status().is_success() {
            return Err(format!("{url} answers {}", answer.status()));
        }
        let body: Value =
            serde_json::from_slice(answer.body()).map_err(|_| format!("{url} answers no JSON"))?;
        let cache = answer.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let max_age = cache.and_then(max_age);
        let shown = answer.extensions().get::<ShownCertificate>();
        // Of one that TLS has taken and that cannot be read here, nothing is said.
        let certificate = shown.and_then(|shown| PeerCertificate::parse(&shown.0, true).ok());
        Ok((body, max_age, certificate.map(|certificate| certificate.not_after)))
    };
    let (metadata, _, certificate_ends) = get(format!("{issuer}/.well-known/openid-configuration")).await?;
    let text = |name: &str| metadata[name].as_str().map(str::to_owned);
    let jwks_uri = text("jwks_uri").unwrap_or_else(|| format!("{issuer}/.well-known/jwks.json"));
    let (set, max_age, _) = get(jwks_uri).await?;
    let kids = set["keys"].as_array().into_iter().flatten().filter_map(|key| key["kid"].as_str());
    Ok(PublishedFacts {
        issuer: text("issuer"),
        jwks_uri: text("jwks_uri"),
        kids: kids.map(str::to_owned).collect(),
        max_age,
        certificate_ends,
    })
}

fn max_age(cache_control: &str) -> Option<Duration> {
    let seconds = cache_control.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Files of TLS, as the server reads them.
fn tls(config: &Config, ambient: &Ambient) -> Vec<Line> {
    match Tls::open(&config.tls, ambient) {
        Ok(tls) => {
            let now = ambient.now();
            tls.ends().iter().map(|(file, end)| doctor::end(&file.display().to_string(), *end, now)).collect()
        }
        Err(fault) => vec![Line::wrong("tls", fault.to_string())],
    }
}

/// What is about this machine.
fn machine(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut place = |path: &Path, directory| {
        if let Ok(found) = std::fs::metadata(path) {
            lines.push(doctor::mode(&path.display().to_string(), found.mode(), directory));
        }
    };
    if matches!(config.database, Database::Sqlite) {
        place(&config.data_dir, true);
        place(&config.sqlite_file(), false);
    }
    if let Some(MasterKeySource::File(path) | MasterKeySource::Managed(path)) = &config.master_key {
        place(path, false);
    }
    if config.data_dir.exists() {
        lines.push(match free_at(&config.data_dir) {
            Ok(bytes) => doctor::room(&config.data_dir.display().to_string(), bytes),
            Err(error) => {
                let directory = config.data_dir.display();
                let says = format!(
                    "how much room there is in {directory} cannot be found out: {error}: see that this user may \
                     enter it, or ask `df {directory}`"
                );
                Line::unknown("disk", says)
            }
        });
    }
    lines.push(doctor::descriptors(most_files()));
    lines.push(doctor::metrics(config.metrics.address()));
    lines.push(doctor_trust::proxies(ProxyFacts {
        behind: config.behind_tls_proxy,
        tls: config.tls.main.is_some(),
        https: config.issuer.as_ref().is_some_and(|issuer| issuer.as_str().starts_with("https:")),
        trusted: &config.trusted_proxies,
    }));
    lines
}
