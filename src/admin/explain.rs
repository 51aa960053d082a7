//! Use-case: why a token of a trusted issuer counts here or does not, step by step, and whom it is of. Nothing is issued,
//! nothing is used up, and the token is written down nowhere.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::audit::Event;
use crate::domain::builtin;
use crate::domain::claim_conditions::Finding;
use crate::domain::client::{AuthMethod, GrantType, Registration};
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, TrustedIssuerName};
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::domain::trust::{FederatedCredential, TrustedIssuer};
use crate::jose::Object;
use crate::oauth::client_auth::federated_credential;
use crate::oauth::outside::{Explained, Ground, LONGEST, Step, UsedAs, Verdict, explain};
use crate::runtime::federation::{Matches, NoMatches};

/// The most federated credentials that are compared to find the nearest.
const MOST_COMPARED: u32 = 1_000;

/// The most that a claim is shown of.
const SHOWN: usize = 5;

/// The most claims of a token that are named.
const NAMED: usize = 40;

/// A token to explain.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainAssertion {
    /// The token, as the platform hands it out. It is not written down.
    #[schema(value_type = String, max_length = 65536, example = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmRlcnMifQ.AAAA")]
    pub assertion: SecretString,
    /// The client that it is meant to prove; found by the token, when absent.
    #[serde(default)]
    pub client_id: Option<ClientId>,
    /// What it is presented as.
    #[serde(default = "usual_use")]
    pub used_as: UsedAs,
}

const fn usual_use() -> UsedAs {
    UsedAs::ClientAssertion
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedAssertion {
    /// Whether it would be accepted now, as far as is shown. Whether it was used before is not asked.
    pub accepted: bool,
    /// The issuer that it is of, or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_issuer: Option<TrustedIssuerName>,
    /// The client that it proves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// What was looked at, one after the other.
    pub steps: Vec<Step>,
}

/// A client that is looked at.
struct Looked<'a> {
    issuer: &'a TrustedIssuer,
    claims: &'a Object,
    used_as: UsedAs,
    now: Timestamp,
}

// === impl ExplainAssertion ===

impl fmt::Debug for ExplainAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExplainAssertion").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

// === impl Admin ===

