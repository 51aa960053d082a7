//! A PKCS#11 token: a device, or a program that plays one, whose keys nobody can read out of it.
//!
//! Every call waits for the token, so call from a thread that may wait.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use secrecy::ExposeSecret;

use super::private_file;
use crate::config;
use crate::domain::error::Fault;

/// For how many milliseconds a token is left alone, in turn, that cannot say what it is: `SoftHSM2` has a general error
/// for whoever asks while another process logs in. The first time not at all, because it can be asked again at once, and
/// has general errors for ever in this process if it finds another process's new object before.
const BREATHS: [u64; 10] = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256];

/// A token, and what it takes to be let in.
pub struct Token {
    label: String,
    pin: AuthPin,
    pin_file: String,
    state: Mutex<State>,
    module: Pkcs11,
}

#[derive(Default)]
struct State {
    /// Kept, because the login lasts as long as there is a session.
    session: Option<Session>,
    /// A token locks itself after a few wrong PINs, so one that was refused is never tried again.
    pin_refused: bool,
}

// === impl Token ===

impl Token {
    /// Loads the maker's library, finds the token by its label and logs in.
    ///
    /// # Errors
    /// The library cannot be loaded, there is no such token, or the PIN is not the right one.
    pub fn open(settings: &config::Pkcs11) -> Result<Self, Fault> {
        let token = Self::load(settings)?;
        token.enter()?;
        Ok(token)
    }

    /// Loads the maker's library. The token is not looked for yet.
    ///
    /// # Errors
    /// The library cannot be loaded, or the PIN not be read.
    pub fn load(settings: &config::Pkcs11) -> Result<Self, Fault> {
        let pin_file = settings.pin_file.display().to_string();
        let pin = private_file::read(&settings.pin_file).map_err(|error| {
            private_file::fault(format_args!("the PIN {pin_file} (pkcs11.pin_file)"), &error)
        })?;
        let pin = AuthPin::from(pin.expose_secret().trim().to_owned());
        let module = load(&settings.module)?;
        let label = settings.token.clone();
        Ok(Self { label, pin, pin_file, state: Mutex::default(), module })
    }

    /// Finds the token by its label and logs in.
    ///
    /// # Errors
    /// There is no such token, or the PIN is not the right one.
    pub fn enter(&self) -> Result<(), Fault> {
        self.run(|_| Ok(()))?.map_err(|error| self.trouble(&error))
    }

    /// Runs work in a session that is logged in. What a session says that has been open for a while may be about
    /// the session and not the work (the token was reset, somebody logged out), so the work is tried once more
    /// in a new one.
    ///
    /// # Errors
    /// Outside: there is no session to be had. Inside: what the token says about the work.
    pub fn run<T>(&self, work: impl Fn(&Session) -> Result<T, Error>) -> Result<Result<T, Error>, Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = state.session.take()
            && let Ok(done) = work(&session)
        {
            state.session = Some(session);
            return Ok(Ok(done));
        }
        let session = self.open_session(&mut state, Pkcs11::open_ro_session)?;
        let done = work(&session);
        state.session = Some(session);
        Ok(done)
    }

    /// Runs work in a session that may write into the token.
    ///
    /// # Errors
    /// The token is away, or the work failed.
    pub fn write<T>(&self, work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.open_session(&mut state, Pkcs11::open_rw_session)?;
        work(&session).map_err(|error| self.trouble(&error))
    }

    /// A session of the caller's own that is logged in and may write if the caller will.
    ///
    /// # Errors
    /// The token is away, or does not let us in.
    pub fn session(&self, may_write: bool) -> Result<Session, Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let open = if may_write { Pkcs11::open_rw_session } else { Pkcs11::open_ro_session };
        self.open_session(&mut state, open)
    }

    /// Whether it can do this.
    ///
    /// # Errors
    /// The token is away.
    pub fn has(&self, mechanism: MechanismType) -> Result<bool, Fault> {
        let slot = find(&self.module, &self.label)?;
        match self.module.get_mechanism_info(slot, mechanism) {
            Ok(_) => Ok(true),
            Err(Error::Pkcs11(RvError::MechanismInvalid, _)) => Ok(false),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    fn open_session(
        &self,
        state: &mut State,
        open: impl FnOnce(&Pkcs11, Slot) -> Result<Session, Error>,
    ) -> Result<Session, Fault> {
        // Each time: the token may have been taken out and put into another slot.
        let slot = find(&self.module, &self.label)?;
        let session = open(&self.module, slot).map_err(|error| self.trouble(&error))?;
        self.log_in(state, &session)?;
        Ok(session)
    }

    fn log_in(&self, state: &mut State, session: &Session) -> Result<(), Fault> {
        if state.pin_refused {
            return Err(self.wrong_pin());
        }
        match session.login(UserType::User, Some(&self.pin)) {
            // The login counts for the process, not for the session (PKCS #11 v3.0 §5.6).
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _)) => {
                state.pin_refused = true;
                Err(self.wrong_pin())
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(Fault::setup(format!(
                "the PKCS#11 token '{}' has locked itself after wrong PINs: its security officer can set a new one",
                self.label
            ))),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    fn wrong_pin(&self) -> Fault {
        Fault::setup(format!(
            "the PKCS#11 token '{}' does not take the PIN in {}: put the right one there before the next start, \
             because a token locks itself after a few wrong ones",
            self.label, self.pin_file
        ))
    }

    /// The token's label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What the token says, as a fault that may pass.
    #[must_use]
    pub fn trouble(&self, error: &Error) -> Fault {
        Fault::unavailable(format!("the PKCS#11 token '{}': {error}", self.label))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("label", &self.label).finish_non_exhaustive()
    }
}

fn load(path: &Path) -> Result<Pkcs11, Fault> {
    let what = |error: Error| format!("the PKCS#11 library {} (pkcs11.module): {error}", path.display());
    let module = Pkcs11::new(path).map_err(|error| Fault::setup(what(error)))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By another part of this process: that counts for all of it.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        // Some look for their device then.
        Err(error) => Err(Fault::unavailable(what(error))),
    }
}

/// The slot with the token. By the label, because the numbers of slots change.
fn find(module: &Pkcs11, label: &str) -> Result<Slot, Fault> {
    let fault =
        |error: Error| Fault::unavailable(format!("looking for the PKCS#11 token '{label}': {error}"));
    let mut others = Vec::new();
    for slot in module.get_slots_with_initialized_token().map_err(fault)? {
        let info = described(module, slot).map_err(fault)?;
        // Labels are padded with spaces to 32 characters.
        match info.label().trim_end() {
            found if found == label => return Ok(slot),
            other => others.push(format!("'{other}'")),
        }
    }
    let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
    // It may be put in again.
    Err(Fault::unavailable(format!("there is no PKCS#11 token '{label}' (pkcs11.token); there is: {others}")))
}

fn described(module: &Pkcs11, slot: Slot) -> Result<TokenInfo, Error> {
    let mut described = module.get_token_info(slot);
    for breath in BREATHS {
        if described.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(breath));
        described = module.get_token_info(slot);
    }
    described
}
