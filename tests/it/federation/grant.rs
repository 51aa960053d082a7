//! The grant `jwt-bearer` (RFC 7523 §2.1).

use serde_json::{Value, json};

use super::{JWT_BEARER, Platform, cast, parameters, sub, uid};
use crate::harness::{Answer, Server, both_engines};

both_engines!(an_assertion_is_the_authorization, what_is_wrong_with_it_is_invalid_grant,);

const GRANT: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";

fn registered() -> Value {
    json!({
        "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "auth_methods": ["client_secret_basic", "federated_jwt"],
    })
}

async fn start(server: &Server) -> Platform {
    let platform = cast(server).await;
    platform.client_with(server, "robot", sub("robot"), registered()).await;
    platform
}

async fn ask(server: &Server, assertion: &str, more: &str) -> Answer {
    server.form(&[], &format!("{GRANT}&assertion={assertion}{more}")).await
}

async fn an_assertion_is_the_authorization(server: Server) {
    let platform = start(&server).await;
    let token = || platform.token(&server, "robot");
    for more in ["", "&client_id=robot", "&scope=orders:read", "&resource=https://orders.example"] {
        let answer = ask(&server, &token(), more).await;
        let body = answer.expect(200);
        assert_eq!(body["scope"], "orders:read");
        let event = server.recorded(&answer).await.detail;
        assert_eq!(
            (&event["client_id"], &event["auth_method"], &event["subject"]),
            (&json!("robot"), &json!("federated_jwt"), &json!("robot"))
        );
    }
    // Beside it the client may authenticate, as itself.
    let robot = server.secret("robot", json!({})).await;
    let body = format!("{GRANT}&assertion={}", token());
    let answer = server.token(&robot, &body).await;
    answer.expect(200);
    assert_eq!(server.recorded(&answer).await.detail["auth_method"], "client_secret_basic");
    let again = server.token(&robot, &body).await;
    again.expect_oauth_error(400, "invalid_grant");
    server.reason_is("again", &again, "used before").await;
    let body = format!("{GRANT}&assertion={}&{}", token(), parameters(JWT_BEARER, &token()));
    server.form(&[], &body).await.expect(200);
    // A scope that it does not have.
    ask(&server, &token(), "&scope=orders:write").await.expect_oauth_error(400, "invalid_scope");
    server.app.stop().await.unwrap();
}

async fn what_is_wrong_with_it_is_invalid_grant(server: Server) {
    let platform = start(&server).await;
    let token = || platform.token(&server, "robot");
    let mut claims = platform.claims(&server, "robot");
    claims["aud"] = json!("https://other.example");
    let elsewhere = platform.sign(&platform.header(), &claims);
    let proof = {
        let mut header = platform.header();
        header["typ"] = json!("client-authentication+jwt");
        platform.sign(&header, &platform.claims(&server, "robot"))
    };
    let used = token();
    ask(&server, &used, "").await.expect(200);
    let forged = {
        let mut forged = token();
        forged.truncate(forged.len() - 4);
        forged
    };
    let mut seen: Option<Answer> = None;
    for (row, assertion, more, reason) in [
        ("nonsense", "nonsense".to_owned(), "", "not a JWT"),
        ("a client's own proof", proof, "", "typ is client-authentication+jwt"),
        ("elsewhere", elsewhere, "", "aud is"),
        ("forged", forged, "", "signature"),
        ("used", used, "", "used before"),
        ("not registered for it", platform.token(&server, "app"), "", "not registered for"),
        ("nobody's", platform.token(&server, "nobody"), "", "no client has"),
        ("another's", token(), "&client_id=app", "not registered for"),
        ("nobody", token(), "&client_id=nobody", "no client has this client_id"),
    ] {
        let answer = ask(&server, &assertion, more).await;
        answer.expect_refusal(row, 400, "invalid_grant");
        server.reason_is(row, &answer, reason).await;
        if let Some(seen) = &seen {
            assert_eq!(answer.comparable(), seen.comparable(), "{row}");
        }
        seen = Some(answer);
    }
    // Of another client than the one that authenticates.
    platform.client_with(&server, "other", sub("other"), registered()).await;
    let other = server.secret("other", json!({})).await;
    let answer = server.token(&other, &format!("{GRANT}&assertion={}", token())).await;
    answer.expect_oauth_error(400, "invalid_grant");
    server.reason_is("another client", &answer, "whose conditions hold").await;
    // Without it.
    server.form(&[], GRANT).await.expect_oauth_error(400, "invalid_request");
    server.token(&other, GRANT).await.expect_oauth_error(400, "invalid_request");
    // Disabled.
    let (_, robot) = uid(&server, "robot").await;
    server.app.admin().set_client_enabled(&jeton::admin::By::system(), &robot, false).await.unwrap();
    let answer = ask(&server, &token(), "").await;
    answer.expect_refusal("disabled", 400, "invalid_grant");
    server.reason_is("disabled", &answer, "disabled").await;
    server.app.stop().await.unwrap();
}
