//! PostgreSQL does not answer, and nothing says so.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::server_behind_proxy;
use crate::harness::{Answer, Way};

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
    server.billing().await;
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
    // Whatever was sent is being served then; if it is not, the stop cuts it off, and the test says so.
    sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    let (stopped, change, removal, read, page) = tokio::join!(server.app.stop(), change, removal, read, page);
    stopped.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for ((answer, took), words) in [
        // It may have waited for what comes before the change.
        (change, "try again"),
        (removal, "it is not known whether it was done"),
        (read, "nothing was changed"),
        (page, "Away for a moment"),
    ] {
        assert!(answer.status == 503 && answer.body.contains(words), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
