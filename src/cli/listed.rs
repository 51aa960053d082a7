//! Lists that come in pages, as a whole.

use crate::admin::{AdminError, Page, PageRequest};

/// Everything that there is, page after page.
pub(super) async fn all<T>(
    page: impl AsyncFn(PageRequest) -> Result<Page<T>, AdminError>,
) -> Result<Vec<T>, AdminError> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let next = page(PageRequest { cursor, limit: Some(500) }).await?;
        items.extend(next.items);
        cursor = next.next_cursor;
        if cursor.is_none() {
            return Ok(items);
        }
    }
}
