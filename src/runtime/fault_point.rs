//! Places at which a test makes a process die, as one does that is killed. A release build has none.

/// The environment variable that names the place.
const DIES_AT: &str = "TEST_JETON_DIES_AT";

/// Dies here if that is the place.
pub(super) fn pass(step: &str, place: &str) {
    if cfg!(debug_assertions) && std::env::var(DIES_AT).is_ok_and(|at| at == format!("{step}-{place}")) {
        tracing::warn!(step, place, "dying, as told");
        std::process::abort();
    }
}
