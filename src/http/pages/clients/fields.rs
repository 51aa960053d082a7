//! The fields of a client's form, and their way to the use-cases and back.

use crate::admin::clients::{ClientView, CreateClient, UpdateClient};
use crate::admin::roles::RoleView;
use crate::admin::{AdminError, PageRequest};
use crate::domain::binding::TokenBinding;
use crate::domain::builtin;
use crate::domain::certificate_subject::SubjectKind;
use crate::domain::client::{AuthMethod, CertificateReach, ClientKind, GrantType};
use crate::http::Shared;
use crate::http::pages::change::Label;
use crate::http::pages::form::Form;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::when;

/// How many roles and resource servers a form suggests.
const SUGGESTED: u32 = 200;

/// The fields, for showing two versions side by side.
pub(super) const LABELS: &[Label] = &[
    ("kind", "Kind"),
    ("description", "Description"),
    ("owner", "Owner"),
    ("labels", "Labels"),
    ("expires_at", "End"),
    ("default_resource_server", "Default resource server"),
    ("grant_types", "Grants"),
    ("auth_methods", "Authentication"),
    ("allowed_networks", "Allowed networks"),
    ("may_act", "May act for it"),
    ("token_binding", "Token binding"),
    (SUBJECT_KIND, "Part of its certificate"),
    (SUBJECT, "Subject of its certificate"),
    ("may_rotate_own_secrets", "Own secrets"),
    ("jwks_uri", "JWKS URI"),
    ("assertion_type_required", "Type of its assertions"),
    ("legacy_assertion_audience", "Audience of its assertions"),
];

/// The subject that the client's certificate must have, and which part of it that is.
const SUBJECT: &str = "tls_client_auth_subject";
const SUBJECT_KIND: &str = "subject_kind";

