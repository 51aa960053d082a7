//! The composition root: opens everything, starts the tasks, and stops them in order.

mod credentials;
mod descriptors;
mod doors;
mod services;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::doors::Doors;
use self::services::{Parts, services};
use crate::admin::audit_watch::AuditWatch;
use crate::admin::sign_in::SignIn;
use crate::admin::{Admin, AdminError};
use crate::config::{Config, Database, Issuance, Issuer, OutageMode};
use crate::domain::audit::ProcessKind;
use crate::domain::error::{Fault, FaultKind};
use crate::domain::schedule::Span;
use crate::http::{self, Connections, Workers};
use crate::oauth::dpop::Dpop;
use crate::oauth::live::LiveTokens;
use crate::runtime::audit_key::AuditKey;
use crate::runtime::clock::Ambient;
use crate::runtime::directory::{Directory, Limits};
use crate::runtime::fault;
use crate::runtime::issuer_keys::IssuerKeys;
use crate::runtime::key_maker::KeyMaker;
use crate::runtime::keyring::Keyring;
use crate::runtime::ledger::{self, Ledger, Spools};
use crate::runtime::master_key::MasterKeys;
use crate::runtime::nonces::NonceSecret;
use crate::runtime::private_file;
use crate::runtime::refusals::Refusals;
use crate::runtime::revocations::Revocations;
use crate::runtime::rotator::Rotator;
use crate::runtime::sealed::Survey;
use crate::runtime::statistics::Statistics;
use crate::runtime::tls::Tls;
use crate::runtime::token_keys::TokenKeys;
use crate::runtime::upkeep::Upkeep;
use crate::storage::{ConnectOptions, LossySetting, Store};
use crate::telemetry::{STAYS_HERE, Tracing};

/// A running server.
pub struct App {
    admin: Admin,
    sign_in: SignIn,
    first_link: Option<SecretString>,
    tls: Arc<Tls>,
    address: SocketAddr,
    mtls_address: Option<SocketAddr>,
    issuer: Issuer,
    store: Store,
    stop: CancellationToken,
    tasks: TaskTracker,
    workers: Workers,
    connections: Arc<Connections>,
    deadline: Duration,
    metrics: Option<SocketAddr>,
    ledger: JoinHandle<()>,
    statistics: Arc<Statistics>,
}

/// Connects to the database that the configuration names, making SQLite's private directory if needed.
///
/// # Errors
/// The database cannot be reached or the directory not made.
pub async fn connect(config: &Config) -> Result<Store, Fault> {
    open(config, false).await
}

/// The same for those who only read: a standby of PostgreSQL will do.
///
/// # Errors
/// The database cannot be reached or the directory not made.
pub async fn connect_to_read(config: &Config) -> Result<Store, Fault> {
    open(config, true).await
}

async fn open(config: &Config, may_be_standby: bool) -> Result<Store, Fault> {
    let options = match &config.database {
        Database::Sqlite => {
            create_private_directory(config)?;
            ConnectOptions::Sqlite { path: config.sqlite_file() }
        }
        Database::Postgres { url, password_file, max_connections } => ConnectOptions::Postgres {
            url: url.clone(),
            password: password_file
                .as_deref()
                .map(|path| private_file::read_setting("the database password", path))
                .transpose()?,
            max_connections: *max_connections,
            may_be_standby,
        },
    };
    Store::connect(&options).await.map_err(fault)
}

/// Makes sure that there is a database, for those who make none.
///
/// # Errors
/// SQLite's file is not there. Whether PostgreSQL answers is not asked.
pub fn require_database(config: &Config) -> Result<(), Fault> {
    let file = config.sqlite_file();
    if matches!(config.database, Database::Sqlite) && !file.exists() {
        return Err(Fault::internal(format!(
            "there is no database {}: set JETON_DATA_DIR to the one of the server, whose first start makes it",
            file.display()
        )));
    }
    Ok(())
}

/// Makes the data directory, if it is not there, so that only its owner looks into it.
///
/// # Errors
/// It cannot be made.
pub fn create_private_directory(config: &Config) -> Result<(), Fault> {
    let path = &config.data_dir;
    if path.is_dir() {
        // Somebody else made it, so its mode is theirs; the files inside are private in any case.
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        let path = path.display();
        Fault {
            kind: FaultKind::of_path(error.kind()),
            detail: format!("the data directory {path}: {error}; set JETON_DATA_DIR to one that can be made"),
        }
    })
}

