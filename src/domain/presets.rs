//! Presets: what a trusted issuer of a known platform is registered with, and which conditions mean one workload there.
//!
//! A preset is a suggestion. What is stored are the issuer and the conditions that it gave, and those alone count.

use std::collections::BTreeMap;

use super::claim_conditions::{ClaimPath, Condition, Conditions, Pattern};
use super::error::FieldError;
use super::text::quoted;
use super::trust::{IssuerProfile, Reuse};
use super::words::words;

words! {
    /// A platform whose tokens are known.
    Platform {
        /// GitHub Actions.
        Github = "github",
        /// GitLab CI.
        Gitlab = "gitlab",
        /// Kubernetes service accounts.
        Kubernetes = "kubernetes",
        /// Service accounts of Google Cloud.
        Google = "google",
        /// Roles of AWS, by outbound web identity federation.
        Aws = "aws",
        /// Managed identities of Azure.
        Azure = "azure",
        /// A SPIFFE trust domain.
        Spiffe = "spiffe",
        /// Clients of a Keycloak realm.
        Keycloak = "keycloak",
        /// Clients of another Jeton.
        Jeton = "jeton",
    }
}

words! {
    /// Where the keys of a platform's issuers usually are.
    UsualKeys {
        /// Where the issuer's metadata says.
        Discovery = "discovery",
        /// At a URL that only its operator knows.
        BundleEndpoint = "bundle_endpoint",
    }
}

/// What a platform's tokens are, and what names a workload there.
#[derive(Debug)]
pub struct Preset {
    /// Which platform.
    pub platform: Platform,
    /// Its name, for people.
    pub title: &'static str,
    /// What its tokens are.
    pub profile: IssuerProfile,
    /// Its issuer, where there is one for all.
    pub issuer: Option<&'static str>,
    /// An issuer as it may look.
    pub issuer_example: &'static str,
    /// Where its keys usually are.
    pub keys: UsualKeys,
    /// The longest that its tokens live, in seconds.
    pub max_lifetime: u32,
    /// Whether its tokens are presented again.
    pub reuse: Reuse,
    /// How a workload there gets a token for us, and why it is registered like this.
    pub about: &'static str,
    /// What names a workload.
    pub parameters: &'static [Parameter],
    /// The claims that the parameters become.
    claims: &'static [(&'static str, &'static str)],
}

/// Something that names a workload.
#[derive(Debug)]
pub struct Parameter {
    /// Its name: `repository`.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How it may look.
    pub example: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it is when nothing is said.
    pub default: Option<&'static str>,
    /// How it is written, where it is a path.
    path: Option<PathForm>,
}

/// How the path of a repository or a project is written. What is written otherwise fits no token.
#[derive(Clone, Copy, Debug)]
enum PathForm {
    /// With its owner.
    Repository,
    /// With its group, or groups.
    Project,
}

const HOUR: u32 = 3_600;
const DAY: u32 = 86_400;

