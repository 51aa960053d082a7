//! What the audit's events add up to, and what is asked of that.

mod counting;
mod plans;