/// What needs the master key: the ledger, whose checkpoints are signed, and what opens the signing keys.
pub struct Sealed {
    /// What opens and seals them.
    pub master_keys: MasterKeys,
    /// The signing keys.
    pub keyring: Arc<Keyring>,
    /// What keeps them in order.
    pub rotator: Arc<Rotator>,
    /// What records.
    pub ledger: Ledger,
    /// Ends, with everything written, once every clone of the ledger is gone.
    pub writing: JoinHandle<()>,
}

/// Opens what the master key seals. The ledger's task runs on the given runtime.
///
/// # Errors
/// The master key is missing or another one, or the database is away.
pub async fn unseal(
    config: &Config,
    store: &Store,
    ambient: &Ambient,
    process: ProcessKind,
    writes_on: &Handle,
) -> Result<Sealed, Fault> {
    let survey = Survey::of(store).await?;
    let master_keys = MasterKeys::load(config, survey.is_empty(), ambient).await?;
    // Before anything is made or written: with the wrong key nothing may change.
    survey.check(&master_keys)?;
    if let (ProcessKind::Server, Some(progress)) = (process, survey.progress(&master_keys)) {
        tracing::info!("{progress}");
    }
    let key = AuditKey::open(store, &master_keys, ambient).await?;
    let token_keys = TokenKeys::of(config);
    let keyring = Keyring::open(store.clone(), master_keys.clone(), token_keys.clone()).await?;
    let mut spools = None;
    if process == ProcessKind::Server {
        let claimed = Spools::claim(&config.outage, config.serving.longest_stop()).await?;
        // Whatever the mode is now. Before anything is answered: the identifiers in it are used.
        ledger::adopt(&claimed, store, ambient, &key).await?;
        spools = Some((claimed, store.restored().await.map_err(fault)?));
    }
    let world = (store.clone(), ambient.clone());
    let (ledger, writing) = Ledger::start(world, key, process, config.audit_issuance, spools, writes_on)?;
    let kept = (config.keys_held_in, config.rsa_bits);
    let maker = KeyMaker::new(store.clone(), master_keys.clone(), token_keys, kept, ambient.clone());
    let (keyring_too, ambient) = (Arc::clone(&keyring), ambient.clone());
    let rotator = Rotator::new(store.clone(), keyring_too, ledger.clone(), ambient, (config.keys, maker));
    Ok(Sealed { master_keys, keyring, rotator: Arc::new(rotator), ledger, writing })
}

/// The keys of trusted issuers, as somebody without a server gets them.
#[must_use]
pub fn issuer_keys(config: &Config, ambient: &Ambient) -> Arc<IssuerKeys> {
    services::keys_elsewhere(config, ambient).1
}

/// The use-cases without a server around them, for the command line.
#[must_use]
pub fn offline_admin(store: Store, config: &Config, sealed: &Sealed, ambient: Ambient) -> Admin {
    let ledger = sealed.ledger.clone();
    let refusals = Refusals::new(ledger.clone());
    let rotator = Arc::clone(&sealed.rotator);
    let outside = Arc::new(config.outbound.outside.clone());
    let issuer_keys = issuer_keys(config, &ambient);
    Admin {
        store,
        directory: None,
        rotator,
        ledger,
        refusals,
        ambient,
        longest: config.max_token_lifetime,
        warn_before: config.warn_before,
        reach: config.certificate_reach(),
        outside,
        issuer_keys,
    }
}

/// What to do about a key that its token does not sign with.
fn lost_key(fault: &Fault) -> Fault {
    Fault {
        detail: format!(
            "{fault}. If the key is lost for good, withdraw it with `jeton keys revoke`, which makes another \
             (docs/signing-keys.md#in-a-pkcs11-token)"
        ),
        kind: fault.kind,
    }
}

/// Refuses a database that can lose what it has committed, unless the operator has chosen the like.
async fn check_durable(config: &Config, store: &Store) -> Result<(), Fault> {
    match (store.lossy_setting().await.map_err(fault)?, config.audit_issuance) {
        (None, _) => {}
        (Some(LossySetting::SynchronousCommit), Issuance::Durable) => {
            return Err(Fault::setup(
                "PostgreSQL has synchronous_commit = off, so it can lose what it has committed, and a token would \
                 leave unrecorded: run `ALTER DATABASE … SET synchronous_commit = on`, or set audit.issuance to \
                 buffered if that is what you want",
            ));
        }
        (Some(setting), _) => {
            tracing::warn!(?setting, "PostgreSQL can lose what it has committed when it crashes");
        }
    }
    Ok(())
}

