//! What `/metrics` counts, and that nobody from outside can make it grow. `docs/metrics.md`, the dashboard and the alerts
//! speak of what a scrape has.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use jeton::config::MetricsListener;

use crate::harness::{Client, Engine, Server, both_engines};
use crate::metrics::{ANY, scrape, value};
use crate::token::GRANT;

both_engines!(a_scrape_has_all_that_is_described_and_shown);

async fn measured(server: Server) -> Server {
    let server = server.restart_with(|config| config.metrics = MetricsListener::At(ANY)).await.unwrap();
    // What is counted once a minute is there after the first time.
    let counted = async {
        while !names(&scrape(&server).await).contains("jeton_credentials_expired") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), counted).await.expect("what ends is not counted");
    server
}

/// How many samples there are, and how many of them are of this metric.
fn samples(metrics: &str, name: &str) -> (usize, usize) {
    let all = || metrics.lines().filter(|line| !line.starts_with('#'));
    (all().count(), all().filter(|line| line.starts_with(name)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_words_of_ours() {
    let server = Server::start(Engine::Sqlite).await;
    let billing = server.billing().await;
    let server = measured(server).await;
    server.token(&billing, GRANT).await.expect(200);
    server.token(&billing, GRANT).await.expect(200);
    server.token(&billing, "grant_type=client_credentials&scope=nothing").await.expect(400);
    server.token(&Client::new("billing", "a wrong secret of somebody"), GRANT).await.expect(401);
    server.get("/.well-known/jwks.json").await.expect(200);
    server.get("/api/v1/roles").await.expect(401);

    let metrics = scrape(&server).await;
    let tokens = |method: &str, outcome: &str| {
        let labels =
            format!("grant_type=\"client_credentials\",auth_method=\"{method}\",outcome=\"{outcome}\"");
        value(&metrics, &format!("jeton_token_requests_total{{{labels}}}"))
    };
    let requests = |endpoint: &str, outcome: &str| {
        value(&metrics, &format!("jeton_requests_total{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}"))
    };
    let is = |found: f64, wanted: u32| assert!((found - f64::from(wanted)).abs() < 0.5, "{found}: {metrics}");
    is(tokens("client_secret_basic", "ok"), 2);
    is(tokens("client_secret_basic", "invalid_scope"), 1);
    is(tokens("client_secret_basic", "invalid_client"), 1);
    is(requests("token", "ok"), 2);
    is(requests("token", "invalid_client"), 1);
    is(requests("token", "fault"), 0);
    is(requests("jwks", "ok"), 1);
    is(requests("api/roles", "refused"), 1);
    is(value(&metrics, "jeton_request_duration_seconds_count{endpoint=\"token\"}"), 4);
    is(value(&metrics, "jeton_request_duration_seconds_bucket{le=\"+Inf\",endpoint=\"token\"}"), 4);
    is(value(&metrics, "jeton_requests_in_flight"), 0);
    is(value(&metrics, "jeton_ledger_failed_batches_total"), 0);
    assert!(value(&metrics, "jeton_ledger_batch_entries_sum") >= 4.0, "{metrics}");
    assert!(value(&metrics, "jeton_directory_lookups_total{result=\"remembered\"}") >= 2.0, "{metrics}");
    // The first was verified.
    assert!(value(&metrics, "jeton_secret_checks_total{result=\"remembered\"}") >= 1.0, "{metrics}");
}

/// What a caller makes up is counted, and not by what it is called.
#[tokio::test(flavor = "multi_thread")]
async fn what_callers_make_up_is_no_label() {
    let server = Server::start(Engine::Sqlite).await;
    let billing = server.billing().await;
    let server = measured(server).await;
    let make_up = async |number: u32| {
        let word = format!("madeup{number}");
        server.token(&billing, &format!("grant_type={word}")).await.expect(400);
        server.token(&Client::new(&word, &word), GRANT).await.expect(401);
        let assertion = format!("client_assertion_type={word}&client_assertion={word}");
        assert_ne!(server.form(&[], &format!("{GRANT}&{assertion}")).await.status, 200);
        for path in [format!("/{word}"), format!("/oauth2/{word}"), format!("/.well-known/{word}")] {
            server.get(&path).await.expect(404);
        }
        server.get(&format!("/api/v1/{word}")).await.expect(404);
        server.get(&format!("/api/v1/clients/{word}")).await.expect(401);
    };
    make_up(0).await;
    let before = scrape(&server).await;
    for number in 1..20 {
        make_up(number).await;
    }
    let after = scrape(&server).await;
    assert!(!after.contains("madeup"), "{after}");
    assert_eq!(samples(&after, "jeton_"), samples(&before, "jeton_"), "{after}");
    let others = value(&after, "jeton_requests_total{endpoint=\"other\",outcome=\"refused\"}");
    assert!(others > 60.0, "{after}");
    assert!(
        value(
            &after,
            "jeton_token_requests_total{grant_type=\"other\",auth_method=\"client_secret_basic\",outcome=\"unsupported_grant_type\"}"
        ) > 15.0,
        "{after}"
    );
    assert!(samples(&after, "jeton_").0 < 1_000, "{after}");
}

/// The names of the samples of a scrape.
fn names(metrics: &str) -> BTreeSet<&str> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap()).collect()
}

async fn a_scrape_has_all_that_is_described_and_shown(server: Server) {
    let billing = server.billing().await;
    let server = measured(server).await;
    server.token(&billing, GRANT).await.expect(200);
    let metrics = scrape(&server).await;
    let names = names(&metrics);
    let shown = |name: &str| {
        ["", "_total", "_info", "_bucket"].iter().any(|end| names.contains(format!("{name}{end}").as_str()))
    };

    let reference = include_str!("../../docs/metrics.md");
    assert_eq!(
        reference.trim_end(),
        jeton::http::metrics_reference().trim_end(),
        "cargo run -- metrics > docs/metrics.md"
    );
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let described: BTreeSet<_> = rows.collect();
    let declared: BTreeSet<_> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(described, declared);
    for name in described {
        assert!(shown(name), "{name} has no sample:\n{metrics}");
    }

    let dashboard: Value = serde_json::from_str(include_str!("../../deploy/grafana/jeton.json")).unwrap();
    let mut expressions = Vec::new();
    expressions_of_dashboard(&dashboard, &mut expressions);
    let rules = include_str!("../../deploy/prometheus/alerts.yml");
    let of_rules = expressions_of_rules(rules);
    assert!(expressions.len() > 20 && of_rules.len() > 10, "{expressions:?}\n{of_rules:?}");
    for expression in expressions.into_iter().chain(of_rules) {
        let used = metrics_of(&expression);
        assert!(!used.is_empty(), "{expression} is about nothing");
        for name in used {
            // Prometheus itself makes it.
            assert!(name == "up" || names.contains(name.as_str()), "{name} of {expression}:\n{metrics}");
        }
    }

    let handbook = include_str!("../../docs/observability.md");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(
            handbook.contains(&format!("### {alert}\n")),
            "docs/observability.md does not explain {alert}"
        );
        let link = format!("observability.md#{}", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} does not link to {link}");
    }
}

