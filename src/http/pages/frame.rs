//! What stands around every page: title, navigation, who is signed in.

use super::assets;
use super::form::Query;
use crate::domain::administrator::AdministratorRole;
use crate::domain::builtin;
use crate::domain::ids::AdministratorName;

/// Places that the navigation leads to: path after `/admin`, text, the permission that they are of use with.
pub(super) const NAVIGATION: &[(&str, &str, Option<&str>)] = &[
    ("", "Dashboard", None),
    ("/clients", "Clients", Some(builtin::CLIENTS_READ)),
    ("/resource-servers", "Resource servers", Some(builtin::RESOURCE_SERVERS_READ)),
    ("/roles", "Roles", Some(builtin::ROLES_READ)),
    ("/exchange-rules", "Exchange rules", Some(builtin::EXCHANGE_RULES_READ)),
    ("/trusted-issuers", "Trusted issuers", Some(builtin::TRUSTED_ISSUERS_READ)),
    ("/delegations", "Delegations", Some(builtin::AUDIT_READ)),
    ("/signing-keys", "Signing keys", Some(builtin::SIGNING_KEYS_READ)),
    ("/audit", "Audit", Some(builtin::AUDIT_READ)),
    ("/administrators", "Administrators", Some(builtin::ADMINISTRATORS_READ)),
    ("/settings", "Settings", None),
];

/// Who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// Their name.
    pub(super) name: AdministratorName,
    /// What they may do.
    pub(super) role: AdministratorRole,
    /// Whether they have passed the second factor too.
    pub(super) whole: bool,
}

/// What the layout of a page takes.
pub(super) struct Frame {
    /// The page's title.
    pub(super) title: String,
    /// Where the pages are, the issuer's path included: what links begin with.
    pub(super) base: String,
    /// Who is signed in.
    pub(super) person: Option<Person>,
    /// What was just done, told above the page.
    pub(super) notice: Option<&'static str>,
    /// Which entry of the navigation this page belongs to.
    section: &'static str,
}

/// An entry of the navigation.
pub(super) struct Entry {
    /// Its text.
    pub(super) text: &'static str,
    /// Where it leads.
    pub(super) href: String,
    /// Whether this page belongs to it.
    pub(super) current: bool,
}

// === impl Person ===

impl Person {
    /// Whether they have this permission of the API.
    pub(super) fn can(&self, permission: &str) -> bool {
        self.whole && self.role.permissions().contains(permission)
    }
}

// === impl Frame ===

impl Frame {
    /// `section` is a path of [`NAVIGATION`].
    pub(super) fn new(
        title: impl Into<String>,
        base: String,
        person: Option<Person>,
        section: &'static str,
    ) -> Self {
        Self { title: title.into(), base, person, notice: None, section }
    }

    /// The same frame, with what the query says was done.
    pub(super) fn telling(self, query: &Query) -> Self {
        Self { notice: super::told(query.0.text("done")), ..self }
    }

    /// Where an asset is.
    pub(super) fn asset(&self, name: &str) -> String {
        format!("{}{}", self.base, assets::path(name))
    }

    /// Whether whoever is signed in has this permission: without it, do not show what needs it.
    pub(super) fn can(&self, permission: &str) -> bool {
        self.person.as_ref().is_some_and(|person| person.can(permission))
    }

    /// Where they may go.
    pub(super) fn navigation(&self) -> Vec<Entry> {
        let may = |permission: Option<&str>| permission.is_none_or(|permission| self.can(permission));
        NAVIGATION
            .iter()
            .filter(|(_, _, permission)| {
                self.person.as_ref().is_some_and(|person| person.whole) && may(*permission)
            })
            .map(|(path, text, _)| Entry {
                text,
                href: format!("{}{path}", self.base),
                current: *path == self.section,
            })
            .collect()
    }
}
