//! Whoever has the database can change what stands in it, but not unnoticed: `jeton audit verify` names the
//! chain and the event.

mod exported;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Database, Engine, Process, jeton, run};
use jeton::domain::chain::{ChainEnd, Hash};
use jeton::domain::time::Timestamp;
use jeton::jose::{Algorithm, RsaBits, SigningKey, TokenType, sign};

/// An event as it stands in the database.
#[derive(Clone, Debug)]
struct Row {
    writer: Uuid,
    seq: u64,
    at: Timestamp,
    prev: Hash,
    kind: String,
    text: String,
}

/// A database with some chains, oldest first.
struct Scene {
    database: Database,
    chains: Vec<Vec<Row>>,
}

/// What `verify` must say: about which event of which chain, in words that begin like this.
type Expected = Vec<(Uuid, u64, String)>;

/// Which of the scene's chains is which: three commands, a server that was stopped, one that was killed, a
/// command beside that, a command after it, and a server again.
const STOPPED: usize = 3;
const KILLED: usize = 4;
const COMMAND: usize = 6;
const LAST: usize = 7;

const TABLES: [&str; 3] = ["audit_events", "audit_checkpoints", "audit_chains"];

async fn tokens(process: &Process, secret: &str, count: usize) {
    let http = reqwest::Client::new();
    for _ in 0..count {
        let request = http
            .post(format!("{}/oauth2/token", process.base))
            .basic_auth("billing", Some(secret))
            .form(&[("grant_type", "client_credentials")]);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

impl Scene {
    async fn make(engine: Engine) -> Self {
        let database = Database::create(engine).await;
        let orders = ["orders", "--identifier", "https://orders.example", "--permission", "orders:read"];
        jeton(&database, &[&["resource-servers", "create"], &orders[..]].concat());
        jeton(&database, &["roles", "create", "reader", "--permission", "orders/orders:read"]);
        let made = jeton(&database, &["clients", "create", "billing", "--role", "reader"]);
        let secret = made["secret"]["client_secret"].as_str().unwrap();
        let server = Process::serve(&database, &[]).await;
        tokens(&server, secret, 6).await;
        server.stop().await;
        let server = Process::serve(&database, &[]).await;
        tokens(&server, secret, 3).await;
        // A chain beside it, which names it as far as it has come by then.
        jeton(&database, &["roles", "create", "beside"]);
        tokens(&server, secret, 2).await;
        server.signal("KILL").await;
        jeton(&database, &["roles", "create", "other"]);
        let server = Process::serve(&database, &[]).await;
        tokens(&server, secret, 4).await;
        server.stop().await;

        let mut scene = Self { database, chains: Vec::new() };
        for row in scene.rows().await {
            match scene.chains.last_mut() {
                Some(chain) if chain[0].writer == row.writer => chain.push(row),
                _ => scene.chains.push(vec![row]),
            }
        }
        assert_eq!(scene.chains.len(), LAST + 1);
        for table in TABLES {
            scene.database.execute(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await;
        }
        scene
    }

    /// Every event, chain after chain; their names sort as they began.
    async fn rows(&self) -> Vec<Row> {
        let (writer, prev) = match self.database.engine {
            Engine::Sqlite => ("lower(hex(writer))", "lower(hex(prev))"),
            Engine::Postgres => ("CAST(writer AS TEXT)", "encode(prev, 'hex')"),
        };
        let sql = format!(
            "SELECT {writer} || '\n' || CAST(seq AS TEXT) || '\n' || CAST(at AS TEXT) || '\n' || {prev}
             || '\n' || kind || '\n' || event FROM audit_events ORDER BY writer, seq"
        );
        let texts = self.database.texts(&sql).await;
        let row = |text: &String| {
            let [writer, seq, at, prev, kind, text] = text.split('\n').collect::<Vec<_>>()[..] else {
                panic!("not a row: {text}");
            };
            Row {
                writer: writer.parse().unwrap(),
                seq: seq.parse().unwrap(),
                at: Timestamp::from_micros(at.parse().unwrap()),
                prev: Hash::try_from(prev.to_owned()).unwrap(),
                kind: kind.to_owned(),
                text: text.to_owned(),
            }
        };
        texts.iter().map(row).collect()
    }

    async fn restore(&self) {
        for table in TABLES {
            self.database.execute(&format!("DELETE FROM {table}")).await;
            self.database.execute(&format!("INSERT INTO {table} SELECT * FROM saved_{table}")).await;
        }
    }

    /// The token in the middle of a chain, with others before and after it.
    fn token(&self, chain: usize) -> &Row {
        let tokens: Vec<_> = self.chains[chain].iter().filter(|row| row.kind == "token_issued").collect();
        tokens[1]
    }

    fn last(&self, chain: usize) -> &Row {
        self.chains[chain].last().unwrap()
    }

    fn writer(&self, chain: usize) -> Uuid {
        self.chains[chain][0].writer
    }

    fn bytes(&self, hex: &str) -> String {
        match self.database.engine {
            Engine::Sqlite => format!("X'{hex}'"),
            Engine::Postgres => format!("'\\x{hex}'::bytea"),
        }
    }

    fn uuid(&self, uuid: Uuid) -> String {
        match self.database.engine {
            Engine::Sqlite => format!("X'{}'", uuid.simple()),
            Engine::Postgres => format!("'{uuid}'"),
        }
    }

    /// The condition that finds one row.
    fn at(&self, row: &Row) -> String {
        format!("{} AND seq = {}", self.of(row.writer), row.seq)
    }

    /// The condition that finds a chain's rows.
    fn of(&self, writer: Uuid) -> String {
        format!("writer = {}", self.uuid(writer))
    }

    async fn hash(&self, row: &Row) -> Hash {
        let hex = match self.database.engine {
            Engine::Sqlite => "LOWER(HEX(hash))",
            Engine::Postgres => "ENCODE(hash, 'hex')",
        };
        let sql = format!("SELECT {hex} FROM audit_events WHERE {}", self.at(row));
        Hash::try_from(self.database.texts(&sql).await.remove(0)).unwrap()
    }

    async fn update(&self, row: &Row, change: &str) {
        self.database.execute(&format!("UPDATE audit_events SET {change} WHERE {}", self.at(row))).await;
    }

    async fn delete(&self, table: &str, condition: &str) {
        self.database.execute(&format!("DELETE FROM {table} WHERE {condition}")).await;
    }

    /// Rewrites an event as somebody does who knows how it is hashed.
    async fn rewrite(&self, row: &Row) {
        let text = row.text.replacen('{', "{\"x\":1,", 1);
        let hash = Hash::of(row.writer, row.seq, row.at, &row.prev, &text);
        let hash = self.bytes(&hash.to_string());
        self.update(row, &format!("event = '{}', hash = {hash}", text.replace('\'', "''"))).await;
    }

    /// Runs `verify`, which must fail with exactly these findings, then puts everything back.
    async fn expect(&self, what: &str, expected: Expected) {
        let output = run(&self.database, &["audit", "verify", "--json"]);
        expect_findings(what, &output, &expected);
        self.restore().await;
    }
}

/// Asserts that a `verify --json` failed with exactly these findings.
#[track_caller]
fn expect_findings(what: &str, output: &std::process::Output, expected: &Expected) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: not noticed: {words}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{what}: {words}"));
    let found: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|finding| finding.as_str().unwrap()).collect();
    assert_eq!(found.len(), expected.len(), "{what}: {found:#?}, expected {expected:#?}");
    for (found, (writer, seq, words)) in found.iter().zip(expected) {
        let expected = format!("chain {writer}, event {seq}: {words}");
        assert!(found.starts_with(&expected), "{what}: {found}, expected {expected}");
    }
    assert!(words.contains("the audit is not as it was written"), "{what}: {words}");
}

fn one(row: &Row, words: &str) -> Expected {
    vec![(row.writer, row.seq, words.to_owned())]
}

async fn an_altered_event_is_named(scene: &Scene) {
    let row = scene.token(STOPPED);
    scene.update(row, "event = replace(event, 'orders:read', 'orders:writ')").await;
    scene.expect("text", one(row, "altered: it does not have its hash")).await;
    scene.update(row, "event = replace(event, '\"billing\"', '\"bowling\"')").await;
    let column = format!("altered: its column {}", "client_id");
    let both = [one(row, "altered: it does not have its hash"), one(row, &column)].concat();
    scene.expect("text that a column repeats", both).await;
    scene.update(row, "event = 'nonsense'").await;
    let both =
        [one(row, "altered: it does not have its hash"), one(row, "altered: it does not have")].concat();
    let output = run(&scene.database, &["audit", "verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains(&format!("chain {}, event {}: altered", row.writer, row.seq)), "{printed}");
    // The same words twice are told once.
    scene.expect("no JSON", both[..1].to_vec()).await;

    for change in ["at = at + 1", "prev = hash", "hash = prev"] {
        scene.update(row, change).await;
        scene.expect(change, one(row, "altered: it does not have its hash")).await;
    }
    for (column, value) in [
        ("kind", "'token_refused'"),
        ("outcome", "'refused'"),
        ("client_id", "'bowling'"),
        ("client_id", "NULL"),
        ("jti", "txn"),
        ("jti", "NULL"),
        ("txn", "jti"),
        ("continues", if scene.database.engine == Engine::Sqlite { "1" } else { "TRUE" }),
    ] {
        scene.update(row, &format!("{column} = {value}")).await;
        let words = format!("altered: its column {column} does not say what the event says");
        scene.expect(&format!("{column} = {value}"), one(row, &words)).await;
    }
    let started = &scene.chains[LAST][0];
    scene.update(started, "kind = 'stopped'").await;
    scene.expect("a start hidden", one(started, "altered: its column kind")).await;
}

async fn an_event_that_was_rewritten_with_its_hash_is_named(scene: &Scene) {
    for row in [&scene.chains[STOPPED][0], scene.token(STOPPED), scene.token(KILLED)] {
        scene.rewrite(row).await;
        scene.expect("rewritten", one(row, "altered with its hash: the event after it")).await;
    }
    let row = scene.last(STOPPED);
    scene.rewrite(row).await;
    let named = format!("altered: the start of chain {} has another hash", scene.writer(KILLED));
    let witnesses = [one(row, "altered: a signed checkpoint has another hash"), one(row, &named)].concat();
    scene.expect("the last of a closed chain", witnesses).await;
    let row = scene.last(KILLED);
    scene.rewrite(row).await;
    let named = format!("altered: the start of chain {} has another hash", scene.writer(COMMAND));
    scene.expect("the last of a killed chain", one(row, &named)).await;
}

async fn a_missing_event_is_named(scene: &Scene) {
    let row = scene.token(STOPPED);
    scene.delete("audit_events", &scene.at(row)).await;
    scene.expect("one", one(row, &format!("missing, up to event {}", row.seq))).await;
    let condition = format!("{} AND seq IN ({}, {})", scene.of(row.writer), row.seq, row.seq + 1);
    scene.delete("audit_events", &condition).await;
    scene.expect("two", one(row, &format!("missing, up to event {}", row.seq + 1))).await;
    for chain in [STOPPED, KILLED, LAST] {
        let first = &scene.chains[chain][0];
        scene.delete("audit_events", &scene.at(first)).await;
        scene.expect("the first", one(first, "missing, up to event 1")).await;
    }
}

async fn a_missing_end_is_named(scene: &Scene) {
    for (chain, namer) in [(STOPPED, KILLED), (KILLED, COMMAND)] {
        let (last, writer) = (scene.last(chain), scene.writer(chain));
        let tail = format!("{} AND seq >= {}", scene.of(writer), last.seq - 1);
        let missing = |witness: &str| {
            let words = format!(
                "missing with all that follows: {witness} says that the chain came to event {}",
                last.seq
            );
            vec![(writer, last.seq - 1, words)]
        };
        let named = format!("the start of chain {}", scene.writer(namer));
        scene.delete("audit_events", &tail).await;
        let witness = if chain == STOPPED { "a signed checkpoint" } else { &named };
        scene.expect("the end", missing(witness)).await;
        scene.delete("audit_events", &tail).await;
        scene.delete("audit_checkpoints", &scene.of(writer)).await;
        scene.expect("the end with its checkpoints", missing(&named)).await;

        let gone = |witness: &str| {
            vec![(writer, last.seq, format!("missing with its whole chain, which came this far: {witness}"))]
        };
        scene.delete("audit_events", &scene.of(writer)).await;
        let whole = gone(witness);
        // What the missing chain's start had named is named by nobody else, and is not missing.
        scene.expect("a whole chain", whole).await;
        for table in TABLES {
            scene.delete(table, &scene.of(writer)).await;
        }
        scene.expect("a whole chain with all that belongs to it", gone(&named)).await;
    }
}

async fn a_moved_event_is_named(scene: &Scene) {
    let tokens: Vec<_> = scene.chains[STOPPED].iter().filter(|row| row.kind == "token_issued").collect();
    for (one, other) in [(tokens[1], tokens[2]), (tokens[0], tokens[4])] {
        scene.update(one, "seq = -1").await;
        scene.update(other, &format!("seq = {}", one.seq)).await;
        let parked = Row { seq: 0, ..one.clone() };
        let condition = scene.at(&parked).replace("seq = 0", "seq = -1");
        let sql = format!("UPDATE audit_events SET seq = {} WHERE {condition}", other.seq);
        scene.database.execute(&sql).await;
        let moved = |to: &Row, from: &Row| {
            (to.writer, to.seq, format!("reordered: it belongs to place {}", from.seq))
        };
        scene.expect("exchanged", vec![moved(one, other), moved(other, one)]).await;
    }
    let (row, last) = (scene.token(STOPPED), scene.last(LAST));
    let change = format!("writer = {}, seq = {}", scene.uuid(last.writer), last.seq + 1);
    scene.update(row, &change).await;
    let missing = (row.writer, row.seq, format!("missing, up to event {}", row.seq));
    let altered = (last.writer, last.seq + 1, "altered: it does not have its hash".to_owned());
    let added = (last.writer, last.seq + 1, "added: the chain had ended before it".to_owned());
    scene.expect("to another chain", vec![missing, added, altered]).await;
}

async fn a_checkpoint_that_is_forged_or_missing_is_named(scene: &Scene) {
    let last = scene.last(STOPPED).clone();
    let of = scene.of(last.writer);
    let condition = format!("{of} ORDER BY seq DESC");
    let jws =
        scene.database.texts(&format!("SELECT jws FROM audit_checkpoints WHERE {condition}")).await.remove(0);
    let parts: Vec<&str> = jws.split('.').collect();
    let (unsigned, forged) = (
        (last.writer, last.seq, "the chain ended here in order, but its signature is missing".to_owned()),
        (last.writer, last.seq, "its checkpoint is not signed by a trusted key".to_owned()),
    );
    let put = async |jws: &str| {
        let sql = format!("UPDATE audit_checkpoints SET jws = '{jws}' WHERE {} AND seq = {}", of, last.seq);
        scene.database.execute(&sql).await;
    };

    let signature = parts[2].replacen(&parts[2][10..11], if &parts[2][10..11] == "A" { "B" } else { "A" }, 1);
    put(&format!("{}.{}.{signature}", parts[0], parts[1])).await;
    scene.expect("signature", vec![forged.clone(), unsigned.clone()]).await;

    let mut claims: Value = serde_json::from_slice(&BASE64URL.decode(parts[1]).unwrap()).unwrap();
    claims["at"] = json!("2000-01-01T00:00:00Z");
    put(&format!("{}.{}.{}", parts[0], BASE64URL.encode(claims.to_string()), parts[2])).await;
    scene.expect("payload", vec![forged.clone(), unsigned.clone()]).await;

    let header: Value = serde_json::from_slice(&BASE64URL.decode(parts[0]).unwrap()).unwrap();
    let end: ChainEnd = serde_json::from_slice(&BASE64URL.decode(parts[1]).unwrap()).unwrap();
    let other = SigningKey::generate(Algorithm::Es256, RsaBits::default()).unwrap();
    let kid = header["kid"].as_str().unwrap();
    for kid in [kid, "another"] {
        put(&sign(TokenType::AuditCheckpoint, kid, &other, &end).unwrap()).await;
        scene.expect("another key", vec![forged.clone(), unsigned.clone()]).await;
    }

    scene.delete("audit_checkpoints", &format!("{of} AND seq = {}", last.seq)).await;
    scene.expect("the last checkpoint", vec![unsigned.clone()]).await;
    let garbled = format!("UPDATE audit_checkpoints SET jws = 'nonsense' WHERE {of} AND seq = {}", last.seq);
    scene.database.execute(&garbled).await;
    scene.expect("an unreadable one", vec![forged, unsigned]).await;
}

/// What begins or ends between two events leaves out no finding, and makes none.
async fn a_window_of_what_is_untouched_verifies(scene: &Scene) {
    let all: Vec<&Row> = scene.chains.iter().flatten().collect();
    for row in all.iter().step_by(3) {
        for option in ["--from", "--to"] {
            let time = row.at.to_string();
            let output = run(&scene.database, &["audit", "verify", option, &time, "--json"]);
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(output.status.success(), "{option} {time}: {report}");
            let inside = all.iter().filter(|other| (other.at >= row.at) == (option == "--from")).count();
            assert_eq!(report["events"], inside, "{option} {time}");
        }
    }
    let row = scene.token(STOPPED);
    scene.update(row, "event = replace(event, 'orders:read', 'orders:writ')").await;
    for (option, noticed) in [("--from", true), ("--to", false)] {
        let output = run(&scene.database, &["audit", "verify", option, &row.at.to_string()]);
        assert_eq!(output.status.code(), Some(i32::from(noticed)), "{option}");
    }
    scene.restore().await;
}

/// Whoever removes events may say that it was retention, and sign nothing.
async fn retention_that_is_pretended_excuses_nothing(scene: &Scene) {
    let row = scene.token(STOPPED);
    let missing = one(row, &format!("missing, up to event {}", row.seq));
    let before = scene.last(STOPPED).at.plus(Duration::from_hours(24)).to_string();
    let text = format!(r#"{{"kind":"events_dropped","before":"{before}","outcome":"success"}}"#);
    let writer = Uuid::max();
    let at = scene.last(STOPPED).at;
    let hash = Hash::of(writer, 1, at, &Hash::NONE, &text);
    let (prev, hash) = (scene.bytes(&Hash::NONE.to_string()), scene.bytes(&hash.to_string()));
    let sql = format!(
        "INSERT INTO audit_events (writer, seq, at, prev, hash, kind, outcome, continues, event)
         VALUES ({}, 1, {}, {prev}, {hash}, 'events_dropped', 'success', FALSE, '{text}')",
        scene.uuid(writer),
        at.as_micros()
    );
    scene.delete("audit_events", &scene.at(row)).await;
    scene.database.execute(&sql).await;
    scene.expect("pretended retention", missing).await;
}

/// A chain that has ended goes on nowhere.
async fn what_is_added_after_the_end_is_named(scene: &Scene) {
    let last = scene.last(STOPPED);
    let (seq, text) = (last.seq + 1, r#"{"kind":"stopped","outcome":"success"}"#);
    let hash = scene.hash(last).await;
    let own = Hash::of(last.writer, seq, last.at, &hash, text);
    let (prev, own) = (scene.bytes(&hash.to_string()), scene.bytes(&own.to_string()));
    let sql = format!(
        "INSERT INTO audit_events (writer, seq, at, prev, hash, kind, outcome, continues, event)
         VALUES ({}, {seq}, {}, {prev}, {own}, 'stopped', 'success', FALSE, '{text}')",
        scene.uuid(last.writer),
        last.at.as_micros()
    );
    scene.database.execute(&sql).await;
    let added = (last.writer, seq, "added: the chain had ended before it".to_owned());
    let unsigned = (last.writer, seq, "the chain ended here in order, but".to_owned());
    scene.expect("added after the end", vec![added, unsigned]).await;
}

async fn whatever_is_done_behind_its_back_is_named(engine: Engine) {
    let scene = Scene::make(engine).await;
    let output = run(&scene.database, &["audit", "verify"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    assert!(words.contains("chains: 8; none is altered, missing or moved"), "{words}");
    let report = jeton(&scene.database, &["audit", "verify"]);
    let closed: Vec<bool> =
        report["chains"].as_array().unwrap().iter().map(|chain| chain["closed"] == true).collect();
    assert_eq!(closed, [true, true, true, true, false, true, true, true]);

    an_altered_event_is_named(&scene).await;
    an_event_that_was_rewritten_with_its_hash_is_named(&scene).await;
    a_missing_event_is_named(&scene).await;
    a_missing_end_is_named(&scene).await;
    a_moved_event_is_named(&scene).await;
    a_checkpoint_that_is_forged_or_missing_is_named(&scene).await;
    retention_that_is_pretended_excuses_nothing(&scene).await;
    what_is_added_after_the_end_is_named(&scene).await;
    a_window_of_what_is_untouched_verifies(&scene).await;
    assert!(run(&scene.database, &["audit", "verify"]).status.success(), "put back");
    exported::what_is_done_to_an_exported_file_is_named(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_behind_its_back_is_named_on_sqlite() {
    whatever_is_done_behind_its_back_is_named(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_behind_its_back_is_named_on_postgres() {
    whatever_is_done_behind_its_back_is_named(Engine::Postgres).await;
}
