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

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// `GET /` in HPACK, all of it from the static table, and what comes after it.
fn get(more: &[u8]) -> Vec<u8> {
    [&[0x82, 0x86, 0x84], more].concat()
}

/// A header line in HPACK with so long a value, neither indexed nor in Huffman's code (RFC 7541 §5.1, §6.2.2).
fn literal(name: &[u8], length: usize) -> Vec<u8> {
    let mut line = [&[0, u8::try_from(name.len()).unwrap()], name, &[0x7f]].concat();
    let mut rest = length - 0x7f;
    while rest >= 0x80 {
        line.push(0x80 | u8::try_from(rest % 0x80).unwrap());
        rest /= 0x80;
    }
    line.push(u8::try_from(rest).unwrap());
    line.extend(vec![b'y'; length]);
    line
}

/// A connection of HTTP/2, whose preface and settings are sent.
async fn http2(server: &Server) -> TcpStream {
    let mut stream = connect(server).await;
    let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..]].concat();
    stream.write_all(&hello).await.unwrap();
    stream
}

/// The next frame of one of these kinds: its kind, its stream and its payload.
async fn next_frame(stream: &mut TcpStream, wanted: &[u8]) -> (u8, u32, Vec<u8>) {
    let reading = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("it was closed without saying why");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if wanted.contains(&head[3]) {
                return (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload);
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("no such frame")
}

/// RFC 9113 §6.2: a head without `END_HEADERS` goes on in a `CONTINUATION`, and keeps the connection until that comes.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_head_over_http2_is_not_waited_for_without_end() {
    // As the first of its connection it has the time of any.
    let server = limited(|serving| serving.header_timeout = SHORT).await;
    let mut slow = http2(&server).await;
    slow.write_all(&frame(HEADERS, 1, 1, &get(&[]))).await.unwrap();
    rest(&mut slow).await;
    assert_eq!(closed(&server, "slow_header").await, 1);
    server.app.stop().await.unwrap();

    // Later that of a connection that asks nothing, however it drips: it is told to end, and then is cut off.
    let server = limited(|serving| serving.idle_timeout = SHORT).await;
    let mut slow = http2(&server).await;
    slow.write_all(&frame(HEADERS, 5, 1, &get(&[]))).await.unwrap();
    assert_eq!(next_frame(&mut slow, &[HEADERS]).await.1, 1, "an answer");
    slow.write_all(&frame(HEADERS, 1, 3, &get(&[]))).await.unwrap();
    let rest_of_it = frame(CONTINUATION, 4, 3, &literal(b"x", 8_000));
    let dripping = async {
        for byte in &rest_of_it {
            if slow.write_all(&[*byte]).await.is_err() {
                return true;
            }
            sleep(SHORT / 10).await;
        }
        false
    };
    assert!(timeout(PATIENCE, dripping).await.expect("it is not closed"), "it was closed by nobody");
    assert_eq!(closed(&server, "idle").await, 1);
    server.app.stop().await.unwrap();
}

/// RFC 9113 §5.1.2, §6.5.2 and CVE-2023-44487: what a connection of HTTP/2 may take is said, and kept to.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http2_has_limits_of_its_own() {
    let server = limited(|serving| {
        serving.max_streams = 3;
        serving.max_header_size = Some(8_192);
    })
    .await;
    let mut stream = http2(&server).await;
    let (.., settings) = next_frame(&mut stream, &[SETTINGS]).await;
    let told: Vec<_> = settings
        .chunks(6)
        .map(|one| (one[1], u32::from_be_bytes([one[2], one[3], one[4], one[5]])))
        .collect();
    assert!(told.contains(&(3, 3)), "SETTINGS_MAX_CONCURRENT_STREAMS: {told:?}");
    assert!(told.contains(&(6, 8_192 + 16_384)), "SETTINGS_MAX_HEADER_LIST_SIZE: {told:?}");

    // Requests whose bodies do not come: the fourth is refused (REFUSED_STREAM), the others are not.
    let post = [&[0x83, 0x86, 0x04, 13][..], b"/oauth2/token"].concat();
    for number in 0..4 {
        stream.write_all(&frame(HEADERS, 4, 1 + 2 * number, &post)).await.unwrap();
    }
    assert_eq!(next_frame(&mut stream, &[RST_STREAM]).await, (RST_STREAM, 7, vec![0, 0, 0, 7]));

    // Headers over our limit, and over hyper's, which answers without a text.
    for length in [9_000, 30_000] {
        let mut stream = http2(&server).await;
        let block = get(&literal(b"x", length));
        let parts: Vec<_> = block.chunks(16_000).collect();
        for (at, part) in parts.iter().enumerate() {
            let kind = if at == 0 { HEADERS } else { CONTINUATION };
            // END_STREAM belongs to the first, END_HEADERS to the last.
            let flags = u8::from(at == 0) | (u8::from(at + 1 == parts.len()) << 2);
            stream.write_all(&frame(kind, flags, 1, part)).await.unwrap();
        }
        let (kind, number, answer) = next_frame(&mut stream, &[HEADERS, GOAWAY, RST_STREAM]).await;
        assert_eq!((kind, number), (HEADERS, 1), "{answer:?}");
        // `:status` of the static table, and 431 in Huffman's code.
        assert!(answer.starts_with(&[0x48, 0x83, 0x69, 0x90, 0xff]), "{length}: {answer:x?}");
    }

    // Opened and taken back, again and again.
    let mut hasty = http2(&server).await;
    let streams = (0..60).map(|number| 1 + 2 * number);
    let frames: Vec<u8> = streams
        .flat_map(|number| {
            [frame(HEADERS, 5, number, &get(&[])), frame(RST_STREAM, 0, number, &[0, 0, 0, 8])].concat()
        })
        .collect();
    hasty.write_all(&frames).await.unwrap();
    let (.., goodbye) = next_frame(&mut hasty, &[GOAWAY]).await;
    assert_eq!(goodbye[4..8], [0, 0, 0, 11], "ENHANCE_YOUR_CALM");
    drop(stream);
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
