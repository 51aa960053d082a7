//! What is odd about conditions, or about an issuer: they mean more workloads than whoever wrote them may think. Never a
//! refusal: only they know.

use std::time::Duration;

use super::claim_conditions::{Condition, Conditions};
use super::trust::{IssuerProfile, KeySource, TrustedIssuer};

/// Longer than this tokens should not live.
const LONG: Duration = Duration::from_hours(24);

/// How the texts begin that platforms write as the audience when nobody asks for another: many take tokens for them.
const SHARED_AUDIENCES: &[&str] = &[
    "sts.amazonaws.com",
    "api://AzureADTokenExchange",
    "https://github.com/",
    "https://kubernetes.default.svc",
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://iam.googleapis.com/",
];

/// What is odd about a trusted issuer, a sentence each.
#[must_use]
pub fn of_issuer(issuer: &TrustedIssuer) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(audience) = &issuer.audience
        && (SHARED_AUDIENCES.iter().any(|shared| audience.starts_with(shared)) || audience == "account")
    {
        warnings.push(format!(
            "Tokens for '{audience}' are given to others too: whoever gets one can present it here. Have the platform \
             write our issuer as the audience, and leave the audience out."
        ));
    }
    if issuer.max_lifetime > LONG {
        warnings.push(format!(
            "Its tokens may live for {} hours: one that leaks is good for as long.",
            issuer.max_lifetime.as_secs().div_ceil(3_600)
        ));
    }
    let called = match &issuer.keys {
        KeySource::Discovery => Some(&issuer.issuer),
        KeySource::JwksUri(url) | KeySource::BundleEndpoint(url) => Some(url),
        KeySource::Inline(_) | KeySource::BundleFile(_) => None,
    };
    if called.is_some_and(|url| url.starts_with("http://")) {
        warnings.push("Its keys come over http: anybody on the way can put in their own.".to_owned());
    }
    warnings
}

/// What is odd about conditions on the tokens of this issuer, a sentence each.
#[must_use]
pub fn of_conditions(issuer: &TrustedIssuer, conditions: &Conditions) -> Vec<String> {
    let on = On(conditions);
    let mut warnings: Vec<String> = conditions.iter().filter_map(loose).collect();
    if issuer.profile == IssuerProfile::Spiffe {
        on_spiffe(&issuer.issuer, &on, &mut warnings);
    } else if is_github(&issuer.issuer) {
        on_github(&on, &mut warnings);
    } else if on.mentions(&["project_path", "project_id", "namespace_path"]) || on.begins("project_path:") {
        on_gitlab(&on, &mut warnings);
    } else if on.mentions(&["/kubernetes.io/"]) || on.begins("system:serviceaccount") {
        on_kubernetes(&on, &mut warnings);
    } else {
        on_cloud(&issuer.issuer, &on, &mut warnings);
    }
    warnings
}

/// Conditions, and what can be asked about them.
struct On<'c>(&'c Conditions);

// === impl On ===

impl<'c> On<'c> {
    /// Whether one of these claims must be exactly something.
    fn exact(&self, claims: &[&str]) -> bool {
        self.of(claims).any(|condition| condition.value.is_exact())
    }

    /// Whether one of these claims must be something, but not anything.
    fn narrows(&self, claims: &[&str]) -> bool {
        self.of(claims).any(|condition| !condition.value.as_str().trim_matches('*').is_empty())
    }

    fn of(&self, claims: &[&str]) -> impl Iterator<Item = &'c Condition> {
        self.0.iter().filter(move |condition| claims.contains(&condition.claim.as_str()))
    }

    /// Whether a claim must be the name of something without what it belongs to, which stands before a slash.
    fn bare(&self, claim: &str) -> bool {
        self.of(&[claim]).any(|condition| !condition.value.as_str().contains(['/', '*']))
    }

    /// What a claim must be, or begin and end with.
    fn texts(&self, claim: &'static str) -> impl Iterator<Item = &'c str> + use<'c> {
        let conditions = self.0.iter();
        conditions
            .filter(move |condition| condition.claim.as_str() == claim)
            .map(|condition| condition.value.as_str())
    }

    /// Whether a claim's name begins like one of these.
    fn mentions(&self, names: &[&str]) -> bool {
        self.0.iter().any(|condition| names.iter().any(|name| condition.claim.as_str().starts_with(name)))
    }

    /// Whether the subject must begin like this.
    fn begins(&self, text: &str) -> bool {
        self.of(&["sub"]).any(|condition| condition.value.as_str().starts_with(text))
    }

    /// What the subject must be, up to the first `*`, as far as it begins like this.
    fn subject(&self, beginning: &str) -> Option<&'c str> {
        let fixed = |condition: &'c Condition| {
            let text = condition.value.as_str();
            text.split('*').next().unwrap_or(text).strip_prefix(beginning)
        };
        self.of(&["sub"]).find_map(fixed)
    }
}

