use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::domain::claim_conditions::{ClaimPath, Pattern};
use crate::domain::ids::{TrustedIssuerName, TrustedIssuerUid};
use crate::domain::time::Timestamp;
use crate::domain::trust::Reuse;

fn issuer(issuer: &str) -> TrustedIssuer {
    let spiffe = issuer.starts_with("spiffe:");
    TrustedIssuer {
        uid: TrustedIssuerUid(Uuid::nil()),
        name: TrustedIssuerName::new("t").unwrap(),
        description: String::new(),
        enabled: true,
        profile: if spiffe { IssuerProfile::Spiffe } else { IssuerProfile::Jwt },
        issuer: issuer.to_owned(),
        keys: KeySource::Discovery,
        algorithms: BTreeSet::new(),
        audience: None,
        max_lifetime: Duration::from_hours(1),
        leeway: Duration::from_secs(30),
        reuse: Reuse::Once,
        version: 1,
        created_at: Timestamp::from_seconds(0),
        updated_at: Timestamp::from_seconds(0),
    }
}

fn warned(of: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let condition = |(claim, value): &(&str, &str)| Condition {
        claim: ClaimPath::new(claim).unwrap(),
        value: Pattern::new(value).unwrap(),
    };
    of_conditions(&issuer(of), &Conditions::new(pairs.iter().map(condition).collect()).unwrap())
}

/// Each of the expected beginnings is one of the warnings, and there are no others.
#[track_caller]
fn expect(of: &str, pairs: &[(&str, &str)], beginnings: &[&str]) {
    let warnings = warned(of, pairs);
    assert_eq!(warnings.len(), beginnings.len(), "{pairs:?}: {warnings:#?}");
    for beginning in beginnings {
        assert!(warnings.iter().any(|warning| warning.starts_with(beginning)), "{pairs:?}: {warnings:#?}");
    }
}

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const NAMES: &str = "Names can be registered anew";

#[test]
fn github_conditions_that_fit_forks_any_branch_or_any_repository_are_odd() {
    expect(GITHUB, &[("repository_id", "74"), ("environment", "prod")], &[]);
    expect(GITHUB, &[("repository_id", "74"), ("ref", "refs/heads/main")], &[]);
    expect(GITHUB, &[("repository", "o/r"), ("ref", "refs/heads/main")], &[NAMES]);
    expect(GITHUB, &[("sub", "repo:o/r:environment:prod")], &[NAMES]);
    expect(GITHUB, &[("sub", "repo:o/r:*")], &["Any branch, tag", NAMES]);
    expect(GITHUB, &[("sub", "repo:o/r:*"), ("repository_id", "74")], &["Any branch, tag"]);
    expect(GITHUB, &[("sub", "repo:o/r:pull_request"), ("repository_id", "7")], &["Pull requests fit"]);
    expect(GITHUB, &[("sub", "repo:o/*")], &["Any repository of the owner", "Any branch, tag", NAMES]);
    expect(GITHUB, &[("repository", "r"), ("ref", "x")], &["No token fits: repository is owner/name", NAMES]);
    let anybody = ["Anybody's repository", NAMES];
    expect(GITHUB, &[("ref", "refs/heads/main")], &anybody);
    let enterprise = format!("{GITHUB}/octo-enterprise");
    expect(&enterprise, &[("sub", "repo:o/r:*")], &["Any branch, tag", NAMES]);
    let server = "https://ghe.example.com/_services/token";
    expect(server, &[("sub", "repo:o/r:*")], &["Any branch, tag", NAMES]);
    let every = [("ref", "*"), ("repository_id", "74")];
    expect(GITHUB, &every, &["'*' for ref", "Any branch, tag"]);
}

#[test]
fn a_github_condition_that_leaves_the_ref_open_narrows_nothing() {
    let (any, branch, pull) = (&["Any branch, tag"][..], &["Any branch of"][..], &["Pull requests fit"][..]);
    for (claim, value, expected) in [
        ("ref", "refs/*", any),
        ("ref", "refs/heads/*", branch),
        ("ref", "refs/pull/*", pull),
        ("ref", "refs/heads/release/*", &[]),
        ("ref", "refs/tags/*", &[]),
        ("ref", "*/main", &[]),
        ("sub", "repo:o/r:ref:*", any),
        ("sub", "repo:o/r:ref:refs/*", any),
        ("sub", "repo:o/r:ref:refs/heads/*", branch),
        ("sub", "repo:o/r:environment:*", any),
        ("sub", "repo:o/r:ref:refs/heads/main", &[]),
        ("job_workflow_ref", "o/r/.github/workflows/deploy.yml@*", any),
        ("job_workflow_ref", "o/r/.github/workflows/deploy.yml@refs/heads/*", branch),
        ("job_workflow_ref", "o/r/.github/workflows/*", any),
        ("job_workflow_ref", "o/r/.github/workflows/deploy.yml@refs/tags/v1", &[]),
    ] {
        expect(GITHUB, &[("repository_id", "74"), (claim, value)], expected);
        // Beside one that names something it is none of it.
        let narrowed = [("repository_id", "74"), ("environment", "prod"), (claim, value)];
        expect(GITHUB, &narrowed, if expected == pull { pull } else { &[] });
    }
    expect(GITHUB, &[("repository_id", "74"), ("sub", "repo:o/r:*"), ("ref", "refs/heads/main")], &[]);
    // Whatever claims to be the branch may be the name of an environment.
    expect(
        GITHUB,
        &[("repository_id", "74"), ("sub", "repo:o/*:ref:refs/heads/main")],
        &["The * within", any[0]],
    );
}

