//! Starting, stopping and reloading as an operator sees them: signals, systemd, probes
//! ([decision 040](../../docs/decisions/040-connections-and-stopping.md)).

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Database, Engine, Process, jeton, run};

const PATIENCE: Duration = Duration::from_secs(30);

/// A client `billing` that may get tokens. Answers its secret.
fn register(database: &Database) -> String {
    let server = ["resource-servers", "create", "orders", "--identifier", "https://o.example"];
    jeton(database, &[&server[..], &["--permission", "read"]].concat());
    jeton(database, &["roles", "create", "reader", "--permission", "orders/read"]);
    let made = jeton(database, &["clients", "create", "billing", "--role", "reader"]);
    made["secret"]["client_secret"].as_str().unwrap().to_owned()
}

fn address(process: &Process) -> SocketAddr {
    process.base.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Asks for tokens until the server is gone. Answers how many came whole.
async fn load(base: String, secret: String) -> usize {
    let http = reqwest::Client::new();
    let mut tokens = 0;
    loop {
        let request = http.post(format!("{base}/oauth2/token")).basic_auth("billing", Some(&secret));
        let request = request.form(&[("grant_type", "client_credentials")]);
        let Ok(answer) = request.send().await else { return tokens };
        let status = answer.status().as_u16();
        let Ok(body) = answer.text().await else { return tokens };
        assert_eq!(status, 200, "{body}");
        tokens += 1;
    }
}

async fn what_is_under_way_is_finished_and_half_requests_hold_nobody_up(engine: Engine) {
    let database = Database::create(engine).await;
    let secret = register(&database);
    let environment = [("JETON_SERVER__SHUTDOWN_DEADLINE", "8s"), ("JETON_SERVER__IDLE_TIMEOUT", "1h")];
    let process = Process::serve(&database, &environment).await;
    let mut half = Vec::new();
    for beginning in ["", "G", "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-"] {
        let mut stream = TcpStream::connect(address(&process)).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        half.push(stream);
    }
    // Answered, and kept.
    let mut kept = TcpStream::connect(address(&process)).await.unwrap();
    kept.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(kept.read(&mut [0; 1_024]).await.unwrap() > 0);
    let mut loads = JoinSet::new();
    for _ in 0..6 {
        loads.spawn(load(process.base.clone(), secret.clone()));
    }
    sleep(Duration::from_millis(500)).await;

    let began = Instant::now();
    process.stop().await;
    let took = began.elapsed();
    // A half request has a second; half of the deadline would be for what waits for its client.
    assert!(took < Duration::from_secs(4), "{took:?}");
    let answered: usize = loads.join_all().await.into_iter().sum();
    assert!(answered > 6, "too little load to tell anything: {answered}");
    let events = database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await;
    assert_eq!(
        events.len(),
        answered,
        "each answered token has its event, and each event's token was answered"
    );
    let report = jeton(&database, &["audit", "verify"]);
    let chains = report["chains"].as_array().unwrap();
    assert!(chains.iter().all(|chain| chain["closed"] == true), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished_and_half_requests_hold_nobody_up_on_sqlite() {
    what_is_under_way_is_finished_and_half_requests_hold_nobody_up(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished_and_half_requests_hold_nobody_up_on_postgres() {
    what_is_under_way_is_finished_and_half_requests_hold_nobody_up(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_stops_before_it_does_and_a_second_signal_ends_it_at_once() {
    let database = Database::create(Engine::Sqlite).await;
    let process = Process::serve(&database, &[("JETON_SERVER__DRAIN_DELAY", "1h")]).await;
    process.tell("TERM");
    let probe = async |path: &str| {
        let answer = reqwest::get(format!("{}{path}", process.base)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let draining = async {
        while probe("/readyz").await != (503, "stopping\n".to_owned()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, draining).await.expect("it says that it is ready");
    // Meanwhile it serves whoever comes.
    assert_eq!(probe("/livez").await.0, 200);
    assert_eq!(probe("/.well-known/jwks.json").await.0, 200);
    let status = process.signal("INT").await;
    assert_eq!(status.code(), Some(1), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_cut_off_and_the_stop_is_a_clean_one() {
    let database = Database::create(Engine::Sqlite).await;
    let environment = [("JETON_SERVER__SHUTDOWN_DEADLINE", "4s"), ("JETON_SERVER__BODY_TIMEOUT", "1h")];
    let process = Process::serve(&database, &environment).await;
    let mut slow = TcpStream::connect(address(&process)).await.unwrap();
    let head =
        "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 999\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 64];
    let read = timeout(PATIENCE, slow.read(&mut interim)).await.unwrap().unwrap();
    assert!(interim[..read].starts_with(b"HTTP/1.1 100"), "the body is waited for");
    let (mut rest, mut drips) = slow.into_split();
    let dripping = tokio::spawn(async move {
        while drips.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let began = Instant::now();
    process.stop().await;
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1_900) && took < Duration::from_millis(3_900),
        "half of it: {took:?}"
    );
    assert_eq!(rest.read(&mut [0; 64]).await.unwrap_or(0), 0, "it was cut off");
    dripping.abort();
    assert!(run(&database, &["audit", "verify"]).status.success());
}

/// What systemd would be told, line by line.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// The next message with this line; others are passed over.
    async fn hears(&self, line: &str) -> String {
        let heard = async {
            let mut message = [0; 4_096];
            loop {
                match self.socket.recv(&mut message) {
                    Ok(length) => {
                        let message = String::from_utf8_lossy(&message[..length]).into_owned();
                        if message.lines().any(|told| told.starts_with(line)) {
                            return message;
                        }
                    }
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{line} was not told"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_and_a_reload_changes_the_level_of_the_log() {
    let database = Database::create(Engine::Sqlite).await;
    let (place, file) =
        (database.directory.path().join("notify"), database.directory.path().join("jeton.toml"));
    let socket = UnixDatagram::bind(&place).unwrap();
    socket.set_nonblocking(true).unwrap();
    let manager = Manager { socket };
    fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
    let environment = [
        ("NOTIFY_SOCKET", place.to_str().unwrap()),
        ("WATCHDOG_USEC", "400000"),
        ("JETON_CONFIG", file.to_str().unwrap()),
        ("JETON_LOG__FORMAT", "json"),
    ];
    let process = Process::start(&database, &["serve"], &environment);
    let ready = manager.hears("READY=1").await;
    assert!(ready.contains("\nSTATUS=serving http://localhost:8080"), "{ready}");
    process.ready().await;
    manager.hears("WATCHDOG=1").await;

    let reload = async |text: &str| {
        fs::write(&file, text).unwrap();
        process.tell("HUP");
        let told = manager.hears("RELOADING=1").await;
        let stamp = told.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        // When the machine started is not known, but that it has.
        assert!(stamp.parse::<u64>().unwrap() > 1_000_000, "{told}");
        manager.hears("READY=1").await;
    };
    let answered = async || {
        reqwest::get(format!("{}/livez", process.base)).await.unwrap();
        process.log().lines().filter(|line| line.contains("\"answered\"")).count()
    };
    assert_eq!(answered().await, 0);
    reload("[log]\nlevel = \"jeton=debug\"\n[server]\nthreads = 1\n").await;
    assert!(answered().await > 0, "{}", process.log());
    assert!(process.log().contains("they need a restart") && process.log().contains("server.threads"));
    // What is broken changes nothing.
    reload("[log]\nlevel = \"info\"\nlevle = 1\n").await;
    assert!(process.log().contains("log.levle"), "{}", process.log());
    let before = answered().await;
    assert!(answered().await > before);
    reload("[log]\nlevel = \"info\"\n").await;
    let before = answered().await;
    assert_eq!(answered().await, before);

    process.tell("TERM");
    manager.hears("STOPPING=1").await;
    assert!(process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_waits_until_the_one_before_has_given_the_spool_up() {
    let database = Database::create_migrated(Engine::Sqlite).await;
    let spool = [("JETON_OUTAGE__DIRECTORY", "data/spool")];
    let before = Process::serve(&database, &spool).await;
    let next = Process::start(&database, &["serve"], &spool);
    let waits = async {
        while !next.log().contains("waiting until another server") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waits).await.expect("it does not say what it waits for");
    before.stop().await;
    next.ready().await;
    next.stop().await;
}