/// Every query of the dashboard, those behind its variables too.
fn expressions_of_dashboard(dashboard: &Value, expressions: &mut Vec<String>) {
    match dashboard {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if name == "expr" => expressions.push(text.to_owned()),
                    Some(text) if name == "query" && text.starts_with("label_values(") => {
                        let arguments = text.trim_start_matches("label_values(");
                        expressions.push(arguments.split(',').next().unwrap().to_owned());
                    }
                    _ => expressions_of_dashboard(value, expressions),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                expressions_of_dashboard(value, expressions);
            }
        }
        _ => {}
    }
}

/// The text after `expr:`, on the same line or indented further below it.
fn expressions_of_rules(rules: &str) -> Vec<String> {
    let mut expressions = Vec::new();
    let mut lines = rules.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(text) = line.trim_start().strip_prefix("expr:") else { continue };
        let indent = |line: &str| line.len() - line.trim_start().len();
        let mut expression = text.trim().trim_start_matches(">-").to_owned();
        while let Some(more) = lines.next_if(|next| indent(next) > indent(line)) {
            expression.push(' ');
            expression.push_str(more.trim());
        }
        expressions.push(expression);
    }
    expressions
}

/// The metrics of an expression of Prometheus: names that are no function, no keyword, and no label.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    const KEYWORDS: [&str; 12] = [
        "and",
        "or",
        "unless",
        "bool",
        "offset",
        "inf",
        "nan",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
    ];
    let mut text = String::new();
    // What stands in quotes, braces or brackets is no metric.
    let (mut depth, mut quoted) = (0_u32, false);
    for c in expression.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ if quoted || depth > 0 => {}
            c => text.push(c),
        }
    }
    // Nor are the labels after these words.
    for word in ["by", "without", "on", "ignoring", "group_left"] {
        while let Some(at) = text.find(&format!(" {word} (")).or_else(|| text.find(&format!(" {word}("))) {
            let end = at + text[at..].find(')').unwrap();
            text.replace_range(at..=end, " ");
        }
    }
    let mut found = BTreeSet::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let before = rest[..at].chars().next_back();
        rest = &rest[at..];
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        let is_function = after.trim_start().starts_with('(');
        // 1e6 and 5m are numbers, $__range is Grafana's.
        let is_part = before.is_some_and(|c| c.is_ascii_digit() || c == '$');
        if !is_function && !is_part && !KEYWORDS.contains(&name) {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn the_reader_of_expressions_reads() {
    let expression = r#"sum by (endpoint) (rate(a_total{endpoint=~"x(y)"}[5m])) / on (job) group_left (z) b > 1e3 and c offset 5m"#;
    assert_eq!(metrics_of(expression).into_iter().collect::<Vec<_>>(), ["a_total", "b", "c"]);
    let histogram = "histogram_quantile(0.99, sum by(le) (rate(d_bucket[$__rate_interval])))";
    assert_eq!(metrics_of(histogram).into_iter().collect::<Vec<_>>(), ["d_bucket"]);
}
