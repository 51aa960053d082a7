//! Trouble that goes on: said when it begins, then once a minute, and when it is over.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// How often the log hears of the same trouble.
const EVERY: Duration = Duration::from_mins(1);

/// What a loop has said of something that it tries again and again.
pub struct Trouble {
    what: &'static str,
    said: Option<Instant>,
}

// === impl Trouble ===

impl Trouble {
    /// None yet. `what` is it, as a sentence.
    #[must_use]
    pub const fn with(what: &'static str) -> Self {
        Self { what, said: None }
    }

    /// Takes note of one more try. Answers whether it went well.
    pub fn note<E: Display>(&mut self, outcome: Result<(), E>) -> bool {
        match outcome {
            Ok(()) => {
                if self.said.take().is_some() {
                    tracing::info!("over: {}", self.what);
                }
                true
            }
            Err(error) => {
                if self.said.is_none_or(|said| said.elapsed() > EVERY) {
                    self.said = Some(Instant::now());
                    tracing::warn!(%error, "{}; trying again", self.what);
                }
                false
            }
        }
    }
}
