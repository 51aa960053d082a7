//! What a form sent, kept so that it can be shown again beside what is wrong with it.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;

use super::error::PageError;
use crate::admin::AdminError;
use crate::domain::error::FieldError;
use crate::http::API_BODY;
use crate::http::extract::{Unread, bounded};

/// The fields of a form, and what is wrong with them. It may hold a password, so it has no `Debug` form.
#[derive(Clone, Default)]
pub(super) struct Form {
    fields: BTreeMap<String, Vec<String>>,
    errors: Vec<FieldError>,
}

// === impl Form ===

impl Form {
    /// A form that nobody has filled in yet, but for these fields.
    pub(super) fn of<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut form = Self::default();
        for (name, value) in fields {
            form.fields.entry(name.to_owned()).or_default().push(value);
        }
        form
    }

    /// The field, empty when it was not sent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|values| values.first()).map_or("", String::as_str)
    }

    /// Every value of a field that may be sent several times.
    #[allow(dead_code, reason = "for pages to come")]
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a field has this value among others: a box that is ticked.
    #[allow(dead_code, reason = "for pages to come")]
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).iter().any(|other| other == value)
    }

    /// What is wrong with a field.
    pub(super) fn error(&self, name: &str) -> Option<&FieldError> {
        self.errors.iter().find(|error| error.field == name)
    }

    /// What is wrong with anything.
    pub(super) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The same form, with what is wrong with it. Any other error is handed back.
    pub(super) fn refused(mut self, error: AdminError) -> Result<Self, PageError> {
        match error {
            AdminError::Invalid(errors) => {
                self.errors = errors;
                Ok(self)
            }
            other => Err(other.into()),
        }
    }

    /// The same form without what nobody may see again.
    pub(super) fn without(mut self, names: &[&str]) -> Self {
        self.fields.retain(|name, _| !names.contains(&name.as_str()));
        self
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = PageError;

    async fn from_request(request: Request, _: &S) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        let media_type =
            parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let bytes = bounded(&parts.headers, body, API_BODY).await.map_err(|unread| match unread {
            Unread::TooLarge => PageError::TooLarge,
            Unread::BrokeOff => PageError::Malformed("The form broke off".to_owned()),
        })?;
        if !bytes.is_empty() && !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(PageError::Malformed("It is not a form".to_owned()));
        }
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(&bytes) {
            form.fields.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Ok(form)
    }
}
