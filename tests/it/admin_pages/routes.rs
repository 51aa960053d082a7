//! Every page and form there is, found in the source, tried by whoever may not.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::Person;
use crate::harness::{Engine, Server};

/// Pages of whoever is not signed in yet, and of one's own account: everybody may use these.
const FOR_EVERYBODY: &[&str] = &[
    "sign_in.rs:",
    "single_sign_on.rs:",
    "set_up.rs:",
    "account.rs:",
    "mod.rs:/assets",
    "mod.rs:/{*anything}",
];

/// Pages that ask by POST and change nothing, because what is asked about does not belong into a URL.
const ASKS: &[&str] = &["explain.rs:"];

/// A route, and which methods it takes.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) reads: bool,
    changes: bool,
    asks: bool,
    for_everybody: bool,
}

/// Every `.route("…", …)`, on one line or several, below `src/http/pages`, which is how routes are written there.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/pages"), &mut routes);
    routes
}

fn find(directory: &Path, routes: &mut Vec<Route>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, routes);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        for part in text.split(".route(").skip(1) {
            let Some((route, rest)) =
                part.trim_start().strip_prefix('"').and_then(|part| part.split_once('"'))
            else {
                continue;
            };
            let methods = rest.split("\n}").next().unwrap();
            let here = format!("{file}:{route}");
            let asks = ASKS.iter().any(|other| here.starts_with(other));
            routes.push(Route {
                path: route.to_owned(),
                reads: methods.contains("get("),
                changes: methods.contains("post(") && !asks,
                asks,
                for_everybody: FOR_EVERYBODY.iter().any(|other| here.starts_with(other)),
            });
        }
    }
}

/// A secret, a client's key, its federated credential and a signing key that can be taken back, of the pages that lead there: that of a client,
/// and that of the signing keys.
pub(crate) fn named<'p>(keys: &'p str, client: &'p str) -> [&'p str; 4] {
    let kid = keys.split("/signing-keys/").find(|part| part.contains("/revoke\"")).unwrap();
    let secret = client.split("/secrets/").nth(1).unwrap();
    let key = client.split("/keys/").nth(1).unwrap();
    let federated = client.split("/federated-credentials/").nth(1).unwrap();
    [secret, key, federated, kid].map(|path| path.split('/').next().unwrap())
}

/// A certificate of `billing`, of a key that nobody has: the pages that are about one need it.
pub(crate) const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBezCCASGgAwIBAgIUJbSn/Ry/v1SPEOIfgOD3H8J+4B4wCgYIKoZIzj0EAwIw\n\
EjEQMA4GA1UEAwwHYmlsbGluZzAgFw0yNjExMjcxOTA2MzNaGA8yMTI2MTEwMzE5\n\
MDYzM1owEjEQMA4GA1UEAwwHYmlsbGluZzBZMBMGByqGSM49AgEGCCqGSM49AwEH\n\
A0IABJjgHMFvKjuvvSXEnukCodUcOOQgRzObCK7+HB6n9DuKJuPn2wBQghwSl961\n\
HZONY2a0gy6TEKV4CjrKwvNigDGjUzBRMB0GA1UdDgQWBBRn7dY2bW2JLZJnv/1O\n\
ohcIaIXddTAfBgNVHSMEGDAWgBRn7dY2bW2JLZJnv/1OohcIaIXddTAPBgNVHRMB\n\
Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDW0oVkdcKiVNwfFiM4tWENJvFH\n\
dH/o0lZuZOH1+EZulAIgCV5S7cOETmJixu5qzADgbb4MftaBy0EVREQCRgXK1jU=\n\
-----END CERTIFICATE-----\n\
";

/// What it is called.
pub(crate) const CERTIFICATE_ID: &str = "vr73yuerkfoo";

/// A path with names of what is there.
pub(crate) fn filled(path: &str, [secret, key, federated, kid]: [&str; 4]) -> String {
    let name = match path.split('/').nth(1) {
        Some("roles") => "order-reader",
        Some("exchange-rules") => "rule",
        Some("trusted-issuers") => "issuer",
        Some("administrators") => "ada",
        _ => "orders",
    };
    let path = path.replace("{client_id}", "billing").replace("{secret_id}", secret);
    let path = path.replace("{certificate_id}", CERTIFICATE_ID);
    let path = path.replace("{key_id}", key).replace("{credential_id}", federated);
    let path = path.replace("{kid}", kid).replace("{name}", name).replace("{role}", "order-reader");
    assert!(!path.contains('{'), "{path}: say here what stands for it");
    if path == "/" { String::new() } else { path }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_or_learns_what_they_may_not() {
    let server = Server::start(Engine::Sqlite).await;
    let billing = server.billing().await;
    server.public_key("billing").await;
    let party = json!({ "client": "billing" });
    let rule = json!({ "name": "rule", "caller": party, "subject": party, "resource_server": "orders",
        "permissions": ["orders:read"] });
    server.exchange_rule(rule).await;
    server.issuer_of("billing").await;
    let certificate = json!({ "certificate": CERTIFICATE });
    server.administrator().await.post("/clients/billing/certificates", certificate).await.expect(201);
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let eve = Person::signed_in(&server, "eve", "auditor").await;
    let nobody = Person { server: &server, cookie: "Accept: text/html".to_owned() };
    let keys = ada.page("/signing-keys").await;
    let page = ada.page("/clients/billing").await;
    let named = named(&keys, &page);

    let mut routes = routes();
    routes.retain(|route| !route.for_everybody);
    assert!(routes.iter().filter(|route| route.changes).count() >= 25, "they are found: {routes:?}");
    let before = server.last_change().await;
    for route in &routes {
        let path = filled(&route.path, named);
        if route.reads {
            ada.page(&path).await;
            let answer = eve.open(&path).await;
            assert!(answer.status == 200 || answer.status == 403, "{path}: {answer:?}");
            assert!(!answer.body.contains(&billing.secret), "{path}");
            // But to sign out, which is in every page.
            let is_page = answer.header("content-type").is_some_and(|sort| sort.starts_with("text/html"));
            let forms = answer.body.matches("method=\"post\"").count();
            assert_eq!(
                forms,
                usize::from(is_page) + usize::from(route.asks),
                "{path} has a button for an auditor: {}",
                answer.body
            );
            for doing in
                ["/edit\"", "/delete\"", "/disable\"", "/remove\"", "/revoke\"", "/revoke-tokens\"", "/new-"]
            {
                assert!(
                    answer.status == 403 || !answer.body.contains(doing),
                    "{path} leads an auditor to {doing}"
                );
            }
            let answer = nobody.open(&path).await;
            assert_eq!(answer.status, 303, "{path}: {answer:?}");
            assert!(answer.header("location").unwrap().starts_with("/admin/sign-in"), "{path}");
        }
        if route.asks {
            assert_eq!(nobody.send(&path, &[]).await.status, 401, "{path}");
        }
        if route.changes {
            let fields =
                [("name", "orders"), ("role", "order-reader"), ("client_id", "billing"), ("version", "1")];
            let refused = server.events("access_refused").await.len();
            let answer = eve.send(&path, &fields).await;
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
            assert!(server.events("access_refused").await.len() > refused, "{path}: it is in the audit");
            let answer = nobody.send(&path, &fields).await;
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
        }
    }
    assert_eq!(server.last_change().await, before, "nothing was changed");
}
