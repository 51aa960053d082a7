//! Signing keys that live in a PKCS#11 token (docs/signing-keys.md).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, sleep};

use crate::harness::softhsm::{LABEL, Object, Token};
use crate::harness::{Database, Engine, Process, command};
use crate::signing_keys::signed_by;
use jeton::config::Config;
use jeton::domain::error::{Fault, FaultKind};
use jeton::domain::ids::KeyId;
use jeton::jose::{Algorithm, PublicJwk, PublicJwkSet, RsaBits, Unverified, VerifyingKey};
use jeton::runtime::token_keys::{HeldKey, TokenKeys};

type Environment<'a> = [(&'a str, &'a str)];

const HELD: (&str, &str) = ("JETON_KEYS__HELD_IN", "pkcs11");
const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "RS256", "PS256", "EdDSA"];

/// Rotation within seconds.
const FAST: [(&str, &str); 7] = [
    ("JETON_KEYS__ROTATE_EVERY", "2s"),
    ("JETON_KEYS__PUBLISH_AHEAD", "3s"),
    ("JETON_KEYS__VERIFIER_CACHE", "1s"),
    ("JETON_KEYS__CLOCK_TOLERANCE", "100ms"),
    ("JETON_KEYS__VERIFIER_LEEWAY", "1s"),
    ("JETON_TOKENS__MAX_LIFETIME", "5"),
    HELD,
];

/// How long something may take that is to happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long it may take before the token is stirred.
const STIRRING: Duration = Duration::from_secs(5);

