use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{Database, free_port};

/// How long a process may take for anything before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A `jeton` process that runs until it is told to stop.
pub(crate) struct Process {
    child: Child,
    pub(crate) base: String,
    output: PathBuf,
    log: PathBuf,
}

/// A `jeton` command with this environment and no other.
pub(crate) fn command(database: &Database, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
    command.args(arguments).env_clear().envs(database.environment()).current_dir(database.directory.path());
    // Any free port: tests run at the same time.
    command.env("JETON_LISTEN", "127.0.0.1:0").stdin(Stdio::null());
    command
}

/// Runs a `jeton` command to its end.
pub(crate) fn run(database: &Database, arguments: &[&str]) -> Output {
    command(database, arguments).output().unwrap()
}

/// Runs a `jeton` command that must succeed, and reads its JSON.
pub(crate) fn jeton(database: &Database, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let output = run(database, &all);
    let said = [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{arguments:?}: {}{}", said[0], said[1]);
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Process {
    /// Starts `jeton` with these arguments on a free port, with more environment.
    pub(crate) fn start(database: &Database, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(command(database, arguments), arguments[0], database, environment)
    }

    /// Starts `jeton serve`, which this signal does not reach, and waits until it is ready.
    pub(crate) async fn serve_unsignalled(
        database: &Database,
        signal: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("/bin/sh");
        let serve = format!("trap '' {signal}; exec \"$0\" serve");
        shell.args(["-c", &serve, env!("CARGO_BIN_EXE_jeton")]).stdin(Stdio::null());
        shell.env_clear().envs(database.environment()).current_dir(database.directory.path());
        let process = Self::spawn(shell, "serve", database, environment);
        process.ready().await;
        process
    }

    fn spawn(mut command: Command, name: &str, database: &Database, environment: &[(&str, &str)]) -> Self {
        let port = free_port();
        let name = format!("{name}-{port}");
        let output = database.directory.path().join(format!("{name}.out"));
        let log = database.directory.path().join(format!("{name}.log"));
        let child = command
            .env("JETON_LISTEN", format!("127.0.0.1:{port}"))
            .env("JETON_ISSUER", "http://localhost:8080")
            // One server at a time has a directory of spools, and a test may have two.
            .env("JETON_OUTAGE__DIRECTORY", database.directory.path().join(format!("{name}.spools")))
            .envs(environment.iter().copied())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, base: format!("http://127.0.0.1:{port}"), output, log }
    }

    /// Starts `jeton serve` and waits until it is ready.
    pub(crate) async fn serve(database: &Database, environment: &[(&str, &str)]) -> Self {
        let process = Self::start(database, &["serve"], environment);
        process.ready().await;
        process
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        let ready = async {
            loop {
                let answer = reqwest::get(format!("{}/readyz", self.base)).await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, ready).await.is_ok(), "not ready: {}", self.log());
    }

    /// Whether it has not ended.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it printed.
    pub(crate) fn output(&self) -> String {
        read(&self.output)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// What it complained of: each error, and each warning but those of what a slow machine makes it try again.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let complaints = log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR "));
        let passes = |line: &str| line.contains("trying again") || line.contains("not ready");
        let counts = |line: &&str| line.contains("ERROR ") || !passes(line);
        complaints.filter(counts).map(str::to_owned).collect()
    }

    /// Waits until this text is printed.
    pub(crate) async fn printed(&self, text: &str) -> String {
        let printed = async {
            while !self.output().contains(text) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(
            timeout(PATIENCE, printed).await.is_ok(),
            "'{text}' was not printed: {}\n{}",
            self.output(),
            self.log()
        );
        self.output()
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub(crate) fn tell(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends a signal by name and waits for the end.
    pub(crate) async fn signal(self, name: &str) -> ExitStatus {
        self.tell(name);
        self.ended().await
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("it does not end: {}", self.log()))
    }

    /// Stops it as an operator does, and asserts that it says goodbye.
    pub(crate) async fn stop(self) {
        let status = self.signal("TERM").await;
        assert!(status.success(), "{status:?}, signal {:?}", status.signal());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &PathBuf) -> String {
    let mut text = String::new();
    fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}
