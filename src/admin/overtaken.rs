//! Two administrators change one thing. Whoever comes second is shown what it has become, so that nothing is lost.

use serde::Serialize;
use serde_json::Value;

use super::{AdminError, By, recorded};

/// What a thing is now.
#[derive(Clone, Debug)]
pub struct Current {
    /// The version to base the next change on.
    pub version: i64,
    /// As reading it answers.
    pub representation: Value,
}

/// The refusal of a change that came second: with what the thing is now, for whoever may read it, or without the
/// thing, if that is what happened to it.
pub(super) fn overtaken<T: Serialize>(
    by: &By,
    read: &str,
    now: Result<T, AdminError>,
    version: impl Fn(&T) -> i64,
) -> AdminError {
    let view = match now {
        Ok(view) => view,
        Err(error) => return error,
    };
    // Who may change it without reading it hears no more than before.
    let representation = recorded(&view).filter(|_| by.holds(read));
    let current =
        representation.map(|representation| Box::new(Current { version: version(&view), representation }));
    AdminError::Stale { current }
}
