//! `jeton trusted-issuers …`

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::arguments::seconds;
use super::listed::all;
use super::{Offline, input, output};
use crate::admin::trusted_issuers::{CreateTrustedIssuer, KeyPlace, KeysFrom, UpdateTrustedIssuer};
use crate::domain::error::FieldError;
use crate::domain::ids::{Identifier, TrustedIssuerName};
use crate::domain::presets::{Platform, UsualKeys, preset};
use crate::domain::trust::{IssuerProfile, Reuse};
use crate::jose::Algorithm;

/// The most of a file that is read; the use-case takes less.
const LARGEST: usize = 128 * 1_024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a trusted issuer: whose tokens count here, and with which keys. They prove nobody yet:
    /// `jeton clients federation add` says whom.
    Create(Create),
    /// List trusted issuers.
    List {
        /// Only trusted issuers with this text in the name, the description or the issuer.
        #[arg(long)]
        text: Option<String>,
    },
    /// Show a trusted issuer.
    Show {
        /// The trusted issuer's name.
        #[arg(value_parser = issuer_name)]
        name: TrustedIssuerName,
    },
    /// Change a trusted issuer: what is not named stays.
    Update(Update),
    /// Switch a trusted issuer off. Its tokens count nowhere from the next second on.
    Disable {
        /// The trusted issuer's name.
        #[arg(value_parser = issuer_name)]
        name: TrustedIssuerName,
    },
    /// Switch a trusted issuer on again.
    Enable {
        /// The trusted issuer's name.
        #[arg(value_parser = issuer_name)]
        name: TrustedIssuerName,
    },
    /// Say what breaks when a trusted issuer is disabled: federated credentials and whose, and exchange rules.
    Impact {
        /// The trusted issuer's name.
        #[arg(value_parser = issuer_name)]
        name: TrustedIssuerName,
    },
    /// List what is known about the tokens of platforms.
    Presets,
    /// Remove a trusted issuer that nothing names.
    Delete {
        /// The trusted issuer's name.
        #[arg(value_parser = issuer_name)]
        name: TrustedIssuerName,
    },
}

/// Where its keys are: one of these.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("keys").args(["discovery", "jwks_uri", "jwks", "bundle_file", "bundle_endpoint"])))]
struct Keys {
    /// Its keys are where its metadata says (OpenID Connect Discovery). `create` takes this when nothing else is said.
    #[arg(long)]
    discovery: bool,
    /// Its keys are a JWK Set at this URL.
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// Its keys are these: a file with a JWK Set, or with a SPIFFE bundle; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Its keys are a SPIFFE bundle in the file of this name in `federation.bundle_dir`, read anew when it changes.
    #[arg(long, value_name = "NAME")]
    bundle_file: Option<String>,
    /// Its keys are a SPIFFE bundle at this URL.
    #[arg(long, value_name = "URL")]
    bundle_endpoint: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name here, which never changes.
    #[arg(value_parser = issuer_name)]
    name: TrustedIssuerName,
    /// The platform whose tokens these are, which says what is not said here: github, gitlab, kubernetes, google, aws,
    /// azure, spiffe, keycloak or jeton.
    #[arg(long, value_name = "PLATFORM")]
    preset: Option<Platform>,
    /// What its tokens say as `iss`; of a SPIFFE trust domain spiffe:// and its name.
    #[arg(long, value_name = "URL", value_parser = identifier, required_unless_present = "preset")]
    issuer: Option<Identifier>,
    /// What its tokens are: jwt or spiffe.
    #[arg(long)]
    profile: Option<IssuerProfile>,
    /// A note for people, which `--text` of `list` finds.
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    rules: Rules,
    /// Register it switched off.
    #[arg(long)]
    disabled: bool,
}

/// When its tokens count.
#[derive(Debug, Args)]
struct Rules {
    /// What its tokens may be signed with; may be repeated. All that are accepted, when absent.
    #[arg(long = "algorithm", value_name = "ALGORITHM")]
    algorithms: Vec<Algorithm>,
    /// The one audience that its tokens must have; our issuer identifier, when absent.
    #[arg(long, value_parser = identifier)]
    audience: Option<Identifier>,
    /// The most seconds that a token may live, from its iat to its exp.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    max_lifetime: Option<u32>,
    /// The seconds that its clock may be off.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    leeway: Option<u32>,
    /// How often one token counts: `once`; once only if it has a jti (`without_jti`); as often as wanted while it lives
    /// (`within_life`).
    #[arg(long)]
    reuse: Option<Reuse>,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// The trusted issuer's name.
    #[arg(value_parser = issuer_name)]
    name: TrustedIssuerName,
    /// A note for people, which `--text` of `list` finds.
    #[arg(long)]
    description: Option<String>,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    rules: Rules,
    /// Its tokens must have our issuer identifier as their audience.
    #[arg(long, conflicts_with = "audience")]
    own_audience: bool,
}

// === impl Keys ===

