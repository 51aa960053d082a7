//! What a signature costs in a PKCS#11 token, through the pool that the server uses: `SoftHSM2`, in a directory that
//! is thrown away. docs/performance.md has the figures.
//!
//! `cargo bench --features pkcs11 --bench token_keys`
#![expect(clippy::expect_used, reason = "a bench that cannot sign has nothing to say")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jeton::config::Config;
use jeton::domain::ids::KeyId;
use jeton::jose::{Algorithm, RsaBits, VerifyingKey};
use jeton::runtime::token_keys::{HeldKey, TokenKeys};

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];

fn main() {
    // The library reads where its tokens are from the environment, which only a new process can have.
    if std::env::var_os("SOFTHSM2_CONF").is_none() {
        return again_with_a_token();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("| | sessions | callers | signatures/s | CPU µs a signature |\n|---|---:|---:|---:|---:|");
    for sessions in [1, 4] {
        let mut environment: Vec<_> = std::env::vars().collect();
        environment.push(("JETON_PKCS11__SESSIONS".to_owned(), sessions.to_string()));
        let config = Config::load(None, environment).expect("a configuration");
        for algorithm in ALGORITHMS {
            for callers in [1, 32] {
                runtime.block_on(measure(&config, algorithm, sessions, callers));
            }
        }
    }
}

fn again_with_a_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let (tokens, configuration, pin) =
        (directory.path().join("tokens"), directory.path().join("conf"), directory.path().join("pin"));
    fs::create_dir(&tokens).expect("a directory");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    fs::write(&configuration, text).expect("a file");
    fs::write(&pin, "1234").expect("a file");
    let made = Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", &configuration)
        .args(["--init-token", "--free", "--label", "bench", "--pin", "1234", "--so-pin", "5678"])
        .output()
        .expect("SoftHSM2: apt-get install softhsm2");
    assert!(made.status.success(), "{made:?}");
    let done = Command::new(std::env::current_exe().expect("this program"))
        .env("SOFTHSM2_CONF", &configuration)
        .env("JETON_PKCS11__MODULE", "/usr/lib/softhsm/libsofthsm2.so")
        .env("JETON_PKCS11__TOKEN", "bench")
        .env("JETON_PKCS11__PIN_FILE", &pin)
        .status();
    assert!(done.expect("a process").success());
}

async fn measure(config: &Config, algorithm: Algorithm, sessions: usize, callers: u32) {
    let keys = TokenKeys::of(config).expect("a token");
    let label = format!("{algorithm} {sessions} {callers}");
    let made =
        keys.generate(algorithm, RsaBits::Rsa2048, label.clone()).await.expect("a token").expect("a pair");
    let held = Arc::new(HeldKey {
        token: keys.label().to_owned(),
        kid: KeyId::new(made.key_id()).expect("an identifier"),
        algorithm,
        verifying: VerifyingKey::from_jwk(&made).expect("a key"),
    });
    // As long as the signing input of an ordinary access token.
    let message = vec![b'x'; 600];
    for _ in 0..100 {
        keys.sign(Arc::clone(&held), message.clone()).await.expect("a signature");
    }
    let span = duration();
    let (begun, used) = (Instant::now(), cpu());
    let callers_at_work = (0..callers).map(|_| {
        let (keys, held, message) = (keys.clone(), Arc::clone(&held), message.clone());
        tokio::spawn(async move {
            let mut signed = 0_u32;
            while begun.elapsed() < span {
                keys.sign(Arc::clone(&held), message.clone()).await.expect("a signature");
                signed += 1;
            }
            signed
        })
    });
    let mut signed = 0;
    for caller in callers_at_work.collect::<Vec<_>>() {
        signed += caller.await.expect("a caller");
    }
    let (took, used) = (begun.elapsed().as_secs_f64(), cpu() - used);
    let signed = f64::from(signed);
    println!("| {algorithm} | {sessions} | {callers} | {:.0} | {:.0} |", signed / took, used * 1e6 / signed);
    keys.destroy(label, Vec::new()).await.expect("an end");
}

/// CPU seconds of this process, user and system, in hundredths.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

/// How long each is measured: three seconds, or `BENCH_MILLIS`.
fn duration() -> Duration {
    let millis = std::env::var("BENCH_MILLIS").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(millis.unwrap_or(3_000))
}
