//! The REST API as a caller with a token sees it.

use serde_json::{Value, json};

use super::{Answer, Client, Server};

/// The parameter of every challenge of the API (RFC 9728 §5.1).
pub(crate) const DESCRIBED: &str =
    "resource_metadata=\"http://localhost:8080/.well-known/oauth-protected-resource/api/v1\"";

/// A caller of the API with one token.
pub(crate) struct Api<'a> {
    pub(crate) server: &'a Server,
    pub(crate) token: String,
}

impl Server {
    /// Calls the API with this token.
    pub(crate) fn api_with(&self, token: impl Into<String>) -> Api<'_> {
        Api { server: self, token: token.into() }
    }

    /// Calls the API as a fresh client with the role `administrator`.
    pub(crate) async fn administrator(&self) -> Api<'_> {
        self.api_with(self.api_token("administrator").await)
    }

    /// Calls the API as this client, with a token for these permissions; all that it has, when empty.
    pub(crate) async fn api_as(&self, client: &Client, scope: &str) -> Api<'_> {
        let body =
            format!("grant_type=client_credentials&resource=http://localhost:8080/api/v1&scope={scope}");
        let token = self.token(client, &body).await.expect(200)["access_token"].as_str().unwrap().to_owned();
        self.api_with(token)
    }

    /// The audit events of this kind, in no order.
    pub(crate) async fn events(&self, kind: &str) -> Vec<Value> {
        let sql = format!("SELECT event FROM audit_events WHERE kind = '{kind}'");
        let texts = self.database.texts(&sql).await;
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// The number of the last change that the database knows: it stays when nothing is changed.
    pub(crate) async fn last_change(&self) -> String {
        let sql = "SELECT CAST(value AS TEXT) FROM counters WHERE name = 'changes'";
        self.database.texts(sql).await.remove(0)
    }
}

impl Api<'_> {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.server.api("GET", path, &self.token, &[], Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.server.api("POST", path, &self.token, &[], body).await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.server.api("PUT", path, &self.token, &[], Value::Null).await
    }

    /// A change that is based on this version.
    pub(crate) async fn patch(&self, path: &str, version: i64, body: Value) -> Answer {
        let tag = format!("If-Match: \"{version}\"");
        self.server.api("PATCH", path, &self.token, &[&tag], body).await
    }

    /// A removal, with `If-Match` when it is based on a version.
    pub(crate) async fn delete(&self, path: &str, version: Option<i64>) -> Answer {
        let tag = version.map(|version| format!("If-Match: \"{version}\""));
        let headers: Vec<&str> = tag.iter().map(String::as_str).collect();
        self.server.api("DELETE", path, &self.token, &headers, Value::Null).await
    }

    /// Adds a generated secret and answers its owner's credentials.
    pub(crate) async fn credentials(&self, client_id: &str) -> Client {
        let path = format!("/clients/{}/secrets", encoded(client_id));
        let secret = self.post(&path, json!({})).await.expect(201);
        Client::new(client_id, secret["client_secret"].as_str().unwrap())
    }

    /// One member of every entry of a list, in the list's order.
    pub(crate) async fn listed(&self, path: &str, member: &str) -> Vec<String> {
        members(&self.get(path).await.expect(200), member)
    }

    /// Follows a list to its end, `limit` entries at a time, and runs `between` after the first page.
    pub(crate) async fn pages(
        &self,
        path: &str,
        limit: usize,
        member: &str,
        between: impl Future<Output = ()>,
    ) -> Vec<Vec<String>> {
        let mut page = self.get(&format!("{path}limit={limit}")).await.expect(200);
        between.await;
        let mut pages = vec![members(&page, member)];
        while let Some(cursor) = page["next_cursor"].as_str() {
            page = self.get(&format!("{path}limit={limit}&cursor={cursor}")).await.expect(200);
            pages.push(members(&page, member));
            assert!(pages.len() < 100, "the pages never end");
        }
        assert!(page.get("next_cursor").is_none(), "absent on the last page, not null: {page}");
        pages
    }
}

fn members(page: &Value, member: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

impl Answer {
    /// Asserts a 422 about exactly this field, whose fix says `fix`, and hands the problem's words on.
    #[track_caller]
    pub(crate) fn expect_invalid(&self, field: &str, fix: &str) -> String {
        let body = self.expect_problem(422, "invalid");
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no field is named: {self:?}"));
        assert_eq!(errors.len(), 1, "{self:?}");
        assert_eq!(errors[0]["field"], field, "{self:?}");
        assert!(errors[0]["fix"].as_str().unwrap().contains(fix), "the fix does not say {fix:?}: {self:?}");
        let problem = errors[0]["problem"].as_str().unwrap().to_owned();
        assert!(!problem.is_empty(), "{self:?}");
        assert!(body["detail"].as_str().unwrap().contains(&problem), "{self:?}");
        problem
    }

    /// Asserts the refusal of a token that was sent (RFC 6750 §3.1), for this reason.
    #[track_caller]
    pub(crate) fn expect_token_refused(&self, reason: &str) {
        let body = self.expect_problem(401, "token-invalid");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "not because of {reason:?}: {self:?}");
        let challenge = format!(
            "Bearer realm=\"jeton\", error=\"invalid_token\", error_description=\"{detail}\", {DESCRIBED}"
        );
        assert_eq!(self.header("www-authenticate"), Some(challenge.as_str()), "{self:?}");
    }

    /// Asserts that a permission is missing, and which (RFC 6750 §3.1).
    #[track_caller]
    pub(crate) fn expect_forbidden(&self, permission: &str) -> Value {
        let body = self.expect_problem(403, "forbidden");
        let challenge =
            format!("Bearer realm=\"jeton\", error=\"insufficient_scope\", scope=\"{permission}\"");
        assert_eq!(self.header("www-authenticate"), Some(challenge.as_str()), "{self:?}");
        let detail = format!("this needs the permission {permission}: ");
        assert!(body["detail"].as_str().unwrap().starts_with(&detail), "{self:?}");
        body
    }

    /// Asserts a body with its version as `ETag`, and hands the body on.
    #[track_caller]
    pub(crate) fn expect_version(&self, status: u16, version: i64) -> Value {
        let body = self.expect(status);
        assert_eq!(body["version"], version, "{self:?}");
        assert_eq!(self.header("etag"), Some(format!("\"{version}\"").as_str()), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        body
    }
}

/// A text as one segment of a path or one value of a query, every reserved byte percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