/// Every preset, in the order of [`Platform::ALL`].
pub const PRESETS: &[Preset] = &[
    Preset {
        platform: Platform::Github,
        title: "GitHub Actions",
        profile: IssuerProfile::Jwt,
        issuer: Some("https://token.actions.githubusercontent.com"),
        issuer_example: "https://token.actions.githubusercontent.com",
        keys: UsualKeys::Discovery,
        max_lifetime: HOUR,
        reuse: Reuse::Once,
        about: "The job needs `permissions: id-token: write` and asks for a token with our issuer as its audience. Each \
                is a new one, with a `jti`.",
        parameters: &[
            Parameter {
                path: Some(PathForm::Repository),
                ..required("repository", "Owner and name of the repository", "octo-org/octo-repo")
            },
            optional("repository-id", "Its number, which nobody else gets after it is renamed", "74"),
            optional("environment", "The environment that the job deploys to", "prod"),
            optional("ref", "The git ref that the workflow runs on", "refs/heads/main"),
            optional(
                "workflow",
                "The workflow file and the ref that it is from",
                "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
            ),
        ],
        claims: &[
            ("repository", "{repository}"),
            ("repository_id", "{repository-id}"),
            ("environment", "{environment}"),
            ("ref", "{ref}"),
            ("job_workflow_ref", "{workflow}"),
        ],
    },
    Preset {
        platform: Platform::Gitlab,
        title: "GitLab CI",
        profile: IssuerProfile::Jwt,
        issuer: Some("https://gitlab.com"),
        issuer_example: "https://gitlab.example.com",
        keys: UsualKeys::Discovery,
        max_lifetime: DAY,
        reuse: Reuse::WithinLife,
        about: "The job declares `id_tokens` with our issuer as `aud`. The token is a variable of the job, lives as long as \
                the job may run, and is presented again whenever the job needs it.",
        parameters: &[
            Parameter {
                path: Some(PathForm::Project),
                ..required("project", "The project's path with its groups", "my-group/my-project")
            },
            optional("project-id", "Its number, which nobody else gets after it is renamed", "22"),
            optional("branch", "The branch", "main"),
            optional("tag", "The tag", "v*"),
            optional("environment", "The environment that the job deploys to", "production"),
            Parameter {
                name: "ref-protected",
                about: "Whether the branch or tag is protected; * for either",
                example: "true",
                required: false,
                default: Some("true"),
                path: None,
            },
        ],
        claims: &[
            ("project_path", "{project}"),
            ("project_id", "{project-id}"),
            ("ref", "{branch}"),
            ("ref_type", "{branch:branch}"),
            ("ref", "{tag}"),
            ("ref_type", "{tag:tag}"),
            ("environment", "{environment}"),
            ("ref_protected", "{ref-protected}"),
        ],
    },
    Preset {
        platform: Platform::Kubernetes,
        title: "Kubernetes service accounts",
        profile: IssuerProfile::Jwt,
        issuer: None,
        issuer_example: "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE",
        keys: UsualKeys::Discovery,
        max_lifetime: DAY,
        reuse: Reuse::WithinLife,
        about: "The pod mounts a projected token (`serviceAccountToken`) with our issuer as its audience. It has a `jti`, but \
                the kubelet leaves it in place until it is nearly over. A cluster that cannot be reached is registered with \
                the keys that `kubectl get --raw /openid/v1/jwks` prints.",
        parameters: &[
            required("namespace", "The namespace", "shop"),
            required("service-account", "The service account's name", "orders"),
        ],
        claims: &[("sub", "system:serviceaccount:{namespace}:{service-account}")],
    },
    Preset {
        platform: Platform::Google,
        title: "Google Cloud service accounts",
        profile: IssuerProfile::Jwt,
        issuer: Some("https://accounts.google.com"),
        issuer_example: "https://accounts.google.com",
        keys: UsualKeys::Discovery,
        max_lifetime: HOUR,
        reuse: Reuse::WithoutJti,
        about: "The metadata server gives an identity token with our issuer as its audience. It has no `jti`, lives for an \
                hour, and is handed out again until it is nearly over.",
        parameters: &[
            required("unique-id", "The service account's unique id, a number", "107517467455664443765"),
            optional("service-account", "Its address", "orders@my-project.iam.gserviceaccount.com"),
            optional("project", "The project of the instance (needs format=full)", "my-project"),
            optional("instance", "The instance's name (needs format=full)", "orders-1"),
        ],
        claims: &[
            ("sub", "{unique-id}"),
            ("email", "{service-account}"),
            ("/google/compute_engine/project_id", "{project}"),
            ("/google/compute_engine/instance_name", "{instance}"),
        ],
    },
    Preset {
        platform: Platform::Aws,
        title: "AWS outbound web identity",
        profile: IssuerProfile::Jwt,
        issuer: None,
        issuer_example: "https://abc12345-def4-5678-90ab-cdef12345678.tokens.sts.global.api.aws",
        keys: UsualKeys::Discovery,
        max_lifetime: HOUR,
        reuse: Reuse::Once,
        about: "`aws iam enable-outbound-web-identity-federation` says the account's issuer; \
                `aws sts get-web-identity-token --audience OUR-ISSUER --signing-algorithm RS256` gives a new token with a \
                `jti`.",
        parameters: &[
            required("role", "The ARN of the role or user", "arn:aws:iam::123456789012:role/orders"),
            optional("account", "The account", "123456789012"),
            optional("organization", "The organization", "o-abc1234567"),
        ],
        claims: &[
            ("sub", "{role}"),
            ("/https:~1~1sts.amazonaws.com~1/aws_account", "{account}"),
            ("/https:~1~1sts.amazonaws.com~1/org_id", "{organization}"),
        ],
    },
    Preset {
        platform: Platform::Azure,
        title: "Azure managed identities",
        profile: IssuerProfile::Jwt,
        issuer: None,
        issuer_example: "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
        keys: UsualKeys::Discovery,
        max_lifetime: 25 * HOUR,
        reuse: Reuse::WithinLife,
        about: "The instance metadata service gives a token for an application registration of yours, whose identifier is \
                the audience; the issuer is that of the tenant, https://sts.windows.net/TENANT/ where the registration \
                asks for version 1 tokens. It lives for a day and is handed out again.",
        parameters: &[
            required(
                "identity",
                "The object (principal) id of the managed identity",
                "8e6fd8d4-2c6e-4a2b-9a3e-6f4d0a3b2c1d",
            ),
            optional("tenant", "The tenant", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
        ],
        claims: &[("oid", "{identity}"), ("tid", "{tenant}")],
    },
    Preset {
        platform: Platform::Spiffe,
        title: "SPIFFE trust domain",
        profile: IssuerProfile::Spiffe,
        issuer: None,
        issuer_example: "spiffe://example.org",
        keys: UsualKeys::BundleEndpoint,
        max_lifetime: HOUR,
        reuse: Reuse::WithinLife,
        about: "The Workload API gives a JWT-SVID with our issuer as its only audience; agents hand out the same one until \
                half its life is over. An X.509-SVID proves the client by mutual TLS.",
        parameters: &[required("spiffe-id", "The workload's SPIFFE ID", "spiffe://example.org/shop/orders")],
        claims: &[("sub", "{spiffe-id}")],
    },
    Preset {
        platform: Platform::Keycloak,
        title: "Keycloak realm",
        profile: IssuerProfile::Jwt,
        issuer: None,
        issuer_example: "https://keycloak.example.com/realms/shop",
        keys: UsualKeys::Discovery,
        max_lifetime: HOUR,
        reuse: Reuse::WithinLife,
        about: "The client gets a token by client_credentials; an audience mapper of the realm puts our issuer into its \
                `aud`, alone. `client_id` is a claim of service accounts only: users of the same client do not have it.",
        parameters: &[
            required("client", "The client's id in the realm", "orders"),
            optional("subject", "The id of its service account", "f4a1b7c2-6a54-4f0f-9e0c-0d1d3c8a1c11"),
        ],
        claims: &[("azp", "{client}"), ("client_id", "{client}"), ("sub", "{subject}")],
    },
    Preset {
        platform: Platform::Jeton,
        title: "Another Jeton",
        profile: IssuerProfile::Jwt,
        issuer: None,
        issuer_example: "https://jeton.example.com",
        keys: UsualKeys::Discovery,
        max_lifetime: HOUR,
        reuse: Reuse::Once,
        about: "Over there, our issuer is the identifier of a resource server with the token profile `jwt`. A token that \
                another client got by exchange has another `client_id`.",
        parameters: &[required("client", "The client's id over there", "orders")],
        claims: &[("sub", "{client}"), ("client_id", "{client}")],
    },
];

const fn required(name: &'static str, about: &'static str, example: &'static str) -> Parameter {
    Parameter { name, about, example, required: true, default: None, path: None }
}

const fn optional(name: &'static str, about: &'static str, example: &'static str) -> Parameter {
    Parameter { name, about, example, required: false, default: None, path: None }
}

/// The preset of a platform.
#[must_use]
pub fn preset(platform: Platform) -> &'static Preset {
    // A test sees to it that each has one, at its place.
    &PRESETS[platform as usize]
}

