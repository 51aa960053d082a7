//! `jeton exchange-rules …`

use clap::{ArgGroup, Args, Subcommand};

use super::arguments::seconds;
use super::federated_credentials::condition;
use super::listed::all;
use super::{Offline, output};
use crate::admin::exchange_dry_run::{TriedExchange, TryExchange, TryOutside};
use crate::admin::exchange_rules::{CreateExchangeRule, OutsideName, PartyName, SubjectName};
use crate::admin::federated_credentials::ClaimCondition;
use crate::domain::error::FieldError;
use crate::domain::exchange_rule::{ExchangeMode, USUAL_ACTORS};
use crate::domain::ids::{
    ClientId, ExchangeRuleName, Permission, ResourceServerName, RoleName, TrustedIssuerName,
};
use crate::domain::time::Timestamp;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an exchange rule: who may pass whose identity on, towards what.
    Create(Create),
    /// List exchange rules.
    List {
        /// Only exchange rules with this text in the name or the description.
        #[arg(long)]
        text: Option<String>,
    },
    /// Show an exchange rule.
    Show {
        /// The rule's name.
        #[arg(value_parser = rule_name)]
        name: ExchangeRuleName,
    },
    /// Switch an exchange rule off. Nothing is exchanged by it from the next second on.
    Disable {
        /// The rule's name.
        #[arg(value_parser = rule_name)]
        name: ExchangeRuleName,
    },
    /// Switch an exchange rule on again.
    Enable {
        /// The rule's name.
        #[arg(value_parser = rule_name)]
        name: ExchangeRuleName,
    },
    /// Say what an exchange would give, and why, without a token.
    Try(Try),
    /// Remove an exchange rule.
    Delete {
        /// The rule's name.
        #[arg(value_parser = rule_name)]
        name: ExchangeRuleName,
    },
}

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("caller").required(true).args(["caller_client", "caller_role"])),
    group(ArgGroup::new("subject").required(true).args(["subject_client", "subject_role", "subject_issuer"])),
)]
pub(super) struct Create {
    /// Its name, which never changes.
    #[arg(value_parser = rule_name)]
    name: ExchangeRuleName,
    /// A note for people, which `--text` of `list` finds.
    #[arg(long, default_value = "")]
    description: String,
    /// The client that may exchange.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    caller_client: Option<ClientId>,
    /// The role whose clients may exchange.
    #[arg(long, value_name = "ROLE", value_parser = role_name)]
    caller_role: Option<RoleName>,
    /// The client whose identity is passed on.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    subject_client: Option<ClientId>,
    /// The role whose clients' identity is passed on.
    #[arg(long, value_name = "ROLE", value_parser = role_name)]
    subject_role: Option<RoleName>,
    /// The trusted issuer whose tokens the subject is proven by; needs conditions.
    #[arg(long, value_name = "NAME", value_parser = issuer_name, requires = "subject_conditions")]
    subject_issuer: Option<TrustedIssuerName>,
    /// What a claim of the subject's token must be, for example 'repository=octo-org/octo-repo'; * stands for any text.
    /// May be repeated: all must hold.
    #[arg(long = "subject-condition", value_name = "CLAIM=VALUE", value_parser = condition, requires = "subject_issuer")]
    subject_conditions: Vec<ClaimCondition>,
    /// The trusted issuer whose actor token the rule wants; needs conditions.
    #[arg(long, value_name = "NAME", value_parser = issuer_name, requires = "actor_conditions")]
    actor_issuer: Option<TrustedIssuerName>,
    /// What a claim of the actor token must be; may be repeated: all must hold.
    #[arg(long = "actor-condition", value_name = "CLAIM=VALUE", value_parser = condition, requires = "actor_issuer")]
    actor_conditions: Vec<ClaimCondition>,
    /// The resource server that the new token is for.
    #[arg(long, value_name = "NAME", value_parser = resource_server_name)]
    resource_server: ResourceServerName,
    /// A permission that the new token may have there; may be repeated.
    #[arg(long = "permission", value_name = "PERMISSION", required = true, value_parser = permission)]
    permissions: Vec<Permission>,
    /// A resource server whose tokens the caller may exchange although it does not operate it; may be repeated.
    #[arg(long = "source", value_name = "NAME", value_parser = resource_server_name)]
    sources: Vec<ResourceServerName>,
    /// What the new token says of the caller: delegation or impersonation.
    #[arg(long, default_value = "delegation")]
    mode: ExchangeMode,
    /// How many actors the new token may name, one behind the other.
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = USUAL_ACTORS)]
    max_depth: u8,
    /// The most seconds that the new token lives.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    token_lifetime: Option<u32>,
    /// Its end, for example 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("whose").required(true).args(["subject", "subject_issuer"])),
)]
pub(super) struct Try {
    /// The client that would exchange.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    caller: ClientId,
    /// The client whose identity would be passed on.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    subject: Option<ClientId>,
    /// The trusted issuer that vouches for a subject from elsewhere.
    #[arg(long, value_name = "NAME", value_parser = issuer_name, requires = "subject_claims")]
    subject_issuer: Option<TrustedIssuerName>,
    /// What its token says, as a JSON object with at least sub.
    #[arg(long, value_name = "JSON", value_parser = claims, requires = "subject_issuer")]
    subject_claims: Option<Claims>,
    /// The trusted issuer of an actor token.
    #[arg(long, value_name = "NAME", value_parser = issuer_name, requires = "actor_claims")]
    actor_issuer: Option<TrustedIssuerName>,
    /// What the actor token says, as a JSON object with at least sub.
    #[arg(long, value_name = "JSON", value_parser = claims, requires = "actor_issuer")]
    actor_claims: Option<Claims>,
    /// A resource server that the subject token is addressed to; may be repeated. A trusted issuer's is addressed to
    /// none.
    #[arg(long = "audience", value_name = "NAME", required_unless_present = "subject_issuer", value_parser = resource_server_name)]
    audience: Vec<ResourceServerName>,
    /// The scope values of the subject token, with spaces between; all that the subject's roles give there, when absent.
    #[arg(long, value_name = "SCOPE")]
    subject_scope: Option<String>,
    /// Who acts in the subject token already, newest first; may be repeated.
    #[arg(long = "actor", value_name = "CLIENT_ID", value_parser = client_id)]
    actors: Vec<ClientId>,
    /// The resource server that the new token would be for.
    #[arg(long, value_name = "NAME", value_parser = resource_server_name)]
    resource_server: Option<ResourceServerName>,
    /// The scope values that would be asked for, with spaces between; all that can be had, when absent.
    #[arg(long)]
    scope: Option<String>,
}