impl Keys {
    /// What was said, if something was.
    fn read(self) -> anyhow::Result<Option<KeysFrom>> {
        let at = |from| move |uri| KeysFrom::at(from, uri);
        let set = self.jwks.map(|file| read_set(&file)).transpose()?;
        Ok(self
            .discovery
            .then(KeysFrom::discovery)
            .or(self.jwks_uri.map(at(KeyPlace::JwksUri)))
            .or(self.bundle_endpoint.map(at(KeyPlace::BundleEndpoint)))
            .or(self.bundle_file.map(KeysFrom::file))
            .or(set.map(KeysFrom::inline)))
    }
}

/// What a file holds is not quoted: it may be private.
fn read_set(file: &Path) -> anyhow::Result<Value> {
    let text = input::read(file, "a JWK Set or a SPIFFE bundle", LARGEST)?;
    serde_json::from_str(text.expose_secret())
        .map_err(|error| anyhow::anyhow!("{}: it is no JSON (line {})", input::name(file), error.line()))
}

// === impl Create ===

impl Create {
    fn read(self) -> anyhow::Result<CreateTrustedIssuer> {
        let known = self.preset.map(preset);
        let usual = known.and_then(|known| known.issuer).map(Identifier::new).transpose()?;
        let Some(issuer) = self.issuer.or(usual) else {
            let example = known.map_or("https://idp.example.com", |known| known.issuer_example);
            anyhow::bail!("each has an issuer of its own there: add --issuer, for example {example}");
        };
        let keys = match (self.keys.read()?, known.map(|known| known.keys)) {
            (Some(keys), _) => keys,
            (None, Some(UsualKeys::BundleEndpoint)) => {
                anyhow::bail!("say where its bundle is: add --bundle-endpoint, --bundle-file or --jwks")
            }
            (None, _) => KeysFrom::discovery(),
        };
        let mut new = CreateTrustedIssuer::named(self.name, issuer, keys);
        if let Some(known) = known {
            new.profile = known.profile;
            new.max_lifetime = known.max_lifetime;
            new.reuse = known.reuse;
        }
        let Rules { algorithms, audience, max_lifetime, leeway, reuse } = self.rules;
        new.profile = self.profile.unwrap_or(new.profile);
        new.max_lifetime = max_lifetime.unwrap_or(new.max_lifetime);
        new.leeway = leeway.unwrap_or(new.leeway);
        new.reuse = reuse.unwrap_or(new.reuse);
        new.algorithms = (!algorithms.is_empty()).then_some(algorithms);
        new.audience = audience;
        new.description = self.description;
        new.enabled = !self.disabled;
        Ok(new)
    }
}

// === impl Update ===

impl Update {
    fn read(self) -> anyhow::Result<(TrustedIssuerName, UpdateTrustedIssuer)> {
        let Rules { algorithms, audience, max_lifetime, leeway, reuse } = self.rules;
        let update = UpdateTrustedIssuer {
            description: self.description,
            keys: self.keys.read()?,
            algorithms: (!algorithms.is_empty()).then_some(algorithms),
            audience: if self.own_audience { Some(None) } else { audience.map(Some) },
            max_lifetime,
            leeway,
            reuse,
            enabled: None,
        };
        Ok((self.name, update))
    }
}

pub(super) async fn run(
    command: Command,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => output::one(&admin.create_trusted_issuer(by, create.read()?).await?, json),
        Command::List { text } => {
            let text = text.as_deref();
            let issuers = all(async |page| admin.trusted_issuers(by, text, &page).await).await?;
            output::rows(&issuers, &["name", "profile", "issuer", "reuse", "enabled", "description"], json)
        }
        Command::Show { name } => output::one(&admin.trusted_issuer(by, &name).await?, json),
        Command::Update(update) => {
            let (name, update) = update.read()?;
            let before = admin.trusted_issuer(by, &name).await?;
            let after = admin.update_trusted_issuer(by, &name, before.version, update).await?;
            output::changed(&format!("the trusted issuer {name}"), &before, &after, json)
        }
        Command::Disable { name } => {
            let issuer = admin.set_trusted_issuer_enabled(by, &name, false).await?;
            let line = format!(
                "the trusted issuer {name} is disabled: its tokens count nowhere from the next second on"
            );
            output::now(&issuer, &line, json)
        }
        Command::Enable { name } => {
            let issuer = admin.set_trusted_issuer_enabled(by, &name, true).await?;
            output::now(&issuer, &format!("the trusted issuer {name} is enabled"), json)
        }
        Command::Impact { name } => output::one(&admin.trusted_issuer_impact(by, &name).await?, json),
        Command::Presets => {
            let presets = admin.issuer_presets(by).await?;
            output::rows(&presets, &["platform", "title", "issuer", "max_lifetime", "reuse"], json)
        }
        Command::Delete { name } => {
            let version = admin.trusted_issuer(by, &name).await?.version;
            admin.delete_trusted_issuer(by, &name, version).await?;
            let gone = serde_json::json!({ "deleted": name });
            output::now(&gone, &format!("the trusted issuer {name} is gone"), json)
        }
    }
}

pub(super) fn issuer_name(text: &str) -> Result<TrustedIssuerName, FieldError> {
    TrustedIssuerName::new(text)
}

fn identifier(text: &str) -> Result<Identifier, FieldError> {
    Identifier::new(text)
}