// === impl App ===

impl App {
    /// Opens everything and starts to serve. Requests are traced as `tracing` says.
    ///
    /// # Errors
    /// The address is taken, the database away or too new, the master key missing or another one.
    pub async fn start(config: &Config, ambient: Ambient, tracing: Tracing) -> Result<Self, Fault> {
        // Before anything is waited for: the database may take its time.
        let started = ambient.now();
        let tls = Arc::new(Tls::open(&config.tls, &ambient)?);
        let doors = Doors::open(config, &tls).await?;
        let (address, issuer) = (doors.address, doors.issuer.clone());
        let store = connect(config).await?;
        store.migrate().await.map_err(fault)?;
        check_durable(config, &store).await?;
        let mut workers = Workers::start(threads(config))?;
        let writes_on = workers.home_of_the_ledger();
        // Boxed, because it is large and over soon.
        let sealed = unseal(config, &store, &ambient, ProcessKind::Server, &writes_on);
        let sealed = Box::pin(sealed).await?;
        let admin = offline_admin(store.clone(), config, &sealed, ambient.clone());
        ensure_builtins(&admin, config, &issuer).await?;
        let nonces = NonceSecret::open(store.clone(), sealed.master_keys.clone(), ambient.clone()).await?;
        let dpop = Arc::new(Dpop::new(Arc::clone(nonces.nonces()), config.dpop_nonce_required));
        let Sealed { master_keys, keyring, rotator, ledger, writing } = sealed;
        keyring.try_tokens(ambient.now()).await.map_err(|fault| lost_key(&fault))?;
        Box::pin(rotator.start()).await?;
        // Records the start, and whatever a process that was killed has left.
        ledger.collect().await?;
        let grace = (config.outage.mode == OutageMode::Spool).then_some(config.outage.grace);
        let limits =
            Limits { clients: config.directory_clients, keys_believed_for: config.keys.staleness(), grace };
        let clock = Arc::clone(rotator.clock());
        let revocations = Revocations::open(store.clone(), Arc::clone(&clock)).await?;
        let (keys, revoked) = (Arc::clone(&keyring), Arc::clone(&revocations));
        let opening = Directory::open(store.clone(), Arc::clone(&clock), keys, revoked, nonces, limits);
        let directory = opening.await?;
        let live = LiveTokens {
            issuer: issuer.as_str().to_owned(),
            directory: Arc::clone(&directory),
            keyring: Arc::clone(&keyring),
            revocations,
        };

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(Arc::clone(&tls).follow(stop.clone()));
        tasks.spawn(Arc::clone(&directory).follow(stop.clone()));
        tasks.spawn(Arc::clone(&directory).learn_ids(stop.clone()));
        tasks.spawn(Arc::clone(&rotator).run(stop.clone()));
        let retention = config.audit_retention;
        let upkeep = Upkeep::new(store.clone(), ledger.clone(), Arc::clone(&clock), retention);
        tasks.spawn(upkeep.run(stop.clone()));
        let watch = AuditWatch::new(store.clone(), ledger.clone(), Arc::clone(&clock), ambient.uuid()?);
        tasks.spawn(watch.run(stop.clone()));
        let tended = credentials::tend(config.warn_before, &store, &ledger, &clock, &tasks, &stop);
        let statistics = Arc::clone(&tended.statistics);
        let most = descriptors::most_connections(config);
        let (shared, threads) = (config.trusted_proxies.clone(), threads(config).get());
        let connections = Arc::new(Connections::new(&config.serving, most, shared, threads));
        let parts = Parts {
            issuer: issuer.clone(),
            mtls_url: doors.mtls_url.clone(),
            ambient,
            started,
            client_trust: Arc::clone(&tls.trust),
            store: store.clone(),
            keyring,
            rotator,
            live,
            ledger,
            dpop,
            master_keys,
            tended,
            connections: Arc::clone(&connections),
            tracing,
        };
        let services = services(config, parts)?;
        let (admin, sign_in) = (services.admin.clone(), services.sign_in.clone());
        let metrics = doors::metrics_listener(config.metrics).await?;
        let metrics_address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        if let Some(listener) = metrics {
            let router = http::metrics(Arc::new(services.clone()));
            let scrapers = Connections::of_few(&config.serving);
            workers.serve_aside(listener, router, (scrapers, config.max_header_size()), &stop);
        }
        let heads = (config.max_header_size(), config.serving.max_streams);
        workers.serve(&services, doors.all, heads, &stop);
        tracing::info!(%address, issuer = issuer.as_str(), database = store.engine(), "serving");
        let first_link = first_link(&sign_in).await?;
        Ok(Self {
            admin,
            sign_in,
            first_link,
            tls,
            address,
            mtls_address: doors.mtls_address,
            issuer,
            store,
            stop,
            tasks,
            workers,
            connections,
            deadline: config.serving.shutdown_deadline,
            metrics: metrics_address,
            ledger: writing,
            statistics,
        })
    }

