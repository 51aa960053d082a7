//! Registering, reading, changing and removing trusted issuers.
//!
//! Who says where the keys of an issuer are can make its tokens, and so become every client that they prove. So nobody
//! changes whom its tokens convince, or enables it, who may do less in this API than those clients.

use std::sync::Arc;

use super::exchange_rules;
use super::overtaken::overtaken;
use super::trusted_issuer_checks::Checks;
pub use super::trusted_issuer_checks::check_typed_keys;
pub use super::trusted_issuer_forms::{
    CreateTrustedIssuer, KeyPlace, KeysFrom, TrustedIssuerView, UpdateTrustedIssuer,
};
use super::{Admin, AdminError, By, Page, PageRequest, Written, check_search, found};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::exchange_rule::{ExchangeRule, Party};
use crate::domain::ids::{ClientId, ClientUid, TrustedIssuerName, TrustedIssuerUid};
use crate::domain::trust::{MOST_OF_ONE_NAME, TrustedIssuer};
use crate::jose::ForeignKey;
use crate::storage::{ChangeKind, StoreError};

/// Why an issuer cannot be changed.
const BECOMES_STRONGER: &str = "clients that this issuer's tokens prove may do more in this API than you, so you can only disable or delete it";

/// How many of those who use an issuer are named.
const NAMED: u32 = 5;

// === impl Admin ===