#[test]
fn gitlab_conditions_without_a_protected_ref_are_odd() {
    let at = "https://gitlab.example.com";
    expect(at, &[("project_id", "22"), ("ref_protected", "true")], &[]);
    expect(at, &[("project_id", "22"), ("ref", "main")], &["The branch, tag or environment"]);
    expect(at, &[("sub", "project_path:g/p:*")], &["Any branch and tag", NAMES]);
    let bare = [("project_path", "p"), ("project_id", "2"), ("ref_protected", "true")];
    expect(at, &bare, &["No token fits: project_path is group/project"]);
    expect(at, &[("sub", "project_path:g/p:ref_type:branch:ref:*")], &["Any branch and tag", NAMES]);
    expect(at, &[("sub", "project_path:g/p:ref_type:branch:ref:main")], &["The branch, tag or", NAMES]);
    expect(at, &[("project_id", "22"), ("ref_path", "refs/heads/*")], &["Any branch and tag"]);
    expect(at, &[("project_id", "22"), ("ref_path", "refs/merge-requests/*")], &["Any branch and tag"]);
    expect(at, &[("project_id", "22"), ("ref_path", "refs/heads/main")], &["The branch, tag or environment"]);
    let group = ["Any project of the group", "Any branch and tag", NAMES];
    expect(at, &[("sub", "project_path:g/*")], &group);
}

#[test]
fn kubernetes_conditions_name_the_service_account() {
    let at = "https://k8s.example";
    expect(at, &[("sub", "system:serviceaccount:shop:orders")], &[]);
    expect(at, &[("/kubernetes.io/namespace", "shop"), ("/kubernetes.io/serviceaccount/name", "a")], &[]);
    expect(at, &[("sub", "system:serviceaccount:shop:*")], &["Any service account"]);
    expect(at, &[("/kubernetes.io/namespace", "shop")], &["Any service account"]);
    expect(at, &[("sub", "system:serviceaccount:*")], &["A service account of any namespace"]);
    expect(at, &[("/kubernetes.io/serviceaccount/name", "a")], &["A service account of any namespace"]);
}

#[test]
fn clouds_have_many_identities_and_a_trust_domain_has_its_own() {
    let google = "https://accounts.google.com";
    expect(google, &[("sub", "1")], &[]);
    expect(google, &[("/google/compute_engine/project_id", "p")], &["Anybody with an account"]);
    let azure = "https://login.microsoftonline.com/t/v2.0";
    expect(azure, &[("oid", "1")], &[]);
    expect(azure, &[("tid", "t")], &["Any application of the tenant"]);
    let aws = "https://x.tokens.sts.global.api.aws";
    expect(aws, &[("sub", "arn:aws:iam::1:role/x")], &[]);
    expect(aws, &[("/https:~1~1sts.amazonaws.com~1/aws_account", "1")], &["Any role of the account"]);
    let spiffe = "spiffe://example.org";
    expect(spiffe, &[("sub", "spiffe://example.org/a")], &[]);
    expect(spiffe, &[("sub", "spiffe://example.org/*")], &["Any workload of the trust domain fits"]);
    expect(spiffe, &[("sub", "spiffe://example.com/a")], &["'spiffe://example.com/a' is no"]);
    expect(spiffe, &[("sub", "spiffe://example.orgx/a")], &["'spiffe://example.orgx/a' is no"]);
    expect(spiffe, &[("x", "y")], &["Any workload of the trust domain may"]);
}

#[test]
fn a_star_without_a_separator_is_odd_everywhere() {
    let at = "https://idp.example";
    expect(at, &[("sub", "app:*")], &[]);
    expect(at, &[("sub", "app*")], &["'app*' for sub also fits 'app-evil'"]);
    expect(at, &[("sub", "*app")], &["'*app' for sub also fits 'evil-app'"]);
    expect(at, &[("sub", "*:app")], &[]);
    expect(at, &[("sub", "a:*:b")], &["The * within"]);
    expect(at, &[("sub", "a"), ("x", "*")], &["'*' for x fits nearly anything"]);
}

#[test]
fn an_issuer_is_odd_by_a_shared_audience_long_lives_and_keys_over_http() {
    let plain = issuer("https://idp.example");
    assert_eq!(of_issuer(&plain), [""; 0]);
    let shared = TrustedIssuer { audience: Some("sts.amazonaws.com".to_owned()), ..plain.clone() };
    let long = TrustedIssuer { max_lifetime: Duration::from_secs(86_401), ..plain.clone() };
    let http = TrustedIssuer { keys: KeySource::JwksUri("http://a.example/k".to_owned()), ..plain };
    for odd in [shared, long, http] {
        assert_eq!(of_issuer(&odd).len(), 1, "{odd:?}");
    }
}
