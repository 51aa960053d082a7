//! The same for whom a platform's tokens prove: every door, for the client, the trusted issuer and the credential.

use std::time::Duration;

use serde_json::json;

use crate::federation::{JWT_BEARER, Platform, change, parameters, sub, uid};
use crate::harness::{Answer, Server, both_engines};
use crate::token::GRANT;
use jeton::admin::By;
use jeton::storage::ChangeKind;

both_engines!(whoever_a_platform_vouches_for_stands_as_long_as_all_of_it,);

const BEARER: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long everything lasts that will expire.
const SOON: Duration = Duration::from_mins(5);

/// What befalls whom.
#[derive(Clone, Copy, Debug)]
enum Fate {
    ClientDisabled,
    ClientExpired,
    ClientAbsent,
    IssuerDisabled,
    CredentialExpired,
    CredentialAbsent,
    NotRegistered,
}

const FATES: [Fate; 7] = [
    Fate::ClientDisabled,
    Fate::ClientExpired,
    Fate::ClientAbsent,
    Fate::IssuerDisabled,
    Fate::CredentialExpired,
    Fate::CredentialAbsent,
    Fate::NotRegistered,
];

impl Fate {
    /// Why a token is refused then, of a client that is named or to be found.
    fn reason(self, named: bool) -> &'static str {
        match (self, named) {
            (Self::ClientDisabled, _) => "the client is disabled",
            (Self::ClientExpired, _) => "the client is expired",
            (Self::ClientAbsent, true) => "no client has this client_id",
            (Self::ClientAbsent | Self::CredentialAbsent, false) => "no client has a federated credential",
            (Self::IssuerDisabled, _) => "the trusted issuer ci-3 is disabled",
            (Self::CredentialExpired, _) => " is expired",
            (Self::CredentialAbsent, true) => "the client has no federated credential",
            (Self::NotRegistered, _) => "the client is not registered for",
        }
    }
}

/// What is refused at each of the doors.
const SHUT: [(u16, &str); 6] = [
    (401, "invalid_client"),
    (401, "invalid_client"),
    (401, "invalid_client"),
    (401, "invalid_client"),
    (400, "invalid_grant"),
    (400, "invalid_grant"),
];

/// At which of them the request names the client.
const NAMED: [bool; 6] = [false, true, false, true, false, true];

/// The answer at each door: a token by assertion, found and named; the same at two other endpoints; and by the grant.
async fn doors(server: &Server, platform: &Platform, client_id: &str) -> Vec<Answer> {
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    let shown = || parameters(JWT_BEARER, &platform.token(server, client_id));
    let named = format!("client_id={client_id}");
    vec![
        server.form(&[], &format!("{GRANT}&{}", shown())).await,
        server.form(&[], &format!("{GRANT}&{named}&{}", shown())).await,
        server.send("POST", "/oauth2/introspect", &form, format!("token=x&{}", shown())).await,
        server.send("POST", "/oauth2/revoke", &form, format!("token=x&{named}&{}", shown())).await,
        server.form(&[], &format!("{BEARER}&assertion={}", platform.token(server, client_id))).await,
        server.form(&[], &format!("{BEARER}&{named}&assertion={}", platform.token(server, client_id))).await,
    ]
}

async fn whoever_a_platform_vouches_for_stands_as_long_as_all_of_it(server: Server) {
    server.billing().await;
    for (number, fate) in FATES.into_iter().enumerate() {
        let (name, client_id) = (format!("ci-{number}"), format!("app-{number}"));
        let mut platform = Platform::new(&name, &format!("https://{name}.example"));
        platform.trust(&server).await;
        let end = server.app.admin().ambient.now().plus(SOON);
        let expires_at = matches!(fate, Fate::ClientExpired).then(|| end.to_string());
        let registered = json!({
            "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
            "auth_methods": ["federated_jwt"], "expires_at": expires_at,
        });
        platform.client_with(&server, &client_id, sub(&client_id), registered).await;
        for (door, answer) in doors(&server, &platform, &client_id).await.iter().enumerate() {
            assert_eq!(answer.status, 200, "{fate:?}: door {door} is open at first: {answer:?}");
        }
        let (client, id) = uid(&server, &client_id).await;
        let credential = server.app.admin().store.federated_credentials(client).await.unwrap().remove(0);
        let federation = ChangeKind::Federation(id.clone());
        let admin = server.app.admin();
        match fate {
            Fate::ClientDisabled => {
                admin.set_client_enabled(&By::system(), &id, false).await.unwrap();
            }
            Fate::ClientAbsent => {
                let version = admin.store.client(&id).await.unwrap().unwrap().version;
                admin.delete_client(&By::system(), &id, version).await.unwrap();
            }
            Fate::IssuerDisabled => platform.update(&server, |issuer| issuer.enabled = false).await,
            Fate::CredentialExpired => {
                let ending =
                    jeton::domain::trust::FederatedCredential { expires_at: Some(end), ..credential };
                change(&server, &federation, async |tx| {
                    assert!(tx.update_federated_credential(client, &ending).await.unwrap());
                })
                .await;
                server.clock.advance(SOON);
            }
            Fate::CredentialAbsent => {
                change(&server, &federation, async |tx| {
                    assert!(tx.delete_federated_credential(client, &credential.credential_id).await.unwrap());
                })
                .await;
            }
            Fate::ClientExpired => server.clock.advance(SOON),
            Fate::NotRegistered => {
                let version = admin.store.client(&id).await.unwrap().unwrap().version;
                let change = serde_json::from_value(json!({
                    "auth_methods": ["private_key_jwt"], "grant_types": ["client_credentials"],
                }));
                admin.update_client(&By::system(), &id, version, change.unwrap()).await.unwrap();
            }
        }
        let shut = doors(&server, &platform, &client_id).await;
        for (door, (answer, (status, error))) in shut.iter().zip(SHUT).enumerate() {
            let row = format!("{fate:?}, door {door}");
            answer.expect_refusal(&row, status, error);
            server.reason_is(&row, answer, fate.reason(NAMED[door])).await;
        }
    }
    server.app.stop().await.unwrap();
}
