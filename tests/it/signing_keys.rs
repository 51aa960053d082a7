//! The life of a signing key, as verifiers see it (DESIGN §10; RFC 7517, RFC 9111).

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, START, Server, both_engines};
use crate::token::{GRANT, verified};
use jeton::admin::By;
use jeton::config::Config;
use jeton::domain::rotation::KeyState;
use jeton::domain::schedule::{Schedule, Timing};
use jeton::jose::Algorithm;

both_engines!(
    a_key_is_known_before_it_signs_and_until_its_tokens_end,
    tokens_of_the_old_key_open_the_api_until_they_end,
    nobody_is_told_to_keep_keys_for_longer_than_planned_rfc9111,
    a_ring_is_there_with_the_first_resource_server_that_uses_it,
    a_ring_that_nothing_uses_leaves_with_its_tokens,
    a_revoked_ring_is_in_no_document,
    an_rsa_key_is_as_long_as_configured,
    tokens_that_live_are_counted,
    a_public_part_of_another_key_is_refused_at_start,
    a_damaged_private_part_is_refused_at_start,
);

const JWKS: &str = "/.well-known/jwks.json";
pub(crate) const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);
/// What [`Timing::usual`] keeps a key for after its last token: an hour, a minute of leeway, twice 30 s of clocks.
const KEEP: Duration = Duration::from_mins(62);

/// The kid and the algorithm in a token's header.
pub(crate) fn signed_by(token: &str) -> (String, String) {
    let header = BASE64URL.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let member = |name: &str| header[name].as_str().unwrap().to_owned();
    (member("kid"), member("alg"))
}

impl Server {
    /// A token for what this client can have, verified with the key set of this moment. Answers its kid.
    pub(crate) async fn signs(&self, client: &Client) -> String {
        let answer = self.token(client, GRANT).await.expect(200);
        let token = answer["access_token"].as_str().unwrap();
        verified(self, token).await;
        signed_by(token).0
    }

