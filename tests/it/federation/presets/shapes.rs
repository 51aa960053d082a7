//! What platforms' tokens say, as the platforms document it (each with where), and what is nearly one of them.

use std::path::Path;

use serde_json::{Value, json};

use super::super::{ISSUER, Platform};
use jeton::domain::presets::Platform as Known;
use jeton::jose::Algorithm;

/// Nobody is found by it.
pub(super) const NOBODY: &str = "no client has a federated credential that this token of";

/// A token of a platform, and how an administrator has it prove a client.
pub(super) struct Shape {
    /// The issuer's name here, and the client's.
    pub(super) name: &'static str,
    /// The preset.
    pub(super) preset: &'static str,
    /// Options of `jeton trusted-issuers create`.
    pub(super) issuer: Vec<String>,
    /// Options of `jeton clients federation add`.
    pub(super) workload: &'static [&'static str],
    /// Whether the platform hands one token out again and again.
    pub(super) again: bool,
    pub(super) near: Near,
}

/// A token, and what is nearly one.
pub(super) struct Near {
    platform: Platform,
    header: Value,
    claims: Value,
    /// What else a token may be, the claims that are otherwise then (without those that are null), and why it proves
    /// nobody.
    pub(super) misses: Vec<(&'static str, Value, &'static str)>,
}

impl Near {
    /// The token, with other claims.
    pub(super) fn token(&self, changes: &Value) -> String {
        let mut claims = self.claims.clone();
        let members = claims.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        self.platform.sign(&self.header, &claims)
    }
}

impl Shape {
    /// What its issuer publishes at the site, unless nobody reaches it.
    pub(super) fn documents(&self, base: &str) -> Vec<(String, Value)> {
        let issuer = &self.near.platform.trusted.issuer;
        let keys = json!({ "keys": [self.near.platform.jwk()] });
        if self.preset == "spiffe" {
            let mut bundle = keys;
            (bundle["spiffe_sequence"], bundle["spiffe_refresh_hint"]) = (json!(1), json!(300));
            return vec![("/spiffe".to_owned(), bundle)];
        }
        let Some(path) = issuer.strip_prefix(base) else { return Vec::new() };
        let path = path.trim_end_matches('/');
        let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{base}{path}/keys") });
        vec![(format!("{path}/.well-known/openid-configuration"), metadata), (format!("{path}/keys"), keys)]
    }
}

/// All but another Jeton, which is real.
pub(super) fn shapes(base: &str, directory: &Path, now: i64) -> Vec<Shape> {
    let at = |path: &str| format!("{base}/{path}");
    let mut all = vec![
        github(&at("github"), now),
        gitlab(&at("gitlab"), now),
        kubernetes("kubernetes", &at("kubernetes"), now),
        google(&at("google"), now),
        aws(&at("aws"), now),
        azure(&at("azure"), now),
        keycloak(&at("keycloak"), now),
        spiffe(&at("spiffe"), now),
    ];
    // Clusters that nobody reaches, and that call themselves the same, with one service account name.
    for name in ["edge-1", "edge-2"] {
        let mut edge = kubernetes(name, "https://kubernetes.default.svc.cluster.local", now);
        let file = directory.join(format!("{name}.json"));
        std::fs::write(&file, json!({ "keys": [edge.near.platform.jwk()] }).to_string()).unwrap();
        edge.issuer.extend(["--jwks".to_owned(), file.to_str().unwrap().to_owned()]);
        all.push(edge);
    }
    all
}

