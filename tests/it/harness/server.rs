use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use jeton::admin::By;
use jeton::admin::clients::CreateClient;
use jeton::admin::exchange_rules::CreateExchangeRule;
use jeton::admin::resource_servers::CreateResourceServer;
use jeton::admin::roles::CreateRole;
use jeton::admin::secrets::AddSecret;
use jeton::admin::trusted_issuers::CreateTrustedIssuer;
use jeton::app::App;
use jeton::config::{Config, Issuer, Limits, MetricsListener};
use jeton::domain::error::Fault;
use jeton::domain::ids::{AdministratorName, ClientId, ResourceServerName};
use jeton::domain::time::Timestamp;
use jeton::runtime::clock::{Ambient, Clock, ManualClock, SystemEntropy};
use jeton::runtime::clock_check::ClockCheck;
use jeton::storage::Store;
use jeton::telemetry::Tracing;

use super::{Answer, Database, Engine};

/// What every test's clock says at first: 2026-11-22T08:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_795_334_400);

/// How long an answer may take before the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server in the test's own process.
pub(crate) struct Server {
    pub(crate) app: App,
    config: Config,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) database: Arc<Database>,
    callers: Callers,
}

/// Where the requests come from. All of 127.0.0.0/8 is this machine.
#[derive(Clone)]
enum Callers {
    /// Each from an address of its own, so that none waits for the refusals of others ([decision 032]).
    ///
    /// [decision 032]: ../../../docs/decisions/032-limits-on-failures.md
    Apart(Arc<AtomicU32>),
    /// All from 127.0.0.1.
    Together,
}

