//! What the program ends with when it could not do what it was told.

use std::process::ExitCode;

use crate::admin::AdminError;
use crate::config::ConfigError;
use crate::domain::error::{Fault, FaultKind};
use crate::storage::StoreError;

/// `EX_CONFIG` of `sysexits.h`: whoever starts the program again gets the same, until somebody changes its set-up.
const CONFIGURATION: u8 = 78;

/// 78 where starting again cannot help, which `RestartPreventExitStatus=` of systemd is told; else 1.
pub(super) fn code(error: &anyhow::Error) -> ExitCode {
    if cannot_work(error) { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE }
}

/// Whether it is about what an operator has set up.
fn cannot_work(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let stored = || match cause.downcast_ref()? {
            StoreError::Fault(fault) => Some(fault),
            _ => None,
        };
        let managed = || match cause.downcast_ref()? {
            AdminError::Fault(fault) => Some(fault),
            _ => None,
        };
        let fault = cause.downcast_ref().or_else(stored).or_else(managed);
        cause.is::<ConfigError>() || fault.is_some_and(|fault: &Fault| fault.kind == FaultKind::Setup)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_a_restart_may_mend_is_told_from_what_it_cannot() {
        let config = Config::load(None, [("JETON_LISTEN".to_owned(), "here".to_owned())]).unwrap_err();
        assert!(cannot_work(&config.into()));
        let setup = || Fault::setup("the master key is another one");
        assert!(cannot_work(&setup().into()));
        assert!(cannot_work(&StoreError::Fault(setup()).into()));
        assert!(cannot_work(&AdminError::Fault(setup()).into()));
        assert!(cannot_work(&Err::<(), _>(setup()).context("while starting").unwrap_err()));
        for other in [Fault::unavailable("the database is away"), Fault::internal("a bug")] {
            assert!(!cannot_work(&other.clone().into()));
            assert!(!cannot_work(&StoreError::Fault(other).into()));
        }
        assert!(!cannot_work(&StoreError::InUse.into()));
        assert!(!cannot_work(&anyhow::anyhow!("no such client")));
    }
}
