//! What is counted as it happens: atomics in fixed places, so that counting costs nanoseconds and waits for nobody.
//! Where a number goes is said by enumerations of ours, never by what a caller sends, so there is an end to how many
//! there are. Nothing here knows in what form they are told.

mod histogram;
mod process;
mod recalls;
mod traffic;

pub use self::histogram::{Distribution, Histogram};
pub use self::process::{Process, free_at, most_files};
pub use self::recalls::{Lookup, Lookups, Recalls};
pub use self::traffic::{Endpoint, InFlight, Outcome, TokenCount, Traffic};