/// A registered client and its secret.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Server {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| {}).await
    }

    /// A server whose configuration is changed before it starts.
    pub(crate) async fn start_with(engine: Engine, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(Database::create_migrated(engine).await, change).await
    }

    /// The same on a database that is there.
    pub(crate) async fn start_on(database: Database, change: impl FnOnce(&mut Config)) -> Self {
        let database = Arc::new(database);
        let mut config = database.config();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.metrics = MetricsListener::Off;
        config.issuer = Some(Issuer::parse("http://localhost:8080").unwrap());
        // Tests try many wrong secrets from one address; those of the limits set them.
        config.limits = Limits { failures_per_client: None, failures_per_address: None, ..config.limits };
        change(&mut config);
        let clock = Arc::new(ManualClock::new(START));
        let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
        let app = Box::pin(App::start(&config, ambient, Tracing::off())).await.unwrap();
        let callers = Callers::Apart(Arc::new(AtomicU32::new(u32::from(Ipv4Addr::LOCALHOST))));
        Self { app, config, clock, database, callers }
    }

    /// From now on all requests come from 127.0.0.1, for tests of what goes by the address.
    pub(crate) fn at_one_address(self) -> Self {
        Self { callers: Callers::Together, ..self }
    }

    /// The address of the next caller.
    pub(crate) fn caller(&self) -> IpAddr {
        match &self.callers {
            Callers::Apart(last) => Ipv4Addr::from(last.fetch_add(1, Ordering::Relaxed) + 1).into(),
            Callers::Together => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Another replica: on the same database, with the same configuration and clock.
    pub(crate) async fn replica(&self) -> Self {
        self.replica_at(Arc::clone(&self.clock) as _).await
    }

    /// Its clock against the database's.
    pub(crate) fn clock_check(&self) -> Arc<ClockCheck> {
        Arc::clone(self.app.rotator().clock())
    }

    /// Another replica with a clock of its own.
    pub(crate) async fn replica_at(&self, clock: Arc<dyn Clock>) -> Self {
        let ambient = Ambient::new(clock, Arc::new(SystemEntropy));
        let app = App::start(&self.config, ambient, Tracing::off()).await.unwrap();
        let (config, clock) = (self.config.clone(), Arc::clone(&self.clock));
        let (database, callers) = (Arc::clone(&self.database), self.callers.clone());
        Self { app, config, clock, database, callers }
    }

    /// Stops the server and starts another one on the same database and clock, its configuration changed.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Result<Self, Fault> {
        let Self { app, mut config, clock, database, callers } = self;
        app.stop().await.unwrap();
        change(&mut config);
        let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
        let app = Box::pin(App::start(&config, ambient, Tracing::off())).await?;
        Ok(Self { app, config, clock, database, callers })
    }

    /// Waits until the server waits for a transaction that the test has open: whatever it was asked to write, it has
    /// read what it stands on.
    pub(crate) async fn held_up(&self) {
        let waits = "SELECT query FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let held_up = async {
            loop {
                let is_held_up = match &self.app.admin().store {
                    // Nobody else can write, so whoever has its turn here waits.
                    Store::Sqlite { turn, .. } => turn.try_lock().is_err(),
                    Store::Postgres(_) => !self.database.texts(waits).await.is_empty(),
                };
                if is_held_up {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, held_up).await.expect("nothing waits for the transaction");
    }

    // === Registering, through the server's own use-cases ===

    /// Registers a client from the JSON that the API would take.
    pub(crate) async fn client(&self, new: Value) -> Client {
        let new: CreateClient = serde_json::from_value(new).unwrap();
        let id = new.client_id.clone();
        self.app.admin().create_client(&By::system(), new).await.unwrap();
        self.secret(id.as_str(), json!({})).await
    }

    /// Adds a secret to a client.
    pub(crate) async fn secret(&self, client_id: &str, new: Value) -> Client {
        let client_id = ClientId::new(client_id).unwrap();
        let new: AddSecret = serde_json::from_value(new).unwrap();
        let added = self.app.admin().add_secret(&By::system(), &client_id, new).await.unwrap();
        Client { id: client_id.to_string(), secret: added.client_secret.unwrap().expose_secret().to_owned() }
    }

    pub(crate) async fn resource_server(&self, new: Value) {
        let new: CreateResourceServer = serde_json::from_value(new).unwrap();
        self.app.admin().create_resource_server(&By::system(), new).await.unwrap();
    }

    pub(crate) async fn role(&self, new: Value) {
        let new: CreateRole = serde_json::from_value(new).unwrap();
        self.app.admin().create_role(&By::system(), new).await.unwrap();
    }

    pub(crate) async fn exchange_rule(&self, new: Value) {
        let new: CreateExchangeRule = serde_json::from_value(new).unwrap();
        self.app.admin().create_exchange_rule(&By::system(), new).await.unwrap();
    }

    /// Makes a client an operator of a resource server.
    pub(crate) async fn operator(&self, resource_server: &str, client_id: &str) {
        let name = ResourceServerName::new(resource_server).unwrap();
        let client_id = ClientId::new(client_id).unwrap();
        self.app.admin().add_operator(&By::system(), &name, &client_id).await.unwrap();
    }

    /// The usual cast: the resource server `orders` (`https://orders.example`, with `orders:read` and
    /// `orders:write`), the role `order-reader` that gives the first, and the client `billing` with it.
    pub(crate) async fn billing(&self) -> Client {
        self.resource_server(json!({
            "name": "orders", "identifier": "https://orders.example",
            "permissions": [{ "permission": "orders:read" }, { "permission": "orders:write" }],
        }))
        .await;
        self.role(json!({
            "name": "order-reader",
            "permissions": [{ "resource_server": "orders", "permission": "orders:read" }],
        }))
        .await;
        self.client(json!({ "client_id": "billing", "roles": ["order-reader"] })).await
    }

    /// Registers a public key, of which nobody has the private part, for a client. Answers its id.
    pub(crate) async fn public_key(&self, client_id: &str) -> String {
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        });
        let new = serde_json::from_value(json!({ "jwk": jwk })).unwrap();
        let client_id = ClientId::new(client_id).unwrap();
        let added = self.app.admin().add_key(&By::system(), &client_id, new).await.unwrap();
        added.key_id.to_string()
    }

    /// Registers a trusted issuer from the JSON that the API would take.
    pub(crate) async fn trusted_issuer(&self, new: Value) {
        let new: CreateTrustedIssuer = serde_json::from_value(new).unwrap();
        self.app.admin().create_trusted_issuer(&By::system(), new).await.unwrap();
    }

    /// The trusted issuer `issuer`, whose tokens prove a client.
    pub(crate) async fn issuer_of(&self, client_id: &str) {
        let keys = json!({ "from": "discovery" });
        self.trusted_issuer(json!({ "name": "issuer", "issuer": "https://idp.example", "keys": keys })).await;
        self.federated(client_id, "issuer", "a").await;
    }

    /// Says that tokens with this `sub` of a trusted issuer prove a client. Answers the credential's id.
    pub(crate) async fn federated(&self, client_id: &str, issuer: &str, sub: &str) -> String {
        let conditions = json!([{ "claim": "sub", "value": sub }]);
        let new = json!({ "trusted_issuer": issuer, "conditions": conditions });
        let (client_id, new) = (ClientId::new(client_id).unwrap(), serde_json::from_value(new).unwrap());
        let added = self.app.admin().add_federated_credential(&By::system(), &client_id, new).await.unwrap();
        added.credential_id.to_string()
    }

    /// An API token of a fresh client with this built-in role.
    pub(crate) async fn api_token(&self, role: &str) -> String {
        let id = format!("a-{role}-{}", rand::random::<u32>());
        let client = self.client(json!({ "client_id": id, "roles": [role] })).await;
        let answer =
            self.token(&client, "grant_type=client_credentials&resource=http://localhost:8080/api/v1").await;
        answer.expect(200)["access_token"].as_str().unwrap().to_owned()
    }

    /// Registers an administrator and signs them in, past password and second factor: the `Cookie` header, under
    /// the name that it has with plain http.
    pub(crate) async fn signed_in(&self, name: &str, role: &str) -> String {
        let new = serde_json::from_value(json!({ "name": name, "role": role })).unwrap();
        self.app.admin().create_administrator(&By::system(), new).await.unwrap();
        let name = AdministratorName::new(name).unwrap();
        let opened = self.app.sign_in().open_for(&By::system(), &name).await.unwrap();
        format!("Cookie: jeton_session={}", opened.opener.expose_secret())
    }

    // === Raw HTTP ===

    /// Sends bytes and reads everything until the server closes. A server that refuses a long body answers
    /// and closes before it has read all of it, so a broken connection counts as closed.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.caller(), 0)).unwrap();
        let mut stream = socket.connect(self.app.address()).await.unwrap();
        let mut answer = Vec::new();
        let exchange = async {
            let _ = stream.write_all(request.as_ref()).await;
            let _ = stream.read_to_end(&mut answer).await;
        };
        let in_time = tokio::time::timeout(PATIENCE, exchange).await;
        assert!(in_time.is_ok(), "no whole answer within {PATIENCE:?}, only {answer:?}");
        Answer::parse(&answer)
    }

    /// A request with these header lines and this body; `Host`, `Connection` and `Content-Length` are added.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: jeton.test\r\nConnection: close\r\n");
        for line in headers {
            request.push_str(line);
            request.push_str("\r\n");
        }
        let mut request = format!("{request}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        self.raw(request).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    /// A form to the token endpoint.
    pub(crate) async fn form(&self, headers: &[&str], body: &str) -> Answer {
        let mut all = vec!["Content-Type: application/x-www-form-urlencoded"];
        all.extend_from_slice(headers);
        self.send("POST", "/oauth2/token", &all, body).await
    }

    /// A token request by `client_secret_basic`.
    pub(crate) async fn token(&self, client: &Client, body: &str) -> Answer {
        self.form(&[&client.basic()], body).await
    }

    /// An API request with a token and a JSON body (none when null).
    pub(crate) async fn api(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[&str],
        body: Value,
    ) -> Answer {
        let authorization = format!("Authorization: Bearer {token}");
        let mut all = vec![authorization.as_str()];
        all.extend_from_slice(headers);
        let body = if body.is_null() {
            String::new()
        } else {
            all.push("Content-Type: application/json");
            body.to_string()
        };
        self.send(method, &format!("/api/v1{path}"), &all, body).await
    }
}

impl Client {
    pub(crate) fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }

    /// The `Authorization` header, with id and secret form-urlencoded (RFC 6749 §2.3.1).
    pub(crate) fn basic(&self) -> String {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        basic(&format!("{}:{}", encode(&self.id), encode(&self.secret)))
    }
}

/// A Basic `Authorization` header of exactly this text.
pub(crate) fn basic(text: &str) -> String {
    format!("Authorization: Basic {}", BASE64.encode(text))
}
