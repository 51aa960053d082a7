//! A small OpenID provider that lies when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use jeton::config::{ClientSecretSource, Upstream};
use jeton::domain::single_sign_on::{ClaimPath, Mapping};
use jeton::runtime::clock::{Clock, ManualClock};

pub(crate) const CLIENT_SECRET: &str = "what the provider knows jeton by";

/// How an ID token is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Signed {
    /// With the published key.
    #[default]
    Well,
    /// Not at all, and it says so.
    None,
    /// With the client secret.
    ByClientSecret,
    /// With another key that says it is the published one.
    ByAnother,
    /// With the published key, and cut short then.
    Cut,
}

/// What the provider says of the next person, and how.
pub(crate) struct Script {
    /// Who comes next.
    pub(crate) subject: String,
    /// What stands in the ID token about them.
    pub(crate) claims: Value,
    /// What userinfo says besides `sub`; no endpoint without.
    pub(crate) userinfo: Option<Value>,
    /// Changes the claims of the ID token just before it is signed; null takes one away.
    pub(crate) lies: Value,
    pub(crate) signed: Signed,
    /// The whole answer of the token endpoint instead.
    pub(crate) token_answer: Option<(u16, Value)>,
    /// Whether answers say who they are from, and discovery says so.
    pub(crate) names_itself: bool,
    /// The name of the signing key.
    pub(crate) kid: String,
    /// The name that is published.
    pub(crate) published_kid: String,
    /// Whether it does not say what it publishes.
    pub(crate) unwell: bool,
    /// How often it was asked what.
    pub(crate) asked: BTreeMap<&'static str, u32>,
    codes: BTreeMap<String, Sent>,
    key: EcdsaKeyPair,
}

/// What a browser was sent with.
#[derive(Clone)]
struct Sent {
    nonce: String,
    challenge: String,
    redirect: String,
}

pub(crate) struct Provider {
    address: SocketAddr,
    shared: Shared,
    serving: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<Script>>,
    clock: Arc<ManualClock>,
    issuer: String,
}

impl Provider {
    pub(crate) async fn start(clock: Arc<ManualClock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script {
            subject: "248289761001".to_owned(),
            claims: json!({}),
            userinfo: None,
            lies: json!({}),
            signed: Signed::Well,
            token_answer: None,
            names_itself: true,
            kid: "one".to_owned(),
            published_kid: "one".to_owned(),
            unwell: false,
            asked: BTreeMap::new(),
            codes: BTreeMap::new(),
            key: new_key(),
        };
        let issuer = format!("http://{address}");
        let shared = Shared { script: Arc::new(Mutex::new(script)), clock, issuer };
        let mut provider = Self { address, shared, serving: None };
        provider.serve(listener);
        provider
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(self.shared.clone());
        self.serving = Some(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    }

    /// Nobody listens any more.
    pub(crate) async fn go_away(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _ = serving.await;
    }

    pub(crate) async fn come_back(&mut self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }

    /// The next person has these groups.
    pub(crate) fn person(&self, subject: &str, name: &str, groups: &[&str]) {
        let mut script = self.script();
        subject.clone_into(&mut script.subject);
        script.claims = json!({ "preferred_username": name, "groups": groups });
    }

    /// Another key, which is published too or not.
    pub(crate) fn new_key(&self, kid: &str, published: bool) {
        let mut script = self.script();
        script.key = new_key();
        kid.clone_into(&mut script.kid);
        if published {
            kid.clone_into(&mut script.published_kid);
        }
    }

    /// The configuration of a Jeton that trusts it.
    pub(crate) fn upstream(&self) -> Upstream {
        Upstream {
            issuer: self.issuer().to_owned(),
            client_id: "jeton at home".to_owned(),
            client_secret: ClientSecretSource::Value(CLIENT_SECRET.to_owned().into()),
            scopes: vec!["profile".to_owned()],
            label: "Example <SSO>".to_owned(),
            mapping: Mapping {
                role_claim: ClaimPath::parse("groups").unwrap(),
                administrators: vec!["ops".to_owned()],
                auditors: vec!["audit".to_owned()],
                name_claim: ClaimPath::parse("preferred_username").unwrap(),
            },
        }
    }

    /// Signs the next person in at the provider, where a browser was sent to: where it is sent back to.
    pub(crate) fn authorize(&self, location: &str) -> String {
        let url = Url::parse(location).unwrap();
        assert!(location.starts_with(&format!("{}/authorize?", self.issuer())), "{location}");
        let asked: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], "jeton at home");
        assert_eq!(asked["scope"], "openid profile");
        assert_eq!(asked["code_challenge_method"], "S256");
        let code = format!("code-{}", rand::random::<u64>());
        let mut script = self.script();
        let sent = Sent {
            nonce: asked["nonce"].clone(),
            challenge: asked["code_challenge"].clone(),
            redirect: asked["redirect_uri"].clone(),
        };
        script.codes.insert(code.clone(), sent);
        let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked["state"]);
        if script.names_itself {
            back.query_pairs_mut().append_pair("iss", self.issuer());
        }
        let (path, query) = (back.path().to_owned(), back.query().unwrap().to_owned());
        format!("{path}?{query}")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

