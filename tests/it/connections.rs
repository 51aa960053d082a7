//! Slow clients, silent ones and many of them: each waits at its own cost ([decision 040]).
//!
//! [decision 040]: ../../docs/decisions/040-connections-and-stopping.md

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jeton::config::{Config, MetricsListener, Serving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Answer, Engine, Server};
use crate::metrics::{ANY, scrape, value};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(300);

/// A server with these limits. Whatever a test does not wait for takes as long as it likes.
async fn limited(change: impl FnOnce(&mut Serving)) -> Server {
    let long = Duration::from_mins(10);
    let mut serving = Serving {
        handshake_timeout: long,
        header_timeout: long,
        body_timeout: long,
        idle_timeout: long,
        write_timeout: long,
        ..Serving::default()
    };
    change(&mut serving);
    let set = |config: &mut Config| {
        config.serving = serving;
        config.metrics = MetricsListener::At(ANY);
    };
    Server::start_with(Engine::Sqlite, set).await
}

async fn from(server: &Server, address: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.into(), 0)).unwrap();
    socket.connect(server.app.address()).await.unwrap()
}

async fn connect(server: &Server) -> TcpStream {
    from(server, Ipv4Addr::LOCALHOST).await
}

/// Everything until the server closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is not closed");
    rest
}