impl Admin {
    /// Says what holds of a token and what does not, and what to do about it.
    ///
    /// # Errors
    /// A permission is missing, it is too long to be one, or the database is away.
    pub async fn explain(&self, by: &By, wanted: ExplainAssertion) -> Result<ExplainedAssertion, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_READ).await?;
        let ExplainAssertion { assertion, client_id, used_as } = wanted;
        if assertion.expose_secret().trim().len() > LONGEST {
            let problem = "it is longer than any token that is accepted";
            let error = FieldError::new("assertion", problem, "send one token of at most 16384 characters");
            return Err(AdminError::Invalid(vec![error]));
        }
        let (catalog, issuer, now) = (self.catalog().await?, self.issuer().await?, self.ambient.now());
        let ground = Ground { issuer: &issuer, catalog: &catalog, keys: &self.issuer_keys };
        let explained = explain(&ground, assertion.expose_secret(), used_as, now).await;
        let (mut of_client, mut found) = (Vec::new(), None);
        if let (Some(issuer), Some(claims)) = (&explained.issuer, explained.claims())
            && used_as != UsedAs::SubjectToken
        {
            let looked = Looked { issuer, claims, used_as, now };
            (of_client, found) = match &client_id {
                // It says which client it is of, and what that is registered with.
                _ if !by.holds(builtin::CLIENTS_READ) => {
                    let wanted = format!("the permission {}", builtin::CLIENTS_READ);
                    (vec![Step::skipped("client", "not shown", wanted)], None)
                }
                Some(client_id) => self.named(&looked, client_id).await?,
                None => self.found(&looked).await?,
            };
        }
        let Explained { mut steps, issuer, .. } = explained;
        steps.extend(of_client);
        let accepted = steps.iter().all(|step| step.verdict != Verdict::Failed);
        let answer = ExplainedAssertion {
            accepted,
            trusted_issuer: issuer.map(|issuer| issuer.name.clone()),
            client_id: found.filter(|_| accepted),
            steps,
        };
        let event = Event::AssertionExplained {
            actor: by.actor.clone(),
            trusted_issuer: answer.trusted_issuer.clone(),
            client: client_id.or_else(|| answer.client_id.clone()),
            accepted,
        };
        self.ledger.record(&self.event(by, event)).await?;
        Ok(answer)
    }

    /// What there is to say of the client that is named.
    async fn named(
        &self,
        looked: &Looked<'_>,
        client_id: &ClientId,
    ) -> Result<(Vec<Step>, Option<ClientId>), AdminError> {
        let Some(registration) = self.store.registration(client_id).await? else {
            let found = format!("there is no client '{client_id}'");
            let mend = "name a client that is registered, or none";
            return Ok((vec![Step::failed("client", (found, "a registered client"), mend)], None));
        };
        let mut steps = looked.standing(&registration);
        let says = (looked.issuer, looked.claims);
        if let Ok(credential) = federated_credential(&registration, says, looked.now) {
            steps.push(looked.fulfilled(client_id, credential));
        } else {
            // Also of a client that is not registered for a method that has them loaded.
            let of_client = self.store.federated_credentials(registration.client.uid).await?;
            let of_issuer = of_client.iter().filter(|one| one.trusted_issuer == looked.issuer.uid);
            steps.extend(looked.nearest(of_issuer.map(|credential| (client_id, credential))));
        }
        Ok((steps, Some(client_id.clone())))
    }

    /// Which client it is of.
    async fn found(&self, looked: &Looked<'_>) -> Result<(Vec<Step>, Option<ClientId>), AdminError> {
        let matches = Matches::open(self.store.clone()).await?;
        let candidates = match matches.candidates(looked.issuer.uid, looked.claims).await {
            Ok(candidates) => candidates,
            Err(NoMatches::Fault(fault)) => return Err(fault.into()),
            Err(problem @ (NoMatches::TooMany(_) | NoMatches::TooManyClients)) => {
                let (found, wanted) = (problem.to_string(), "exactly one client");
                let mend =
                    "send client_id beside the token, or make the conditions of the clients more exact";
                return Ok((vec![Step::failed("client", (found, wanted), mend)], None));
            }
        };
        let mut proven = Vec::new();
        let mut others = Vec::new();
        for client_id in candidates {
            let Some(registration) = self.store.registration(&client_id).await? else { continue };
            let says = (looked.issuer, looked.claims);
            let Ok(credential) = federated_credential(&registration, says, looked.now) else { continue };
            let credential = looked.fulfilled(&client_id, credential);
            let standing = looked.standing(&registration);
            if standing.iter().all(|step| step.verdict == Verdict::Held) {
                proven.push((client_id, credential, standing));
            } else {
                others.extend(standing.into_iter().chain([credential]));
            }
        }
        if let [_, _, ..] = &proven[..] {
            let names: Vec<&str> = proven.iter().take(SHOWN).map(|(id, ..)| id.as_str()).collect();
            let found = format!("{}: {}", proven.len(), names.join(", "));
            let mend = "send client_id beside the token, or make their conditions differ";
            return Ok((vec![Step::failed("client", (found, "exactly one client"), mend)], None));
        }
        if let Some((client_id, credential, mut steps)) = proven.pop() {
            steps.push(credential);
            return Ok((steps, Some(client_id)));
        }
        if !others.is_empty() {
            return Ok((others, None));
        }
        let all = self.store.credentials_of_issuer(looked.issuer.uid, MOST_COMPARED).await?;
        Ok((looked.nearest(all.iter().map(|(client_id, credential)| (client_id, credential))), None))
    }
}

// === impl Looked ===

