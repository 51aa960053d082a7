//! Examples of answers, made as the server makes them.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;

use super::super::error::{OAuthErrorBody, Problem};
use super::composed::Examples;
use crate::admin::{AdminError, Current};
use crate::domain::client::CertificateReach;
use crate::domain::error::{ErrorCode, Fault, FieldError, OAuthError};
use crate::jose::Algorithm;
use crate::oauth::discovery;
use crate::storage::StoreError;

/// The issuer of the examples.
const ISSUER: &str = "https://id.example.com";

/// What the answers of an operation speak of.
pub(super) struct About<'a> {
    path: &'a str,
    permission: Option<String>,
    takes_body: bool,
    makes: bool,
    current: Option<Value>,
}

// === impl About ===

impl<'a> About<'a> {
    pub(super) fn new(path: &'a str, operation: &Operation, examples: &Examples) -> Self {
        let security = serde_json::to_value(&operation.security).unwrap_or_default();
        let shown = operation.responses.responses.get("412").and_then(|response| match response {
            RefOr::T(response) => response.content.values().next(),
            RefOr::Ref(_) => None,
        });
        let shown = shown.and_then(|content| serde_json::to_value(content).ok());
        let view = shown.as_ref().and_then(|shown| shown["schema"]["$ref"].as_str()?.split_once("Stale_"));
        Self {
            path,
            permission: security[0]["token"][0].as_str().map(str::to_owned),
            takes_body: operation.request_body.is_some(),
            makes: operation.responses.responses.contains_key("201"),
            current: view.and_then(|(_, view)| examples.named(view)),
        }
    }

    /// What the operation answers when it succeeds.
    pub(super) fn answer<T: Serialize>(&self, examples: &Examples, schema: &T) -> Option<Value> {
        match self.path {
            "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration" => written(
                &discovery::metadata(ISSUER, None, CertificateReach::None, Algorithm::ALWAYS.to_vec()),
            ),
            _ => examples.of(schema),
        }
    }

    /// What the operation answers with this status.
    pub(super) fn refusal(&self, status: &str) -> Option<Value> {
        if self.path.starts_with("/oauth2/") && !status.starts_with('5') {
            return written(&OAuthErrorBody::from(&oauth(status)?));
        }
        written(&self.problem(status)?)
    }

    fn problem(&self, status: &str) -> Option<Problem> {
        Some(match status {
            "400" if self.takes_body => {
                Problem::malformed("the body is not JSON: expected value at line 1 column 1")
            }
            "400" => Problem::malformed("send one Authorization header"),
            "401" => Problem::token_required(ISSUER),
            "403" => AdminError::Forbidden {
                permission: self.permission.clone()?,
                because: "the token or the client's roles do not have it".to_owned(),
            }
            .into(),
            "404" => {
                let (what, name) = self.named();
                AdminError::NotFound { what, name: name.to_owned() }.into()
            }
            "409" if self.makes => AdminError::from(StoreError::AlreadyExists).into(),
            "409" => AdminError::from(StoreError::InUse).into(),
            "412" => {
                let current = Current { version: 1, representation: self.current.clone()? };
                AdminError::Stale { current: Some(Box::new(current)) }.into()
            }
            "413" => Problem::too_large(),
            "415" => Problem::media_type(),
            "422" if self.takes_body => {
                let problem = "1204 characters, or control characters among them";
                let fix = "use at most 1000 printable characters";
                Problem::invalid(vec![FieldError::new("description", problem, fix)])
            }
            "422" => Problem::invalid(vec![FieldError::new("limit", "0 is not allowed", "use 1 to 500")]),
            "428" => Problem::precondition_required(),
            "500" => (&Fault::internal("an example")).into(),
            "503" => (&Fault::unavailable("an example")).into(),
            _ => return None,
        })
    }

    /// What the path names, by an example.
    fn named(&self) -> (&'static str, &'static str) {
        match self.path.split('/').nth(3) {
            Some("resource-servers") => ("resource server", "orders"),
            Some("roles") => ("role", "order-reader"),
            Some("exchange-rules") => ("exchange rule", "orders-to-stock"),
            Some("signing-keys") => ("signing key", "k1"),
            _ => ("client", "billing"),
        }
    }
}

fn oauth(status: &str) -> Option<OAuthError> {
    Some(match StatusCode::from_bytes(status.as_bytes()).ok()? {
        StatusCode::UNAUTHORIZED => OAuthError::invalid_client("an example"),
        StatusCode::PAYLOAD_TOO_LARGE => OAuthError::invalid_request("the body is over 64 KiB"),
        StatusCode::TOO_MANY_REQUESTS => OAuthError::too_many_failures(Duration::from_secs(2), "an example"),
        StatusCode::BAD_REQUEST => {
            OAuthError::new(ErrorCode::InvalidRequest, "the parameter 'scope' is there twice; send it once")
        }
        _ => return None,
    })
}

fn written<T: Serialize>(answer: &T) -> Option<Value> {
    serde_json::to_value(answer).ok()
}