/// A shape whose header and claims have these beside what all have.
fn shape(
    (name, known): (&'static str, Known),
    (platform, header): (Platform, &Value),
    (now, claims): (i64, Value),
    workload: &'static [&'static str],
    misses: Vec<(&'static str, Value, &'static str)>,
) -> Shape {
    let issuer = platform.trusted.issuer.clone();
    let mut all = json!({ "iss": issuer, "aud": ISSUER, "iat": now, "exp": now + 300 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let mut whole = json!({ "alg": platform.key.algorithm(), "kid": platform.kid });
    whole.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
    Shape {
        name,
        preset: known.as_str(),
        issuer: vec!["--issuer".to_owned(), issuer],
        workload,
        again: !matches!(known, Known::Github | Known::Aws),
        near: Near { platform, header: whole, claims: all, misses },
    }
}

/// <https://docs.github.com/en/actions/reference/security/oidc>
fn github(issuer: &str, now: i64) -> Shape {
    let claims = json!({
        "jti": "a5e0f2c4-0d2b-4b52-9f4c-8f4f4e1f4f10", "sub": "repo:octo-org/octo-repo:environment:prod",
        "environment": "prod", "ref": "refs/heads/main", "sha": "example-sha",
        "repository": "octo-org/octo-repo", "repository_owner": "octo-org", "actor_id": "12",
        "repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65",
        "run_id": "example-run-id", "run_number": "10", "run_attempt": "2",
        "runner_environment": "github-hosted", "actor": "octocat", "workflow": "example-workflow",
        "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch", "ref_type": "branch",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "nbf": now - 600,
    });
    let of_fork = json!({
        "sub": "repo:octo-org/octo-repo:pull_request", "environment": null, "ref": "refs/pull/7/merge",
        "event_name": "pull_request", "head_ref": "main", "base_ref": "main",
    });
    let workload = &["--repository", "octo-org/octo-repo", "--repository-id", "74", "--environment", "prod"];
    shape(
        ("github", Known::Github),
        (
            Platform::signing("github", issuer, Algorithm::Rs256),
            &json!({ "typ": "JWT", "x5t": "thumbprint" }),
        ),
        (now, claims),
        workload,
        vec![
            ("a pull request, from a fork too", of_fork, NOBODY),
            ("another environment", json!({ "environment": "production" }), NOBODY),
            ("the name was registered anew", json!({ "repository_id": "75" }), NOBODY),
            ("the claims are in sub alone", json!({ "repository": null }), NOBODY),
        ],
    )
}

/// <https://docs.gitlab.com/ci/secrets/id_token_authentication/>
fn gitlab(issuer: &str, now: i64) -> Shape {
    let claims = json!({
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "nbf": now - 5, "exp": now + 3_600,
        "sub": "project_path:my-group/my-project:ref_type:branch:ref:main", "namespace_id": "72",
        "namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project",
        "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com",
        "user_identities": [{ "provider": "github", "extern_uid": "2435223452345" }],
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
        "ref_path": "refs/heads/main", "ref_protected": "true", "groups_direct": ["my-group"],
        "environment": "production", "environment_protected": "true", "deployment_tier": "production",
        "runner_id": 1, "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "public",
        "ci_config_ref_uri": "gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
    });
    shape(
        ("gitlab", Known::Gitlab),
        (Platform::signing("gitlab", issuer, Algorithm::Rs256), &json!({ "typ": "JWT" })),
        (now, claims),
        &["--project", "my-group/my-project", "--project-id", "20", "--branch", "main"],
        vec![
            ("a branch that nobody protects", json!({ "ref_protected": "false" }), NOBODY),
            ("a tag of the branch's name", json!({ "ref_type": "tag" }), NOBODY),
            ("a fork's project", json!({ "project_id": "21", "project_path": "evil/my-project" }), NOBODY),
        ],
    )
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims>
fn kubernetes(name: &'static str, issuer: &str, now: i64) -> Shape {
    let claims = json!({
        "aud": [ISSUER], "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a", "nbf": now, "exp": now + 3_600,
        "sub": "system:serviceaccount:prod:app",
        "kubernetes.io": {
            "namespace": "prod",
            "node": { "name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced" },
            "pod": { "name": "app-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33" },
            "serviceaccount": { "name": "app", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af" },
            "warnafter": now + 3_000,
        },
    });
    shape(
        (name, Known::Kubernetes),
        (Platform::signing(name, issuer, Algorithm::Rs256), &json!({})),
        (now, claims),
        &["--namespace", "prod", "--service-account", "app"],
        vec![
            ("another namespace", json!({ "sub": "system:serviceaccount:prod2:app" }), NOBODY),
            ("another account", json!({ "sub": "system:serviceaccount:prod:app2" }), NOBODY),
            // One of the sort that lies in a Secret and never ends.
            ("a legacy token", json!({ "exp": null }), "the token's exp is absent"),
            ("for the cluster too", json!({ "aud": [ISSUER, "https://kubernetes.default.svc"] }), "alone"),
        ],
    )
}

/// <https://cloud.google.com/compute/docs/instances/verifying-instance-identity#payload>
fn google(issuer: &str, now: i64) -> Shape {
    let claims = json!({
        "azp": "113774264463038321964", "email": "app@project.iam.gserviceaccount.com",
        "email_verified": true, "exp": now + 3_600, "sub": "113774264463038321964",
        "google": { "compute_engine": {
            "instance_creation_timestamp": 1_152_138, "instance_id": "152986662232938449",
            "instance_name": "example", "project_id": "project", "project_number": 739_419_398_126_i64,
            "zone": "us-west1-a",
        } },
    });
    let workload = &[
        "--unique-id",
        "113774264463038321964",
        "--service-account",
        "app@project.iam.gserviceaccount.com",
        "--project",
        "project",
    ];
    shape(
        ("google", Known::Google),
        (Platform::signing("google", issuer, Algorithm::Rs256), &json!({ "typ": "JWT" })),
        (now, claims),
        workload,
        vec![
            ("the address was registered anew", json!({ "sub": "100000000000000000001" }), NOBODY),
            ("without format=full", json!({ "google": null }), NOBODY),
        ],
    )
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html>
fn aws(issuer: &str, now: i64) -> Shape {
    let of_account = |account: &str| {
        json!({
            "sub": format!("arn:aws:iam::{account}:role/DataProcessingRole"),
            "jti": "8e8b0c5a-3b0e-4f43-9c5f-7c3c2a1f1d11",
            "https://sts.amazonaws.com/": {
                "aws_account": account, "source_region": "us-east-1", "org_id": "o-abc1234567",
                "ou_path": "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/",
                "principal_tags": { "environment": "production", "team": "data-engineering" },
                "lambda_source_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:process-data",
                "request_tags": { "job-id": "job-2024-001", "aws_account": "123456789012" },
            },
        })
    };
    let workload = &[
        "--role",
        "arn:aws:iam::123456789012:role/DataProcessingRole",
        "--account",
        "123456789012",
        "--organization",
        "o-abc1234567",
    ];
    shape(
        ("aws", Known::Aws),
        (Platform::signing("aws", issuer, Algorithm::Es384), &json!({ "typ": "JWT" })),
        (now, of_account("123456789012")),
        workload,
        vec![
            ("another account's role of the name", of_account("210987654321"), NOBODY),
            ("another role", json!({ "sub": "arn:aws:iam::123456789012:role/Other" }), NOBODY),
        ],
    )
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>
fn azure(issuer: &str, now: i64) -> Shape {
    const IDENTITY: &str = "6b1fbc7e-4f5a-4c0e-9b3a-3c9a5f0d2222";
    const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let claims = json!({
        "aud": "api://id.example.com", "iat": now - 300, "nbf": now - 300, "exp": now + 86_400, "aio": "example-aio",
        "appid": "2d4e8d9b-0c3d-4e4c-a5f1-93b7a6d1c111", "appidacr": "2",
        "idp": format!("https://sts.windows.net/{TENANT}/"), "idtyp": "app", "oid": IDENTITY, "rh": "example-rh",
        "sub": IDENTITY, "tid": TENANT, "uti": "example-uti", "ver": "1.0",
        "xms_mirid": "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/app",
    });
    // Tokens of version 1 have an issuer that ends with a slash.
    let platform = Platform::signing("azure", &format!("{issuer}/"), Algorithm::Rs256);
    let mut azure = shape(
        ("azure", Known::Azure),
        (platform, &json!({ "typ": "JWT", "x5t": "thumbprint" })),
        (now, claims),
        &["--identity", IDENTITY, "--tenant", TENANT],
        vec![
            ("another identity", json!({ "oid": "6b1fbc7e-4f5a-4c0e-9b3a-3c9a5f0d3333" }), NOBODY),
            ("another tenant", json!({ "tid": "11111111-86f1-41af-91ab-2d7cd011db47" }), NOBODY),
            ("of two days", json!({ "exp": now + 172_800 }), "the token's lifetime is"),
        ],
    );
    azure.issuer.extend(["--audience", "api://id.example.com"].map(str::to_owned));
    azure
}

/// <https://www.keycloak.org/docs/latest/server_admin/#_service_accounts>; what is in the token of one:
/// <https://www.keycloak.org/docs-api/latest/javadocs/org/keycloak/common/constants/ServiceAccountConstants.html>
fn keycloak(issuer: &str, now: i64) -> Shape {
    let claims = json!({
        "jti": "trrtcc:6d1dd0f5-9a5e-4c52-8f3c-0b7c7d0a3333", "sub": "c4ba7f6e-7d7b-4a9b-8a3f-5a4c9f0b4444",
        "typ": "Bearer", "azp": "app", "acr": "1", "scope": "email profile",
        "realm_access": { "roles": ["offline_access", "deployer"] },
        "resource_access": { "account": { "roles": ["view-profile"] } },
        "clientHost": "10.0.0.7", "email_verified": false,
        "preferred_username": "service-account-app", "clientAddress": "10.0.0.7", "client_id": "app",
    });
    let of_person = json!({ "client_id": null, "preferred_username": "ada", "sid": "session" });
    shape(
        ("keycloak", Known::Keycloak),
        (Platform::signing("keycloak", issuer, Algorithm::Rs256), &json!({ "typ": "JWT" })),
        (now, claims),
        &["--client", "app", "--subject", "c4ba7f6e-7d7b-4a9b-8a3f-5a4c9f0b4444"],
        vec![
            ("a person by the same client", of_person, NOBODY),
            ("another client", json!({ "azp": "other", "client_id": "other" }), NOBODY),
            ("with the mapper for account", json!({ "aud": [ISSUER, "account"] }), "alone"),
        ],
    )
}

/// <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>: `sub`, `aud` and `exp` are all that must be there.
fn spiffe(endpoint: &str, now: i64) -> Shape {
    const ID: &str = "spiffe://example.org/ns/prod/sa/app";
    let sibling = json!({ "sub": "spiffe://example.org/ns/prod/sa/app2" });
    let stranger = json!({ "sub": "spiffe://example.com/ns/prod/sa/app" });
    let mut spiffe = shape(
        ("spiffe", Known::Spiffe),
        (Platform::new("spiffe", "spiffe://example.org"), &json!({ "typ": "JWT" })),
        (now, json!({ "iss": null, "sub": ID, "aud": [ISSUER] })),
        &["--spiffe-id", ID],
        vec![
            ("a sibling", sibling, NOBODY),
            ("another trust domain", stranger, "no trusted issuer is called"),
            ("two audiences", json!({ "aud": [ISSUER, "https://other.example"] }), "alone"),
        ],
    );
    spiffe.issuer.extend(["--bundle-endpoint".to_owned(), endpoint.to_owned()]);
    spiffe
}
