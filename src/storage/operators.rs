//! Which clients operate which resource servers.

use uuid::Uuid;

use super::engine::{execute, read};
use super::rows::client_id;
use super::{Cursor, Store, StoreError, Tx, statements};
use crate::domain::ids::{ClientId, ClientUid, ResourceServerUid};
use crate::domain::time::Timestamp;

statements! {
    ALL_OPERATORS = "SELECT client, resource_server FROM operators";

    OPERATORS_OF = r"
        SELECT clients.client_id, operators.assigned_at
        FROM operators JOIN clients ON clients.uid = operators.client
        WHERE operators.resource_server = $1 AND clients.client_id > $2
        ORDER BY clients.client_id LIMIT $3";

    OPERATED_BY = "SELECT resource_server FROM operators WHERE client = $1";

    ADD_OPERATOR = r"
        INSERT INTO operators (client, resource_server, assigned_at) VALUES ($1, $2, $3)
        ON CONFLICT (client, resource_server) DO NOTHING";

    REMOVE_OPERATOR = "DELETE FROM operators WHERE client = $1 AND resource_server = $2";
}

// === impl Store ===

impl Store {
    /// Which client operates which resource server.
    ///
    /// # Errors
    /// The database is away.
    pub async fn all_operators(&self) -> Result<Vec<(ClientUid, ResourceServerUid)>, StoreError> {
        let rows: Vec<(Uuid, Uuid)> =
            read!(self, pool => sqlx::query_as(ALL_OPERATORS).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(|(client, server)| (ClientUid(client), ResourceServerUid(server))).collect())
    }

    /// A page of the clients that operate a resource server and since when they do, in the order of their
    /// identifiers.
    ///
    /// # Errors
    /// The database is away.
    pub async fn operators_of(
        &self,
        server: ResourceServerUid,
        page: &Cursor,
    ) -> Result<Vec<(ClientId, Timestamp)>, StoreError> {
        let rows: Vec<(String, i64)> = read!(self, pool => {
            sqlx::query_as(OPERATORS_OF)
                .bind(server.0)
                .bind(&page.after)
                .bind(i64::from(page.limit))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter().map(|(id, at)| Ok((client_id(&id)?, Timestamp::from_micros(at)))).collect()
    }

    /// The resource servers that a client operates, in no order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn operated_by(&self, client: ClientUid) -> Result<Vec<ResourceServerUid>, StoreError> {
        let rows: Vec<Uuid> =
            read!(self, pool => sqlx::query_scalar(OPERATED_BY).bind(client.0).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(ResourceServerUid).collect())
    }
}

// === impl Tx ===

impl Tx {
    /// Makes a client an operator of a resource server. Answers whether it was none yet.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when one of them is gone.
    pub async fn add_operator(
        &mut self,
        client: ClientUid,
        server: ResourceServerUid,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = execute!(self, ADD_OPERATOR, client.0, server.0, at.as_micros())?;
        Ok(changed == 1)
    }

    /// Lets a client no longer operate a resource server. Answers whether it did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn remove_operator(
        &mut self,
        client: ClientUid,
        server: ResourceServerUid,
    ) -> Result<bool, StoreError> {
        let changed = execute!(self, REMOVE_OPERATOR, client.0, server.0)?;
        Ok(changed == 1)
    }
}