impl Admin {
    /// Registers a trusted issuer. Its tokens prove nobody yet.
    ///
    /// # Errors
    /// Wrong fields, or a taken name.
    pub async fn create_trusted_issuer(
        &self,
        by: &By,
        new: CreateTrustedIssuer,
    ) -> Result<TrustedIssuerView, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_WRITE).await?;
        let catalog = self.catalog().await?;
        let now = self.ambient.now();
        let mut checks = self.checks(&catalog);
        checks.description(&new.description);
        checks.issuer(new.profile, new.issuer.as_str());
        let algorithms = new.algorithms.unwrap_or_else(|| ForeignKey::ALGORITHMS.to_vec());
        let algorithms = checks.algorithms(&algorithms);
        let keys = checks.keys((new.profile, new.issuer.as_str()), new.keys, &algorithms);
        let (max_lifetime, leeway) = (checks.lifetime(new.max_lifetime), checks.leeway(new.leeway));
        checks.verdict()?;
        let Some(keys) = keys else { return Err(AdminError::STALE) };
        let issuer = TrustedIssuer {
            uid: TrustedIssuerUid(self.ambient.uuid()?),
            name: new.name,
            description: new.description,
            enabled: new.enabled,
            profile: new.profile,
            issuer: new.issuer.into(),
            keys,
            algorithms,
            audience: new.audience.map(Into::into),
            max_lifetime,
            leeway,
            reuse: new.reuse,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        check_room(&catalog, &issuer)?;
        let mut tx = self.begin().await?;
        tx.insert_trusted_issuer(&issuer).await.map_err(|error| match error {
            StoreError::AlreadyExists => {
                AdminError::Conflict(format!("a trusted issuer '{}' exists already", issuer.name))
            }
            other => other.into(),
        })?;
        let view = TrustedIssuerView::from(&issuer);
        let written =
            Written::of(ChangeKind::Catalog, "trusted_issuer.create", &issuer.name, None, Some(&view));
        self.commit(tx, by, written).await?;
        Ok(view)
    }

    /// A trusted issuer.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn trusted_issuer(
        &self,
        by: &By,
        name: &TrustedIssuerName,
    ) -> Result<TrustedIssuerView, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_READ).await?;
        Ok((&self.stored_trusted_issuer(name).await?).into())
    }

    /// A page of trusted issuers, in the order of their names. What is searched for may stand in the issuer too.
    ///
    /// # Errors
    /// A wrong cursor or limit.
    pub async fn trusted_issuers(
        &self,
        by: &By,
        text: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<TrustedIssuerView>, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_READ).await?;
        check_search("q", text)?;
        let catalog = self.catalog().await?;
        let fits = |issuer: &TrustedIssuer| {
            let places = [issuer.name.as_str(), &issuer.description, &issuer.issuer];
            text.is_none_or(|text| found(text, &places))
        };
        let all: Vec<_> = catalog.trusted_issuers().iter().filter(|issuer| fits(issuer)).cloned().collect();
        let Page { items, next_cursor } = Page::of(all, page, |issuer| issuer.name.as_str())?;
        Ok(Page { items: items.iter().map(|issuer| (&**issuer).into()).collect(), next_cursor })
    }

    /// Changes a trusted issuer that still has the expected version.
    ///
    /// # Errors
    /// Wrong fields, clients that may do more in this API than the administrator, or somebody else changed it.
    pub async fn update_trusted_issuer(
        &self,
        by: &By,
        name: &TrustedIssuerName,
        version: i64,
        update: UpdateTrustedIssuer,
    ) -> Result<TrustedIssuerView, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_WRITE).await?;
        let catalog = self.catalog().await?;
        let before = self.stored_trusted_issuer(name).await?;
        if before.version != version {
            return Err(self.overtaken_trusted_issuer(by, name).await);
        }
        let issuer = self.updated(&catalog, &before, update)?;
        if !before.enabled {
            check_room(&catalog, &issuer)?;
        }
        if convinces_others(&before, &issuer) {
            self.require_hold_of_issuer(by, &catalog, before.uid).await?;
        }
        match self.replace_trusted_issuer(by, "trusted_issuer.update", &before, issuer).await {
            Err(AdminError::Stale { .. }) => Err(self.overtaken_trusted_issuer(by, name).await),
            outcome => outcome,
        }
    }

    /// Switches a trusted issuer on or off, whatever its version: an emergency does not wait for an edit.
    ///
    /// # Errors
    /// There is none of this name; or, to switch it on, clients that may do more in this API than the administrator.
    pub async fn set_trusted_issuer_enabled(
        &self,
        by: &By,
        name: &TrustedIssuerName,
        enabled: bool,
    ) -> Result<TrustedIssuerView, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_WRITE).await?;
        let action = if enabled { "trusted_issuer.enable" } else { "trusted_issuer.disable" };
        loop {
            let before = self.stored_trusted_issuer(name).await?;
            if before.enabled == enabled {
                return Ok((&before).into());
            }
            let issuer = TrustedIssuer { enabled, ..before.clone() };
            if enabled {
                let catalog = self.catalog().await?;
                check_room(&catalog, &issuer)?;
                self.require_hold_of_issuer(by, &catalog, before.uid).await?;
            }
            match self.replace_trusted_issuer(by, action, &before, issuer).await {
                Err(AdminError::Stale { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// Removes a trusted issuer that still has the expected version.
    ///
    /// # Errors
    /// There is none of this name, somebody else changed it, or something names it.
    pub async fn delete_trusted_issuer(
        &self,
        by: &By,
        name: &TrustedIssuerName,
        version: i64,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_WRITE).await?;
        let issuer = self.stored_trusted_issuer(name).await?;
        let mut tx = self.begin().await?;
        match tx.delete_trusted_issuer(issuer.uid, version).await {
            Ok(true) => {}
            Ok(false) => {
                drop(tx);
                return Err(self.overtaken_trusted_issuer(by, name).await);
            }
            Err(StoreError::InUse) => {
                drop(tx);
                return Err(self.issuer_in_use(&issuer).await?);
            }
            Err(other) => return Err(other.into()),
        }
        let view = TrustedIssuerView::from(&issuer);
        self.commit(
            tx,
            by,
            Written::of(ChangeKind::Catalog, "trusted_issuer.delete", name, Some(&view), None),
        )
        .await
    }

    /// Who uses an issuer, as a refusal to remove it.
    async fn issuer_in_use(&self, issuer: &TrustedIssuer) -> Result<AdminError, AdminError> {
        let (count, clients) = self.store.clients_of_issuer(issuer.uid, NAMED).await?;
        if count == 0 {
            let catalog = self.catalog().await?;
            let rules = exchange_rules::among(&catalog, |rule| {
                rule.outside().any(|party| party.trusted_issuer == issuer.uid)
            });
            return Ok(rules.map_or_else(
                || AdminError::from(StoreError::InUse),
                |rules| {
                    AdminError::Conflict(format!(
                        "exchange rules name the trusted issuer '{}' (among them {rules}); \
                         change or delete them first, or disable it",
                        issuer.name
                    ))
                },
            ));
        }
        let named: Vec<&str> = clients.iter().map(ClientId::as_str).collect();
        let others = count.saturating_sub(named.len() as u64);
        let more = if others == 0 { String::new() } else { format!(" and {others} more") };
        Ok(AdminError::Conflict(format!(
            "federated credentials of these clients name it: {}{more}; remove those first, or disable it",
            named.join(", ")
        )))
    }

    /// What an issuer becomes by an update.
    fn updated(
        &self,
        catalog: &Catalog,
        before: &TrustedIssuer,
        update: UpdateTrustedIssuer,
    ) -> Result<TrustedIssuer, AdminError> {
        let mut issuer = before.clone();
        let mut checks = self.checks(catalog);
        if let Some(algorithms) = update.algorithms {
            issuer.algorithms = checks.algorithms(&algorithms);
        }
        // Keys that are registered themselves may not fit other algorithms.
        let narrowed = issuer.algorithms != before.algorithms;
        if let Some(keys) = update.keys.or_else(|| narrowed.then(|| (&before.keys).into())) {
            let of = (issuer.profile, issuer.issuer.as_str());
            issuer.keys = checks.keys(of, keys, &issuer.algorithms).unwrap_or(issuer.keys);
        }
        if let Some(seconds) = update.max_lifetime {
            issuer.max_lifetime = checks.lifetime(seconds);
        }
        if let Some(seconds) = update.leeway {
            issuer.leeway = checks.leeway(seconds);
        }
        issuer.description = update.description.unwrap_or(issuer.description);
        issuer.audience = update.audience.map_or(issuer.audience, |audience| audience.map(Into::into));
        issuer.reuse = update.reuse.unwrap_or(issuer.reuse);
        issuer.enabled = update.enabled.unwrap_or(issuer.enabled);
        checks.description(&issuer.description);
        checks.verdict()?;
        Ok(issuer)
    }

    async fn replace_trusted_issuer(
        &self,
        by: &By,
        action: &'static str,
        before: &TrustedIssuer,
        mut issuer: TrustedIssuer,
    ) -> Result<TrustedIssuerView, AdminError> {
        issuer.updated_at = self.ambient.now();
        let mut tx = self.begin().await?;
        if !tx.update_trusted_issuer(&issuer).await? {
            return Err(AdminError::STALE);
        }
        issuer.version += 1;
        let (before, view) = (TrustedIssuerView::from(before), TrustedIssuerView::from(&issuer));
        self.commit(
            tx,
            by,
            Written::of(ChangeKind::Catalog, action, &issuer.name, Some(&before), Some(&view)),
        )
        .await?;
        Ok(view)
    }

    /// Why a change is refused that is based on another version.
    async fn overtaken_trusted_issuer(&self, by: &By, name: &TrustedIssuerName) -> AdminError {
        let now = self.stored_trusted_issuer(name).await.map(|issuer| TrustedIssuerView::from(&issuer));
        overtaken(by, builtin::TRUSTED_ISSUERS_READ, now, |view| view.version)
    }

    pub(super) async fn stored_trusted_issuer(
        &self,
        name: &TrustedIssuerName,
    ) -> Result<TrustedIssuer, AdminError> {
        let found = self.store.trusted_issuer(name).await?;
        found.ok_or_else(|| AdminError::not_found("trusted issuer", name.as_str()))
    }

    fn checks<'a>(&'a self, catalog: &'a Catalog) -> Checks<'a> {
        let own = catalog.api().map(|api| builtin::issuer_of(api.identifier.as_str()));
        Checks { outside: &self.outside, own, errors: Vec::new() }
    }

    /// Refuses to say whom an issuer's tokens convince, unless the administrator may do in this API what the clients may
    /// that they prove.
    async fn require_hold_of_issuer(
        &self,
        by: &By,
        catalog: &Catalog,
        issuer: TrustedIssuerUid,
    ) -> Result<(), AdminError> {
        if by.has_everything() {
            return Ok(());
        }
        let roles = self.store.roles_of_issuer(issuer).await?;
        self.require_all_of(by, catalog, None, &roles, BECOMES_STRONGER).await?;
        // What its tokens themselves get, where a rule lets them.
        let named = |rule: &&Arc<ExchangeRule>| rule.outside().any(|party| party.trusted_issuer == issuer);
        let api = catalog.api().map(|api| api.uid);
        let towards = |rule: &&Arc<ExchangeRule>| Some(rule.resource_server) == api;
        let lets_through = catalog.exchange_rules().iter().filter(towards).filter(named);
        let permissions: Vec<_> = lets_through.flat_map(|rule| &rule.permissions).collect();
        self.require_all(by, &permissions, BECOMES_STRONGER).await?;
        // What a client may that is named itself: few are.
        for client in clients_near_api(catalog) {
            let credentials = self.store.federated_credentials(client).await?;
            if credentials.iter().any(|credential| credential.trusted_issuer == issuer) {
                self.require_all_of(by, catalog, Some(client), &[], BECOMES_STRONGER).await?;
            }
        }
        Ok(())
    }
}

/// Whether one more of its name can be enabled: the keys of all of them are asked for each token.
fn check_room(catalog: &Catalog, issuer: &TrustedIssuer) -> Result<(), AdminError> {
    let others =
        catalog.trusted_issuers_of(&issuer.issuer).filter(|one| one.enabled && one.uid != issuer.uid);
    if issuer.enabled && others.count() >= MOST_OF_ONE_NAME {
        return Err(AdminError::Conflict(format!(
            "{MOST_OF_ONE_NAME} trusted issuers with the issuer '{}' are enabled, and more are not asked for one token; \
             disable or delete one of them first",
            issuer.issuer
        )));
    }
    Ok(())
}

/// The clients that operate this API, or that an exchange rule towards it names as its caller.
fn clients_near_api(catalog: &Catalog) -> Vec<ClientUid> {
    let Some(api) = catalog.api() else { return Vec::new() };
    let rules = catalog.exchange_rules().iter().filter(|rule| rule.resource_server == api.uid);
    let callers = rules.filter_map(|rule| match rule.caller {
        Party::Client(client) => Some(client),
        Party::Role(_) => None,
    });
    catalog.operators_of(api.uid).chain(callers).collect()
}

/// Whether tokens may count after a change that did not before.
fn convinces_others(before: &TrustedIssuer, after: &TrustedIssuer) -> bool {
    let same = before.keys == after.keys
        && before.algorithms == after.algorithms
        && before.audience == after.audience
        && before.max_lifetime == after.max_lifetime
        && before.leeway == after.leeway
        && before.reuse == after.reuse
        && (before.enabled || !after.enabled);
    !same
}
