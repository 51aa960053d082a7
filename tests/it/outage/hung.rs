//! PostgreSQL does not answer, and nothing says so.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::server_behind_proxy;
use crate::harness::{Answer, Way};
use crate::metrics::value;

/// Sends a request. What it answers is what comes back, and after how long.
async fn send(
    address: SocketAddr,
    head: &str,
    body: &str,
) -> impl Future<Output = (Answer, Duration)> + use<> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    async move {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        (Answer::parse(&answer), begun.elapsed())
    }
}

/// Nobody has asked for a token since it hangs, so that the ledger does not know of it either.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_it_hears_so_and_a_stop_is_in_time() {
    let (server, proxy) = server_behind_proxy(Duration::from_mins(15)).await;
    let billing = server.billing().await;
    // A use that is to be written when it stops.
    let form = [billing.basic(), "Content-Type: application/x-www-form-urlencoded".to_owned()];
    let form = form.each_ref().map(String::as_str);
    assert_eq!(server.send("POST", "/oauth2/introspect", &form, "token=x").await.status, 200);
    let token = server.api_token("administrator").await;
    let cookie = server.signed_in("ada", "auditor").await;
    proxy.is(Way::Hung);
    let api =
        |what: &str| format!("{what} /api/v1/clients/billing HTTP/1.1\r\nAuthorization: Bearer {token}");
    let based = "If-Match: \"1\"";
    let patch = format!("{}\r\n{based}\r\nContent-Type: application/json", api("PATCH"));
    let delete = format!("{}\r\n{based}", api("DELETE"));
    let page = format!("GET /admin/clients HTTP/1.1\r\n{cookie}");
    let address = server.app.address();
    let change = send(address, &patch, r#"{ "description": "x" }"#).await;
    let removal = send(address, &delete, "").await;
    let (read, page) = (send(address, &api("GET"), "").await, send(address, &page, "").await);
    let metrics = format!("http://{}/metrics", server.app.metrics_address().unwrap());
    let all_there = async {
        while value(&reqwest::get(&metrics).await.unwrap().text().await.unwrap(), "jeton_requests_in_flight")
            < 4.0
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), all_there).await.expect("what was sent is not being served");
    let begun = Instant::now();
    let (stopped, change, removal, read, page) = tokio::join!(server.app.stop(), change, removal, read, page);
    stopped.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let undecided = "nothing was decided and nothing was changed";
    let unknown = "it is not known whether it was done";
    for ((answer, took), words) in [
        // It may have waited for what comes before the change.
        (change, [undecided, unknown]),
        (removal, [unknown; 2]),
        (read, [undecided; 2]),
        (page, ["Away for a moment"; 2]),
    ] {
        assert!(answer.status == 503 && words.iter().any(|words| answer.body.contains(words)), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
