//! `jeton quickstart`: the main job, end to end, on this machine.
//!
//! It starts a server, then goes through what a platform engineer and two services would do, over HTTP
//! like they would. Run again, it finds what is there. Its own credentials end by themselves.

use anyhow::{Context, bail, ensure};
use http::StatusCode;
use reqwest::{Client, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::serve::{start, stop_signal};
use crate::admin::clients::CreateClient;
use crate::admin::secrets::AddSecret;
use crate::admin::{Admin, AdminError, By};
use crate::app::App;
use crate::config::{Config, Database};
use crate::domain::builtin;
use crate::domain::claims::AccessTokenClaims;
use crate::domain::ids::{ClientId, RoleName};
use crate::jose::{PublicJwkSet, TokenType, Unverified, VerifyingKey};
use crate::runtime::clock::Ambient;
use crate::telemetry::Telemetry;

const ADMINISTRATOR: &str = "quickstart-admin";
const CLIENT: &str = "billing";
const AUDIENCE: &str = "https://orders.example.com";

/// Marks the secrets that this command adds, so that it can clear away its own old ones.
const MARK: &str = "quickstart";

/// Seconds that the administrator's secret lives: long enough for this run.
const ADMINISTRATOR_SECRET_LIFE: u32 = 600;

/// Seconds that the example client's secret lives: long enough to play with it today.
const CLIENT_SECRET_LIFE: u32 = 86_400;

pub(super) async fn run(config: &Config, telemetry: Telemetry) -> anyhow::Result<()> {
    let ambient = Ambient::system();
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let (app, telemetry) = tokio::select! {
        started = start(config, &ambient, telemetry) => started?,
        () = &mut stop => return Ok(()),
    };
    let outcome = tokio::select! {
        walked = walk(config, &app, &ambient) => walked.map(Some),
        () = &mut stop => Ok(None),
    };
    if let Ok(Some(())) = outcome {
        stop.await;
    }
    if outcome.is_ok() {
        println!("\nStopping.");
    }
    let stopped = app.stop().await;
    telemetry.flush(config.serving.shutdown_deadline).await;
    outcome?;
    Ok(stopped?)
}

async fn walk(config: &Config, app: &App, ambient: &Ambient) -> anyhow::Result<()> {
    let issuer = app.issuer();
    let path = config.issuer.as_ref().map_or("", |issuer| issuer.path());
    // No certificates are read: at the other end is this process, and its certificate is not for the address.
    let http =
        Client::builder().no_proxy().tls_certs_only([]).tls_danger_accept_invalid_certs(true).build()?;
    let scheme = if config.tls.main.is_some() { "https" } else { "http" };
    let site = Site { base: format!("{scheme}://{}{path}", app.address()), http };
    let place = match config.database {
        Database::Sqlite => config.data_dir.display().to_string(),
        Database::Postgres { .. } => "PostgreSQL".to_owned(),
    };
    println!("\nJeton serves {issuer} (data in {place}).\n");

    let secret = bootstrap(app.admin()).await?;
    done(1, &format!("an administrator: client {ADMINISTRATOR}, role {}", builtin::ADMINISTRATOR));

    let audience = builtin::api_identifier(issuer);
    let token = site.token(ADMINISTRATOR, &secret, &[("resource", &audience)]).await?;
    let api = Api { site: &site, token: text(&token, "access_token")?.to_owned().into() };
    done(2, "a token for the REST API, by client_credentials");

    register(&api).await?;
    let secret = api.renew_secret().await?;
    done(6, &format!("a secret for {CLIENT}, shown this once, good for a day: {}", secret.expose_secret()));

    let answer = site.token(CLIENT, &secret, &[("scope", "orders:read")]).await?;
    let token = text(&answer, "access_token")?;
    done(7, &format!("as {CLIENT}, a token from {issuer}/oauth2/token:\n\n   {token}\n"));

    let claims = site.verify(issuer, token, ambient).await?;
    done(
        8,
        "as the resource server: signature, typ, iss, aud and exp are right, by the published keys. It says:\n",
    );
    println!("{}\n", indented(&claims)?);

    println!("Do it again:\n");
    println!("   curl -u '{CLIENT}:{}' \\", secret.expose_secret());
    println!("     -d grant_type=client_credentials -d scope=orders:read {}/oauth2/token\n", site.base);
    println!("Serving until Ctrl-C. `jeton --help` has the other commands.");
    Ok(())
}

/// The first administrator cannot come through the API: there is nobody yet who may ask.
async fn bootstrap(admin: &Admin) -> anyhow::Result<SecretString> {
    let by = By::command_line("quickstart".to_owned());
    let client_id = ClientId::new(ADMINISTRATOR)?;
    let mut new = CreateClient::named(client_id.clone());
    new.description.push_str("Made by `jeton quickstart`; its secrets end after ten minutes");
    new.roles = vec![RoleName::new(builtin::ADMINISTRATOR)?];
    match admin.create_client(&by, new).await {
        Ok(_) | Err(AdminError::Conflict(_)) => {}
        Err(error) => return Err(error.into()),
    }
    for old in admin.secrets(&by, &client_id).await?.iter().filter(|secret| secret.description == MARK) {
        admin.revoke_secret(&by, &client_id, &old.secret_id).await?;
    }
    let new = AddSecret {
        description: MARK.to_owned(),
        expires_in: Some(ADMINISTRATOR_SECRET_LIFE),
        ..AddSecret::default()
    };
    let added = admin.add_secret(&by, &client_id, new).await?;
    added.client_secret.context("a generated secret is shown when it is added")
}

async fn register(api: &Api<'_>) -> anyhow::Result<()> {
    let server = json!({
        "name": "orders", "identifier": AUDIENCE, "description": "An example",
        "permissions": [
            { "permission": "orders:read", "description": "Read orders" },
            { "permission": "orders:write", "description": "Create and change orders" },
        ],
    });
    let made = api.ensure("resource-servers", "orders", &server).await?;
    done(3, &format!("a resource server: orders, with the audience {AUDIENCE}{made}"));
    let role = json!({
        "name": "order-reader", "description": "An example",
        "permissions": [{ "resource_server": "orders", "permission": "orders:read" }],
    });
    let made = api.ensure("roles", "order-reader", &role).await?;
    done(4, &format!("a role: order-reader, which gives orders:read{made}"));
    let client = json!({ "client_id": CLIENT, "description": "An example", "roles": ["order-reader"] });
    let made = api.ensure("clients", CLIENT, &client).await?;
    done(5, &format!("a service: {CLIENT}, with that role{made}"));
    Ok(())
}

fn done(step: u8, what: &str) {
    println!("{step}. {what}");
}

/// The server as a client sees it.
struct Site {
    base: String,
    http: Client,
}

// === impl Site ===

impl Site {
    async fn token(
        &self,
        client: &str,
        secret: &SecretString,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend_from_slice(parameters);
        let request = self
            .http
            .post(format!("{}/oauth2/token", self.base))
            .basic_auth(client, Some(secret.expose_secret()))
            .form(&form);
        json_of(request.send().await?).await
    }

    /// Checks a token as a resource server does: by what is published, and nothing else.
    async fn verify(
        &self,
        issuer: &str,
        token: &str,
        ambient: &Ambient,
    ) -> anyhow::Result<AccessTokenClaims> {
        let metadata = self.get("/.well-known/oauth-authorization-server").await?;
        ensure!(metadata["issuer"] == issuer, "the metadata names another issuer");
        let jwks: PublicJwkSet = serde_json::from_value(self.get("/.well-known/jwks.json").await?)?;
        let unverified = Unverified::parse(token)?;
        ensure!(unverified.is(TokenType::AccessToken), "it is not an access token");
        let jwk = unverified.key_id().and_then(|kid| jwks.find(kid)).context("its key is not published")?;
        let claims: AccessTokenClaims = unverified.verify(&VerifyingKey::from_jwk(jwk)?)?;
        ensure!(claims.iss == issuer, "it is from another issuer");
        ensure!(claims.aud.contains(AUDIENCE), "it is for another audience");
        ensure!(claims.exp > ambient.now().as_seconds(), "it has expired");
        Ok(claims)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        json_of(self.http.get(format!("{}{path}", self.base)).send().await?).await
    }
}

/// The REST API as an administrator uses it.
struct Api<'a> {
    site: &'a Site,
    token: SecretString,
}