impl Looked<'_> {
    /// Whether a client counts, and may prove itself in this way.
    fn standing(&self, registration: &Registration) -> Vec<Step> {
        let client = &registration.client;
        let name = &client.client_id;
        let mut steps = Vec::new();
        steps.push(match client.check(self.now) {
            Ok(()) => Step::held("client", format!("{name} is in force"), "a client in force"),
            Err(why) => Step::failed(
                "client",
                (format!("{name} is {}", why.as_str()), "a client in force"),
                "enable it, or give it a later end",
            ),
        });
        let (registered, wanted) = match self.used_as {
            UsedAs::Grant => {
                (client.grant_types.contains(&GrantType::JwtBearer), GrantType::JwtBearer.as_str())
            }
            UsedAs::SpiffeAssertion => {
                (client.auth_methods.contains(&AuthMethod::SpiffeJwt), AuthMethod::SpiffeJwt.as_str())
            }
            UsedAs::ClientAssertion | UsedAs::SubjectToken => {
                (client.auth_methods.contains(&AuthMethod::FederatedJwt), AuthMethod::FederatedJwt.as_str())
            }
        };
        let registered_for: Vec<&str> = match self.used_as {
            UsedAs::Grant => client.grant_types.iter().map(|grant| grant.as_str()).collect(),
            _ => client.auth_methods.iter().map(|method| method.as_str()).collect(),
        };
        let registered_for = format!("{name} is registered for {}", registered_for.join(", "));
        steps.push(if registered {
            Step::held("method", registered_for, wanted)
        } else {
            Step::failed("method", (registered_for, wanted), format!("register {name} for {wanted}"))
        });
        steps
    }

    fn fulfilled(&self, client_id: &ClientId, credential: &FederatedCredential) -> Step {
        let found = format!("all hold of credential {} of {client_id}", credential.credential_id);
        Step::held("conditions", found, format!("all conditions of a credential of {}", self.issuer.name))
    }

    /// Of these credentials the one that fails the fewest conditions, and which.
    fn nearest<'c>(
        &self,
        credentials: impl Iterator<Item = (&'c ClientId, &'c FederatedCredential)>,
    ) -> Vec<Step> {
        let failing = |credential: &FederatedCredential| {
            credential.conditions.iter().filter(|condition| !condition.holds(self.claims)).count()
        };
        let Some((client_id, credential)) = credentials.min_by_key(|(_, credential)| failing(credential))
        else {
            let wanted = format!("a federated credential of {}", self.issuer.name);
            let mend = format!("add a federated credential of {} to the client", self.issuer.name);
            return vec![Step::failed("conditions", ("there is none", wanted), mend)];
        };
        let id = &credential.credential_id;
        let mut steps: Vec<Step> = credential
            .conditions
            .iter()
            .map(|condition| {
                let (claim, wanted) = (&condition.claim, &condition.value);
                let check = format!("condition {claim} (credential {id} of {client_id})");
                let wanted = format!("'{wanted}'");
                let mend = "add a credential with a condition that holds for this token, if this workload is meant; else \
                            present the token of the one that is";
                match condition.find(self.claims) {
                    Finding::Holds => Step::held(check, "as wanted", wanted),
                    Finding::Absent => {
                        let names: Vec<String> = self.claims.names().take(NAMED).map(quoted).collect();
                        let found = format!("absent; the token has {}", names.join(", "));
                        let mend = "see how the claim is called in the token, and whether the platform has to be told \
                                    to put it there";
                        Step::failed(check, (found, wanted), mend)
                    }
                    Finding::Differs(texts) => {
                        let texts = texts.iter().take(SHOWN).map(|text| format!("'{}'", quoted(text)));
                        let texts: Vec<String> = texts.collect();
                        let found = if texts.is_empty() { "no text".to_owned() } else { texts.join(", ") };
                        Step::failed(check, (found, wanted), mend)
                    }
                }
            })
            .collect();
        if let Err(why) = credential.check(self.now) {
            let found = format!("{id} of {client_id} is {}", why.as_str());
            steps.push(Step::failed("credential", (found, "one in force"), "give it a later end"));
        }
        steps
    }
}
