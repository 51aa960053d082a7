//! What must hold for every page, whatever it is for, on each device. The pages are found in the source.

use jeton::admin::By;
use jeton::domain::ids::ClientId;
use jeton::domain::time::HOUR;
use jeton::runtime::statistics::Statistics;
use serde_json::json;

use super::server;
use super::window::{DESK, DESK_AT_NIGHT, Device, PHONE, PHONE_AT_NIGHT, Rules, browsing};
use crate::admin_pages::routes::{CERTIFICATE, filled, named, routes};
use crate::harness::Server;
use crate::token::GRANT;
use crate::token_exchange::{EXCHANGE, access_token, exchange};

/// Pages as they are asked for with a query, beside those of the routes.
const ASKED: &[&str] = &[
    "/clients?q=shop&kind=service&state=enabled&owner=Team+Blue&label=stage%3Dproduction",
    "/clients?q=nobody-of-this-name",
    "/clients/shop",
    "/clients/shop/try?scope=orders%3Aread",
    "/clients/billing/try?scope=orders%3Awrite",
    "/exchange-rules/dry-run?caller=gate&subject=shop&audience=orders&resource_server=payments",
    "/exchange-rules/dry-run?caller=shop&subject=gate&audience=orders&resource_server=payments",
    "/exchange-rules/dry-run?caller=nobody&subject=front",
    "/new-trusted-issuer?preset=github",
    "/clients/shop/new-federated-credential?preset=gitlab",
    "/delegations?client_id=shop",
    "/audit?outcome=refused&client_id=billing",
    "/audit?kind=nothing",
    "/audit?person=ada",
    "/signing-keys?done=rotated",
    "/no-such-page",
];

/// Something of everything, and a day of tokens, refusals and exchanges.
async fn a_day(server: &Server) {
    let billing = server.billing().await;
    let permissions = json!([{ "permission": "payments:read", "description": "Read payments" }]);
    server
        .resource_server(
            json!({ "name": "payments", "identifier": "https://payments.example", "permissions": permissions }),
        )
        .await;
    let given = json!([{ "resource_server": "payments", "permission": "payments:read" }]);
    server.role(json!({ "name": "payer", "permissions": given })).await;
    let shop = json!({ "client_id": "shop", "description": "The shop's front end", "owner": "Team Blue",
        "labels": { "stage": "production" }, "roles": ["order-reader", "payer"] });
    let shop = server.client(shop).await;
    let gate =
        json!({ "client_id": "gate", "kind": "agent", "grant_types": ["client_credentials", EXCHANGE] });
    let gate = server.client(gate).await;
    server.operator("orders", "gate").await;
    let rule = json!({ "name": "rule", "caller": { "client": "gate" }, "subject": { "role": "payer" },
        "resource_server": "payments", "permissions": ["payments:read"] });
    server.exchange_rule(rule).await;
    for hour in 0..20_u32 {
        for _ in 0..=hour % 4 {
            let answer = server.token(&shop, &format!("{GRANT}&resource=https://orders.example")).await;
            let token = access_token(&answer);
            let passed_on = exchange(server, &gate, &token, "resource=https://payments.example").await;
            access_token(&passed_on);
        }
        access_token(&server.token(&billing, GRANT).await);
        if hour % 5 == 0 {
            server.token(&billing, &format!("{GRANT}&scope=orders:write")).await.expect(400);
        }
        server.clock.advance(HOUR);
    }
    let admin = server.app.admin();
    Statistics::new(admin.store.clone(), server.clock_check()).once().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_and_chromium_find_nothing_on_any_page() {
    let server = server().await;
    a_day(&server).await;
    let certificate = serde_json::from_value(json!({ "certificate": CERTIFICATE })).unwrap();
    let billing = ClientId::new("billing").unwrap();
    server.app.admin().add_certificate(&By::system(), &billing, certificate).await.unwrap();
    server.public_key("billing").await;
    server.issuer_of("billing").await;
    let ada = server.signed_in("ada", "administrator").await;
    let eve = server.signed_in("eve", "auditor").await;
    // A key that signs, and the one after it.
    let headers =
        [ada.as_str(), "Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded"];
    let answer = server.send("POST", "/admin/signing-keys/rotate", &headers, "algorithm=ES256").await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let page = async |path| server.send("GET", path, &[&ada], "").await.body;
    let (keys, client) = (page("/admin/signing-keys").await, page("/admin/clients/billing").await);
    let mut paths: Vec<String> = routes()
        .iter()
        // What is no page: the style sheets and scripts, and what stands for all that is not there.
        .filter(|route| route.reads && !route.path.starts_with("/assets"))
        .map(|route| filled(&route.path, named(&keys, &client)))
        .collect();
    assert!(paths.len() >= 30, "only {} pages were found", paths.len());
    paths.extend(ASKED.iter().map(|&path| path.to_owned()));
    paths.sort();
    let mut pages = Vec::new();
    for path in paths {
        let headers = [ada.as_str(), "Sec-Fetch-Site: same-origin"];
        let answer = server.send("GET", &format!("/admin{path}"), &headers, "").await;
        // What is downloaded has no looks.
        if answer.header("content-disposition").is_none() {
            pages.push(path);
        }
    }

    browsing("every-page", &server, DESK, async |window| {
        let mut faults = Vec::new();
        window.take_cookie(&ada).await;
        for path in &pages {
            window.open_page(path).await;
            let name: String =
                path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            for device in [DESK, PHONE, PHONE_AT_NIGHT, DESK_AT_NIGHT] {
                window.turn_into(device).await;
                window.photograph(&format!("{}{name}", device.name)).await;
                // The night changes nothing but colours.
                let rules = if device.dark { Rules::Colours } else { Rules::All };
                faults.extend(window.faults(path, rules).await);
            }
        }
        // What can be done with a key is the last column, and not behind a scroll bar.
        window.open_page("/signing-keys").await;
        for width in [DESK.width, 1_200] {
            window.turn_into(Device { width, ..DESK }).await;
            let cut = "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length";
            assert_eq!(window.ask(cut).await, 0, "tables are cut off at {width}");
        }
        // An auditor has fewer buttons, and nobody has none.
        window.driver.delete_all_cookies().await.unwrap();
        window.take_cookie(&eve).await;
        window.turn_into(PHONE).await;
        for path in ["/clients/billing", "/signing-keys", "/clients/billing/edit"] {
            window.open_page(path).await;
            faults.extend(window.faults(path, Rules::All).await);
        }
        window.driver.delete_all_cookies().await.unwrap();
        window.open_page(&format!("{}/docs", server.app.issuer())).await;
        for device in [DESK, PHONE] {
            window.turn_into(device).await;
            window.photograph("the-api").await;
            faults.extend(window.faults("/docs", Rules::All).await);
        }
        assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    })
    .await;
}