fn output(database: &Database, environment: &Environment<'_>, arguments: &[&str]) -> (bool, String, String) {
    // As `Process` has it.
    let mut command = command(database, arguments);
    command.env("JETON_ISSUER", "http://localhost:8080").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// The answer of a command that must succeed.
fn run(database: &Database, environment: &Environment<'_>, arguments: &[&str]) -> Value {
    let (success, stdout, stderr) = output(database, environment, &[arguments, &["--json"]].concat());
    assert!(success, "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// What a command that must fail says.
fn refused(database: &Database, environment: &Environment<'_>, arguments: &[&str]) -> String {
    let (success, _, stderr) = output(database, environment, arguments);
    assert!(!success, "{arguments:?}");
    stderr
}

/// A resource server for each of these algorithms, and a role that gives its permission.
fn register_apis(database: &Database, environment: &Environment<'_>, algorithms: &[&str]) {
    for algorithm in algorithms {
        let name = algorithm.to_lowercase();
        let (identifier, permission) = (format!("https://{name}.example"), format!("{name}:use"));
        let server = ["resource-servers", "create", &name, "--identifier", &identifier];
        let more = ["--permission", &permission, "--signing-algorithm", algorithm];
        run(database, environment, &[&server[..], &more].concat());
        let holds = format!("{name}/{permission}");
        run(database, environment, &["roles", "create", algorithm, "--permission", &holds]);
    }
}

/// The secret of a new client with these roles.
fn register_client(database: &Database, environment: &Environment<'_>, roles: &[&str]) -> String {
    let mut client = vec!["clients", "create", "billing"];
    client.extend(roles.iter().flat_map(|role| ["--role", role]));
    let made = run(database, environment, &client);
    made["secret"]["client_secret"].as_str().unwrap().to_owned()
}

fn register(database: &Database, environment: &Environment<'_>, algorithms: &[&str]) -> String {
    register_apis(database, environment, algorithms);
    register_client(database, environment, algorithms)
}

async fn ask(server: &Process, secret: &str, algorithm: &str) -> (u16, Value) {
    let scope = format!("{}:use", algorithm.to_lowercase());
    let form = [("grant_type", "client_credentials"), ("scope", &scope)];
    let request = reqwest::Client::new().post(format!("{}/oauth2/token", server.base));
    let answer = request.basic_auth("billing", Some(secret)).form(&form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn jwks(server: &Process) -> PublicJwkSet {
    reqwest::get(format!("{}/.well-known/jwks.json", server.base)).await.unwrap().json().await.unwrap()
}

/// The key of a token that must be issued, be of this algorithm and verify with what is published.
async fn signs(server: &Process, secret: &str, algorithm: &str) -> String {
    let (mut status, mut body) = ask(server, secret, algorithm).await;
    // SoftHSM2 shows one process what another has just made only after a moment.
    for _ in 0..50 {
        if status != 503 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        (status, body) = ask(server, secret, algorithm).await;
    }
    assert_eq!(status, 200, "{body}\n{}", server.log());
    let token = body["access_token"].as_str().unwrap();
    let (kid, signed_with) = signed_by(token);
    assert_eq!(signed_with, algorithm);
    let set = jwks(server).await;
    let key = VerifyingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
    Unverified::parse(token).unwrap().verify::<Value>(&key).unwrap();
    kid
}

/// The identifiers of the keys that the database says are in the token, in order.
async fn stored(database: &Database) -> Vec<String> {
    database.texts("SELECT kid FROM signing_keys WHERE pkcs11_token = 'jeton test' ORDER BY kid").await
}

async fn sealed(database: &Database) -> Vec<String> {
    database.texts("SELECT kid FROM signing_keys WHERE sealed_private IS NOT NULL ORDER BY kid").await
}

async fn leftovers(database: &Database) -> Vec<String> {
    database.texts("SELECT name FROM pkcs11_leftovers ORDER BY name").await
}

/// What is in the token without what a process was about to store or to destroy when it was stopped: that is on the
/// list.
async fn kept(token: &Token, database: &Database) -> Vec<String> {
    let leftovers = leftovers(database).await;
    let objects = token.objects().into_iter();
    let is_left = |object: &Object| leftovers.iter().any(|name| [&object.label, &object.id].contains(&name));
    objects.filter(|object| object.is_private && !is_left(object)).map(|object| object.id).collect()
}

/// Waits until this holds. What takes long may wait for `SoftHSM2` to look into the token again.
async fn until(token: &Token, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let (begun, mut stirred) = (Instant::now(), Instant::now());
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        if stirred.elapsed() > STIRRING {
            token.stir();
            stirred = Instant::now();
        }
        // Not often: whoever looks into the token is in the servers' way.
        sleep(Duration::from_millis(200)).await;
    }
}

async fn all_algorithms(engine: Engine) {
    let database = Database::create(engine).await;
    let token = Token::create(&database);
    let environment = token.with(&[HELD, ("JETON_KEYS__RSA_BITS", "3072")]);
    let secret = register(&database, &environment, &ALGORITHMS);
    let server = Process::serve(&database, &environment).await;
    let mut signing = Vec::new();
    for algorithm in ALGORITHMS {
        signing.push(signs(&server, &secret, algorithm).await);
    }
    let set = serde_json::to_value(jwks(&server).await).unwrap();
    let moduli: Vec<_> = set["keys"].as_array().unwrap().iter().filter_map(|key| key["n"].as_str()).collect();
    assert_eq!(moduli.iter().map(|n| n.len()).collect::<Vec<_>>(), [512, 512], "3072 bits in base64url");
    let complaints = server.complaints();
    server.stop().await;
    assert_eq!(complaints, [""; 0]);

    // Nothing private is here, and what is there does not come out.
    assert_eq!(sealed(&database).await, [""; 0]);
    assert_eq!(token.kids(), stored(&database).await);
    assert_eq!(leftovers(&database).await, [""; 0]);
    for object in token.objects().iter().filter(|object| object.is_private) {
        assert_eq!(object.access, "sensitive, always sensitive, never extractable, local", "{object:?}");
    }

    // The same after a restart, and with keys in the database wanted from now on.
    for environment in [environment.clone(), token.with(&[])] {
        let server = Process::serve(&database, &environment).await;
        for (algorithm, kid) in ALGORITHMS.iter().zip(&signing) {
            assert_eq!(signs(&server, &secret, algorithm).await, *kid);
        }
        server.stop().await;
    }
    let (_, audit, _) = output(&database, &environment, &["audit", "verify"]);
    assert!(!audit.contains("broken"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_algorithms_sign_in_the_token_on_sqlite() {
    all_algorithms(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_algorithms_sign_in_the_token_on_postgres() {
    all_algorithms(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_algorithm_that_the_token_cannot_do_is_refused() {
    let database = Database::create(Engine::Sqlite).await;
    let token = Token::create(&database);
    let held = token.with(&[HELD]);
    let new = ["resource-servers", "create", "pq", "--identifier", "urn:pq", "--signing-algorithm"];
    let said = refused(&database, &held, &[&new[..], &["ML-DSA-65"]].concat());
    let cannot = "the PKCS#11 token 'jeton test', which the signing keys are held in (keys.held_in), cannot make keys \
                  for ML-DSA-65";
    assert!(said.contains(&format!("signing_algorithm: {cannot}; use another algorithm")), "{said}");
    register_apis(&database, &held, &["ES384"]);
    let secret = register_client(&database, &held, &["administrator"]);
    let server = Process::serve(&database, &held).await;
    let http = reqwest::Client::new();
    let form = [("grant_type", "client_credentials"), ("resource", "http://localhost:8080/api/v1")];
    let request = http.post(format!("{}/oauth2/token", server.base)).basic_auth("billing", Some(secret));
    let answer: Value = request.form(&form).send().await.unwrap().json().await.unwrap();
    let request = http
        .patch(format!("{}/api/v1/resource-servers/es384", server.base))
        .bearer_auth(answer["access_token"].as_str().unwrap())
        .header("if-match", "\"1\"")
        .json(&json!({ "signing_algorithm": "ML-DSA-65" }));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 422);
    let problem = answer.text().await.unwrap();
    assert!(problem.contains(cannot), "{problem}");
    server.stop().await;

    // Registered while the keys were held in the database.
    run(&database, &token.with(&[]), &[&new[..], &["ML-DSA-65"]].concat());
    let said = refused(&database, &held, &["serve"]);
    let expected =
        format!("{cannot}, and a resource server uses it: set keys.held_in to database until none does");
    assert!(said.contains(&expected), "{said}");
    Process::serve(&database, &token.with(&[])).await.stop().await;
}

/// Keys are made, sign, leave and are destroyed in the token; a revoked one too.
#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_in_the_token_and_are_destroyed_there() {
    let database = Database::create(Engine::Sqlite).await;
    let token = Token::create(&database);
    let environment = token.with(&FAST);
    let secret = register(&database, &token.with(&[HELD]), &["ES256"]);
    let server = Process::serve(&database, &environment).await;
    let first = signs(&server, &secret, "ES256").await;
    assert!(stored(&database).await.contains(&first));
    until(&token, "another key signs", async || signs(&server, &secret, "ES256").await != first).await;
    let revoked = signs(&server, &secret, "ES256").await;
    run(&database, &environment, &["keys", "revoke", &revoked]);
    until(&token, "a fresh key signs", async || {
        let (status, body) = ask(&server, &secret, "ES256").await;
        status == 200 && signed_by(body["access_token"].as_str().unwrap()).0 != revoked
    })
    .await;
    for kid in [&first, &revoked] {
        // Not by a look into the token: SoftHSM2 writes when it reads, and what is being made there can be lost by it.
        let destroyed = format!("destroyed in the PKCS#11 token name={kid} ");
        until(&token, "it is destroyed", async || {
            signs(&server, &secret, "ES256").await;
            server.log().contains(&destroyed)
        })
        .await;
        assert!(!stored(&database).await.contains(kid), "not before it is removed");
    }
    let log = server.log();
    server.stop().await;
    let (kept, stored) = (kept(&token, &database).await, stored(&database).await);
    assert_eq!(kept, stored, "{:#?} {log}", token.objects());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_rotate_at_once_leave_one_pair_a_generation() {
    let database = Database::create(Engine::Postgres).await;
    let token = Token::create(&database);
    let environment = token.with(&FAST);
    let secret = register(&database, &token.with(&[HELD]), &["ES256"]);
    // One after the other: SoftHSM2 can be broken for a process that opens its token while another logs in.
    let one = Process::serve(&database, &environment).await;
    let other = Process::serve(&database, &environment).await;
    let log = || format!("{}{}", one.log(), other.log());
    // The loser of a race says which pair it has destroyed; one that was removed goes by its identifier.
    until(&token, "both make the same generation", async || {
        for server in [&one, &other] {
            signs(server, &secret, "ES256").await;
        }
        log().matches("name=jeton-").count() >= 2
    })
    .await;
    let log = log();
    one.stop().await;
    other.stop().await;
    assert_eq!(kept(&token, &database).await, stored(&database).await, "{log}");
}

/// Changing the setting makes the next keys there; those that are, go on where they are.
#[tokio::test(flavor = "multi_thread")]
async fn keys_move_into_the_token_and_back_by_rotating() {
    let database = Database::create(Engine::Postgres).await;
    let token = Token::create(&database);
    let held = token.with(&FAST);
    let here = token.with(&[&FAST[..], &[("JETON_KEYS__HELD_IN", "database")]].concat());
    let secret = register(&database, &token.with(&[]), &["ES256"]);
    // One of two is restarted at a time, and the other meets keys of both kinds.
    let mut servers = vec![Process::serve(&database, &here).await, Process::serve(&database, &here).await];
    let mut complaints = Vec::new();
    for (environment, in_token) in [(&held, true), (&here, false)] {
        for _ in 0..2 {
            let replaced = servers.remove(0);
            complaints.extend(replaced.complaints());
            replaced.stop().await;
            servers.push(Process::serve(&database, environment).await);
            for server in &servers {
                signs(server, &secret, "ES256").await;
            }
        }
        until(&token, "a key of the other kind signs", async || {
            let mut all = true;
            for server in &servers {
                let kid = signs(server, &secret, "ES256").await;
                all &= stored(&database).await.contains(&kid) == in_token;
            }
            all
        })
        .await;
    }
    until(&token, "the token is empty", async || kept(&token, &database).await.is_empty()).await;
    for server in servers {
        complaints.extend(server.complaints());
        server.stop().await;
    }
    assert_eq!(stored(&database).await, [""; 0]);
    assert!(!sealed(&database).await.is_empty());
    // For a moment, or longer, SoftHSM2 may hide what one of them has made while the other made something (`Token::stir`).
    complaints.retain(|line| !line.contains("a signing key cannot be used here"));
    assert_eq!(complaints, [""; 0]);
}

/// What is in the database works on while the token is away, and the token when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_away_is_503_for_its_keys_only() {
    let database = Database::create(Engine::Sqlite).await;
    let token = Token::create(&database);
    let held = token.with(&[HELD]);
    // RS256 is made here before, ES384 there after.
    Process::serve(&database, &token.with(&[])).await.stop().await;
    let secret = register(&database, &held, &["RS256", "ES384"]);
    let server = Process::serve(&database, &held).await;
    signs(&server, &secret, "RS256").await;
    let kid = signs(&server, &secret, "ES384").await;

    let away = token.directory.with_extension("away");
    fs::rename(&token.directory, &away).unwrap();
    until(&token, "the token is missed", async || ask(&server, &secret, "ES384").await.0 == 503).await;
    signs(&server, &secret, "RS256").await;
    let said = refused(&database, &held, &["serve"]);
    assert!(said.contains("the PKCS#11 library") && said.contains("Initialize"), "{said}");
    fs::rename(&away, &token.directory).unwrap();
    // SoftHSM2 never looks again for what was gone once.
    server.stop().await;
    let server = Process::serve(&database, &held).await;
    assert_eq!(signs(&server, &secret, "ES384").await, kid);
    server.stop().await;
}

/// Runs a test of this file in another process: `SoftHSM2` reads where its tokens are from the environment.
fn in_a_process_of_its_own(token: &Token, name: &str) {
    let test = std::env::current_exe().unwrap();
    let mut inside = std::process::Command::new(test);
    inside.args(["--exact", "--ignored", "--nocapture", &format!("pkcs11_keys::inside::{name}")]);
    let done = inside.envs(token.with(&[])).output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// What must not end signing: somebody in this process logs out.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_lost_is_opened_again() {
    let database = Database::create(Engine::Sqlite).await;
    in_a_process_of_its_own(&Token::create(&database), "a_session_is_lost");
}

/// `SoftHSM2` fails one of ten pairs that one thread makes while another looks for keys, or loses what is in one.
#[tokio::test(flavor = "multi_thread")]
async fn making_keys_is_not_disturbed_by_looking_for_others() {
    let database = Database::create(Engine::Sqlite).await;
    in_a_process_of_its_own(&Token::create(&database), "keys_are_made_and_looked_for");
}

/// A pair is stored after it has signed only.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_cannot_sign_is_not_a_key() {
    let database = Database::create(Engine::Sqlite).await;
    let token = Token::create(&database);
    token.forbid("CKM_ECDSA");
    in_a_process_of_its_own(&token, "a_pair_cannot_sign");
}

/// Tests that others run in a process of its own.
mod inside {
    use super::*;

    fn token_keys() -> (Config, TokenKeys) {
        let config = Config::load(None, std::env::vars()).unwrap();
        let keys = TokenKeys::of(&config).unwrap();
        (config, keys)
    }

    async fn make(keys: &TokenKeys, label: &str) -> Result<PublicJwk, Fault> {
        let made = keys.generate(Algorithm::Es256, RsaBits::Rsa2048, label.to_owned()).await.unwrap();
        made.map_err(|flawed| flawed.fault)
    }

    fn held(keys: &TokenKeys, made: &PublicJwk) -> Arc<HeldKey> {
        Arc::new(HeldKey {
            token: keys.label().to_owned(),
            kid: KeyId::new(made.key_id()).unwrap(),
            algorithm: Algorithm::Es256,
            verifying: VerifyingKey::from_jwk(made).unwrap(),
        })
    }

    #[tokio::test]
    #[ignore = "a_session_that_is_lost_is_opened_again runs it"]
    async fn a_session_is_lost() {
        let (config, keys) = token_keys();
        let held = held(&keys, &make(&keys, "test").await.unwrap());
        let sign = async || {
            let signature = keys.sign(Arc::clone(&held), b"message".to_vec()).await?;
            assert!(held.verifying.has_signed(b"message", &signature));
            assert!(!held.verifying.has_signed(b"massage", &signature));
            Ok::<_, Fault>(())
        };
        sign().await.unwrap();
        // The process shares one login, so this is everybody's.
        let library = Pkcs11::new(&config.pkcs11.as_ref().unwrap().module).unwrap();
        let slot = library.get_slots_with_initialized_token().unwrap().remove(0);
        library.open_ro_session(slot).unwrap().logout().unwrap();
        sign().await.unwrap();
        // More at once than wait is too many: some are told so at once, and the others get theirs.
        let all = (0..3_000).map(|_| sign());
        let (done, refused): (Vec<_>, Vec<_>) =
            futures_util::future::join_all(all).await.into_iter().partition(Result::is_ok);
        assert!(done.len() >= 1_024 && refused.len() > 500, "{} done, {} refused", done.len(), refused.len());
        for fault in refused {
            let fault = fault.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Unavailable);
            assert!(fault.detail.contains("too many requests wait for it"), "{fault}");
        }
        sign().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "making_keys_is_not_disturbed_by_looking_for_others runs it"]
    async fn keys_are_made_and_looked_for() {
        let (_, keys) = token_keys();
        let used = held(&keys, &make(&keys, "used").await.unwrap());
        let missing = held(&keys, &make(&keys, "missing").await.unwrap());
        assert_eq!(keys.destroy("missing".to_owned(), vec![]).await.unwrap(), 2);
        let over = Arc::new(AtomicBool::new(false));
        let looks = |key: &Arc<HeldKey>, is_there: bool| {
            let (keys, key, over) = (keys.clone(), Arc::clone(key), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let signed = keys.sign(Arc::clone(&key), b"message".to_vec()).await;
                    assert_eq!(signed.is_ok(), is_there, "{signed:?}");
                }
            })
        };
        let looking = [looks(&missing, false), looks(&missing, false), looks(&used, true)];
        for number in 0..50 {
            let label = format!("pair {number}");
            let held = held(&keys, &make(&keys, &label).await.unwrap());
            keys.sign(held, b"message".to_vec()).await.unwrap();
            assert_eq!(keys.destroy(label, vec![]).await.unwrap(), 2, "both halves");
        }
        // A library that is called while the process ends may crash it.
        over.store(true, Ordering::SeqCst);
        for looking in looking {
            looking.await.unwrap();
        }
    }

    #[tokio::test]
    #[ignore = "a_pair_that_cannot_sign_is_not_a_key runs it"]
    async fn a_pair_cannot_sign() {
        let (_, keys) = token_keys();
        let fault = make(&keys, "test").await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unavailable);
        let expected = format!("the PKCS#11 token '{LABEL}' does not make a key for ES256: ");
        assert!(fault.detail.starts_with(&expected), "{fault}");
        // Whoever wanted it can destroy what there is of it.
        assert_eq!(keys.destroy("test".to_owned(), vec![]).await.unwrap(), 2);
    }
}

/// A key that is lost is named, and revoking it makes another.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_lost_is_named_and_replaced() {
    let database = Database::create(Engine::Postgres).await;
    let token = Token::create(&database);
    let held = token.with(&[HELD]);
    let secret = register(&database, &held, &["ES256", "EdDSA"]);
    let server = Process::serve(&database, &held).await;
    let kid = signs(&server, &secret, "EdDSA").await;
    token.destroy(&kid);
    until(&token, "it is missed", async || ask(&server, &secret, "EdDSA").await.0 == 503).await;
    let lost = format!("the PKCS#11 token '{LABEL}' does not have the signing key {kid}");
    assert!(server.log().contains(&lost), "{}", server.log());
    signs(&server, &secret, "ES256").await;
    let said = refused(&database, &held, &["serve"]);
    assert!(said.contains(&lost) && said.contains("`jeton keys revoke`"), "{said}");
    // Without the token at all it is named too.
    let said = refused(&database, &[], &["serve"]);
    let expected = format!("is in the PKCS#11 token '{LABEL}', and this process has none (pkcs11.token)");
    assert!(said.contains(&expected), "{said}");

    run(&database, &held, &["keys", "revoke", &kid]);
    until(&token, "a fresh key signs", async || ask(&server, &secret, "EdDSA").await.0 == 200).await;
    assert_ne!(signs(&server, &secret, "EdDSA").await, kid);
    server.stop().await;
    Process::serve(&database, &held).await.stop().await;
}

/// Somebody else's pair under a key's identifier signs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn another_pair_under_the_identifier_signs_nothing() {
    let database = Database::create(Engine::Sqlite).await;
    let token = Token::create(&database);
    let held = token.with(&[HELD]);
    let secret = register(&database, &held, &["ES256"]);
    let server = Process::serve(&database, &held).await;
    let kid = signs(&server, &secret, "ES256").await;
    token.destroy(&kid);
    token.imitate(&kid);
    until(&token, "it is noticed", async || ask(&server, &secret, "ES256").await.0 == 503).await;
    let expected =
        format!("the PKCS#11 token '{LABEL}' has another key than the published one under the CKA_ID {kid}");
    assert!(server.log().contains(&expected), "{}", server.log());
    server.stop().await;
    assert!(refused(&database, &held, &["serve"]).contains(&expected));
}

/// A process that is killed between making a pair and storing the key leaves a pair, which another one destroys
/// after an hour.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_has_made_for_nothing_is_destroyed() {
    let database = Database::create(Engine::Postgres).await;
    let token = Token::create(&database);
    let held = token.with(&[HELD]);
    Process::serve(&database, &held).await.stop().await;
    let before = token.kids();
    // Nobody can store a key for a while.
    let mut holder = PgConnection::connect(database.url.as_ref().unwrap()).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder.execute("LOCK TABLE signing_keys IN SHARE MODE").await.unwrap();
    let mut killed = Process::start(&database, &["keys", "rotate"], &held);
    // And has its identifier, because SoftHSM2 is not safe against being killed while it writes.
    let ids = || token.objects().iter().filter(|object| !object.id.is_empty()).count();
    until(&token, "a pair is made", async || {
        // SoftHSM2 may fail for whoever asks while the test looks.
        if !killed.is_running() {
            killed = Process::start(&database, &["keys", "rotate"], &held);
        }
        ids() == 2 * before.len() + 2
    })
    .await;
    killed.signal("KILL").await;
    holder.close().await.unwrap();
    let left = leftovers(&database).await;
    assert_eq!(token.objects().iter().filter(|object| left.contains(&object.label)).count(), 2);

    // Not before its time, because it may belong to somebody who is slow.
    Process::serve(&database, &held).await.stop().await;
    assert_eq!((leftovers(&database).await, token.objects().len()), (left, 2 * before.len() + 2));
    database.execute("UPDATE pkcs11_leftovers SET due_at = due_at - 7200000000").await;
    Process::serve(&database, &held).await.stop().await;
    assert_eq!(token.kids(), before);
    assert_eq!(leftovers(&database).await, [""; 0]);

    // Whatever the list says, no key is destroyed that signs.
    let mistake = format!("INSERT INTO pkcs11_leftovers VALUES ('{}', '{LABEL}', 0)", before[0]);
    database.execute(&mistake).await;
    Process::serve(&database, &held).await.stop().await;
    assert_eq!((token.kids(), leftovers(&database).await), (before, vec![]));
}
