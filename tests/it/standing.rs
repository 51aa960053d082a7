//! *Disabled*, *expired* and *absent* refuse on every path: one table of whom that can befall and which doors it
//! shuts, walked on both engines.

mod certificates;
mod federation;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::federation::{Platform, sub};
use crate::harness::{Client, Server, both_engines};
use crate::private_key_jwt::{Signer, parameters};
use crate::token::GRANT;
use crate::token_exchange::{ACCESS_TOKEN, Chain, access_token, exchange, introspect};
use jeton::jose::Algorithm;

both_engines!(a_disabled_one_shuts_its_doors, an_expired_one_shuts_its_doors, an_absent_one_shuts_its_doors,);

/// Where somebody asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// `front` asks for a token for `orders`.
    ClientCredentials,
    /// The same, by a signed assertion.
    ClientCredentialsByKey,
    /// The same, by a token of a trusted issuer as the authorization.
    JwtBearer,
    /// `orders` passes `front` on to `payments`.
    TokenExchange,
    /// The same, and the token of `worker` says who acts.
    TokenExchangeByActor,
    /// `orders` introspects `front`'s token.
    Introspection,
    /// `payments` introspects the token in which `orders` acts for `front`.
    IntrospectionOfDelegated,
    /// `front` revokes a token of its own.
    Revocation,
    /// The same, by a signed assertion.
    RevocationByKey,
    /// `front`, which is an administrator, calls the API.
    Api,
}

use Door::{
    Api, ClientCredentials, ClientCredentialsByKey, Introspection, IntrospectionOfDelegated, JwtBearer,
    Revocation, RevocationByKey, TokenExchange, TokenExchangeByActor,
};

const DOORS: [Door; 10] = [
    ClientCredentials,
    ClientCredentialsByKey,
    JwtBearer,
    TokenExchange,
    TokenExchangeByActor,
    Introspection,
    IntrospectionOfDelegated,
    Revocation,
    RevocationByKey,
    Api,
];

/// Whom something befalls.
#[derive(Clone, Copy, Debug)]
enum Whom {
    /// The subject, which also asks for itself.
    Front,
    /// The caller of the exchange, which operates `orders` and acts in the delegated token.
    Orders,
    /// `worker`, whose token says that it acts.
    Actor,
    SecretOfFront,
    KeyOfFront,
    SecretOfOrders,
    Rule,
    /// The resource server that the subject token is for.
    Source,
    /// The one that is exchanged for.
    Target,
    /// The role of `front`.
    Role,
    /// That `orders` operates its resource server.
    Operator,
}

/// Everything of `front` goes through these.
const ALL: &[Door] = &DOORS;
const OF_ORDERS: &[Door] = &[TokenExchange, TokenExchangeByActor, Introspection, IntrospectionOfDelegated];
const EXCHANGES: &[Door] = &[TokenExchange, TokenExchangeByActor];

const DISABLED: &[(Whom, &[Door])] = &[
    (Whom::Front, ALL),
    (Whom::Orders, OF_ORDERS),
    (Whom::Actor, &[TokenExchangeByActor]),
    (Whom::Rule, EXCHANGES),
    (
        Whom::Source,
        &[
            ClientCredentials,
            ClientCredentialsByKey,
            JwtBearer,
            TokenExchange,
            TokenExchangeByActor,
            Introspection,
        ],
    ),
    (Whom::Target, &[TokenExchange, TokenExchangeByActor, IntrospectionOfDelegated]),
];

const EXPIRED: &[(Whom, &[Door])] = &[
    (Whom::Front, ALL),
    (Whom::Orders, OF_ORDERS),
    (Whom::SecretOfFront, &[ClientCredentials, Revocation]),
    (Whom::KeyOfFront, &[ClientCredentialsByKey, RevocationByKey]),
    (Whom::SecretOfOrders, &[TokenExchange, TokenExchangeByActor, Introspection]),
    (Whom::Actor, &[TokenExchangeByActor]),
    (Whom::Rule, EXCHANGES),
];

const ABSENT: &[(Whom, &[Door])] = &[
    (Whom::Front, ALL),
    (Whom::Orders, OF_ORDERS),
    (Whom::SecretOfFront, &[ClientCredentials, Revocation]),
    (Whom::KeyOfFront, &[ClientCredentialsByKey, RevocationByKey]),
    (Whom::SecretOfOrders, &[TokenExchange, TokenExchangeByActor, Introspection]),
    (Whom::Actor, &[TokenExchangeByActor]),
    (Whom::Rule, EXCHANGES),
    (
        Whom::Role,
        &[
            ClientCredentials,
            ClientCredentialsByKey,
            JwtBearer,
            TokenExchange,
            TokenExchangeByActor,
            Introspection,
            IntrospectionOfDelegated,
        ],
    ),
    (Whom::Operator, &[TokenExchange, TokenExchangeByActor, Introspection]),
];

const BEARER: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long everything lasts that will expire: longer than the preparations, shorter than a token.
const SOON: Duration = Duration::from_mins(1);

