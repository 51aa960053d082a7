//! A list as it was asked for.

use http::StatusCode;

use super::error::PageError;
use super::form::{Form, Query};
use crate::admin::{AdminError, Page};

/// What fits the question; or nothing, and beside its fields what is wrong with the question.
pub(super) struct Listed<T> {
    /// The status of the page.
    pub(super) status: StatusCode,
    /// The question.
    pub(super) form: Form,
    /// What fits.
    pub(super) items: Vec<T>,
    /// The query of the next page, if there is one.
    pub(super) next: Option<String>,
}

// === impl Listed ===

impl<T> Listed<T> {
    /// # Errors
    /// It could not be looked for.
    pub(super) fn new(query: Query, found: Result<Page<T>, AdminError>) -> Result<Self, PageError> {
        match found {
            Ok(found) => {
                let next = query.next(found.next_cursor.as_deref());
                Ok(Self { status: StatusCode::OK, form: query.0, items: found.items, next })
            }
            Err(error) => {
                let form = query.0.refused(error)?;
                Ok(Self { status: StatusCode::UNPROCESSABLE_ENTITY, form, items: Vec::new(), next: None })
            }
        }
    }
}
