//! Signing in by a real OpenID provider, npm's oidc-provider, through the pages of both.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jeton::config::{ClientSecretSource, Issuer, Upstream};
use jeton::domain::single_sign_on::{ClaimPath, Mapping};
use jeton::runtime::clock::{Clock, SystemClock};
use tokio::time::{sleep, timeout};

use super::window::{DESK, PHONE_AT_NIGHT, Window, browsing};
use crate::harness::{Engine, Server, free_port};

const SECRET: &str = "what the provider knows jeton by";

/// Installed by `tests/interop/run install`.
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/python/.venv/bin/node");
const PROVIDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/node/oidc-provider.mjs");

/// The provider's process, for as long as the test needs it.
struct Provider(Child);

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Provider {
    /// Starts it for whom it sends back there, and waits until it answers.
    async fn start(port: u16, back: &str) -> Self {
        // Node itself: the one of the environment is a wrapper, whose end its child would outlive.
        let node = Command::new(NODE).args(["--print", "process.execPath"]).output().unwrap();
        let child = Command::new(String::from_utf8(node.stdout).unwrap().trim())
            .args([PROVIDER, &port.to_string(), back])
            .env("OIDC_CLIENT_SECRET", SECRET)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let provider = Self(child);
        let ready = async {
            while reqwest::get(format!("http://localhost:{port}/.well-known/openid-configuration"))
                .await
                .is_err()
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_mins(1), ready).await.expect("oidc-provider does not start");
        provider
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_in_by_the_provider_and_go() {
    let (port, provider) = (free_port(), free_port());
    let here = format!("http://127.0.0.1:{port}");
    let _provider = Provider::start(provider, &format!("{here}/admin/sign-in/sso/callback")).await;
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.listen = SocketAddr::from(([127, 0, 0, 1], port));
        config.issuer = Some(Issuer::parse(&here).unwrap());
        config.sso = Some(Upstream {
            issuer: format!("http://localhost:{provider}"),
            client_id: "jeton".to_owned(),
            client_secret: ClientSecretSource::Value(SECRET.to_owned().into()),
            scopes: vec!["profile".to_owned(), "groups".to_owned()],
            label: "Example".to_owned(),
            mapping: Mapping {
                role_claim: ClaimPath::parse("groups").unwrap(),
                administrators: vec!["platform".to_owned()],
                auditors: vec!["audit".to_owned()],
                name_claim: ClaimPath::parse("preferred_username").unwrap(),
            },
        });
    })
    .await;
    // The provider has the world's time.
    server.clock.set(SystemClock.now());
    browsing("single-sign-on", &server, DESK, async |window| {
        // Where they wanted to go is where they end up.
        window.open_page("/audit").await;
        window.is_on("Sign in").await;
        window.look("sign-in").await;
        through_the_provider(window, "ada").await;
        window.is_on("Audit").await;
        window.press("ada@example.test").await;
        window.is_on("Your account").await;
        window.reads("You sign in by http://localhost").await;
        window.look("account").await;
        window.open_page("/new-client").await;
        window.is_on("Register a client").await;
        window.press("Sign out").await;
        window.is_on("Sign in").await;
        window.open_page("/clients").await;
        window.is_on("Sign in").await;

        // Somebody else on the provider's side, whom no group lets in.
        forget_the_provider(window, provider).await;
        window.turn_into(PHONE_AT_NIGHT).await;
        window.open_page("/sign-in").await;
        through_the_provider(window, "eve").await;
        window.is_on("Sign in").await;
        window.find("[role=alert]").await;
        window.look("not-let-in").await;
        window.open_page("/clients").await;
        window.is_on("Sign in").await;
    })
    .await;
}

/// From the button through the provider's own pages, and back.
async fn through_the_provider(window: &Window, name: &str) {
    window.press("Sign in with Example").await;
    window.fill("login", name).await;
    window.fill("password", "any").await;
    window.press("Sign-in").await;
    window.press("Continue").await;
}

/// So that it asks again who somebody is.
async fn forget_the_provider(window: &Window, port: u16) {
    window.open_page(&format!("http://localhost:{port}/.well-known/openid-configuration")).await;
    window.driver.delete_all_cookies().await.unwrap();
}