/// Every name of a parameter, of whatever preset, once, with what it is.
#[must_use]
pub fn parameter_names() -> BTreeMap<&'static str, Vec<(Platform, &'static str)>> {
    let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for preset in PRESETS {
        for parameter in preset.parameters {
            names.entry(parameter.name).or_default().push((preset.platform, parameter.about));
        }
    }
    names
}

// === impl Parameter ===

impl Parameter {
    /// What is wrong with how a path is written.
    fn misspelt(&self, given: &BTreeMap<String, String>) -> Option<FieldError> {
        let (form, value) = (self.path?, given.get(self.name)?);
        (!form.fits(value)).then(|| {
            FieldError::new(
                self.name,
                format!("'{}' fits no token", quoted(value)),
                format!("write {}, for example {}", form.written(), self.example),
            )
        })
    }
}

// === impl PathForm ===

impl PathForm {
    const fn written(self) -> &'static str {
        match self {
            Self::Repository => "owner/name",
            Self::Project => "group/project",
        }
    }

    /// Whether a token can say this. `*` stands for any text, and for slashes too.
    fn fits(self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let enough = match self {
            Self::Repository => parts.len() == 2,
            Self::Project => parts.len() >= 2,
        };
        path.contains('*') || (enough && parts.iter().all(|part| !part.is_empty()))
    }
}