struct Cast {
    chain: Chain,
    front: Client,
    orders: Client,
    token: String,
    delegated: String,
    api: String,
    /// The secrets that `front` and `orders` use.
    secret_ids: [String; 2],
    /// What `front` signs with.
    signer: Signer,
    key: String,
    /// Whose tokens are `front`'s authorization.
    platform: Platform,
    /// The token of `worker`.
    actor: String,
}

impl Cast {
    async fn start(server: &Server) -> Self {
        let chain = Chain::start(server).await;
        let role = chain.api(server, "PUT", "/clients/front/roles/administrator", Value::Null).await;
        assert!(role.status < 300, "{}", role.body);
        let end = server.app.admin().ambient.now().plus(SOON);
        let (front, front_secret) = secret(server, &chain, "front", end.to_string()).await;
        let (orders, orders_secret) = secret(server, &chain, "orders", end.to_string()).await;
        let token = chain.token(server).await;
        // With a secret that stays: a token ends with the secret that got it.
        let delegated = access_token(&exchange(server, &chain.orders, &token, "").await);
        let api = format!("{GRANT}&resource={}/api/v1", server.app.issuer());
        let api = access_token(&server.token(&chain.front, &api).await);
        let signer = Signer::new("front", Algorithm::Es256);
        let key = format!("/clients/front/keys/{}", signer.add_key(server, json!({})).await);
        let platform = Platform::new("ci", "https://ci.example");
        platform.trust(server).await;
        platform.credential(server, "front", sub("front")).await;
        let worker = server.client(json!({ "client_id": "worker", "roles": ["shopper"] })).await;
        let actor = format!("{GRANT}&resource=https://orders.example");
        let actor = access_token(&server.token(&worker, &actor).await);
        let secret_ids = [front_secret, orders_secret];
        let cast =
            Self { chain, front, orders, token, delegated, api, secret_ids, signer, key, platform, actor };
        let ways = json!({
            "auth_methods": ["client_secret_basic", "private_key_jwt", "federated_jwt"],
            "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        });
        cast.change(server, "/clients/front", ways).await;
        cast
    }

    async fn is_open(&self, server: &Server, door: Door) -> bool {
        match door {
            ClientCredentials => {
                let body = format!("{GRANT}&resource=https://orders.example");
                let status = server.token(&self.front, &body).await.status;
                assert!([200, 400, 401].contains(&status), "{status}");
                status == 200
            }
            ClientCredentialsByKey => {
                let body = format!("{GRANT}&resource=https://orders.example&{}", self.signed(server));
                let status = server.form(&[], &body).await.status;
                assert!([200, 400, 401].contains(&status), "{status}");
                status == 200
            }
            RevocationByKey => {
                let form = ["Content-Type: application/x-www-form-urlencoded"];
                let body = format!("token=x&{}", self.signed(server));
                let status = server.send("POST", "/oauth2/revoke", &form, body).await.status;
                assert!([200, 401].contains(&status), "{status}");
                status == 200
            }
            JwtBearer => {
                let assertion = self.platform.token(server, "front");
                let body = format!("{BEARER}&resource=https://orders.example&assertion={assertion}");
                let status = server.form(&[], &body).await.status;
                assert!([200, 400].contains(&status), "{status}");
                status == 200
            }
            TokenExchange | TokenExchangeByActor => {
                let mut more = "scope=payments:read".to_owned();
                if door == TokenExchangeByActor {
                    let actor = &self.actor;
                    write!(more, "&actor_token={actor}&actor_token_type={ACCESS_TOKEN}").unwrap();
                }
                let status = exchange(server, &self.orders, &self.token, &more).await.status;
                assert!([200, 400, 401].contains(&status), "{status}");
                status == 200
            }
            Introspection => is_active(server, &self.orders, &self.token).await,
            IntrospectionOfDelegated => is_active(server, &self.chain.payments, &self.delegated).await,
            Revocation => {
                let headers = [&*self.front.basic(), "Content-Type: application/x-www-form-urlencoded"];
                let status = server.send("POST", "/oauth2/revoke", &headers, "token=x").await.status;
                assert!([200, 401].contains(&status), "{status}");
                status == 200
            }
            Api => {
                let status = server.api("GET", "/roles", &self.api, &[], Value::Null).await.status;
                assert!([200, 401].contains(&status), "{status}");
                status == 200
            }
        }
    }

    fn signed(&self, server: &Server) -> String {
        parameters(&self.signer.assertion(server))
    }

    async fn change(&self, server: &Server, path: &str, change: Value) {
        let version = self.chain.api(server, "GET", path, Value::Null).await;
        // A key is a part, which has none.
        let version = version.header("etag").map(|version| format!("If-Match: {version}"));
        let headers: Vec<&str> = version.iter().map(String::as_str).collect();
        server.api("PATCH", path, &self.chain.admin, &headers, change).await.expect(200);
    }

    async fn delete(&self, server: &Server, path: &str) {
        let version = self.chain.api(server, "GET", path, Value::Null).await;
        let version = version.header("etag").map(|version| format!("If-Match: {version}"));
        let headers: Vec<&str> = version.iter().map(String::as_str).collect();
        let answer = server.api("DELETE", path, &self.chain.admin, &headers, Value::Null).await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.body);
    }
}

async fn secret(server: &Server, chain: &Chain, client: &str, end: String) -> (Client, String) {
    let path = format!("/clients/{client}/secrets");
    let added = chain.api(server, "POST", &path, json!({ "expires_at": end })).await.expect(201);
    (
        Client::new(client, added["client_secret"].as_str().unwrap()),
        added["secret_id"].as_str().unwrap().to_owned(),
    )
}

async fn is_active(server: &Server, asker: &Client, token: &str) -> bool {
    let headers = [&*asker.basic(), "Content-Type: application/x-www-form-urlencoded"];
    let answer = server.send("POST", "/oauth2/introspect", &headers, format!("token={token}")).await;
    if answer.status == 401 {
        return false;
    }
    let shown = answer.expect(200);
    if shown["active"] == false {
        assert_eq!(shown, json!({ "active": false }), "nothing else is said");
    } else {
        assert_eq!(introspect(server, asker, token).await, shown);
    }
    shown["active"] == true
}

fn path(whom: Whom) -> &'static str {
    match whom {
        Whom::Front => "/clients/front",
        Whom::Orders => "/clients/orders",
        Whom::Actor => "/clients/worker",
        Whom::Rule => "/exchange-rules/orders-to-payments",
        Whom::Source => "/resource-servers/orders",
        Whom::Target => "/resource-servers/payments",
        Whom::Role => "/clients/front/roles/shopper",
        Whom::Operator => "/resource-servers/orders/operators/orders",
        Whom::SecretOfFront | Whom::SecretOfOrders | Whom::KeyOfFront => {
            unreachable!("a credential has no name of its own")
        }
    }
}

