//! Which clients operate a resource server: they may introspect its tokens, and exchange tokens addressed to it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, AdminError, By, Page, PageRequest, Written};
use crate::domain::builtin;
use crate::domain::ids::{ClientId, ResourceServerName};
use crate::domain::time::Timestamp;
use crate::storage::ChangeKind;

/// Why a client cannot be made an operator of the API.
const OPERATES_API: &str = "only who has every permission of this API can say who operates it";

/// A client that operates a resource server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OperatorView {
    /// The client's identifier.
    pub client_id: ClientId,
    /// Since when it operates the resource server.
    #[schema(value_type = String, format = DateTime)]
    pub assigned_at: Timestamp,
}

// === impl Admin ===

impl Admin {
    /// A page of the clients that operate a resource server, in the order of their identifiers.
    ///
    /// # Errors
    /// There is no such resource server, or a wrong cursor or limit.
    pub async fn operators(
        &self,
        by: &By,
        name: &ResourceServerName,
        page: &PageRequest,
    ) -> Result<Page<OperatorView>, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_READ).await?;
        let (cursor, limit) = page.cursor()?;
        let server = self.stored_resource_server(name).await?;
        let operators = self.store.operators_of(server.uid, &cursor).await?;
        let views = operators
            .into_iter()
            .map(|(client_id, assigned_at)| OperatorView { client_id, assigned_at })
            .collect();
        Ok(Page::new(views, limit, |view: &OperatorView| view.client_id.as_str()))
    }

    /// The resource servers that a client operates, by name.
    ///
    /// # Errors
    /// There is no such client.
    pub async fn operated_by(
        &self,
        by: &By,
        client_id: &ClientId,
    ) -> Result<Vec<ResourceServerName>, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let catalog = self.catalog().await?;
        let servers = self.store.operated_by(client.uid).await?;
        let known = servers.iter().filter_map(|uid| catalog.resource_server(*uid));
        let mut names: Vec<_> = known.map(|server| server.name.clone()).collect();
        names.sort();
        Ok(names)
    }

    /// Makes a client an operator of a resource server. Doing it twice is no error.
    ///
    /// # Errors
    /// No such client or resource server; or it is this API, of which the administrator has not every permission.
    pub async fn add_operator(
        &self,
        by: &By,
        name: &ResourceServerName,
        client_id: &ClientId,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_WRITE).await?;
        let server = self.stored_resource_server(name).await?;
        let client = self.stored_client(client_id).await?;
        if server.builtin {
            let permissions: Vec<_> = server.permissions.keys().collect();
            self.require_all(by, &permissions, OPERATES_API).await?;
        }
        let mut tx = self.begin().await?;
        if !tx.add_operator(client.uid, server.uid, self.ambient.now()).await? {
            return Ok(());
        }
        self.commit(
            tx,
            by,
            Written::of(ChangeKind::Catalog, "resource_server.operator.add", name, None, Some(client_id)),
        )
        .await
    }

    /// Lets a client no longer operate a resource server. Doing it where it does not is no error.
    ///
    /// # Errors
    /// No such client or resource server.
    pub async fn remove_operator(
        &self,
        by: &By,
        name: &ResourceServerName,
        client_id: &ClientId,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_WRITE).await?;
        let server = self.stored_resource_server(name).await?;
        let client = self.stored_client(client_id).await?;
        let mut tx = self.begin().await?;
        if !tx.remove_operator(client.uid, server.uid).await? {
            return Ok(());
        }
        self.commit(
            tx,
            by,
            Written::of(ChangeKind::Catalog, "resource_server.operator.remove", name, Some(client_id), None),
        )
        .await
    }
}