/// What the choices are, with what each means.
pub(super) struct Choices {
    pub(super) kinds: Vec<(&'static str, &'static str)>,
    pub(super) grants: Vec<(&'static str, &'static str, &'static str)>,
    pub(super) methods: Vec<(&'static str, &'static str, &'static str)>,
    pub(super) bindings: Vec<(&'static str, &'static str)>,
    /// Which part of a certificate names the client; none where no certificate can.
    pub(super) subjects: Vec<(&'static str, &'static str)>,
    pub(super) own_secrets: [(&'static str, &'static str, &'static str); 1],
    pub(super) assertion_types: [(&'static str, &'static str); 2],
    pub(super) assertion_audiences: [(&'static str, &'static str); 2],
    /// Resource servers, by name.
    pub(super) resource_servers: Vec<String>,
    /// Roles: name, name, description.
    pub(super) roles: Vec<(String, String, String)>,
}

// === impl Choices ===

impl Choices {
    /// Ways that cannot work on this server are choices only where the form has them already.
    pub(super) async fn read(services: &Shared, session: &SignedIn, form: &Form) -> Result<Self, AdminError> {
        let reach = services.admin.reach;
        let methods = AuthMethod::ALL
            .iter()
            .filter(|method| reach >= method.needs() || form.has("auth_methods", method.as_str()));
        let mut subjects = Vec::new();
        if reach >= CertificateReach::Trusted || !form.text(SUBJECT).is_empty() {
            subjects.extend(SubjectKind::ALL.iter().map(|kind| subject_means(*kind)));
        }
        let bindings = TokenBinding::ALL.iter().filter(|binding| {
            **binding != TokenBinding::Mtls
                || reach >= CertificateReach::Shown
                || form.has("token_binding", binding.as_str())
        });
        let page = PageRequest { cursor: None, limit: Some(SUGGESTED) };
        let (mut resource_servers, mut roles) = (Vec::new(), Vec::new());
        if session.can(builtin::RESOURCE_SERVERS_READ) {
            let found = services.admin.resource_servers(&session.by, None, &page).await?;
            resource_servers = found.items.into_iter().map(|server| server.name.to_string()).collect();
        }
        if session.can(builtin::ROLES_READ) {
            let found = services.admin.roles(&session.by, None, &page).await?;
            let choice = |role: RoleView| (role.name.to_string(), role.name.to_string(), role.description);
            roles = found.items.into_iter().map(choice).collect();
        }
        Ok(Self {
            kinds: ClientKind::ALL.iter().map(|kind| (kind.as_str(), kind_means(*kind))).collect(),
            grants: GrantType::ALL.iter().map(|grant| grant_means(*grant)).collect(),
            methods: methods.map(|method| method_means(*method)).collect(),
            bindings: bindings.map(|binding| binding_means(*binding)).collect(),
            subjects,
            own_secrets: [(
                "yes",
                "It may rotate its own secrets",
                "With a token for this server's API that allows nothing else.",
            )],
            assertion_types: [
                ("false", "None, JWT or client-authentication+jwt"),
                ("true", "client-authentication+jwt alone"),
            ],
            assertion_audiences: [
                ("false", "The issuer alone (RFC 10070)"),
                ("true", "The token endpoint too, for an old library"),
            ],
            resource_servers,
            roles,
        })
    }
}

fn kind_means(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Service => "Service: runs all the time",
        ClientKind::Machine => "Machine: a host or device",
        ClientKind::Job => "Job: scheduled, or run once",
        ClientKind::Agent => "Agent: software with some freedom of its own",
    }
}

fn grant_means(grant: GrantType) -> (&'static str, &'static str, &'static str) {
    let (name, means) = match grant {
        GrantType::ClientCredentials => ("Client credentials", "It gets tokens for itself."),
        GrantType::TokenExchange => (
            "Token exchange",
            "It passes on the identity of its callers, where an exchange rule allows that.",
        ),
        GrantType::JwtBearer => (
            "JWT bearer",
            "It gets tokens for itself, for a token of a trusted issuer that one of its federated credentials is about.",
        ),
    };
    (grant.as_str(), name, means)
}

fn method_means(method: AuthMethod) -> (&'static str, &'static str, &'static str) {
    let means = match method {
        AuthMethod::ClientSecretBasic => {
            "The secret in the Authorization header. What most libraries do; take it if nothing speaks against it."
        }
        AuthMethod::ClientSecretPost => {
            "The secret in the body of the request. For software that cannot set the header; bodies are logged more often."
        }
        AuthMethod::PrivateKeyJwt => {
            "It signs a short statement with a private key that only it has: nothing that is sent can be used again."
        }
        AuthMethod::TlsClientAuth => {
            "A certificate of an authority that is trusted here, with the subject below. No secret at all."
        }
        AuthMethod::SelfSignedTlsClientAuth => {
            "A certificate that is registered with the client, whoever issued it. No secret at all."
        }
        AuthMethod::FederatedJwt => {
            "The token that its platform gives it, of a trusted issuer. No secret at all."
        }
        AuthMethod::SpiffeJwt => {
            "A JWT-SVID of a SPIFFE trust domain that is trusted here. No secret at all."
        }
        AuthMethod::SpiffeX509 => {
            "An X.509-SVID of a SPIFFE trust domain that is trusted here. No secret at all."
        }
    };
    (method.as_str(), method.as_str(), means)
}

fn binding_means(binding: TokenBinding) -> (&'static str, &'static str) {
    let means = match binding {
        TokenBinding::Optional => "Bound to a key if the request proves one (DPoP or certificate)",
        TokenBinding::Dpop => "Always bound to a key (DPoP): a stolen token is worth nothing",
        TokenBinding::Mtls => "Always bound to a client certificate (mutual TLS)",
        TokenBinding::Either => "Always bound to a key, by DPoP or a client certificate",
    };
    (binding.as_str(), means)
}

fn subject_means(kind: SubjectKind) -> (&'static str, &'static str) {
    let means = match kind {
        SubjectKind::SubjectDn => "Distinguished name, for example CN=billing,O=Example",
        SubjectKind::SanDns => "DNS name, for example billing.example.com",
        SubjectKind::SanUri => "URI, for example spiffe://example/billing",
        SubjectKind::SanIp => "Address of the host, for example 192.0.2.7",
        SubjectKind::SanEmail => "Address of mail, for example billing@example.com",
    };
    (kind.as_str(), means)
}

/// The form of a new client.
pub(super) fn empty() -> Form {
    let mut form = Form::of([
        ("kind", ClientKind::Service.as_str().to_owned()),
        ("grant_types", GrantType::ClientCredentials.as_str().to_owned()),
        ("auth_methods", AuthMethod::ClientSecretBasic.as_str().to_owned()),
        ("token_binding", TokenBinding::Optional.as_str().to_owned()),
        (SUBJECT_KIND, SubjectKind::SubjectDn.as_str().to_owned()),
        ("assertion_type_required", false.to_string()),
        ("legacy_assertion_audience", false.to_string()),
        ("secret", "yes".to_owned()),
    ]);
    form.put("auth_methods", AuthMethod::ClientSecretPost.as_str());
    form
}

/// The form of what is stored.
pub(super) fn stored(view: &ClientView) -> Form {
    let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
    let labels: Vec<_> = view.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let networks: Vec<_> = view.allowed_networks.iter().map(ToString::to_string).collect();
    let subject = view.tls_client_auth_subject.as_ref();
    let mut form = Form::of([
        ("kind", view.kind.as_str().to_owned()),
        ("description", view.description.clone()),
        ("owner", text(view.owner.as_deref())),
        ("labels", labels.join("\n")),
        ("expires_at", when::field(view.expires_at)),
        ("default_resource_server", text(view.default_resource_server.as_ref().map(AsRef::as_ref))),
        ("allowed_networks", networks.join("\n")),
        ("may_act", text(view.may_act.as_ref().map(AsRef::as_ref))),
        ("token_binding", view.token_binding.as_str().to_owned()),
        (SUBJECT_KIND, subject.map_or(SubjectKind::SubjectDn, |subject| subject.kind).as_str().to_owned()),
        (SUBJECT, text(subject.map(|subject| subject.value.as_str()))),
        ("jwks_uri", text(view.jwks_uri.as_deref())),
        ("assertion_type_required", view.assertion_type_required.to_string()),
        ("legacy_assertion_audience", view.legacy_assertion_audience.to_string()),
        ("version", view.version.to_string()),
    ]);
    for grant in &view.grant_types {
        form.put("grant_types", grant.as_str());
    }
    for method in &view.auth_methods {
        form.put("auth_methods", method.as_str());
    }
    if view.may_rotate_own_secrets {
        form.put("may_rotate_own_secrets", "yes");
    }
    form
}

/// What to register.
pub(super) fn create(form: &Form) -> Result<CreateClient, AdminError> {
    fields(Input::new(form)).text("client_id").ticked("roles").read()
}

/// What to change of what is stored.
pub(super) fn update(form: &Form, stored: &Form) -> Result<UpdateClient, AdminError> {
    fields(Input::change(form, stored)).read()
}

fn fields(input: Input<'_>) -> Input<'_> {
    input
        .text("kind")
        .text("description")
        .optional("owner")
        .labels("labels")
        .time("expires_at")
        .optional("default_resource_server")
        .ticked("grant_types")
        .ticked("auth_methods")
        .lines("allowed_networks")
        .optional("may_act")
        .text("token_binding")
        .of_kind(SUBJECT, SUBJECT_KIND)
        .truth("may_rotate_own_secrets")
        .optional("jwks_uri")
        .choice_of_truth("assertion_type_required")
        .choice_of_truth("legacy_assertion_audience")
}