// === impl Preset ===

impl Preset {
    /// The conditions that mean the workload with these parameters.
    ///
    /// # Errors
    /// Everything that is wrong with them: one that must be there is not, or one is none of this platform.
    pub fn conditions(&self, given: &BTreeMap<String, String>) -> Result<Conditions, Vec<FieldError>> {
        let mut errors = Vec::new();
        for name in given.keys() {
            if !self.parameters.iter().any(|parameter| parameter.name == name) {
                let known: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
                errors.push(FieldError::new(
                    name.clone(),
                    format!("the preset {} has no such parameter", self.platform),
                    format!("use some of: {}", known.join(", ")),
                ));
            }
        }
        for parameter in self.parameters.iter().filter(|parameter| parameter.required) {
            if !given.contains_key(parameter.name) {
                let example = format!("give it, for example {}", parameter.example);
                errors.push(FieldError::new(
                    parameter.name,
                    format!("the preset {} needs it", self.platform),
                    example,
                ));
            }
        }
        errors.extend(self.parameters.iter().filter_map(|parameter| parameter.misspelt(given)));
        let mut conditions = Vec::new();
        for (claim, template) in self.claims {
            let Some(value) = self.filled(template, given) else { continue };
            match (ClaimPath::new(claim), Pattern::new(&value)) {
                (Ok(claim), Ok(value)) => conditions.push(Condition { claim, value }),
                (Err(error), _) => errors.push(error),
                (_, Err(error)) => errors.push(error.in_field(placeholder(template))),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Conditions::new(conditions).map_err(|error| vec![error])
    }

    /// A template with what stands for its parameters; nothing, when one of them is not given. `{a:b}` is `b` where `a`
    /// is given.
    fn filled(&self, template: &str, given: &BTreeMap<String, String>) -> Option<String> {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}')?;
            let (name, fixed) =
                name.split_once(':').map_or((name, None), |(name, fixed)| (name, Some(fixed)));
            let default = || self.parameters.iter().find(|parameter| parameter.name == name)?.default;
            let value = given.get(name).map(String::as_str).or_else(default)?;
            text.extend([before, fixed.unwrap_or(value)]);
            rest = behind;
        }
        text.push_str(rest);
        Some(text)
    }
}

fn placeholder(template: &'static str) -> &'static str {
    let inner = template.split('{').nth(1).unwrap_or(template);
    inner.split(['}', ':']).next().unwrap_or(inner)
}

#[cfg(test)]
#[path = "presets_tests.rs"]
mod tests;
