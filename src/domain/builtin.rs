//! What every Jeton has from the start: its own API as a resource server, and two roles for it.

use self::HeldBy::{Administrators, Nobody, Readers};

/// Name of the resource server that Jeton's REST API is.
pub const API: &str = "jeton";

/// The role that may do everything in the API.
pub const ADMINISTRATOR: &str = "administrator";

/// The role that may read everything in the API and change nothing.
pub const AUDITOR: &str = "auditor";

/// Permission to read clients, their secrets' descriptions and their roles.
pub const CLIENTS_READ: &str = "clients:read";
/// Permission to register, change, disable and delete clients, their secrets and their roles.
pub const CLIENTS_WRITE: &str = "clients:write";
/// Permission of a client to read its own secrets, and to add one in place of an earlier one. No role gives it: a client
/// has it whose registration says so.
pub const OWN_SECRETS: &str = "secrets:self";
/// Permission to read resource servers and who operates them.
pub const RESOURCE_SERVERS_READ: &str = "resource-servers:read";
/// Permission to register, change and delete resource servers, and to say who operates them.
pub const RESOURCE_SERVERS_WRITE: &str = "resource-servers:write";
/// Permission to read roles.
pub const ROLES_READ: &str = "roles:read";
/// Permission to create, change and delete roles.
pub const ROLES_WRITE: &str = "roles:write";

/// Permission to read exchange rules.
pub const EXCHANGE_RULES_READ: &str = "exchange-rules:read";
/// Permission to create, change, disable and delete exchange rules.
pub const EXCHANGE_RULES_WRITE: &str = "exchange-rules:write";

/// Permission to read whose tokens count beside our own.
pub const TRUSTED_ISSUERS_READ: &str = "trusted-issuers:read";
/// Permission to register, change, disable and delete trusted issuers. Whoever says where an issuer's keys are can make
/// its tokens, so it is never enough to become a client that may do more in this API than oneself.
pub const TRUSTED_ISSUERS_WRITE: &str = "trusted-issuers:write";

/// Permission to read which signing keys there are, and when they change.
pub const SIGNING_KEYS_READ: &str = "signing-keys:read";
/// Permission to rotate and revoke signing keys.
pub const SIGNING_KEYS_WRITE: &str = "signing-keys:write";

/// Permission to introspect any token, whomever it is addressed to.
pub const TOKENS_INTROSPECT: &str = "tokens:introspect";
/// Permission to take tokens back: one, a chain, or everything of a client.
pub const TOKENS_REVOKE: &str = "tokens:revoke";

/// Permission to read which people administer.
pub const ADMINISTRATORS_READ: &str = "administrators:read";
/// Permission to register, change, disable and delete people who administer, none of them stronger than oneself.
pub const ADMINISTRATORS_WRITE: &str = "administrators:write";

/// Permission to read audit events.
pub const AUDIT_READ: &str = "audit:read";

/// Who has a permission by a built-in role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// Administrators and auditors.
    Readers,
    /// Administrators.
    Administrators,
    /// Nobody: it is about whoever asks.
    Nobody,
}

/// Every permission of the API: its name, what it allows, which built-in roles give it.
pub const PERMISSIONS: &[(&str, &str, HeldBy)] = &[
    (CLIENTS_READ, "Read clients, their secrets' descriptions and their roles", Readers),
    (CLIENTS_WRITE, "Register, change, disable and delete clients, their secrets and roles", Administrators),
    (OWN_SECRETS, "Read its own secrets, and add one in place of an earlier one", Nobody),
    (RESOURCE_SERVERS_READ, "Read resource servers and who operates them", Readers),
    (
        RESOURCE_SERVERS_WRITE,
        "Register, change and delete resource servers, and say who operates them",
        Administrators,
    ),
    (ROLES_READ, "Read roles", Readers),
    (ROLES_WRITE, "Create, change and delete roles", Administrators),
    (EXCHANGE_RULES_READ, "Read exchange rules", Readers),
    (EXCHANGE_RULES_WRITE, "Create, change, disable and delete exchange rules", Administrators),
    (TRUSTED_ISSUERS_READ, "Read whose tokens count beside our own", Readers),
    (TRUSTED_ISSUERS_WRITE, "Register, change, disable and delete trusted issuers", Administrators),
    (SIGNING_KEYS_READ, "Read which signing keys there are, and when they change", Readers),
    (SIGNING_KEYS_WRITE, "Rotate and revoke signing keys", Administrators),
    (TOKENS_INTROSPECT, "Introspect any token", Administrators),
    (TOKENS_REVOKE, "Revoke tokens, chains of tokens, and everything of a client", Administrators),
    (ADMINISTRATORS_READ, "Read which people administer", Readers),
    (ADMINISTRATORS_WRITE, "Register, change, disable and delete people who administer", Administrators),
    (AUDIT_READ, "Read audit events", Readers),
];

/// Where the API is, under the issuer.
const API_PATH: &str = "/api/v1";

/// The audience of the API under this issuer.
#[must_use]
pub fn api_identifier(issuer: &str) -> String {
    format!("{issuer}{API_PATH}")
}

/// The issuer whose API has this audience.
#[must_use]
pub fn issuer_of(api_identifier: &str) -> &str {
    api_identifier.strip_suffix(API_PATH).unwrap_or(api_identifier)
}