// === impl Try ===

impl From<Try> for TryExchange {
    fn from(wanted: Try) -> Self {
        Self {
            caller: wanted.caller,
            subject: wanted.subject,
            outside_subject: outside(wanted.subject_issuer, wanted.subject_claims),
            outside_actor: outside(wanted.actor_issuer, wanted.actor_claims),
            audience: wanted.audience,
            subject_scope: wanted.subject_scope,
            actors: wanted.actors,
            expires_in: 300,
            resource_server: wanted.resource_server,
            scope: wanted.scope,
        }
    }
}

/// Claims, as somebody wrote them.
type Claims = serde_json::Map<String, serde_json::Value>;

fn outside(issuer: Option<TrustedIssuerName>, claims: Option<Claims>) -> Option<TryOutside> {
    issuer.zip(claims).map(|(trusted_issuer, claims)| TryOutside { trusted_issuer, claims })
}

/// A dry run for people.
fn told(tried: &TriedExchange) -> String {
    let mut lines = Vec::new();
    match &tried.token {
        Some(token) => {
            lines.push(format!("There would be a token, by the rule {} ({}):", token.rule, token.mode));
            lines.push(format!("  for      {}", token.audience.join(" ")));
            lines.push(format!("  scope    {}", token.scope));
            lines.push(format!("  actors   {}", token.actors.join(" for ")));
            lines.push(format!("  seconds  {}", token.expires_in));
        }
        None => lines.push(format!(
            "There would be no token ({}): {}",
            tried.error.unwrap_or_default(),
            tried.reason.as_deref().unwrap_or_default()
        )),
    }
    let join = |permissions: &[Permission]| {
        let texts: Vec<_> = permissions.iter().map(Permission::as_str).collect();
        if texts.is_empty() { "nothing".to_owned() } else { texts.join(" ") }
    };
    for rule in &tried.rules {
        let verdict = rule.objection.as_deref().unwrap_or("it allows the exchange");
        lines.push(format!("Rule {}: {verdict}", rule.rule));
        lines.push(format!("  the subject has ({})  {}", rule.bounded_by, join(&rule.held)));
        lines.push(format!("  the rule lets through   {}", join(&rule.let_through)));
        lines.push(format!("  can be had              {}", join(&rule.ceiling)));
    }
    lines.join("\n")
}