fn new_key() -> EcdsaKeyPair {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.unwrap().as_ref()).unwrap()
}

fn sha256(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

async fn configuration(State(shared): State<Shared>) -> Result<Json<Value>, StatusCode> {
    let Shared { script, issuer, .. } = &shared;
    let mut script = script.lock().unwrap();
    *script.asked.entry("configuration").or_default() += 1;
    if script.unwell {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        "authorization_response_iss_parameter_supported": script.names_itself,
    });
    if script.userinfo.is_some() {
        document["userinfo_endpoint"] = format!("{issuer}/userinfo").into();
    }
    Ok(Json(document))
}

async fn keys(State(shared): State<Shared>) -> Json<Value> {
    let mut script = shared.script.lock().unwrap();
    *script.asked.entry("keys").or_default() += 1;
    let point = script.key.public_key().as_ref();
    let (x, y) = (BASE64URL.encode(&point[1..33]), BASE64URL.encode(&point[33..]));
    let kid = script.published_kid.clone();
    let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "later", "pub": "AA" });
    Json(json!({ "keys": [
        unknown,
        { "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": x, "y": y },
    ] }))
}

async fn token(State(shared): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let mut script = shared.script.lock().unwrap();
    *script.asked.entry("token").or_default() += 1;
    if let Some((status, answer)) = &script.token_answer {
        return (StatusCode::from_u16(*status).unwrap(), Json(answer.clone())).into_response();
    }
    let basic = headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let known = format!("{}:{}", encode("jeton at home"), encode(CLIENT_SECRET));
    assert_eq!(String::from_utf8(BASE64.decode(basic).unwrap()).unwrap(), known);
    let sent = script.codes.remove(&form["code"]);
    let Some(sent) = sent.filter(|sent| {
        sent.redirect == form["redirect_uri"]
            && sent.challenge == BASE64URL.encode(sha256(&form["code_verifier"]))
    }) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    };
    let id_token = script.id_token(&sent, &shared);
    Json(json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 60, "id_token": id_token }))
        .into_response()
}

async fn userinfo(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let mut script = shared.script.lock().unwrap();
    *script.asked.entry("userinfo").or_default() += 1;
    assert_eq!(headers["authorization"], "Bearer opaque");
    let mut info = json!({ "sub": script.subject });
    merge(&mut info, script.userinfo.as_ref().unwrap());
    Json(info).into_response()
}

impl Script {
    fn id_token(&self, sent: &Sent, shared: &Shared) -> String {
        let now = shared.clock.now().as_seconds();
        let hash = sha256("opaque");
        let mut claims = json!({
            "iss": shared.issuer, "sub": self.subject, "aud": "jeton at home", "nonce": sent.nonce,
            "iat": now, "exp": now + 300, "at_hash": BASE64URL.encode(&hash[..16]),
        });
        merge(&mut claims, &self.claims);
        merge(&mut claims, &self.lies);
        let alg = match self.signed {
            Signed::None => "none",
            Signed::ByClientSecret => "HS256",
            _ => "ES256",
        };
        let header = json!({ "alg": alg, "kid": self.kid });
        let part = |value: &Value| BASE64URL.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let by = |key: &EcdsaKeyPair| {
            key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
        };
        let signature = match self.signed {
            Signed::Well => by(&self.key),
            Signed::ByAnother => by(&new_key()),
            Signed::Cut => by(&self.key)[..60].to_vec(),
            Signed::None => Vec::new(),
            Signed::ByClientSecret => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{message}.{}", BASE64URL.encode(signature))
    }
}

/// What is null goes; the rest is put in.
fn merge(into: &mut Value, from: &Value) {
    let into = into.as_object_mut().unwrap();
    for (name, value) in from.as_object().unwrap() {
        if value.is_null() {
            into.remove(name);
        } else {
            into.insert(name.clone(), value.clone());
        }
    }
}
