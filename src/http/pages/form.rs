//! What a form sent, kept so that it can be shown again beside what is wrong with it.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::error::PageError;
use crate::admin::{AdminError, PageRequest};
use crate::domain::error::FieldError;
use crate::http::API_BODY;
use crate::http::extract::{Unread, bounded};

/// The fields of a form, and what is wrong with them. It may hold a password, so it has no `Debug` form.
#[derive(Clone, Default)]
pub(super) struct Form {
    fields: BTreeMap<String, Vec<String>>,
    errors: Vec<FieldError>,
}

/// A form that anybody may send, signed in or not: a small one.
pub(super) struct SmallForm(pub(super) Form);

/// The most fields of a form. A field takes more memory than what was sent of it.
const FIELDS: usize = 2_000;

/// The most bytes of a [`SmallForm`].
const SMALL: usize = 64 * 1_024;

/// What a query asks for, in the terms of a form: a list with filters is a form that changes nothing.
pub(super) struct Query(pub(super) Form);

/// What a path names. A text that cannot be such a name is the path of no page.
pub(super) struct Named<T>(pub(super) T);

// === impl Form ===

impl Form {
    /// What a form sent, unless it has too many fields.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        for (number, (name, value)) in url::form_urlencoded::parse(text).enumerate() {
            if number == FIELDS {
                return None;
            }
            // HTML has every line end sent as two characters.
            form.put(&name, value.replace("\r\n", "\n"));
        }
        Some(form)
    }

    async fn read(request: Request, most: usize) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        let media_type =
            parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let bytes = bounded(&parts, body, most).await.map_err(|unread| match unread {
            Unread::TooLarge => PageError::TooLarge,
            Unread::TooSlow => PageError::TooSlow,
            Unread::BrokeOff => PageError::Malformed("The form broke off".to_owned()),
        })?;
        if !bytes.is_empty() && !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(PageError::Malformed("It is not a form".to_owned()));
        }
        Self::parse(&bytes).ok_or(PageError::TooLarge)
    }

    /// A form that nobody has filled in yet, but for these fields.
    pub(super) fn of<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut form = Self::default();
        for (name, value) in fields {
            form.put(name, value);
        }
        form
    }

    /// One more value of a field.
    pub(super) fn put(&mut self, name: &str, value: impl Into<String>) {
        self.fields.entry(name.to_owned()).or_default().push(value.into());
    }

    /// Another value instead of those that a field has.
    pub(super) fn replace(&mut self, name: &str, value: impl Into<String>) {
        self.fields.insert(name.to_owned(), vec![value.into()]);
    }

    /// The field, empty when it was not sent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|values| values.first()).map_or("", String::as_str)
    }

    /// Every value of a field that may be sent several times.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a field has this value among others: a box that is ticked.
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

    /// [`Form::refused`]; a contradiction with what is registered stands beside this field.
    pub(super) fn refused_beside(self, field: &'static str, error: AdminError) -> Result<Self, PageError> {
        match error {
            AdminError::Conflict(problem) => {
                let fix = "use another, or change first what it contradicts";
                Ok(self.with_error(FieldError::new(field, problem, fix)))
            }
            other => self.refused(other),
        }
    }

    /// The same form, with something wrong with it.
    pub(super) fn with_error(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    /// Whether a field has the same values as in another form.
    pub(super) fn agrees(&self, other: &Self, name: &str) -> bool {
        let filled = |form: &Self| -> Vec<String> {
            form.all(name).iter().filter(|value| !value.is_empty()).cloned().collect()
        };
        filled(self) == filled(other)
    }

    /// The values of a field, a line each.
    pub(super) fn whole(&self, name: &str) -> String {
        self.all(name).join("\n")
    }

    /// The values of a field in a line, for people.
    pub(super) fn line(&self, name: &str) -> String {
        self.all(name).join(", ")
    }

    /// What was sent beside these fields, to be sent once more: name and value.
    pub(super) fn rest(&self, but: &[&str]) -> Vec<(&str, &str)> {
        let others = self.fields.iter().filter(|(name, _)| !but.contains(&name.as_str()));
        others.flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str()))).collect()
    }

    /// Whether a field was sent, filled or empty.
    pub(super) fn was_sent(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// What stands on the lines of a field, without white space around it.
    pub(super) fn lines(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.all(name).iter().flat_map(|value| value.lines());
        lines.map(str::trim).filter(|line| !line.is_empty())
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
        Self::read(request, API_BODY).await
    }
}

impl<S: Send + Sync> FromRequest<S> for SmallForm {
    type Rejection = PageError;

    async fn from_request(request: Request, _: &S) -> Result<Self, PageError> {
        Form::read(request, SMALL).await.map(Self)
    }
}

// === impl Query ===

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        let form = Form::parse(parts.uri.query().unwrap_or_default().as_bytes());
        form.map(Self).ok_or(PageError::TooLarge)
    }
}

impl Query {
    /// Which page of a list.
    pub(super) fn page(&self) -> PageRequest {
        let cursor = Some(self.0.text("cursor").to_owned()).filter(|cursor| !cursor.is_empty());
        PageRequest { cursor, limit: None }
    }

    /// A filter, if it is one: what was left empty fits all.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        Some(self.0.text(name).trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The query of the list's next page, if there is one.
    pub(super) fn next(&self, cursor: Option<&str>) -> Option<String> {
        let mut query = url::form_urlencoded::Serializer::new(self.narrowed());
        Some(query.append_pair("cursor", cursor?).finish())
    }

    /// The query without its place in the list: what narrows it.
    pub(super) fn narrowed(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, values) in self.0.fields.iter().filter(|(name, _)| *name != "cursor") {
            query.extend_pairs(values.iter().filter(|value| !value.is_empty()).map(|value| (name, value)));
        }
        query.finish()
    }
}

// === impl Named ===

impl<T: TryFrom<String> + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|_| PageError::NoSuchPage)?;
        T::try_from(text).map(Self).map_err(|_| PageError::NoSuchPage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_so_many_fields_and_no_more() {
        let fields = |number: usize| vec!["x=1"; number].join("&");
        assert_eq!(Form::parse(fields(FIELDS).as_bytes()).unwrap().all("x").len(), FIELDS);
        assert!(Form::parse(fields(FIELDS + 1).as_bytes()).is_none());
        assert_eq!(Form::parse(b"a=1%0D%0A2").unwrap().text("a"), "1\n2");
    }
}