    /// The use-cases as the server's own handlers call them: what they change is visible at once.
    #[must_use]
    pub const fn admin(&self) -> &Admin {
        &self.admin
    }

    /// How people sign in to the pages.
    #[must_use]
    pub const fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// The link that makes the first administrator, if there was none at the start.
    #[must_use]
    pub const fn first_link(&self) -> Option<&SecretString> {
        self.first_link.as_ref()
    }

    /// What keeps the signing keys in order.
    #[must_use]
    pub const fn rotator(&self) -> &Arc<Rotator> {
        &self.admin.rotator
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it asks for certificates of clients, if anywhere.
    #[must_use]
    pub const fn mtls_address(&self) -> Option<SocketAddr> {
        self.mtls_address
    }

    /// What counts the audit's events, and has the uses that none of them tells.
    #[must_use]
    pub const fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// The connections that are open.
    #[must_use]
    pub const fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// What TLS is made of.
    #[must_use]
    pub const fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    /// Where metrics are scraped, if anywhere.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// Stops in order: no new connections, requests finish, the ledger is written out, the database is closed. What
    /// waits for its own client is cut off after a while.
    ///
    /// # Errors
    /// It took longer than it may: something is cut off, and the chain of the audit stays open.
    pub async fn stop(self) -> Result<(), Fault> {
        self.stop.cancel();
        self.tasks.close();
        let Self { admin, sign_in, tasks, statistics, mut workers, ledger, store, deadline, .. } = self;
        drop((admin, sign_in));
        let in_order = async {
            tasks.wait().await;
            workers.served().await;
            // The ledger has the rest of the time: its chain matters more.
            statistics.write_last_uses(deadline / 8).await;
            // The last handler took the last sender of the ledger's queue with it.
            ledger.await.map_err(Fault::internal)?;
            store.close().await;
            workers.end().await;
            Ok(())
        };
        tokio::time::timeout(deadline, in_order).await.unwrap_or_else(|_| {
            Err(Fault::internal(format!(
                "not everything was done within server.shutdown_deadline ({}): the rest is cut off, and the chain of \
                 the audit stays open, as after a kill",
                Span(deadline)
            )))
        })
    }
}

/// Makes sure of what every installation has.
async fn ensure_builtins(admin: &Admin, config: &Config, issuer: &Issuer) -> Result<(), Fault> {
    // Other replicas may serve the stored issuer: only one that an operator wrote down replaces it.
    let may_replace = config.issuer.is_some() || matches!(config.database, Database::Sqlite);
    admin.ensure_builtins(issuer.as_str(), may_replace).await.map_err(|error| match error {
        AdminError::Fault(fault) => fault,
        // It serves another issuer, or somebody else's `jeton`.
        conflict @ AdminError::Conflict(_) => Fault::setup(conflict),
        other => Fault::internal(other),
    })
}

/// How many threads serve. While answers wait for PostgreSQL, that gets a core: beside as many threads as cores the
/// ledger's batches are smaller and dearer (decision 028).
fn threads(config: &Config) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let shared = config.audit_issuance == Issuance::Durable && !matches!(config.database, Database::Sqlite);
    let usual = NonZeroUsize::new(cores.get() - usize::from(shared)).unwrap_or(NonZeroUsize::MIN);
    config.server_threads.unwrap_or(usual)
}

/// While there is no administrator, whoever reads the log of the newest start becomes the first one. This is the one
/// secret that is logged, here and not at a collector: it works once, for a day, and is void as soon as there is somebody.
async fn first_link(sign_in: &SignIn) -> Result<Option<SecretString>, Fault> {
    let link = sign_in.first_link().await.map_err(|error| match error {
        AdminError::Fault(fault) => fault,
        other => Fault::internal(other),
    })?;
    if let Some(link) = &link {
        tracing::info!(
            target: STAYS_HERE,
            "nobody can sign in to the pages yet: open {} within a day to become the first person who administers",
            link.expose_secret()
        );
    }
    Ok(link)
}