// === impl Api ===

impl Api<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.site.base)
    }

    /// Registers something unless it is there. Answers what to say about that.
    async fn ensure(&self, collection: &str, name: &str, body: &Value) -> anyhow::Result<&'static str> {
        let http = &self.site.http;
        let found = http
            .get(self.url(&format!("{collection}/{name}")))
            .bearer_auth(self.token.expose_secret())
            .send()
            .await?;
        if found.status() != StatusCode::NOT_FOUND {
            json_of(found).await?;
            return Ok(" (found)");
        }
        let made =
            http.post(self.url(collection)).bearer_auth(self.token.expose_secret()).json(body).send().await?;
        json_of(made).await?;
        Ok("")
    }

    /// Adds a secret to the example client, and clears away those of runs before the last one.
    async fn renew_secret(&self) -> anyhow::Result<SecretString> {
        const KEPT: usize = 1;
        let http = &self.site.http;
        let secrets = self.url(&format!("clients/{CLIENT}/secrets"));
        let listed =
            json_of(http.get(&secrets).bearer_auth(self.token.expose_secret()).send().await?).await?;
        let mine = listed.as_array().into_iter().flatten().filter(|secret| secret["description"] == MARK);
        for old in mine.skip(KEPT) {
            let url = format!("{secrets}/{}", text(old, "secret_id")?);
            http.delete(url).bearer_auth(self.token.expose_secret()).send().await?.error_for_status()?;
        }
        let new = json!({ "description": MARK, "expires_in": CLIENT_SECRET_LIFE });
        let added = http.post(&secrets).bearer_auth(self.token.expose_secret()).json(&new).send().await?;
        Ok(SecretString::from(text(&json_of(added).await?, "client_secret")?.to_owned()))
    }
}

async fn json_of(response: Response) -> anyhow::Result<Value> {
    let (status, url) = (response.status(), response.url().path().to_owned());
    let body: Value =
        response.json().await.with_context(|| format!("{url} answered {status} without JSON"))?;
    if !status.is_success() {
        let detail =
            body["detail"].as_str().or(body["error_description"].as_str()).unwrap_or("no reason given");
        bail!("{url} answered {status}: {detail}");
    }
    Ok(body)
}

fn text<'a>(value: &'a Value, member: &str) -> anyhow::Result<&'a str> {
    value[member].as_str().with_context(|| format!("the answer has no {member}"))
}

fn indented(claims: &AccessTokenClaims) -> anyhow::Result<String> {
    let lines = serde_json::to_string_pretty(claims)?;
    Ok(lines.lines().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n"))
}