pub(super) async fn run(
    command: Command,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => output::one(&admin.create_exchange_rule(by, create.into()).await?, json),
        Command::List { text } => {
            let text = text.as_deref();
            let rules = all(async |page| admin.exchange_rules(by, text, &page).await).await?;
            let columns = [
                "name",
                "caller",
                "subject",
                "resource_server",
                "permissions",
                "mode",
                "enabled",
                "warnings",
            ];
            output::rows(&rules, &columns, json)
        }
        Command::Try(wanted) => {
            let tried = admin.try_exchange(by, wanted.into()).await?;
            if json { output::one(&tried, true) } else { output::print(&told(&tried)) }
        }
        Command::Show { name } => output::one(&admin.exchange_rule(by, &name).await?, json),
        Command::Disable { name } => {
            let rule = admin.set_exchange_rule_enabled(by, &name, false).await?;
            let line = format!(
                "the exchange rule {name} is disabled: nothing is exchanged by it from the next second on"
            );
            output::now(&rule, &line, json)
        }
        Command::Enable { name } => {
            let rule = admin.set_exchange_rule_enabled(by, &name, true).await?;
            output::now(&rule, &format!("the exchange rule {name} is enabled"), json)
        }
        Command::Delete { name } => {
            let version = admin.exchange_rule(by, &name).await?.version;
            admin.delete_exchange_rule(by, &name, version).await?;
            let gone = serde_json::json!({ "deleted": name });
            output::now(&gone, &format!("the exchange rule {name} is gone"), json)
        }
    }
}

// === impl Create ===

impl From<Create> for CreateExchangeRule {
    fn from(create: Create) -> Self {
        let caller = PartyName { client: create.caller_client, role: create.caller_role };
        let subject = SubjectName {
            client: create.subject_client,
            role: create.subject_role,
            conditions: create.subject_issuer.as_ref().map(|_| create.subject_conditions),
            trusted_issuer: create.subject_issuer,
        };
        let mut rule = Self::named(create.name, caller, subject, create.resource_server, create.permissions);
        rule.description = create.description;
        rule.sources = create.sources;
        let conditions = create.actor_conditions;
        rule.actor = create.actor_issuer.map(|trusted_issuer| OutsideName { trusted_issuer, conditions });
        rule.mode = create.mode;
        rule.max_depth = create.max_depth;
        rule.token_lifetime = create.token_lifetime;
        rule.expires_at = create.expires_at;
        rule
    }
}

fn rule_name(text: &str) -> Result<ExchangeRuleName, FieldError> {
    ExchangeRuleName::new(text)
}

fn client_id(text: &str) -> Result<ClientId, FieldError> {
    ClientId::new(text)
}

fn role_name(text: &str) -> Result<RoleName, FieldError> {
    RoleName::new(text)
}

fn resource_server_name(text: &str) -> Result<ResourceServerName, FieldError> {
    ResourceServerName::new(text)
}

fn issuer_name(text: &str) -> Result<TrustedIssuerName, FieldError> {
    TrustedIssuerName::new(text)
}

fn claims(text: &str) -> Result<Claims, String> {
    serde_json::from_str(text).map_err(|_| "write a JSON object, for example '{\"sub\":\"a\"}'".to_owned())
}

fn permission(text: &str) -> Result<Permission, FieldError> {
    Permission::new(text)
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "write a time such as 2027-01-01T00:00:00Z".to_owned())
}