/// Every row: all doors are open, it happens, and exactly its doors are shut.
async fn walk(server: &Server, cast: &Cast, whom: Whom, shut: &[Door], happen: impl AsyncFnOnce()) {
    for door in DOORS {
        assert!(cast.is_open(server, door).await, "{whom:?}: {door:?} is open at first");
    }
    happen().await;
    for door in DOORS {
        assert_eq!(!cast.is_open(server, door).await, shut.contains(&door), "{whom:?}: {door:?}");
    }
}

async fn a_disabled_one_shuts_its_doors(server: Server) {
    let cast = Cast::start(&server).await;
    for (whom, shut) in DISABLED {
        let switch =
            async |enabled: bool| cast.change(&server, path(*whom), json!({ "enabled": enabled })).await;
        walk(&server, &cast, *whom, shut, async || switch(false).await).await;
        switch(true).await;
    }
}

async fn an_expired_one_shuts_its_doors(server: Server) {
    for (whom, shut) in EXPIRED {
        let server = Box::pin(Server::start(server.database.engine)).await;
        let cast = Box::pin(Cast::start(&server)).await;
        let end = server.app.admin().ambient.now().plus(SOON).to_string();
        // The secrets of whoever is not meant outlive the row.
        let mut cast = cast;
        match whom {
            Whom::SecretOfFront => cast.orders = Client::new("orders", &cast.chain.orders.secret),
            Whom::SecretOfOrders => cast.front = Client::new("front", &cast.chain.front.secret),
            _ => {
                cast.front = Client::new("front", &cast.chain.front.secret);
                cast.orders = Client::new("orders", &cast.chain.orders.secret);
                let path = if matches!(whom, Whom::KeyOfFront) { &cast.key } else { path(*whom) };
                cast.change(&server, path, json!({ "expires_at": end })).await;
            }
        }
        walk(&server, &cast, *whom, shut, async || server.clock.advance(SOON)).await;
        server.app.stop().await.unwrap();
    }
    server.app.stop().await.unwrap();
}

async fn an_absent_one_shuts_its_doors(server: Server) {
    for (whom, shut) in ABSENT {
        let server = Box::pin(Server::start(server.database.engine)).await;
        let cast = Box::pin(Cast::start(&server)).await;
        let remove = async || match whom {
            Whom::SecretOfFront => {
                cast.delete(&server, &format!("/clients/front/secrets/{}", cast.secret_ids[0])).await;
            }
            Whom::KeyOfFront => cast.delete(&server, &cast.key).await,
            Whom::SecretOfOrders => {
                cast.delete(&server, &format!("/clients/orders/secrets/{}", cast.secret_ids[1])).await;
            }
            Whom::Orders => {
                // A rule keeps whom it names.
                cast.delete(&server, path(Whom::Rule)).await;
                cast.delete(&server, path(Whom::Orders)).await;
            }
            named => cast.delete(&server, path(*named)).await,
        };
        walk(&server, &cast, *whom, shut, remove).await;
        server.app.stop().await.unwrap();
    }
    server.app.stop().await.unwrap();
}
