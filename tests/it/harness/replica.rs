use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use jeton::app::{self, Sealed};
use jeton::config::Config;
use jeton::domain::audit::{AskedFor, AuditEvent, Event, Origin, ProcessKind};
use jeton::domain::client::{AuthMethod, GrantType};
use jeton::domain::ids::{ClientId, CredentialId, KeyId};
use jeton::domain::time::Timestamp;
use jeton::runtime::clock::{Ambient, ManualClock, SystemEntropy};
use jeton::runtime::clock_check::ClockCheck;
use jeton::runtime::keyring::Keyring;
use jeton::runtime::ledger::{Ledger, RecordError};
use jeton::runtime::rotator::Rotator;
use jeton::runtime::upkeep::Upkeep;
use jeton::storage::{Store, UsedId};

use super::{Database, START};

/// What of a server keeps the ledger and the keys: a store of its own, as each replica has it, and the task that
/// writes. Nothing is done about the keys but what a test asks for.
pub(crate) struct Replica {
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) rotator: Arc<Rotator>,
    writing: JoinHandle<()>,
    pub(crate) ambient: Ambient,
    pub(crate) clock: Arc<ManualClock>,
}

/// Runs tests of the form `async fn(replica: Replica, database: Database)` on both engines.
macro_rules! both_replicas {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::harness::{Database, Engine, Replica};

            async fn run(engine: Engine) {
                let database = Database::create_migrated(engine).await;
                let replica = Replica::start(&database).await;
                super::$test(replica, database).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                run(Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                run(Engine::Postgres).await;
            }
        })+
    };
}
pub(crate) use both_replicas;

impl Replica {
    pub(crate) async fn start(database: &Database) -> Self {
        Self::start_at(database, START).await
    }

    /// One whose clock says something else at first.
    pub(crate) async fn start_at(database: &Database, at: Timestamp) -> Self {
        Self::start_with(&database.config(), at).await
    }

    pub(crate) async fn start_with(config: &Config, at: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::new(at));
        let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
        let store = app::connect(config).await.unwrap();
        store.migrate().await.unwrap();
        let Sealed { keyring, rotator, ledger, writing, .. } =
            app::unseal(config, &store, &ambient, ProcessKind::Server, &Handle::current()).await.unwrap();
        Self { store, ledger, keyring, rotator, writing, ambient, clock }
    }

    /// Records a refusal at this time, which its reason tells.
    pub(crate) async fn record(&self, at: Timestamp) {
        self.clock.set(at);
        self.ledger.record(&refusal(at)).await.unwrap();
    }

    /// Records a token that uses these identifiers up. Answers whether it may be handed out.
    pub(crate) async fn issue(&self, used: Vec<UsedId>) -> bool {
        issue(&self.ledger, used).await.unwrap()
    }

    /// What keeps its store in order, with this retention.
    pub(crate) fn upkeep(&self, retention: Duration) -> Upkeep {
        Upkeep::new(self.store.clone(), self.ledger.clone(), self.clock_check(), retention)
    }

    /// Its clock against the database's.
    pub(crate) fn clock_check(&self) -> Arc<ClockCheck> {
        Arc::clone(self.rotator.clock())
    }

    /// Ends the chain in order.
    pub(crate) async fn stop(self) {
        drop((self.ledger, self.rotator));
        self.writing.await.unwrap();
        self.store.close().await;
    }

    /// Ends as a process does that is killed: its chain stays open.
    pub(crate) async fn kill(self) {
        self.writing.abort();
        let _ = self.writing.await;
        self.store.close().await;
    }
}

/// Records a token that uses these identifiers up. Answers whether it may be handed out.
pub(crate) async fn issue(ledger: &Ledger, used: Vec<UsedId>) -> Result<bool, RecordError> {
    match ledger.record_issuance(&token(), used).await {
        Ok(()) => Ok(true),
        Err(RecordError::UsedBefore { .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The event of a token, at [`START`], with an identifier of its own.
pub(crate) fn token() -> AuditEvent {
    let event = Event::TokenIssued {
        client_id: ClientId::new("billing").unwrap(),
        auth_method: AuthMethod::ClientSecretBasic,
        credential_id: CredentialId::new("abc").unwrap(),
        grant_type: GrantType::ClientCredentials,
        asked: AskedFor::default(),
        subject: "billing".to_owned(),
        subject_issuer: None,
        actors: Vec::new(),
        outside_actors: Vec::new(),
        exchange: None,
        audience: vec!["https://orders.example".to_owned()],
        scope: "orders:read".to_owned(),
        roles: Vec::new(),
        jti: format!("{:032x}", rand::random::<u128>()),
        txn: "t".to_owned(),
        continues: false,
        expires_at: START,
        kid: KeyId::new("k").unwrap(),
        jkt: None,
        x5t: None,
        legacy_assertion_audience: false,
    };
    AuditEvent { at: START, origin: Origin::default(), event }
}

/// The event of a refusal at this time, which its reason tells.
pub(crate) fn refusal(at: Timestamp) -> AuditEvent {
    let event = Event::TokenRefused {
        client_id: None,
        authenticated: false,
        auth_method: None,
        credential_id: None,
        grant_type: None,
        asked: AskedFor::default(),
        error: "invalid_request",
        reason: format!("at {at}"),
        repeated: None,
    };
    AuditEvent { at, origin: Origin::default(), event }
}
