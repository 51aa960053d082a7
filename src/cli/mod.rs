//! The command line. Every command goes through the same use-cases as the API; those that change
//! something work on the database directly, with or without a server beside them.

mod administrators;
mod arguments;
mod audit;
mod audit_tree;
mod backup;
mod client_certificates;
mod client_change;
mod client_import;
mod client_keys;
mod client_roles;
mod client_secrets;
mod clients;
mod doctor;
mod exchange_rules;
mod exit;
mod explain;
mod federated_credentials;
mod health;
mod input;
mod keys;
mod listed;
mod output;
mod preset_parameters;
mod quickstart;
mod resource_servers;
mod restore;
mod roles;
mod serve;
mod service_manager;
mod statistics;
mod tokens;
mod trusted_issuers;
mod try_client;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::runtime::Handle;

use crate::admin::{Admin, By};
use crate::app::{self, Sealed};
use crate::config::{Config, Issuer};
use crate::domain::audit::ProcessKind;
use crate::domain::text::quoted;
use crate::http;
use crate::runtime::clock::Ambient;
use crate::runtime::master_key::MasterKeys;
use crate::storage::Store;
use crate::telemetry;

/// An OAuth 2 / OpenID Connect authorization server for non-human identities.
#[derive(Debug, Parser)]
#[command(name = "jeton", version, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file; jeton.toml in the working directory when there is one.
    #[arg(long, env = "JETON_CONFIG", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server.
    Serve,
    /// Start a server with an example client, fetch a token, verify it, and keep serving.
    Quickstart,
    /// Bring the database up to this version, and do nothing else.
    Migrate,
    /// Register, list and change clients, and their secrets.
    #[command(subcommand)]
    Clients(clients::Command),
    /// Register, list and change resource servers, and say who operates them.
    #[command(subcommand)]
    ResourceServers(resource_servers::Command),
    /// Create, list and change roles.
    #[command(subcommand)]
    Roles(roles::Command),
    /// Say who may pass whose identity on, towards what (token exchange, RFC 8693).
    #[command(subcommand)]
    ExchangeRules(exchange_rules::Command),
    /// Say of a token of a trusted issuer, step by step, why it counts here or does not. Nothing is issued.
    ExplainAssertion(explain::Explain),
    /// Say whose tokens count beside our own (workload federation).
    #[command(subcommand)]
    TrustedIssuers(trusted_issuers::Command),
    /// People who administer: they sign in to the pages.
    #[command(subcommand)]
    Admin(administrators::Command),
    /// The keys that sign, and the master key that seals them.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Take tokens back.
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Check, export and read the audit.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Count tokens and refusals, and show who acts for whom.
    #[command(subcommand)]
    Statistics(statistics::Command),
    /// Take a copy of the SQLite database, while a server goes on. For PostgreSQL see docs/backup.md.
    Backup(backup::Backup),
    /// Put a backup in the place of the SQLite database. No server may run.
    Restore(restore::Restore),
    /// Settle what follows when PostgreSQL's programs have restored the database, before a server starts.
    AfterRestore(restore::AfterRestore),
    /// Print the OpenAPI description of the API.
    Openapi,
    /// Look whether all is well, and say what to do where it is not. Changes nothing.
    Doctor,
    /// Print what /metrics tells, as docs/metrics.md has it.
    Metrics,
    /// Ask the local server whether it is ready; for container health checks.
    Health,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("jeton: {error:#}");
            exit::code(&error)
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let printed = match arguments.command {
        Command::Openapi => Some(http::openapi().to_yaml()?),
        Command::Metrics => Some(http::metrics_reference()),
        _ => None,
    };
    if let Some(text) = printed {
        output::print(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let default = PathBuf::from("jeton.toml");
    let file = arguments.config.or_else(|| default.exists().then_some(default));
    let config = Config::load(file.as_deref(), environment())?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    // A command is over before anybody would look for its traces.
    let serves = matches!(arguments.command, Command::Serve | Command::Quickstart);
    let telemetry = telemetry::start(&config, serves.then(|| runtime.handle()))?;
    let outcome = runtime.block_on(async {
        let json = arguments.json;
        let done = match arguments.command {
            Command::Doctor => return doctor::run(&config, json).await,
            Command::Serve => serve::run(&config, file.as_deref(), telemetry).await,
            Command::Quickstart => quickstart::run(&config, telemetry).await,
            Command::Migrate => migrate(&config).await,
            Command::Clients(command) => {
                offline(&config, async |offline| clients::run(command, offline, json).await).await
            }
            Command::ResourceServers(command) => {
                offline(&config, async |offline| resource_servers::run(command, offline, json).await).await
            }
            Command::Roles(command) => {
                offline(&config, async |offline| roles::run(command, offline, json).await).await
            }
            Command::ExchangeRules(command) => {
                offline(&config, async |offline| exchange_rules::run(command, offline, json).await).await
            }
            Command::ExplainAssertion(wanted) => {
                offline(&config, async |offline| explain::run(wanted, offline, json).await).await
            }
            Command::TrustedIssuers(command) => {
                offline(&config, async |offline| trusted_issuers::run(command, offline, json).await).await
            }
            Command::Tokens(command) => {
                offline(&config, async |offline| tokens::run(command, offline, json).await).await
            }
            Command::Admin(command) => {
                offline(&config, async |offline| administrators::run(command, offline, json).await).await
            }
            Command::Statistics(command) => {
                offline(&config, async |offline| statistics::run(command, offline, json).await).await
            }
            Command::Keys(command) => keys::run(command, &config, json).await,
            Command::Audit(command) => audit::run(command, &config, json).await,
            Command::Backup(wanted) => backup::run(wanted, &config, json).await,
            Command::Restore(wanted) => Box::pin(restore::run(wanted, &config, json)).await,
            Command::AfterRestore(wanted) => restore::after(wanted, &config, json).await,
            Command::Health => health::run(&config).await,
            Command::Openapi | Command::Metrics => Ok(()),
        };
        done.map(|()| ExitCode::SUCCESS)
    });
    // Whatever still runs is to be waited for no longer.
    runtime.shutdown_background();
    outcome
}

/// Who runs the command: the user id, which cannot be made up, and the name, which can.
fn whoever() -> String {
    let uid = std::fs::metadata("/proc/self")
        .map_or_else(|_| "unknown".to_owned(), |process| process.uid().to_string());
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    format!("uid {uid} ({})", quoted(&name.unwrap_or_else(|| "no name".to_owned())))
}

/// What of the environment is ours. A variable that is no Unicode is none of it, and no reason to stop.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let store = app::connect(config).await?;
    store.migrate().await?;
    store.close().await;
    output::print(&format!("the {} database is up to date", store.engine()))
}