/// A `*` that stands for more than it seems to.
fn loose(condition: &Condition) -> Option<String> {
    let (claim, value) = (&condition.claim, condition.value.as_str());
    let (first, rest) = value.split_once('*')?;
    let last = rest.rsplit('*').next().unwrap_or(rest);
    if first.is_empty() && last.is_empty() {
        return Some(format!("'{value}' for {claim} fits nearly anything."));
    }
    if first.is_empty() && !last.starts_with(is_separator) {
        return Some(format!(
            "'{value}' for {claim} also fits 'evil-{last}': put a separator behind the *, or write it out."
        ));
    }
    if !first.is_empty() && !first.ends_with(is_separator) {
        return Some(format!(
            "'{value}' for {claim} also fits '{first}-evil': end it with a separator before the *, or write it out."
        ));
    }
    if !first.is_empty() && !last.is_empty() {
        return Some(format!(
            "The * within '{value}' for {claim} stands for separators too: whoever can choose what stands there can \
             write more than one part."
        ));
    }
    None
}

fn is_separator(c: char) -> bool {
    !c.is_alphanumeric()
}

fn is_github(issuer: &str) -> bool {
    let host = "https://token.actions.githubusercontent.com";
    let of_host = issuer.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    of_host || issuer.ends_with("/_services/token")
}

fn on_github(on: &On<'_>, warnings: &mut Vec<String>) {
    let subject = on.subject("repo:").unwrap_or_default();
    // `owner/name`, and then a colon and what follows.
    let repository = subject.split(':').next().unwrap_or(subject);
    let by_subject = subject.contains(':') && repository.contains('/');
    if on.bare("repository") {
        warnings.push("No token fits: repository is owner/name, such as octo-org/octo-repo.".to_owned());
    }
    let one = by_subject
        || on.exact(&["repository", "repository_id"])
        || on.of(&["job_workflow_ref"]).any(|condition| condition.value.is_exact());
    if !one {
        let owned = repository.contains('/') || on.narrows(&["repository", "repository_owner"]);
        warnings.push(if owned || on.narrows(&["repository_owner_id"]) {
            "Any repository of the owner fits. Say which one with repository, or better repository_id.".to_owned()
        } else {
            "Anybody's repository may fit: everybody can have workflows at this issuer. Say which repository is meant \
             with repository, or better repository_id."
                .to_owned()
        });
    }
    let reached = |reach: Reach| Reach::of_github(on).any(|reached| reached == reach);
    if reached(Reach::PullRequests) {
        warnings.push(
            "Pull requests fit, and what they run is whatever somebody proposes: from a fork too, where the \
             repository gives those tokens."
                .to_owned(),
        );
    } else if reached(Reach::Named) || on.narrows(&["environment"]) {
        // Some of it alone.
    } else if reached(Reach::Branches) {
        warnings.push(
            "Any branch of the repository fits, and whoever may push can make one: name it, or add a condition on \
             environment."
                .to_owned(),
        );
    } else {
        warnings.push(
            "Any branch, tag, environment and pull request of the repository fits, one from a fork too: add a \
             condition on environment, ref or job_workflow_ref."
                .to_owned(),
        );
    }
    if !on.exact(&["repository_id", "repository_owner_id"]) {
        warnings.push(
            "Names can be registered anew after a repository or its owner was renamed or deleted: add repository_id, \
             which stays."
                .to_owned(),
        );
    }
}

/// What of a repository a condition lets through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// One branch, tag or environment, or those whose names begin alike.
    Named,
    /// Any branch.
    Branches,
    /// What pull requests run.
    PullRequests,
    /// Anything.
    All,
}

// === impl Reach ===

impl Reach {
    /// Of each condition that says something about it: all must hold, so one that names something is enough.
    fn of_github(on: &On<'_>) -> impl Iterator<Item = Self> {
        // The workflow's file, and after the last @ where it is taken from.
        let from = |workflow: &str| Self::of_ref(workflow.rsplit_once('@').map_or("*", |(_, from)| from));
        let refs = on.texts("ref").map(Self::of_ref).chain(on.texts("job_workflow_ref").map(from));
        refs.chain(on.texts("sub").map(Self::of_subject))
    }

    /// What a pattern for a full name of a branch, tag or pull request lets through, by what stands before the first `*`.
    fn of_ref(pattern: &str) -> Self {
        if pattern.starts_with("refs/pull/") {
            return Self::PullRequests;
        }
        match pattern.split_once('*') {
            Some(("refs/heads/", _)) => Self::Branches,
            Some(("", rest)) if !rest.trim_matches('*').is_empty() => Self::Named,
            Some((fixed, _)) if "refs/heads/".starts_with(fixed) || "refs/pull/".starts_with(fixed) => {
                Self::All
            }
            _ => Self::Named,
        }
    }

    /// The same of the subject: `repo:OWNER/NAME:` and what of it.
    fn of_subject(pattern: &str) -> Self {
        let parts = pattern.strip_prefix("repo:").and_then(|rest| rest.split_once(':'));
        let Some((_, of_it)) = parts.filter(|(repository, _)| !repository.contains('*')) else {
            return Self::All;
        };
        if of_it.starts_with("pull_request") {
            return Self::PullRequests;
        }
        if let Some(named) = of_it.strip_prefix("ref:") {
            return Self::of_ref(named);
        }
        let open =
            |fixed: &str| ["ref:", "environment:", "pull_request"].iter().any(|all| all.starts_with(fixed));
        if of_it.split_once('*').is_some_and(|(fixed, _)| open(fixed)) { Self::All } else { Self::Named }
    }
}

