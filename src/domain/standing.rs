//! Whether something registered counts at this moment. The one place that decides.

use super::time::Timestamp;

/// Why something registered does not count now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInForce {
    /// An administrator switched it off.
    Disabled,
    /// Its end has come.
    Expired,
}

// === impl NotInForce ===

impl NotInForce {
    /// The word used in audit events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Expired => "expired",
        }
    }
}

/// The part of a registration that says whether it counts: a client, a secret, a resource server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Switched on by an administrator.
    pub enabled: bool,
    /// The first instant at which it no longer counts; never, when absent.
    pub expires_at: Option<Timestamp>,
}

// === impl Standing ===

impl Standing {
    /// Whether it counts at `now`.
    ///
    /// # Errors
    /// It is disabled, or its end has come. Every caller must refuse then.
    pub fn check(self, now: Timestamp) -> Result<(), NotInForce> {
        if !self.enabled {
            return Err(NotInForce::Disabled);
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(NotInForce::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_itself_is_already_too_late() {
        let end = Timestamp::from_seconds(100);
        let standing = Standing { enabled: true, expires_at: Some(end) };
        assert_eq!(standing.check(Timestamp::from_micros(99_999_999)), Ok(()));
        assert_eq!(standing.check(end), Err(NotInForce::Expired));
    }

    #[test]
    fn disabled_refuses_whatever_the_end() {
        let standing = Standing { enabled: false, expires_at: None };
        assert_eq!(standing.check(Timestamp::from_seconds(0)), Err(NotInForce::Disabled));
    }
}
