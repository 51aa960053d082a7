//! Traces and logs by OTLP over HTTP ([decision 046](../../docs/decisions/046-opentelemetry.md)), and log lines as JSON,
//! which name their request.

mod collector;

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use self::collector::{Collector, Got, Line, Mood, Span};
use crate::harness::{Authority, Database, Engine, Issued, Process, command, free_port, jeton, run};

/// A caller's trace, and its span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

const API: &str = "http://localhost:8080/api/v1";

const PATIENCE: Duration = Duration::from_secs(40);

/// A client `billing` of this role, on a database of its own. Answers its secret too.
async fn registered(role: &str) -> (Database, String) {
    let database = Database::create_migrated(Engine::Sqlite).await;
    let made = jeton(&database, &["clients", "create", "billing", "--role", role]);
    let secret = made["secret"]["client_secret"].as_str().unwrap().to_owned();
    (database, secret)
}

/// Asks for a token.
async fn token(server: &Process, secret: &str, headers: &[(&str, &str)]) -> String {
    let mut request = reqwest::Client::new()
        .post(format!("{}/oauth2/token", server.base))
        .basic_auth("billing", Some(secret))
        .form(&[("grant_type", "client_credentials"), ("resource", API)]);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Waits until the log has this text.
async fn logged(server: &Process, text: &str) {
    let said = async {
        while !server.log().contains(text) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, said).await.is_ok(), "'{text}' is not said: {}", server.log());
}

fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_sees_the_callers_trace_and_no_secret() {
    let (database, secret) = registered("auditor").await;
    let directory = database.directory.path();
    let collector = Collector::start_tls(&Authority::new("Collectors"), directory).await;
    let authority = directory.join("collector-ca.pem");
    let settings = [
        ("JETON_OTLP__ENDPOINT", collector.url.as_str()),
        ("JETON_OTLP__HEADERS", "x-key=s3cret-of-the-collector"),
        ("SSL_CERT_FILE", authority.to_str().unwrap()),
        // What an SDK would read by itself, and send or obey.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-other=s3cret-of-another"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SERVICE_NAME", "another"),
        ("JETON_LOG__LEVEL", "debug"),
        ("JETON_LOG__FORMAT", "json"),
    ];
    let server = Process::serve(&database, &settings).await;
    let traced = format!("00-{TRACE}-{PARENT}-01");
    let id = |id: &'static str| ("x-request-id", id);
    let state = ("tracestate", "vendor=1");
    let token_of_traced = token(&server, &secret, &[id("traced"), ("traceparent", &traced), state]).await;
    let unsampled = format!("00-{}-{PARENT}-00", "ab".repeat(16));
    token(&server, &secret, &[id("not-traced"), ("traceparent", &unsampled)]).await;
    token(&server, &secret, &[id("malformed"), ("traceparent", &format!("{traced}-x")), state]).await;
    token(&server, &secret, &[id("our-own")]).await;
    let refused = async |request_id: &str, query: &str, grant_type: &str| {
        let request = reqwest::Client::new()
            .post(format!("{}/oauth2/token{query}", server.base))
            .header("x-request-id", request_id)
            .header("x-made-up", "in-a-header")
            .form(&[("grant_type", grant_type), ("client_id", "nobody"), ("client_secret", "in-the-body")]);
        assert_eq!(request.send().await.unwrap().status(), 400);
    };
    refused("refused", "", "made-up-grant").await;
    refused("with-query", "?client_secret=in-the-query", "client_credentials").await;
    let said = server.log();
    // What is still here is sent before it ends.
    server.stop().await;

    let got = collector.got.lock().unwrap();
    assert_eq!(
        (got.resource["service.name"].as_str(), got.resource["service.version"].as_str()),
        ("jeton", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(got.resource["service.instance.id"].len(), 36);
    for headers in &got.headers {
        assert_eq!(headers["x-key"], "s3cret-of-the-collector");
        assert!(!headers.contains_key("x-other") && !headers.contains_key("traceparent"), "{headers:?}");
    }

    of_the_caller(&got);
    of_others(&got);
    of_lines(&got);
    elsewhere(&got, &lines(&said), &database);

    // The link that makes the first administrator is the log's alone.
    let first = said.split("nobody can sign in to the pages yet: open ").nth(1).unwrap();
    let first = first.split(' ').next().unwrap();
    let raw = String::from_utf8_lossy(&got.raw);
    assert!(!said.contains("is not read"), "nobody misses a variable that has its setting: {said}");
    assert!(!raw.contains(first) && !raw.contains("nobody can sign in"), "the link was sent");
    for secret in [
        &secret,
        &token_of_traced,
        "in-the-query",
        "in-the-body",
        "in-a-header",
        "made-up-grant",
        "s3cret-of-the-collector",
        "s3cret-of-another",
    ] {
        assert!(!raw.contains(secret) && !said.contains(secret), "a secret was sent or logged: {secret}");
    }
}

/// The caller's trace: its span above ours, one span for each phase below.
fn of_the_caller(got: &Got) {
    let span = got.span("traced").unwrap();
    assert_eq!((span.trace.as_str(), span.parent.as_str(), span.state.as_str()), (TRACE, PARENT, "vendor=1"));
    assert_eq!((span.name.as_str(), span.kind, span.flags), ("POST /oauth2/token", 2, 0x301));
    assert!(span.begun < span.ended && !span.is_error, "{span:?}");
    let mut expected = vec![
        ("http.request.method", "POST"),
        ("http.route", "/oauth2/token"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("client.address", "127.0.0.1"),
        ("jeton.request_id", "traced"),
        ("jeton.endpoint", "token"),
        ("jeton.grant_type", "client_credentials"),
        ("jeton.auth_method", "client_secret_basic"),
        ("jeton.client_id", "billing"),
        ("jeton.outcome", "ok"),
    ];
    expected.sort_unstable();
    let told: Vec<_> = span.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(told, expected);
    let below: Vec<_> = got.spans.iter().filter(|child| child.parent == span.id).collect();
    let mut names: Vec<_> = below.iter().map(|child| child.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["authenticate", "decide", "record", "resolve", "sign"]);
    let within = |child: &Span| span.begun <= child.begun && child.ended <= span.ended && child.kind == 1;
    assert!(below.iter().all(|child| child.trace == TRACE && within(child)), "{below:?}");
}

fn of_others(got: &Got) {
    let mut ids: Vec<_> = got.spans.iter().map(|span| (&span.trace, &span.id)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), got.spans.len(), "each span has an id of its own");

    // A caller that does not record: nothing. One whose header cannot be read, or who says nothing: a trace of ours.
    assert!(got.span("not-traced").is_none() && got.spans.iter().all(|span| span.trace != "ab".repeat(16)));
    for request_id in ["malformed", "our-own"] {
        let own = got.span(request_id).unwrap();
        assert!(own.parent.is_empty() && own.state.is_empty() && own.trace != TRACE, "{own:?}");
        assert_eq!((own.trace.len(), own.flags), (32, 0x101));
    }
    let refused = got.span("refused").unwrap();
    let told = |name| refused.says(name);
    assert_eq!((told("http.response.status_code"), told("jeton.outcome")), ("400", "unsupported_grant_type"));
    assert_eq!(got.span("with-query").unwrap().says("jeton.outcome"), "invalid_request");
    // A caller's made-up words are not told, and a refusal is no error of ours.
    assert_eq!((told("jeton.grant_type"), told("jeton.client_id"), refused.is_error), ("other", "", false));
}

/// The lines, with the trace that they belong to.
fn of_lines(got: &Got) {
    let span = got.span("traced").unwrap();
    let answered = |id: &str| {
        let of = |line: &&Line| line.says("request_id") == id && line.body == "answered";
        got.lines.iter().find(of).unwrap_or_else(|| panic!("no line of {id}"))
    };
    let line = answered("traced");
    assert_eq!((line.trace.as_str(), &line.span), (TRACE, &span.id));
    assert_eq!((line.severity, line.severity_text.as_str()), (5, "DEBUG"));
    assert!(span.begun <= line.at && line.at <= span.ended + 1_000_000_000, "{line:?}");
    let line = answered("not-traced");
    assert_eq!((line.trace.as_str(), line.span.as_str()), ("ab".repeat(16).as_str(), ""));
    let serving = got.lines.iter().find(|line| line.body == "serving").unwrap();
    assert_eq!((serving.severity, serving.trace.as_str()), (9, ""));
}

/// The same trace on standard error, and in the audit.
fn elsewhere(got: &Got, all: &[Value], database: &Database) {
    let exported = String::from_utf8(run(database, &["audit", "export"]).stdout).unwrap();
    let events = lines(&exported);
    for (id, trace) in [
        ("traced", TRACE),
        ("not-traced", &"ab".repeat(16)),
        ("malformed", &got.span("malformed").unwrap().trace),
        ("our-own", &got.span("our-own").unwrap().trace),
        ("refused", &got.span("refused").unwrap().trace),
    ] {
        let of_request: Vec<_> = all.iter().filter(|line| line["request_id"] == id).collect();
        assert!(!of_request.is_empty() && of_request.iter().all(|line| line["trace_id"] == trace), "{id}");
        let origins = events.iter().map(|event| &event["event"]["origin"]);
        let traces: Vec<_> =
            origins.filter(|origin| origin["request_id"] == id).map(|origin| &origin["trace_id"]).collect();
        assert_eq!(traces, [trace], "{id}");
    }
    let line = all.iter().find(|line| line["request_id"] == "traced").unwrap();
    assert_eq!(line["span_id"], got.span("traced").unwrap().id);
}

/// What `/metrics` says of this sample.
async fn metric(at: SocketAddr, sample: &str) -> u64 {
    let text = reqwest::get(format!("http://{at}/metrics")).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_nobody_and_gets_the_rest_when_it_is_back() {
    const NOT_TAKEN: &str = "jeton_otlp_dropped_records_total{signal=\"traces\",reason=\"not_taken\"}";
    const SENT: &str = "jeton_otlp_sent_records_total{signal=\"traces\"}";
    let (database, secret) = registered("auditor").await;
    let (collector, metrics) = (Collector::start().await, SocketAddr::from(([127, 0, 0, 1], free_port())));
    let listen = metrics.to_string();
    let settings = [
        ("JETON_OTLP__ENDPOINT", collector.url.as_str()),
        ("JETON_OTLP__LOGS", "false"),
        ("JETON_METRICS__LISTEN", &listen),
    ];
    collector.is_now(Mood::Answers(500));
    let server = Process::serve(&database, &settings).await;
    let asked = async |at_least: usize| {
        collector.finds("a batch", |got| (got.asked >= at_least).then_some(())).await;
    };
    // What it refuses is dropped, and counted; the log says so once.
    asked(1).await;
    for batch in 2..4 {
        token(&server, &secret, &[("x-request-id", "refused")]).await;
        asked(batch).await;
    }
    let dropped = async {
        while metric(metrics, NOT_TAKEN).await < 12 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(Duration::from_secs(30), dropped).await.is_ok(), "what is refused is not counted");
    assert_eq!(server.log().matches("spans do not reach the collector").count(), 1, "{}", server.log());
    assert!(server.log().contains("it answers 500"));

    // One that never answers: nobody waits for it.
    collector.is_now(Mood::Silent);
    let began = Instant::now();
    for _ in 0..20 {
        token(&server, &secret, &[("x-request-id", "waits")]).await;
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    asked(4).await;
    // Nothing of that is lost when it is back.
    collector.is_now(Mood::Takes);
    let of_silence = |got: &Got| {
        let waited = got.spans.iter().filter(|span| span.says("jeton.request_id") == "waits").count();
        (waited == 20).then_some(())
    };
    collector.finds("what has waited", of_silence).await;
    logged(&server, "over: spans do not reach the collector").await;
    assert!(collector.got.lock().unwrap().span("refused").is_none());
    assert!(collector.got.lock().unwrap().lines.is_empty(), "otlp.logs is off");
    assert!(metric(metrics, SENT).await >= 120);
    assert_eq!(server.log().matches("spans do not reach the collector; trying").count(), 1);

    // Whoever stops waits for it two seconds, and no longer.
    collector.is_now(Mood::Silent);
    token(&server, &secret, &[]).await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_json_line_of_a_request_names_it_at_every_level() {
    let (database, secret) = registered("administrator").await;
    let file = database.directory.path().join("jeton.toml");
    let level = |level: &str| std::fs::write(&file, format!("[log]\nlevel = \"{level}\"\n")).unwrap();
    level("info");
    let collector = Collector::start().await;
    let settings = [
        ("JETON_CONFIG", file.to_str().unwrap()),
        ("JETON_LOG__FORMAT", "json"),
        ("JETON_OTLP__ENDPOINT", &collector.url),
    ];
    let server = Process::serve(&database, &settings).await;
    let administrator = token(&server, &secret, &[]).await;
    let traced = format!("00-{TRACE}-{PARENT}-00");
    let rotated = reqwest::Client::new()
        .post(format!("{}/api/v1/signing-keys/rotate", server.base))
        .bearer_auth(&administrator)
        .header("x-request-id", "rotates")
        .header("traceparent", &traced)
        .json(&json!({ "algorithm": "ES256" }));
    assert_eq!(rotated.send().await.unwrap().status(), 201);
    let named = |log: &str| -> Vec<Value> {
        lines(log).into_iter().filter(|line| line["request_id"] == "rotates").collect()
    };
    let of_rotation = named(&server.log());
    assert!(!of_rotation.is_empty(), "{}", server.log());
    let makes = |line: &Value| line["level"] == "INFO" && line["fields"]["message"] == "signing keys";
    assert!(of_rotation.iter().any(makes), "{of_rotation:?}");
    assert!(of_rotation.iter().all(|line| line["trace_id"] == TRACE), "{of_rotation:?}");

    // Another level: here, and at the collector.
    level("debug");
    server.tell("HUP");
    logged(&server, "the level of the log has changed").await;
    let probed = async |id: &'static str| {
        let probe = reqwest::Client::new().get(format!("{}/livez", server.base)).header("x-request-id", id);
        probe.send().await.unwrap();
    };
    probed("at-debug").await;
    let at_debug = |got: &Got| {
        got.lines.iter().find(|line| line.says("request_id") == "at-debug").map(|line| line.body.clone())
    };
    assert_eq!(collector.finds("a line of debugging", at_debug).await, "answered");

    // At a level at which requests are silent: a fault is told, with its request and its trace.
    level("warn");
    server.tell("HUP");
    let silent = async {
        loop {
            let before = server.log().len();
            probed("at-warn").await;
            if server.log().len() == before {
                break;
            }
        }
    };
    timeout(PATIENCE, silent).await.expect("the level is another one");
    database.execute("ALTER TABLE administrators RENAME TO gone").await;
    let broken = reqwest::Client::new()
        .get(format!("{}/api/v1/administrators", server.base))
        .bearer_auth(administrator)
        .header("x-request-id", "breaks")
        .header("traceparent", &traced);
    assert!(broken.send().await.unwrap().status().is_server_error());
    let log = server.log();
    let fault = lines(&log).into_iter().find(|line| line["fields"]["message"] == "answered with a fault");
    let fault = fault.unwrap_or_else(|| panic!("{log}"));
    assert_eq!((&fault["request_id"], &fault["trace_id"]), (&json!("breaks"), &json!(TRACE)), "{fault}");
    assert_eq!(fault["level"], "WARN");
}

/// Files of TLS of which no restart makes anything else: that it is 78 says so to whoever would start it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_at_the_collector_what_led_to_it() {
    let database = Database::create(Engine::Sqlite).await;
    let (collector, directory) = (Collector::start().await, database.directory.path());
    Issued::by_itself("server").write(directory, "server");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(directory.join("server.key"), encrypted).unwrap();
    std::fs::set_permissions(directory.join("server.key"), Permissions::from_mode(0o644)).unwrap();
    let environment = [
        ("JETON_OTLP__ENDPOINT", collector.url.as_str()),
        ("JETON_TLS__CERTIFICATE", "server.pem"),
        ("JETON_TLS__KEY", "server.key"),
    ];
    for (count, name) in ["serve", "quickstart"].into_iter().enumerate() {
        let output = command(&database, &[name]).envs(environment).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(78) && said.contains("it is encrypted"), "{name}: {said}");
        let warned = |got: &Got| {
            let warnings = got.lines.iter().filter(|line| line.body.contains("can be read or written by"));
            (warnings.count() > count).then_some(())
        };
        collector.finds("what was logged on the way", warned).await;
    }
}