fn on_gitlab(on: &On<'_>, warnings: &mut Vec<String>) {
    let subject = on.subject("project_path:").unwrap_or_default();
    let by_subject = subject.contains(':');
    if on.bare("project_path") {
        warnings
            .push("No token fits: project_path is group/project, such as my-group/my-project.".to_owned());
    }
    if !(by_subject || on.exact(&["project_path", "project_id"])) {
        warnings
            .push("Any project of the group fits. Say which one with project_path or project_id.".to_owned());
    }
    let protected = on.of(&["ref_protected"]).any(|condition| condition.value.as_str() == "true");
    let protected = protected || on.of(&["environment_protected"]).any(|one| one.value.as_str() == "true");
    if !protected {
        let by_ref = subject.split_once(":ref:").is_some_and(|(_, named)| !named.is_empty());
        let mut paths = on.texts("ref_path");
        let by_path = paths
            .any(|path| Reach::of_ref(path) == Reach::Named && !path.starts_with("refs/merge-requests/"));
        let which = if on.narrows(&["ref", "environment"]) || by_ref || by_path {
            "The branch, tag or environment need not be protected: whoever may push can run what they like there."
        } else {
            "Any branch and tag of the project fits, also of merge requests."
        };
        warnings.push(format!("{which} Add the condition ref_protected = true."));
    }
    if !on.exact(&["project_id", "namespace_id"]) {
        warnings.push(
            "Names can be registered anew after a project or group was renamed or deleted: add project_id, which \
             stays."
                .to_owned(),
        );
    }
}

fn on_kubernetes(on: &On<'_>, warnings: &mut Vec<String>) {
    let subject = on.subject("system:serviceaccount").unwrap_or_default();
    let mut parts = subject.trim_start_matches(':').splitn(2, ':');
    let (namespace, account) = (parts.next().unwrap_or_default(), parts.next());
    let exact = on.exact(&["sub"]);
    let account_named = exact
        || account.is_some_and(|account| !account.is_empty())
        || on.narrows(&["/kubernetes.io/serviceaccount/name", "/kubernetes.io/serviceaccount/uid"]);
    let namespace_named = exact
        || (account.is_some() && !namespace.is_empty())
        || on.exact(&["/kubernetes.io/namespace"])
        || on.exact(&["/kubernetes.io/serviceaccount/uid"]);
    match (namespace_named, account_named) {
        (true, true) => {}
        (true, false) => warnings.push(
            "Any service account of the namespace fits, and whoever may create pods there can use it: name the \
             service account."
                .to_owned(),
        ),
        (false, _) => warnings.push(
            "A service account of any namespace may fit: write sub as \
             system:serviceaccount:NAMESPACE:SERVICE-ACCOUNT."
                .to_owned(),
        ),
    }
}

fn on_spiffe(domain: &str, on: &On<'_>, warnings: &mut Vec<String>) {
    let mut subjects = on.of(&["sub"]).peekable();
    if subjects.peek().is_none() {
        warnings.push(
            "Any workload of the trust domain may fit: add a condition on sub, its SPIFFE ID.".to_owned(),
        );
    }
    for condition in subjects {
        let id = condition.value.as_str();
        let within = id.strip_prefix(domain).is_some_and(|rest| rest.starts_with('/'));
        if !within && !id.starts_with('*') {
            warnings.push(format!(
                "'{id}' is no SPIFFE ID of {domain}: no token of it fits. Write {domain}/PATH."
            ));
        } else if id.strip_prefix(domain) == Some("/*") {
            warnings.push("Any workload of the trust domain fits.".to_owned());
        }
    }
}

/// Issuers that everybody, or everybody of an account, has tokens of.
fn on_cloud(issuer: &str, on: &On<'_>, warnings: &mut Vec<String>) {
    if ["https://accounts.google.com", "accounts.google.com"].contains(&issuer)
        && !on.exact(&["sub", "email"])
    {
        warnings.push(
            "Anybody with an account at Google may fit: write sub, the unique id of the service account, exactly."
                .to_owned(),
        );
    }
    let entra = ["https://login.microsoftonline.com/", "https://sts.windows.net/"]
        .iter()
        .any(|at| issuer.starts_with(at));
    if entra && !on.exact(&["sub", "oid", "appid", "azp"]) {
        warnings.push(
            "Any application of the tenant may fit: write oid, the object id of the managed identity, exactly."
                .to_owned(),
        );
    }
    if issuer.ends_with(".tokens.sts.global.api.aws") && !on.narrows(&["sub"]) {
        warnings.push("Any role of the account may fit: write sub, the ARN of the role, exactly.".to_owned());
    }
}

#[cfg(test)]
#[path = "condition_warnings_tests.rs"]
mod tests;