/// The use-cases on the database, as whoever runs the command.
struct Offline {
    admin: Admin,
    by: By,
    master_keys: MasterKeys,
}

/// Does what leaves nothing behind when it is dropped. Ctrl-C or SIGTERM drop it.
async fn interruptible<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let interrupted = serve::stop_signal()?;
    tokio::select! {
        done = work => done,
        () = interrupted => anyhow::bail!("interrupted: nothing was made or replaced"),
    }
}

/// Runs a command, and waits until what it did is in the ledger and its chain closed.
async fn offline(
    config: &Config,
    command: impl AsyncFnOnce(&Offline) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let store = app::connect(config).await?;
    store.migrate().await?;
    on(store, config, command).await
}

/// [`offline`] on a database that is open and up to date. It is closed then.
async fn on(
    store: Store,
    config: &Config,
    command: impl AsyncFnOnce(&Offline) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let ambient = Ambient::system();
    let sealed = app::unseal(config, &store, &ambient, ProcessKind::Command, &Handle::current()).await?;
    let admin = app::offline_admin(store.clone(), config, &sealed, ambient);
    // The ledger ends when the last of those who can record is gone.
    let Sealed { master_keys, keyring, rotator, ledger, writing } = sealed;
    drop((keyring, rotator, ledger));
    let issuer = config.issuer.as_ref().map(Issuer::as_str);
    let outcome = match admin.ensure_some_builtins(issuer).await {
        Ok(()) => {
            let offline = Offline { admin, by: By::command_line(whoever()), master_keys };
            let outcome = command(&offline).await;
            drop(offline);
            outcome
        }
        Err(error) => {
            drop(admin);
            Err(error.into())
        }
    };
    writing.await?;
    store.close().await;
    outcome
}