    /// The kids of the key set with this algorithm, in its order.
    pub(crate) async fn kids(&self, algorithm: &str) -> Vec<String> {
        let jwks = self.get(JWKS).await.expect(200);
        let keys = jwks["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == algorithm);
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn settle(&self) {
        self.app.rotator().settle().await.unwrap();
    }

    /// The algorithms that each document names, which must be the same.
    async fn algorithms(&self) -> Vec<String> {
        let jwks = self.get(JWKS).await.expect(200);
        let of_keys: BTreeSet<String> =
            strings(jwks["keys"].as_array().unwrap().iter().map(|key| &key["alg"]));
        for document in ["oauth-authorization-server", "openid-configuration"] {
            let document = self.get(&format!("/.well-known/{document}")).await.expect(200);
            let named = document["id_token_signing_alg_values_supported"].as_array().unwrap();
            assert_eq!(strings::<BTreeSet<_>>(named.iter()), of_keys, "{document}");
        }
        of_keys.into_iter().collect()
    }
}

fn strings<'a, C: FromIterator<String>>(values: impl Iterator<Item = &'a Value>) -> C {
    values.map(|value| value.as_str().unwrap().to_owned()).collect()
}

async fn a_key_is_known_before_it_signs_and_until_its_tokens_end(server: Server) {
    let billing = server.billing().await;
    let mut documents: Vec<Answer> = Vec::new();
    // Looks at the key set: its ETag changes exactly when the set does.
    let mut look = async |keys: &[&[&str]; 2]| {
        let seen = server.get(JWKS).await;
        for before in &documents {
            let same = before.header("etag") == seen.header("etag");
            assert_eq!(before.body == seen.body, same, "RFC 9110 8.8.3: {before:?} {seen:?}");
        }
        let body = seen.expect(200);
        let kids: Vec<String> = strings(body["keys"].as_array().unwrap().iter().map(|key| &key["kid"]));
        assert_eq!(kids, keys.concat(), "{seen:?}");
        documents.push(seen);
    };
    let (es, rs) = (server.kids("ES256").await.remove(0), server.kids("RS256").await.remove(0));
    look(&[&[&es], &[&rs]]).await;

    server.clock.set(START.plus(29 * DAY).minus(SECOND));
    server.settle().await;
    look(&[&[&es], &[&rs]]).await;

    server.clock.set(START.plus(29 * DAY));
    server.settle().await;
    let (next_ecdsa, next_rsa) = (server.kids("ES256").await.remove(1), server.kids("RS256").await.remove(1));
    look(&[&[&es, &next_ecdsa], &[&rs, &next_rsa]]).await;
    for before_its_time in [Duration::ZERO, DAY.saturating_sub(SECOND)] {
        server.clock.set(START.plus(29 * DAY + before_its_time));
        assert_eq!(server.signs(&billing).await, es);
    }
    // At the instant itself, with nobody doing anything.
    server.clock.set(START.plus(30 * DAY));
    assert_eq!(server.signs(&billing).await, next_ecdsa);
    look(&[&[&es, &next_ecdsa], &[&rs, &next_rsa]]).await;

    server.clock.set(START.plus((30 * DAY + KEEP).saturating_sub(SECOND)));
    server.settle().await;
    look(&[&[&es, &next_ecdsa], &[&rs, &next_rsa]]).await;
    server.clock.set(START.plus(30 * DAY + KEEP));
    look(&[&[&next_ecdsa], &[&next_rsa]]).await;
    assert_eq!(server.signs(&billing).await, next_ecdsa);

    server.settle().await;
    look(&[&[&next_ecdsa], &[&next_rsa]]).await;
    let mut stored = server.database.texts("SELECT kid FROM signing_keys").await;
    let mut left = vec![next_ecdsa.clone(), next_rsa.clone()];
    stored.sort_unstable();
    left.sort_unstable();
    assert_eq!(stored, left, "the private parts of the others are destroyed");
    let etags: BTreeSet<_> = documents.iter().map(|document| document.header("etag")).collect();
    assert_eq!(etags.len(), 3, "{etags:?}");
    for kind in ["key_created", "key_removed"] {
        let kids: BTreeSet<String> = strings(server.events(kind).await.iter().map(|event| &event["kid"]));
        for kid in [&es, &rs] {
            assert!(kids.contains(kid), "{kind} of {kid}: {kids:?}");
        }
    }
}

async fn tokens_of_the_old_key_open_the_api_until_they_end(server: Server) {
    server.clock.set(START.plus(29 * DAY));
    server.settle().await;
    server.clock.set(START.plus(30 * DAY).minus(SECOND));
    let api = server.administrator().await;
    let (old, _) = signed_by(&api.token);
    server.clock.set(START.plus(30 * DAY));
    let (new, _) = signed_by(&server.administrator().await.token);
    assert_ne!(old, new);
    server.clock.set(START.plus(30 * DAY + Duration::from_secs(298)));
    api.get("/roles").await.expect(200);
    server.clock.set(START.plus(30 * DAY + Duration::from_secs(299)));
    api.get("/roles").await.expect_token_refused("expired");
}

/// A schedule for verifiers that keep key sets for this long.
fn cached_for(verifier_cache: Duration) -> Schedule {
    let lead = verifier_cache + Duration::from_hours(2);
    Schedule::new(Timing { verifier_cache, lead, ..Timing::usual(Duration::from_hours(1)) }).unwrap()
}

async fn nobody_is_told_to_keep_keys_for_longer_than_planned_rfc9111(mut server: Server) {
    for (cache, max_age, stale_if_error) in
        [(0, 0, 0), (1_500, 1, 0), (300_000, 300, 0), (310_000, 300, 10), (7_200_000, 300, 3_600)]
    {
        let cache = Duration::from_millis(cache);
        server = server.restart_with(|config| config.keys = cached_for(cache)).await.unwrap();
        let answer = server.get(JWKS).await;
        let caching = format!("public, max-age={max_age}, stale-if-error={stale_if_error}");
        assert_eq!(answer.header("cache-control"), Some(&*caching), "{cache:?}");
        assert!(Duration::from_secs(max_age + stale_if_error) <= cache, "{cache:?}");
    }
}

/// A resource server that wants this algorithm, and a client that has tokens for it.
async fn registered(server: &Server, algorithm: &str) -> Client {
    let api = server.administrator().await;
    let name = algorithm.to_lowercase();
    let permission = json!([{ "permission": format!("{name}:use") }]);
    let identifier = format!("https://{name}.example");
    let resource_server = json!({
        "name": name, "identifier": identifier, "signing_algorithm": algorithm, "permissions": permission,
    });
    let client = server.client(json!({ "client_id": format!("user-of-{name}") })).await;
    api.post("/resource-servers", resource_server).await.expect(201);
    assert_eq!(server.kids(algorithm).await.len(), 1, "before the answer leaves");
    let given = json!([{ "resource_server": name, "permission": format!("{name}:use") }]);
    api.post("/roles", json!({ "name": name, "permissions": given })).await.expect(201);
    assert_eq!(api.put(&format!("/clients/{}/roles/{name}", client.id)).await.status, 204);
    client
}

async fn a_ring_is_there_with_the_first_resource_server_that_uses_it(server: Server) {
    let mut expected = vec!["ES256".to_owned(), "RS256".to_owned()];
    assert_eq!(server.algorithms().await, expected);
    for algorithm in ["PS256", "ES384", "EdDSA", "ML-DSA-65"] {
        let user = registered(&server, algorithm).await;
        let token = server.token(&user, GRANT).await.expect(200)["access_token"].as_str().unwrap().to_owned();
        assert_eq!(signed_by(&token).1, algorithm);
        verified(&server, &token).await;
        expected.push(algorithm.to_owned());
        expected.sort_unstable();
        assert_eq!(server.algorithms().await, expected);
    }
}

async fn a_ring_that_nothing_uses_leaves_with_its_tokens(server: Server) {
    let user = registered(&server, "PS256").await;
    let kid = server.signs(&user).await;
    let api = server.administrator().await;
    let change = json!({ "signing_algorithm": "ES256" });
    api.patch("/resource-servers/ps256", 1, change).await.expect(200);
    server.settle().await;
    let token = server.token(&user, GRANT).await.expect(200)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(signed_by(&token).1, "ES256");

    server.clock.advance(KEEP.saturating_sub(SECOND));
    server.settle().await;
    assert_eq!(server.kids("PS256").await, [&*kid]);
    assert_eq!(server.algorithms().await, ["ES256", "PS256", "RS256"]);
    let stored = "SELECT kid FROM signing_keys WHERE algorithm = 'PS256'";
    assert_eq!(server.database.texts(stored).await, [&*kid]);

    server.clock.advance(SECOND);
    assert_eq!(server.algorithms().await, ["ES256", "RS256"]);
    server.settle().await;
    assert!(server.database.texts(stored).await.is_empty(), "the private part too");
    let removed = server.events("key_removed").await;
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert_eq!((&removed[0]["kid"], &removed[0]["algorithm"]), (&json!(kid), &json!("PS256")));
}

/// What discovery names, verifiers look for in the key set.
async fn a_revoked_ring_is_in_no_document(server: Server) {
    let user = registered(&server, "EdDSA").await;
    let kid = server.signs(&user).await;
    let api = server.administrator().await;
    api.patch("/resource-servers/eddsa", 1, json!({ "signing_algorithm": "ES256" })).await.expect(200);
    server.settle().await;
    api.post(&format!("/signing-keys/{kid}/revoke"), Value::Null).await.expect(200);
    assert_eq!(server.algorithms().await, ["ES256", "RS256"]);
}

async fn an_rsa_key_is_as_long_as_configured(server: Server) {
    let length = async |server: &Server| -> Vec<usize> {
        let jwks = server.get(JWKS).await.expect(200);
        let keys = jwks["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == "RS256");
        keys.map(|key| BASE64URL.decode(key["n"].as_str().unwrap()).unwrap().len() * 8).collect()
    };
    assert_eq!(length(&server).await, [2_048]);
    let longer = |config: &mut Config| config.rsa_bits = "3072".parse().unwrap();
    let server = server.restart_with(longer).await.unwrap();
    assert_eq!(length(&server).await, [2_048], "those that there are stay");
    server.clock.advance(29 * DAY);
    server.settle().await;
    assert_eq!(length(&server).await, [2_048, 3_072]);
}

async fn tokens_that_live_are_counted(server: Server) {
    let billing = server.billing().await;
    let user = registered(&server, "PS256").await;
    // Every key with its state and how many tokens of it live, oldest first. The registering took an API token.
    let counted = async |algorithm: Algorithm| -> Vec<(KeyState, u64)> {
        let view = server.app.admin().signing_keys(&By::system()).await.unwrap();
        let ring = view.rings.into_iter().find(|ring| ring.algorithm == algorithm).unwrap();
        assert!(ring.keys.iter().all(|key| !key.live_tokens_at_least));
        ring.keys.iter().map(|key| (key.state, key.live_tokens)).collect()
    };
    server.clock.advance(Duration::from_mins(5));
    assert_eq!(counted(Algorithm::Es256).await, [(KeyState::Active, 0)], "the API token has ended");
    for _ in 0..3 {
        server.signs(&billing).await;
    }
    server.signs(&user).await;
    assert_eq!(counted(Algorithm::Es256).await, [(KeyState::Active, 3)]);
    assert_eq!(counted(Algorithm::Ps256).await, [(KeyState::Active, 1)]);
    assert_eq!(counted(Algorithm::Rs256).await, [(KeyState::Active, 0)]);
    server.clock.advance(Duration::from_secs(299));
    server.signs(&billing).await;
    assert_eq!(counted(Algorithm::Es256).await, [(KeyState::Active, 4)]);
    server.clock.advance(SECOND);
    assert_eq!(counted(Algorithm::Es256).await, [(KeyState::Active, 1)]);

    // A shorter lifetime is for tokens to come.
    let api = server.administrator().await;
    let shorter = json!({ "token_lifetime": 10 });
    let longer = json!({ "token_lifetime": 3_600 });
    api.patch("/resource-servers/orders", 1, longer).await.expect(200);
    server.signs(&billing).await;
    api.patch("/resource-servers/orders", 2, shorter).await.expect(200);
    server.clock.advance(Duration::from_mins(59));
    assert_eq!(counted(Algorithm::Es256).await, [(KeyState::Active, 1)]);

    server.clock.set(START.plus(29 * DAY));
    server.settle().await;
    server.clock.set(START.plus(30 * DAY).minus(SECOND));
    server.signs(&billing).await;
    server.clock.set(START.plus(30 * DAY));
    assert_eq!(counted(Algorithm::Es256).await, [(KeyState::Retired, 1), (KeyState::Active, 0)]);
    server.clock.advance(Duration::from_secs(9));
    assert_eq!(counted(Algorithm::Es256).await, [(KeyState::Retired, 0), (KeyState::Active, 0)]);
}

/// Starts the server again, which must fail, and hands the reason on. No key is made meanwhile.
async fn refused_at_start(server: Server, spoil: &str) -> String {
    server.database.execute(spoil).await;
    let kids = "SELECT kid FROM signing_keys UNION ALL SELECT kid FROM audit_keys ORDER BY 1";
    let (database, before) = (server.database.clone(), server.database.texts(kids).await);
    let fault = server.restart_with(|_| {}).await.err().unwrap().to_string();
    assert_eq!(database.texts(kids).await, before);
    fault
}

async fn a_public_part_of_another_key_is_refused_at_start(server: Server) {
    let kid = server.kids("ES256").await.remove(0);
    server.app.rotator().settle().await.unwrap();
    let another = "UPDATE signing_keys SET public_jwk = (SELECT public_jwk FROM signing_keys WHERE algorithm = 'RS256') \
        WHERE algorithm = 'ES256'";
    let fault = refused_at_start(server, another).await;
    assert!(fault.contains(&format!("the stored public part of key {kid} is another key's")), "{fault}");
}

async fn a_damaged_private_part_is_refused_at_start(server: Server) {
    let kid = server.kids("ES256").await.remove(0);
    // The other algorithm's envelope was sealed for another key id.
    let another = "UPDATE signing_keys SET sealed_private = (SELECT sealed_private FROM signing_keys \
        WHERE algorithm = 'RS256') WHERE algorithm = 'ES256'";
    let fault = refused_at_start(server, another).await;
    assert!(fault.contains(&format!("the sealed signing key {kid} is damaged")), "{fault}");
}
