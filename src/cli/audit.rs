//! `jeton audit …`: works on the database directly, or on an exported file, and needs no master key.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{audit_tree, input, output};
use crate::admin::audit::schema;
use crate::admin::audit_check::{self, AuditError, TrustedKeys};
use crate::admin::audit_tree::exchange_tree;
use crate::app;
use crate::config::Config;
use crate::domain::chain_check::{ChainReport, Report, Window};
use crate::domain::time::Timestamp;
use crate::jose::PublicJwkSet;
use crate::storage::Store;

/// The most bytes that are read of a file with keys: tens of thousands of keys.
const MOST_KEYS: usize = 16 * 1_024 * 1_024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no event was altered, removed or moved; the exit code is 1 when one was.
    Verify {
        #[command(flatten)]
        span: Span,
        /// Check this exported file instead of the database. Needs --keys.
        #[arg(long, value_name = "FILE", requires = "keys")]
        file: Option<PathBuf>,
        /// Believe these keys, as `jeton audit keys` printed them, instead of those in the database; `-` for standard input.
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
    /// Print every event, oldest first, and every checkpoint.
    Export {
        #[command(flatten)]
        span: Span,
        /// The format of the output.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
    },
    /// Show a chain of token exchanges: which token was exchanged for which, and what was taken back.
    Tree {
        /// The chain, as `txn` in each of its tokens names it.
        #[arg(value_name = "TXN", allow_hyphen_values = true)]
        txn: String,
    },
    /// Print the public keys that verify checkpoints, as a JWK Set. Keep them where the database is not.
    Keys,
    /// Print the JSON schema of the events.
    Schema,
}

#[derive(Debug, Args)]
pub(super) struct Span {
    /// Only what was recorded at this time or later.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Only what was recorded before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Jsonl,
}

pub(super) async fn run(command: Command, config: &Config, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Verify { span, file: Some(file), keys: Some(keys) } => {
            let keys = TrustedKeys::new(&read_keys(&keys)?)?;
            let open = || File::open(&file).map(BufReader::new);
            let report = audit_check::check_file(open, &keys, span.window(), progress());
            finish(&report.with_context(|| file.display().to_string())?, json)
        }
        Command::Verify { span, keys, .. } => {
            let store = open(config).await?;
            let keys = if let Some(path) = keys {
                read_keys(&path)?
            } else {
                eprintln!("Believing the keys in the database; --keys believes only those in a file.");
                audit_check::public_keys(&store).await?
            };
            let keys = TrustedKeys::new(&keys)?;
            let report = audit_check::check_store(&store, &keys, span.window(), progress()).await?;
            store.close().await;
            finish(&report, json)
        }
        Command::Export { span, format: Format::Jsonl } => {
            let store = open(config).await?;
            let mut output = BufWriter::new(std::io::stdout().lock());
            let done = audit_check::export(&store, span.window(), |line| writeln!(output, "{line}")).await;
            let done = done.and_then(|()| output.flush().map_err(AuditError::from));
            store.close().await;
            match done {
                // A reader that has seen enough (`jeton … | head`) is no error.
                Err(AuditError::Taken(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                done => Ok(done?),
            }
        }
        Command::Tree { txn } => {
            let store = open(config).await?;
            let tree = exchange_tree(&store, &txn).await;
            store.close().await;
            let tree = tree?;
            if tree.unreadable > 0 {
                eprintln!("Events that cannot be read: {}; `jeton audit verify` says why.", tree.unreadable);
            }
            if json { output::one(&tree, true) } else { output::print(&audit_tree::draw(&tree)) }
        }
        Command::Keys => {
            let store = open(config).await?;
            let keys = audit_check::public_keys(&store).await?;
            store.close().await;
            output::print(&serde_json::to_string_pretty(&keys)?)
        }
        Command::Schema => output::print(&serde_json::to_string_pretty(&schema())?),
    }
}

/// Opens what is there, and changes nothing: whoever may read may check.
async fn open(config: &Config) -> anyhow::Result<Store> {
    app::require_database(config)?;
    Ok(app::connect_to_read(config).await?)
}

fn read_keys(path: &Path) -> anyhow::Result<PublicJwkSet> {
    let text = input::read(path, "the keys of an audit", MOST_KEYS)?;
    serde_json::from_str(text.expose_secret()).with_context(|| format!("the keys in {}", input::name(path)))
}

/// Tells on a terminal how many events were seen.
fn progress() -> impl FnMut(u64) {
    let watched = std::io::stderr().is_terminal();
    move |seen| {
        if watched {
            eprint!("\r{seen} events …\u{1b}[K");
        }
    }
}

fn finish(report: &Report, json: bool) -> anyhow::Result<()> {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
    let events: u64 = report.chains.iter().map(|chain| chain.events).sum();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    if json {
        let chains: Vec<Value> = report.chains.iter().map(chain).collect();
        output::one(&json!({ "events": events, "chains": chains, "findings": findings }), true)?;
    } else {
        output::rows(&report.chains.iter().map(chain).collect::<Vec<_>>(), COLUMNS, false)?;
        for finding in &findings {
            output::print(finding)?;
        }
    }
    if !findings.is_empty() {
        bail!("the audit is not as it was written: findings: {}, events: {events}", findings.len());
    }
    eprintln!("Events: {events}, chains: {}; none is altered, missing or moved.", report.chains.len());
    Ok(())
}

const COLUMNS: &[&str] = &["chain", "events", "last", "recorded_at", "closed", "unsigned"];

fn chain(chain: &ChainReport) -> Value {
    json!({
        "chain": chain.end.writer, "events": chain.events, "last": chain.end.seq, "recorded_at": chain.end.at,
        "closed": chain.closed, "unsigned": chain.unsigned,
    })
}

// === impl Span ===

impl Span {
    fn window(&self) -> Window {
        Window { from: self.from.unwrap_or(Window::ALL.from), to: self.to.unwrap_or(Window::ALL.to) }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "write a time such as 2027-01-01T00:00:00Z".to_owned())
}
