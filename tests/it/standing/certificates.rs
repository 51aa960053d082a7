//! The same for clients that prove themselves with certificates: what shuts their doors, and that it does at each
//! endpoint where clients authenticate.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Issued;
use crate::mutual_tls::{SUBJECT, Stage, both_stages};

both_stages!(a_disabled_expired_or_absent_one_shuts_every_door);

/// What befalls a client or its credential.
#[derive(Clone, Copy, Debug)]
enum What {
    ClientDisabled,
    ClientExpired,
    ClientAbsent,
    /// The method is no longer one of the client's.
    MethodTaken,
    /// The subject is another, or the registered certificate is removed.
    CredentialAbsent,
    /// The end has come that a registered certificate was given, or that of the certificate itself.
    CredentialExpired,
}

const ALL: [What; 6] = [
    What::ClientDisabled,
    What::ClientExpired,
    What::ClientAbsent,
    What::MethodTaken,
    What::CredentialAbsent,
    What::CredentialExpired,
];

const SOON: Duration = Duration::from_mins(1);

/// Registers a client of its own for each row, and its certificate.
async fn registered(stage: &Stage, method: &str, client_id: &str) -> Issued {
    let certificate = stage.authority.issue_with("client", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(SUBJECT.try_into().unwrap())];
        // Midnight is long after everything else.
        params.not_after = rcgen::date_time_ymd(2026, 11, 23);
    });
    let new = json!({ "client_id": client_id, "roles": ["order-reader"], "auth_methods": [method],
        "tls_client_auth_subject": { "kind": "san_dns", "value": SUBJECT } });
    stage.server.client(new).await;
    if method == "self_signed_tls_client_auth" {
        stage.register(client_id, &certificate, json!({ "expires_in": SOON.as_secs() })).await;
    }
    certificate
}

/// Whether the endpoints let the client in: all of them do, or none does.
async fn is_open(stage: &Stage, certificate: &Issued, client_id: &str, row: &str) -> bool {
    let mut open = Vec::new();
    for (path, body) in [
        ("/oauth2/token", "grant_type=client_credentials&scope=orders:read"),
        ("/oauth2/introspect", "token=x"),
        ("/oauth2/revoke", "token=x"),
    ] {
        let answer = stage.post(path, Some(certificate), &[], &format!("{body}&client_id={client_id}")).await;
        if answer.status != 200 {
            answer.expect_refusal(row, 401, "invalid_client");
        }
        open.push(answer.status == 200);
    }
    assert!(open.iter().all(|one| *one == open[0]), "{row}: {open:?}");
    open[0]
}

async fn happen(stage: &Stage, what: What, client_id: &str) {
    let admin = stage.server.administrator().await;
    let path = format!("/clients/{client_id}");
    let change = async |change: Value| {
        admin.patch(&path, 1, change).await.expect(200);
    };
    match what {
        What::ClientDisabled => change(json!({ "enabled": false })).await,
        What::ClientExpired => {
            let end = stage.server.app.admin().ambient.now().plus(Duration::from_secs(1));
            change(json!({ "expires_at": end.to_string() })).await;
            stage.server.clock.advance(Duration::from_secs(1));
        }
        What::ClientAbsent => assert_eq!(admin.delete(&path, Some(1)).await.status, 204),
        What::MethodTaken => change(json!({ "auth_methods": ["client_secret_basic"] })).await,
        What::CredentialAbsent => {
            let other = json!({ "kind": "san_dns", "value": "other.example" });
            change(json!({ "tls_client_auth_subject": other })).await;
            let path = format!("{path}/certificates");
            for certificate in admin.get(&path).await.expect(200).as_array().unwrap() {
                let id = certificate["certificate_id"].as_str().unwrap();
                assert_eq!(admin.delete(&format!("{path}/{id}"), None).await.status, 204);
            }
        }
        What::CredentialExpired => {
            let is_registered = admin.get(&format!("{path}/certificates")).await.expect(200) != json!([]);
            stage.server.clock.advance(if is_registered { SOON } else { Duration::from_hours(24) });
        }
    }
}

async fn a_disabled_expired_or_absent_one_shuts_every_door(stage: Stage) {
    stage.server.billing().await;
    for method in ["self_signed_tls_client_auth", "tls_client_auth"] {
        for (n, what) in ALL.into_iter().enumerate() {
            let row = format!("{method} {what:?}");
            let client_id = format!("{method}-{n}");
            let certificate = registered(&stage, method, &client_id).await;
            assert!(is_open(&stage, &certificate, &client_id, &row).await, "{row}: open at first");
            happen(&stage, what, &client_id).await;
            assert!(!is_open(&stage, &certificate, &client_id, &row).await, "{row}");
        }
    }
}
