//! Registers what every Jeton has: its API as a resource server, and the roles for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Admin, AdminError, By, Written};
use crate::domain::binding::TokenBinding;
use crate::domain::builtin::{self, HeldBy};
use crate::domain::ids::{Identifier, Permission, ResourceServerName, ResourceServerUid, RoleName, RoleUid};
use crate::domain::resource::{DEFAULT_TOKEN_LIFETIME, ResourceServer, TokenProfile};
use crate::domain::role::Role;
use crate::jose::Algorithm;
use crate::storage::{ChangeKind, StoreError};

/// Stands for the issuer until a server has started; never one that a token could name.
const NO_ISSUER: &str = "urn:jeton:not-started-yet";

// === impl Admin ===

impl Admin {
    /// [`Admin::ensure_builtins`] for a command, which may not know the issuer: without one it registers
    /// only what is missing, under a stand-in that the next server start, or command that knows it, corrects.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ensure_some_builtins(&self, issuer: Option<&str>) -> Result<(), AdminError> {
        if let Some(api) = self.store.resource_server(&ResourceServerName::new(builtin::API)?).await? {
            let stands_in = api.identifier.as_str() == builtin::api_identifier(NO_ISSUER);
            if issuer.is_none() || !stands_in {
                return Ok(());
            }
        }
        self.ensure_builtins(issuer.unwrap_or(NO_ISSUER), false).await
    }

    /// Makes sure that the built-in resource server and roles are there and complete: at the first start,
    /// after an upgrade that knows more permissions, and, if it `may_replace`, when the issuer has changed.
    ///
    /// # Errors
    /// The database is away, or it serves another issuer.
    pub async fn ensure_builtins(&self, issuer: &str, may_replace: bool) -> Result<(), AdminError> {
        // Other processes may do the same at the same time. Each look finds more of their work, and there
        // are three things to find.
        for _ in 0..5 {
            match self.ensure_once(issuer, may_replace).await {
                Err(AdminError::Conflict(_) | AdminError::Stale { .. }) => {}
                outcome => return outcome,
            }
        }
        self.ensure_once(issuer, may_replace).await
    }

    async fn ensure_once(&self, issuer: &str, may_replace: bool) -> Result<(), AdminError> {
        let api = self.ensure_api(issuer, may_replace).await?;
        self.ensure_role(api, builtin::ADMINISTRATOR, "May do everything in Jeton's API", |held| {
            held != HeldBy::Nobody
        })
        .await?;
        self.ensure_role(
            api,
            builtin::AUDITOR,
            "May read everything in Jeton's API and change nothing",
            |held| held == HeldBy::Readers,
        )
        .await
    }

    async fn ensure_api(&self, issuer: &str, may_replace: bool) -> Result<ResourceServerUid, AdminError> {
        let name = ResourceServerName::new(builtin::API)?;
        let now = self.ambient.now();
        let wanted = ResourceServer {
            uid: ResourceServerUid(self.ambient.uuid()?),
            name: name.clone(),
            identifier: Identifier::new(builtin::api_identifier(issuer))?,
            description: "Jeton's own REST API".to_owned(),
            permissions: builtin::PERMISSIONS
                .iter()
                .map(|(permission, description, _)| {
                    Ok((Permission::new(permission)?, (*description).to_owned()))
                })
                .collect::<Result<_, AdminError>>()?,
            token_lifetime: DEFAULT_TOKEN_LIFETIME,
            signing_algorithm: Algorithm::Es256,
            signing_algorithm_before: None,
            token_profile: TokenProfile::AccessToken,
            token_binding: TokenBinding::Optional,
            enabled: true,
            builtin: true,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let Some(stored) = self.store.resource_server(&name).await? else {
            let mut tx = self.begin().await?;
            tx.insert_resource_server(&wanted).await.map_err(taken)?;
            let after = api_recorded(&wanted);
            self.commit(tx, &By::system(), written("resource_server.create", builtin::API, None, after))
                .await?;
            return Ok(wanted.uid);
        };
        if !stored.builtin {
            return Err(AdminError::Conflict(
                "a resource server of another kind has the name 'jeton'".to_owned(),
            ));
        }
        if stored.identifier == wanted.identifier && stored.permissions == wanted.permissions {
            return Ok(stored.uid);
        }
        let moves = stored.identifier != wanted.identifier;
        let started = stored.identifier.as_str() != builtin::api_identifier(NO_ISSUER);
        if moves && started && !may_replace {
            return Err(AdminError::Conflict(format!(
                "this database serves another issuer, whose API is {}: set JETON_ISSUER to the issuer of all replicas",
                stored.identifier
            )));
        }
        if moves && started {
            tracing::warn!(from = %stored.identifier, to = %wanted.identifier, "the issuer has changed: tokens for the API are asked for under the new one from now on");
        }
        let mut tx = self.begin().await?;
        let update = ResourceServer { uid: stored.uid, version: stored.version, ..wanted };
        if !tx.update_resource_server(&update).await.map_err(taken)? {
            return Err(AdminError::STALE);
        }
        // Only added to: during an upgrade an older replica may still know permissions that are gone.
        for (permission, description) in &update.permissions {
            tx.put_permission(stored.uid, permission, description).await?;
        }
        let (before, after) = (api_recorded(&stored), api_recorded(&update));
        self.commit(tx, &By::system(), written("resource_server.update", builtin::API, Some(before), after))
            .await?;
        Ok(stored.uid)
    }

    async fn ensure_role(
        &self,
        api: ResourceServerUid,
        name: &'static str,
        description: &str,
        gives: impl Fn(HeldBy) -> bool,
    ) -> Result<(), AdminError> {
        let wanted: BTreeSet<_> = builtin::PERMISSIONS
            .iter()
            .filter(|(_, _, held)| gives(*held))
            .map(|(permission, _, _)| Ok((api, Permission::new(permission)?)))
            .collect::<Result<_, AdminError>>()?;
        let now = self.ambient.now();
        let role_name = RoleName::new(name)?;
        let Some(stored) = self.store.role(&role_name).await? else {
            let role = Role {
                uid: RoleUid(self.ambient.uuid()?),
                name: role_name,
                description: description.to_owned(),
                permissions: wanted.clone(),
                builtin: true,
                version: 1,
                created_at: now,
                updated_at: now,
            };
            let mut tx = self.begin().await?;
            tx.insert_role(&role).await?;
            let after = role_recorded(&wanted);
            return self.commit(tx, &By::system(), written("role.create", name, None, after)).await;
        };
        let missing: Vec<_> = wanted.difference(&stored.permissions).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for (server, permission) in missing {
            tx.add_role_permission(stored.uid, *server, permission).await?;
        }
        let (before, after) = (role_recorded(&stored.permissions), role_recorded(&wanted));
        self.commit(tx, &By::system(), written("role.update", name, Some(before), after)).await
    }
}

fn taken(error: StoreError) -> AdminError {
    match error {
        StoreError::AlreadyExists => AdminError::Conflict(
            "another resource server has the identifier of Jeton's own API (<issuer>/api/v1); change that one".to_owned(),
        ),
        other => other.into(),
    }
}

fn written(action: &'static str, target: &str, before: Option<Value>, after: Value) -> Written {
    let after = Some(after);
    Written { action, target: target.to_owned(), before, after, change: ChangeKind::Catalog }
}

fn api_recorded(api: &ResourceServer) -> Value {
    let permissions: Vec<_> = api.permissions.keys().collect();
    json!({ "identifier": api.identifier, "permissions": permissions })
}

fn role_recorded(permissions: &BTreeSet<(ResourceServerUid, Permission)>) -> Value {
    let permissions: Vec<_> = permissions.iter().map(|(_, permission)| permission).collect();
    json!({ "permissions": permissions })
}
