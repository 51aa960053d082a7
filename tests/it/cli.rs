//! The command line, as a person and as a script use it.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Database, Engine, Process, command, http, jeton, run, within_a_second};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn registers_offline_what_a_server_serves(engine: Engine) {
    let database = Database::create(engine).await;
    let migrated = run(&database, &["migrate"]);
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    let server = jeton(
        &database,
        &[
            "resource-servers",
            "create",
            "orders",
            "--identifier",
            "https://orders.example",
            "--permission",
            "orders:read=Read orders",
            "--permission",
            "orders:write",
            "--token-lifetime",
            "60",
            "--signing-algorithm",
            "RS256",
        ],
    );
    assert_eq!(server["permissions"][0]["description"], "Read orders");
    assert_eq!((&server["token_lifetime"], &server["signing_algorithm"]), (&60.into(), &"RS256".into()));
    let role = jeton(&database, &["roles", "create", "reader", "--permission", "orders/orders:read"]);
    assert_eq!(role["permissions"][0]["permission"], "orders:read");
    let made = jeton(
        &database,
        &[
            "clients",
            "create",
            "billing",
            "--kind",
            "job",
            "--owner",
            "finance",
            "--label",
            "env=prod",
            "--role",
            "reader",
            "--allow-from",
            "127.0.0.0/8",
            "--expires-at",
            "2999-01-01T00:00:00Z",
            "--default-resource-server",
            "orders",
            "--description",
            "Sends invoices",
        ],
    );
    assert_eq!(made["client"]["allowed_networks"][0], "127.0.0.0/8");
    assert_eq!(made["client"]["default_resource_server"], "orders");
    let secret = made["secret"]["client_secret"].as_str().unwrap();
    let other = jeton(&database, &["clients", "secret", "add", "billing", "--expires-in", "60"]);

    let listed =
        jeton(&database, &["clients", "list", "--kind", "job", "--label", "env=prod", "--text", "INVOICE"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(jeton(&database, &["clients", "list", "--kind", "agent"]), Value::Array(Vec::new()));
    let shown = jeton(&database, &["clients", "show", "billing"]);
    assert_eq!(shown["roles"][0], "reader");
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2);
    assert!(!shown.to_string().contains(secret), "a secret is shown once");

    let process = Process::serve(&database, &[]).await;
    let ask = async |secret: &str| {
        let request = http()
            .post(format!("{}/oauth2/token", process.base))
            .basic_auth("billing", Some(secret))
            .form(&[("grant_type", "client_credentials")]);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, body) = ask(secret).await;
    assert_eq!((status, &body["expires_in"], &body["scope"]), (200, &60.into(), &"orders:read".into()));
    jeton(&database, &["clients", "secret", "revoke", "billing", other["secret_id"].as_str().unwrap()]);
    let other = other["client_secret"].as_str().unwrap();
    let is_refused = async |secret: &str| {
        let (status, body) = ask(secret).await;
        status == 401 && body["error"] == "invalid_client"
    };
    within_a_second("revoked beside a running server", async || is_refused(other).await).await;
    assert_eq!(jeton(&database, &["clients", "disable", "billing"])["enabled"], false);
    within_a_second("disabled beside a running server", async || is_refused(secret).await).await;
    let health = command(&database, &["health"])
        .env("JETON_LISTEN", process.base.trim_start_matches("http://"))
        .output()
        .unwrap();
    assert!(health.status.success(), "{}", stderr(&health));
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_offline_what_a_server_serves_on_sqlite() {
    registers_offline_what_a_server_serves(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_offline_what_a_server_serves_on_postgres() {
    registers_offline_what_a_server_serves(Engine::Postgres).await;
}

async fn exchange_rules_and_operators_are_written_offline(engine: Engine) {
    let database = Database::create(engine).await;
    let ok = |arguments: &str| jeton(&database, &arguments.split(' ').collect::<Vec<_>>());
    ok("resource-servers create orders --identifier urn:orders --token-binding dpop");
    ok(
        "resource-servers create stock --identifier urn:stock --permission stock:read --permission stock:write",
    );
    ok("roles create reader");
    let gateway = ok("clients create gateway --no-secret --may-act billing --token-binding dpop");
    assert_eq!(gateway["client"]["may_act"], "billing");
    assert_eq!(gateway["client"]["token_binding"], "dpop");

    let made =
        ok("exchange-rules create r --caller-client gateway --subject-role reader --resource-server stock \
        --permission stock:read --permission stock:write --source orders --mode impersonation --max-depth 2 \
        --token-lifetime 60 --expires-at 2999-01-01T00:00:00Z --description d");
    let expected = json!({
        "name": "r", "description": "d", "caller": { "client": "gateway" }, "subject": { "role": "reader" },
        "actor": null,
        "resource_server": "stock", "permissions": ["stock:read", "stock:write"], "sources": ["orders"],
        "mode": "impersonation", "max_depth": 2, "token_lifetime": 60, "enabled": true,
        "expires_at": "2999-01-01T00:00:00Z", "version": 1, "created_at": made["created_at"],
        "updated_at": made["created_at"], "warnings": [],
    });
    assert_eq!(made, expected);
    let plain = ok("exchange-rules create s --caller-role reader --subject-client gateway \
        --resource-server stock --permission stock:read");
    assert_eq!((&plain["mode"], &plain["max_depth"]), (&"delegation".into(), &5.into()));
    assert_eq!((&plain["caller"], &plain["subject"]), (&json!({ "role": "reader" }), &made["caller"]));
    assert_eq!(ok("exchange-rules show r"), made);
    assert_eq!(ok("exchange-rules list"), json!([made, plain]));
    assert_eq!(ok("exchange-rules list --text D"), json!([made]));
    assert_eq!(ok("exchange-rules disable r")["enabled"], false);
    assert_eq!(ok("exchange-rules enable r")["enabled"], true);
    let table = run(&database, &["exchange-rules", "list", "--text", "d"]).stdout;
    let table = String::from_utf8(table).unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["r", "client=gateway", "role=reader", "stock"], "{table}");
    assert_eq!(ok("exchange-rules delete r"), json!({ "deleted": "r" }));
    assert_eq!(ok("exchange-rules list"), json!([plain]));

    let said = json!({ "resource_server": "orders", "client_id": "gateway", "operates": true });
    assert_eq!(ok("resource-servers operators add orders gateway"), said);
    assert_eq!(ok("resource-servers operators list orders")[0]["client_id"], "gateway");
    assert_eq!(ok("clients show gateway")["operates"], json!(["orders"]));
    let said = run(&database, &["resource-servers", "operators", "remove", "orders", "gateway"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "gateway no longer operates orders\n");
    assert_eq!(ok("resource-servers operators list orders"), json!([]));

    let create = "exchange-rules create x --resource-server stock --permission stock:read";
    for (arguments, words) in [
        (format!("{create} --caller-client gateway"), "--subject-client"),
        (
            format!("{create} --caller-client gateway --caller-role reader --subject-role reader"),
            "cannot be used with",
        ),
        (format!("{create} --caller-client nobody --subject-role reader"), "there is no client 'nobody'"),
        (format!("{create} --caller-role reader --subject-role reader --mode magic"), "impersonation"),
        (format!("{create} --caller-role reader --subject-role reader --max-depth 11"), "use 1 to 10"),
        ("exchange-rules show dry-run".to_owned(), "other than 'dry-run'"),
        ("exchange-rules delete nothing".to_owned(), "there is no exchange rule 'nothing'"),
        ("resource-servers operators add orders nobody".to_owned(), "there is no client 'nobody'"),
        ("clients create x --may-act x".to_owned(), "it is the client itself"),
        ("clients create x --token-binding both".to_owned(), "optional, dpop"),
    ] {
        let output = run(&database, &arguments.split(' ').collect::<Vec<_>>());
        assert!(!output.status.success(), "{arguments}");
        assert!(stderr(&output).contains(words), "{arguments}: {}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_rules_and_operators_are_written_offline_on_sqlite() {
    exchange_rules_and_operators_are_written_offline(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_rules_and_operators_are_written_offline_on_postgres() {
    exchange_rules_and_operators_are_written_offline(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_for_people() {
    let database = Database::create(Engine::Sqlite).await;
    jeton(&database, &["clients", "create", "billing", "--owner", "finance", "--no-secret"]);
    let table = String::from_utf8(run(&database, &["clients", "list"]).stdout).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().take(3).collect::<Vec<_>>(), ["CLIENT", "ID", "KIND"]);
    assert_eq!(lines[1].split_whitespace().take(3).collect::<Vec<_>>(), ["billing", "service", "finance"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_name_the_way_out_and_exit_with_an_error() {
    let database = Database::create(Engine::Sqlite).await;
    for (arguments, words) in [
        (&["clients", "show", "nobody"][..], "there is no client 'nobody'"),
        (&["clients", "create", "x", "--role", "nothing"], "create the role first"),
        (&["clients", "create", "a b"], "without white space"),
        (&["clients", "create", "x", "--kind", "person"], "service, machine, job, agent"),
        (&["clients", "create", "x", "--allow-from", "everywhere"], "write 10.0.0.0/8"),
        (&["roles", "create", "r", "--permission", "orders:read"], "RESOURCE_SERVER/PERMISSION"),
        (&["roles", "create", "r", "--permission", "orders/orders:read"], "register it first"),
        (
            &["resource-servers", "create", "x", "--identifier", "y", "--token-lifetime", "1"],
            "use 10 to 3600",
        ),
        (&["clients", "secret", "revoke", "nobody", "abc"], "there is no client"),
        (&["serve", "--config", "/nowhere.toml"], "/nowhere.toml"),
    ] {
        let output = run(&database, arguments);
        let code = match words {
            "/nowhere.toml" => 78,
            _ if output.stderr.starts_with(b"error:") => 2,
            _ => 1,
        };
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_tells_all_its_errors() {
    let database = Database::create(Engine::Sqlite).await;
    let file = database.directory.path().join("wrong.toml");
    std::fs::write(&file, "isuer = 'x'\n[server]\nbehind_tls_proxy = 3\n").unwrap();
    let output = command(&database, &["serve", "--config", file.to_str().unwrap()])
        .env("JETON_LISTEN", "0.0.0.0:80")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "starting again does not help");
    let text = stderr(&output);
    for words in ["isuer", "behind_tls_proxy", "listen on 127.0.0.1"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_refuses_to_start_without_a_master_key() {
    let database = Database::create(Engine::Postgres).await;
    let output = command(&database, &["serve"]).env_remove("JETON_MASTER_KEY").output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("openssl rand -base64 32"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_open_no_key_need_no_master_key() {
    let database = Database::create(Engine::Postgres).await;
    let output = command(&database, &["migrate"]).env_remove("JETON_MASTER_KEY").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A replica that was started without its issuer must not move the API's audience under the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_an_issuer_does_not_replace_the_others() {
    let database = Database::create(Engine::Postgres).await;
    let server = Process::serve(&database, &[]).await;
    let output = command(&database, &["serve"]).env("JETON_LISTEN", "127.0.0.1:0").output().unwrap();
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("http://localhost:8080/api/v1") && text.contains("set JETON_ISSUER"), "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_master_key_is_an_error_and_never_a_new_set_of_keys() {
    let database = Database::create(Engine::Sqlite).await;
    Process::serve(&database, &[]).await.stop().await;
    let key = database.directory.path().join("data/master.key");
    std::fs::remove_file(&key).unwrap();
    let output = run(&database, &["serve"]);
    assert!(!output.status.success() && stderr(&output).contains("master.key"), "{}", stderr(&output));
    assert!(!key.exists(), "a new key would hide the loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_its_files_to_itself() {
    let database = Database::create(Engine::Sqlite).await;
    let server = Process::serve(&database, &[("JETON_OUTAGE__DIRECTORY", "data/spool")]).await;
    let data = database.directory.path().join("data");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let found = |folder: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let (folders, mut files): (Vec<_>, Vec<_>) = found(&data).into_iter().partition(|path| path.is_dir());
    assert_eq!(folders, [data.join("spool")]);
    assert_eq!(mode(&folders[0]), 0o700);
    files.extend(found(&folders[0]));
    assert!(files.len() >= 5, "database, log, index, master key and spool: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quickstart_walks_the_main_job_and_finds_what_is_there() {
    let database = Database::create(Engine::Sqlite).await;
    for run in 1..=3 {
        let quickstart = Process::start(&database, &["quickstart"], &[]);
        let output = quickstart.printed("Serving until Ctrl-C").await;
        assert_eq!(output.contains("(found)"), run > 1, "run {run}: {output}");
        assert!(output.contains("\"scope\": \"orders:read\""), "{output}");
        let credentials = output.split("curl -u '").nth(1).unwrap().split('\'').next().unwrap();
        let (client, secret) = credentials.split_once(':').unwrap();
        let answer = reqwest::Client::new()
            .post(format!("{}/oauth2/token", quickstart.base))
            .basic_auth(client, Some(secret))
            .form(&[("grant_type", "client_credentials"), ("scope", "orders:read")])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "the printed curl line works");
        assert!(quickstart.signal("INT").await.success(), "Ctrl-C is a clean end");
    }
    let shown = jeton(&database, &["clients", "show", "billing"]);
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2, "old secrets of quickstart are cleared away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_told_with_the_way_out() {
    let database = Database::create(Engine::Sqlite).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = command(&database, &["serve"])
        .env("JETON_LISTEN", taken.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("JETON_LISTEN"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_worth_another_start() {
    let database = Database::create(Engine::Sqlite).await;
    let away = command(&database, &["serve"])
        .env("JETON_DATABASE_URL", "postgres://jeton@127.0.0.1:1/jeton")
        .env("JETON_MASTER_KEY", "07".repeat(32))
        .output()
        .unwrap();
    assert_eq!(away.status.code(), Some(1), "the database is away: {}", stderr(&away));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_there_gets_roles_and_grants() {
    let database = Database::create(Engine::Sqlite).await;
    let server = ["resource-servers", "create", "orders", "--identifier", "https://o.example"];
    jeton(&database, &[&server[..], &["--permission", "read"]].concat());
    jeton(&database, &["roles", "create", "reader", "--permission", "orders/read"]);
    let create =
        ["clients", "create", "billing", "--owner", "finance", "--allow-from", "10.0.0.0/8", "--no-secret"];
    let subject = ["--certificate-subject", "san_dns=billing.example.com"];
    jeton(&database, &[&create[..], &subject].concat());
    let listed = || jeton(&database, &["clients", "role", "list", "billing"]);
    jeton(&database, &["clients", "role", "add", "billing", "reader"]);
    assert_eq!(listed(), serde_json::json!([{ "role": "reader" }]));
    jeton(&database, &["clients", "role", "remove", "billing", "reader"]);
    assert_eq!(listed(), serde_json::json!([]));

    let mut expected = jeton(&database, &["clients", "show", "billing"]);
    let change = ["clients", "change", "billing", "--grant-type", "client_credentials", "--grant-type"];
    let more = ["token-exchange", "--no-owner", "--allow-from-anywhere", "--description", "Sends invoices"];
    assert_eq!(expected["tls_client_auth_subject"]["value"], "billing.example.com");
    jeton(&database, &[&change[..], &more, &["--no-certificate-subject"]].concat());
    let changed = jeton(&database, &["clients", "show", "billing"]);
    let grants = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"];
    expected["grant_types"] = serde_json::json!(grants);
    expected["owner"] = serde_json::Value::Null;
    expected["tls_client_auth_subject"] = serde_json::Value::Null;
    expected["allowed_networks"] = serde_json::json!([]);
    expected["description"] = serde_json::json!("Sends invoices");
    for field in ["version", "updated_at"] {
        assert_ne!(changed[field], expected[field], "{field}");
        expected[field] = changed[field].clone();
    }
    assert_eq!(changed, expected, "what is not named stays");
    let actions = "SELECT event FROM audit_events WHERE kind = 'changed' ORDER BY at, seq";
    let told = database.texts(actions).await.join("\n");
    for action in ["client.role.assign", "client.role.unassign", "client.update"] {
        assert!(told.contains(&format!("\"{action}\"")), "{action}: {told}");
    }
    for (arguments, words) in [
        (&["clients", "change", "billing"][..], "required"),
        (&["clients", "change", "billing", "--owner", "x", "--no-owner"], "cannot be used with"),
        (&["clients", "role", "add", "billing", "nothing"], "there is no role 'nothing'"),
        (&["clients", "role", "add", "nobody", "reader"], "there is no client 'nobody'"),
        (&["tokens", "revoke", "--client", "--help"], "--help stands where the value should"),
        (&["tokens", "revoke", "--jti", "--json"], "--json stands where the value should"),
        (&["tokens", "revoke", "--jti", "--txn"], "--txn stands where the value should"),
    ] {
        let output = run(&database, arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}
