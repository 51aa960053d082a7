//! The work of an administrator, from the setup link to signing out.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use super::server;
use super::window::{DESK, PHONE_AT_NIGHT, Window, browsing};
use crate::harness::{Client, PASSWORD, Server, code};
use crate::token::GRANT;

/// The next code of a device: each counts once.
const NEXT_CODE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_works_at_a_desk() {
    let server = server().await;
    browsing("desk", &server, DESK, async |window| work(window, &server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_works_on_a_phone_at_night() {
    let server = server().await;
    browsing("phone-at-night", &server, PHONE_AT_NIGHT, async |window| work(window, &server).await).await;
}

async fn work(window: &Window, server: &Server) {
    let device = set_up(window, server).await;
    sign_in_again(window, server, &device).await;
    register_an_api(window).await;
    let billing = register_a_client(window, server).await;
    let billing = rotate(window, server, billing).await;
    switch_off_and_on(window, server, &billing).await;
    try_an_exchange(window, server).await;
    find_in_the_audit(window).await;
    sign_out(window).await;
}

/// The first administrator, by the link that the server printed. Answers the secret of their second factor.
async fn set_up(window: &Window, server: &Server) -> String {
    window.open_page(server.app.first_link().unwrap().expose_secret()).await;
    window.is_on("Set a password").await;
    window.look("set-up").await;
    window.fill("name", "ada").await;
    window.fill("password", "password1234").await;
    window.fill("again", "password1234").await;
    window.press("Set the password").await;
    window.find("#password-error").await;
    window.look("a-common-password").await;
    window.fill("password", PASSWORD).await;
    window.fill("again", PASSWORD).await;
    window.press("Set the password").await;

    window.is_on("Get a second factor").await;
    window.look("second-factor-offered").await;
    let secret = window.text("#shown-secret").await;
    window.fill("code", &code(&secret, server)).await;
    window.press("Go on").await;
    window.is_on("Recovery codes").await;
    window.press("Copy").await;
    window.reads("Copied").await;
    let codes = window.copied().await;
    assert!(codes.contains(&window.text("#recovery-codes li").await), "{codes}");
    window.look("recovery-codes").await;
    window.press("I have kept them").await;
    window.is_on("Dashboard").await;
    window.look("empty-dashboard").await;
    secret
}

async fn sign_in_again(window: &Window, server: &Server, secret: &str) {
    window.press("Sign out").await;
    window.is_on("Sign in").await;
    // Where they wanted to go is where they end up.
    window.open_page("/clients").await;
    window.is_on("Sign in").await;
    window.fill("name", "ada").await;
    window.fill("password", "not this one at all").await;
    window.press("Sign in").await;
    window.find("[role=alert]").await;
    window.look("refused").await;
    window.fill("password", PASSWORD).await;
    window.press("Sign in").await;

    window.is_on("Second factor").await;
    window.look("second-factor").await;
    window.fill("code", "12345").await;
    window.press("Go on").await;
    window.find("[role=alert], #code-error").await;
    server.clock.advance(NEXT_CODE);
    window.fill("code", &code(secret, server)).await;
    window.press("Go on").await;
    window.is_on("Clients").await;
    window.reads("There are no clients here yet").await;
    window.look("no-clients").await;
}

async fn register_an_api(window: &Window) {
    window.press("Resource servers").await;
    window.press("Register a resource server").await;
    window.fill("name", "orders").await;
    window.fill("identifier", "https://orders.example").await;
    window.fill("permissions", "orders:read Read orders\norders:write Change orders").await;
    window.press("Register").await;
    window.is_on("orders").await;
    window.reads("It is registered.").await;
    window.look("an-api").await;
    window.press("Roles").await;
    window.press("Create a role").await;
    window.fill("name", "order-reader").await;
    window.tick("permissions", "orders orders:read").await;
    window.press("Create").await;
    window.is_on("order-reader").await;
    window.look("a-role").await;
}

/// A client with a mistake at first, then right; the secret is copied, and a token is fetched with it.
async fn register_a_client(window: &Window, server: &Server) -> Client {
    window.press("Clients").await;
    window.press("Register a client").await;
    window.is_on("Register a client").await;
    window.fill("client_id", "billing").await;
    window.fill("owner", "Team Blue").await;
    window.tick("roles", "order-reader").await;
    window.press("More: end").await;
    window.fill("allowed_networks", "nowhere").await;
    window.press("Register").await;
    window.find("#allowed_networks-error").await;
    let kept = window.find("[name=owner]").await.prop("value").await.unwrap();
    assert_eq!(kept.as_deref(), Some("Team Blue"), "what was typed is kept");
    assert_eq!(
        window.ask("return document.activeElement.name").await,
        json!("allowed_networks"),
        "what is wrong comes first"
    );
    window.look("a-mistake").await;
    window.fill("allowed_networks", "").await;
    window.press("Register").await;

    window.is_on("The secret of billing").await;
    let secret = copied_secret(window).await;
    window.look("the-secret").await;
    let client = Client::new("billing", &secret);
    server.token(&client, &format!("{GRANT}&scope=orders:read")).await.expect(200);
    window.press("Copy the command").await;
    window.find("[data-copy=curl]").await;
    let command = window.copied().await;
    let address = server.app.issuer();
    assert_eq!(
        command,
        format!("curl {address}/oauth2/token -d grant_type=client_credentials -u billing:{secret}")
    );
    window.press("I have it").await;
    window.is_on("billing").await;
    assert!(!window.driver.source().await.unwrap().contains(&secret), "it is shown once");
    // Nor does going back show it again.
    window.driver.back().await.unwrap();
    assert!(!window.driver.source().await.unwrap().contains(&secret), "going back shows it again");
    window.open_page("/clients/billing").await;
    window.look("a-client").await;
    window.press("What would this client get?").await;
    window.fill("scope", "orders:read orders:write").await;
    window.press("Try it").await;
    window.reads("It would be refused").await;
    window.look("what-it-would-get").await;
    client
}

/// The secret, as the button copies it.
async fn copied_secret(window: &Window) -> String {
    window.press("Copy the secret").await;
    window.reads("Copied").await;
    let secret = window.copied().await;
    assert_eq!(secret, window.text("#secret").await);
    secret
}

/// A second secret counts beside the first, until that is removed.
async fn rotate(window: &Window, server: &Server, old: Client) -> Client {
    window.open_page("/clients/billing").await;
    let first = window.text("#credentials ~ .scroll tbody th code").await;
    window.fill("description", "the next one").await;
    window.fill("days", "90").await;
    window.press("Add a secret").await;
    window.is_on("The secret of billing").await;
    window.reads("1 other secret of billing still counts").await;
    let new = Client::new("billing", &copied_secret(window).await);
    window.press("I have it").await;
    for client in [&old, &new] {
        server.token(client, GRANT).await.expect(200);
    }
    window.is_on("billing").await;
    window.look("two-secrets").await;
    window.click(&window.find(&format!("a[href$='/secrets/{first}/remove']")).await).await;
    window.is_on(&format!("Remove the secret {first}?")).await;
    window.look("what-breaks").await;
    window.fill("name", &first).await;
    window.press("Remove the secret").await;
    window.reads("The secret is removed.").await;
    server.token(&old, GRANT).await.expect_oauth_error(401, "invalid_client");
    server.token(&new, GRANT).await.expect(200);
    new
}

async fn switch_off_and_on(window: &Window, server: &Server, billing: &Client) {
    window.press("Disable…").await;
    window.is_on("Disable billing?").await;
    window.look("disable").await;
    window.fill("name", "billing").await;
    window.press("Disable it").await;
    window.reads("It is disabled.").await;
    server.token(billing, GRANT).await.expect_oauth_error(401, "invalid_client");
    window.look("disabled").await;
    window.press("Enable").await;
    window.reads("It is enabled.").await;
    server.token(billing, GRANT).await.expect(200);
    // What cannot be undone asks for the name.
    window.press("Revoke its tokens…").await;
    window.is_on("Revoke the tokens of billing?").await;
    window.fill("name", "ordering").await;
    window.press("Revoke its tokens").await;
    window.find("#name-error").await;
    window.look("the-wrong-name").await;
}

/// A rule, and what it would give whom.
async fn try_an_exchange(window: &Window, server: &Server) {
    let exchange = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"];
    server.client(json!({ "client_id": "gate", "grant_types": exchange })).await;
    server.operator("orders", "gate").await;
    window.press("Exchange rules").await;
    window.is_on("Exchange rules").await;
    window.press("Create a rule").await;
    window.fill("name", "gate-for-billing").await;
    window.fill("caller", "gate").await;
    window.choose("subject_is", "role").await;
    window.fill("subject", "order-reader").await;
    window.fill("resource_server", "orders").await;
    window.fill("permissions", "orders:read").await;
    window.press("Create").await;
    window.is_on("gate-for-billing").await;
    window.look("a-rule").await;
    window.press("Try it").await;
    window.is_on("Try an exchange").await;
    window.fill("subject", "billing").await;
    window.fill("audience", "orders").await;
    window.press("Try it").await;
    window.reads("There would be a token").await;
    window.look("the-exchange-would-give").await;
    window.fill("scope", "orders:write").await;
    window.press("Try it").await;
    window.reads("It would be refused").await;
    window.look("the-exchange-would-not").await;
}

async fn find_in_the_audit(window: &Window) {
    window.press("Audit").await;
    window.is_on("Audit").await;
    window.reads("client.create").await;
    // Changed as one chooses, without a button.
    window.choose("outcome", "refused").await;
    window.has_no("#found td:nth-child(2):not(:has(.off))").await;
    window.fill("client_id", "billing").await;
    window.press("Search").await;
    window.reads("invalid_client").await;
    window.look("refusals-of-billing").await;
    window.fill("client_id", "nobody").await;
    window.press("Search").await;
    window.reads("No event fits").await;

    window.press("Clients").await;
    window.is_on("Clients").await;
    window.find("#found a[href$='/clients/gate']").await;
    // Searched as one types.
    window.fill("q", "bill").await;
    window.has_no("#found a[href$='/clients/gate']").await;
    window.find("#found a[href$='/clients/billing']").await;
    window.look("found-as-one-types").await;
}

async fn sign_out(window: &Window) {
    window.press("ada").await;
    window.is_on("Your account").await;
    window.look("account").await;
    window.press("Sign out").await;
    window.is_on("Sign in").await;
    window.open_page("/clients/billing").await;
    window.is_on("Sign in").await;
    window.look("signed-out").await;
}