/// Asks on a connection that is kept, and reads the answer.
async fn alive(stream: &mut TcpStream) -> bool {
    let request = b"GET /livez HTTP/1.1\r\nHost: jeton.test\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"alive\n") {
        match timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("no answer") {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    true
}

async fn counted(server: &Server, name: &str) -> u64 {
    let counted = value(&scrape(server).await, name);
    format!("{counted}").parse().unwrap()
}

async fn closed(server: &Server, reason: &str) -> u64 {
    counted(server, &format!("jeton_connections_closed_total{{reason=\"{reason}\"}}")).await
}

/// Sends a byte now and then until the server closes.
async fn drip(stream: &mut TcpStream, text: &[u8]) {
    let began = Instant::now();
    for byte in text.iter().cycle() {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        if let Ok(read) = timeout(SHORT / 10, stream.read(&mut [0; 1])).await {
            assert_eq!(read.unwrap_or(0), 0, "an answer to half a request");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it is not closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_have_to_arrive_in_time_however_they_drip() {
    let server = limited(|serving| serving.header_timeout = SHORT).await;
    let mut silent = connect(&server).await;
    let mut kept = connect(&server).await;
    assert!(alive(&mut kept).await);
    let mut slow = connect(&server).await;
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.unwrap();
    drip(&mut slow, b"jeton").await;
    assert_eq!(rest(&mut silent).await, b"");
    assert_eq!(closed(&server, "slow_header").await, 2);
    // Whoever has asked before may come back later, but then in time.
    assert!(alive(&mut kept).await);
    kept.write_all(b"GET /livez HTTP/1.1\r\nX: ").await.unwrap();
    drip(&mut kept, b"y").await;
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_to_arrive_in_time_or_is_answered_408_rfc9110_15_5_9() {
    let server = limited(|serving| serving.body_timeout = SHORT).await;
    let cookie = server.signed_in("ada", "administrator").await;
    let token = server.api_token("administrator").await;
    let ask = async |path: &str, headers: &str| {
        let mut stream = connect(&server).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 50\r\n{headers}\r\n\r\ngr"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = Answer::parse(&rest(&mut stream).await);
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        answer
    };
    let form = "Content-Type: application/x-www-form-urlencoded";
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let description = ask(path, form).await.expect_oauth_error(408, "invalid_request");
        assert!(description.contains("send it at once"), "{description}");
    }
    let json = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}");
    ask("/api/v1/roles", &json).await.expect_problem(408, "slow-body");
    let page = format!("{form}\r\n{cookie}\r\nSec-Fetch-Site: same-origin");
    let answer = ask("/admin/roles/auditor/edit", &page).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(closed(&server, "slow_body").await, 5);
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_for_a_while_and_then_closed() {
    let server = limited(|serving| serving.idle_timeout = SHORT).await;
    let mut kept = connect(&server).await;
    // For longer than it may be idle, which counts from the last answer.
    for _ in 0..15 {
        assert!(alive(&mut kept).await);
        sleep(SHORT / 10).await;
    }
    assert_eq!(rest(&mut kept).await, b"");
    assert!(closed(&server, "idle").await >= 1);
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_given_up() {
    let server = limited(|serving| serving.write_timeout = SHORT).await;
    let mut deaf = connect(&server).await;
    // Asked again and again, until the server can write no more, and so reads no more.
    let request = b"GET /docs/openapi.yaml HTTP/1.1\r\nHost: jeton.test\r\n\r\n".repeat(100);
    let ended = async { while deaf.write_all(&request).await.is_ok() {} };
    timeout(PATIENCE, ended).await.expect("it is not closed");
    assert_eq!(closed(&server, "unread").await, 1);
    server.app.stop().await.unwrap();
}

/// RFC 9113 §5.2: who never opens the window of a stream, gets no answer and keeps no memory.
#[tokio::test(flavor = "multi_thread")]
async fn of_http2_too() {
    let server = limited(|serving| serving.write_timeout = SHORT).await;
    let mut deaf = connect(&server).await;
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with an initial window of 0, then GET / of stream 1: indexed :method, :scheme and :path.
    frames.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    frames.extend([0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84]);
    deaf.write_all(&frames).await.unwrap();
    rest(&mut deaf).await;
    assert_eq!(closed(&server, "unread").await, 1);
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_places_are_taken_whoever_asks_still_gets_in() {
    let server = limited(|serving| {
        serving.max_connections = 20_usize.try_into().ok();
        serving.max_connections_per_address = 8_usize.try_into().ok();
    })
    .await;
    let mut kept = from(&server, Ipv4Addr::new(127, 0, 1, 0)).await;
    assert!(alive(&mut kept).await);
    let mut crowd = Vec::new();
    for n in 1..=40 {
        let mut stream = from(&server, Ipv4Addr::new(127, 0, 1, n)).await;
        // Half of them go on sending.
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n").await;
        }
        crowd.push(stream);
        let mut well_behaved = from(&server, Ipv4Addr::new(127, 0, 2, n)).await;
        assert!(alive(&mut well_behaved).await, "{n}");
    }
    assert!(!alive(&mut kept).await, "it had waited longest");
    let open: f64 = {
        let metrics = scrape(&server).await;
        let states = ["handshake", "asking", "busy", "idle"];
        states.iter().map(|state| value(&metrics, &format!("jeton_connections{{state=\"{state}\"}}"))).sum()
    };
    assert!(open <= 20.0, "{open}");

    // One address has a share, and closes its own.
    let mut elsewhere = from(&server, Ipv4Addr::new(127, 0, 3, 1)).await;
    assert!(alive(&mut elsewhere).await);
    let before = closed(&server, "room").await;
    assert!(before >= 20, "{before}");
    let mut own = Vec::new();
    for _ in 0..12 {
        own.push(from(&server, Ipv4Addr::new(127, 0, 3, 2)).await);
    }
    assert_eq!(rest(&mut own[0]).await, b"");
    assert!(alive(&mut own[11]).await);
    assert!(alive(&mut elsewhere).await);
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_with_words_rfc6585_5() {
    let server = limited(|serving| serving.max_header_size = Some(8_192)).await;
    let long = "x".repeat(9_000);
    let answer = server.get(&format!("/livez?{long}")).await;
    answer.expect_problem(414, "uri-too-long");
    let answer = server.send("GET", "/livez", &[&format!("X-Long: {long}")], "").await;
    answer.expect_problem(431, "headers-too-large");
    assert!(answer.header("x-request-id").is_some());
    let under: Vec<String> = (0..95).map(|n| format!("X-{n}: y")).collect();
    let under: Vec<&str> = under.iter().map(String::as_str).collect();
    server.send("GET", "/livez", &under, "").await.expect_text(200, "alive");
    let many: Vec<&str> = under.iter().chain(&under).copied().collect();
    assert_eq!(server.send("GET", "/livez", &many, "").await.status, 431);
    assert_eq!(
        server.send("GET", "/livez", &[&format!("X-Long: {}", long.repeat(10))], "").await.status,
        431
    );
    // Too large a body is refused before it is read, everywhere.
    let declares = |path: &str, n: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n")
    };
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        server.raw(declares(path, 65_537)).await.expect_oauth_error(413, "invalid_request");
    }
    server.app.stop().await.unwrap();
}
