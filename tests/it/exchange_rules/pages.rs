//! Rules about somebody from elsewhere, in the pages.

use serde_json::json;

use crate::admin_pages::{Person, has};
use crate::harness::{Engine, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_somebody_from_elsewhere_is_made_tried_and_changed_in_the_pages() {
    let server = Server::start(Engine::Sqlite).await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let api = server.administrator().await;
    let stock = json!({
        "name": "stock", "identifier": "https://stock.example", "permissions": [{ "permission": "stock:read" }],
    });
    server.resource_server(stock).await;
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    server.client(json!({ "client_id": "gate", "grant_types": [exchange] })).await;
    let keys = json!({ "from": "discovery" });
    server.trusted_issuer(json!({ "name": "ci", "issuer": "https://ci.example", "keys": keys })).await;
    let fields = [
        ("name", "jobs"),
        ("caller_is", "client"),
        ("caller", "gate"),
        ("subject_is", "trusted_issuer"),
        ("subject", "ci"),
        ("subject_conditions", "sub = job:*\r\nenv=prod"),
        ("actor", ""),
        ("actor_conditions", ""),
        ("resource_server", "stock"),
        ("permissions", "stock:read"),
        ("mode", "delegation"),
        ("max_depth", "5"),
    ];
    for (wrong, problem) in
        [("", "0 conditions"), ("job", "has no &#39;=&#39;"), ("sub = *", "none of them is exact")]
    {
        let fields =
            fields.map(|(name, value)| (name, if name == "subject_conditions" { wrong } else { value }));
        let answer = ada.send("/new-exchange-rule", &fields).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        has(&answer.body, &[problem]);
    }
    let page = ada.does("/new-exchange-rule", &fields).await;
    has(&page, &["whoever ci vouches for, if env is prod and sub is job:*"]);
    has(&ada.page("/exchange-rules").await, &["whoever ci vouches for"]);
    let rule = api.get("/exchange-rules/jobs").await.expect_version(200, 1);
    let conditions = json!([{ "claim": "env", "value": "prod" }, { "claim": "sub", "value": "job:*" }]);
    assert_eq!(rule["subject"], json!({ "trusted_issuer": "ci", "conditions": conditions }));

    let dry_run = "/exchange-rules/dry-run?caller=gate&subject=&outside_subject=ci&outside_subject_claims=";
    let page = ada.page(&format!("{dry_run}%7B%22sub%22:%22job:1%22,%22env%22:%22prod%22%7D")).await;
    has(&page, &["There would be a token", "by the rule"]);
    let page = ada.page(&format!("{dry_run}%7B%22sub%22:%22job:1%22%7D")).await;
    has(&page, &["It would be refused", "the claim &#39;env&#39; must be &#39;prod&#39;, and there is none"]);
    let answer = ada.open(&format!("{dry_run}x")).await;
    assert_eq!(answer.status, 422);
    has(&answer.body, &["id=\"outside_subject_claims-error\""]);

    let page = ada.page("/exchange-rules/jobs/edit").await;
    has(&page, &["value=\"trusted_issuer\" selected", "env = prod\nsub = job:*</textarea>"]);
    let mut change = fields[1..].to_vec();
    change.retain(|(name, _)| *name != "resource_server" && *name != "actor" && *name != "actor_conditions");
    change.extend([("actor", "ci"), ("actor_conditions", "sub = robot"), ("version", "1")]);
    let asked = ada.send("/exchange-rules/jobs/edit", &change).await;
    has(&asked.body, &["an actor token is wanted now"]);
    change.push(("name", "jobs"));
    ada.does("/exchange-rules/jobs/edit", &change).await;
    let rule = api.get("/exchange-rules/jobs").await.expect_version(200, 2);
    let robot = json!({ "trusted_issuer": "ci", "conditions": [{ "claim": "sub", "value": "robot" }] });
    assert_eq!(
        (&rule["actor"], &rule["subject"]["conditions"]),
        (&robot, &conditions),
        "what was not changed stays"
    );
    has(&ada.page("/exchange-rules/jobs/delete").await, &["whoever ci vouches for"]);
}
