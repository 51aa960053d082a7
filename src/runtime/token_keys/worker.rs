//! One thread's way to the token: a session and the handles that are good in it.

use std::collections::HashMap;
use std::sync::Arc;

use cryptoki::error::Error;
use cryptoki::object::{ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::present::Opened;
use super::turns::Turns;
use super::{HeldKey, mechanisms, pairs};
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;

/// A session, opened when it is needed.
pub(super) struct Worker {
    opened: Arc<Opened>,
    session: Option<Session>,
    /// Handles are good in one login only.
    handles: HashMap<KeyId, ObjectHandle>,
}

/// Why a token did not sign.
enum Trouble {
    /// It says so.
    Token(Error),
    /// It has no such private key, or somebody else's.
    Key(&'static str),
}

// === impl Trouble ===

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(opened: Arc<Opened>) -> Self {
        Self { opened, session: None, handles: HashMap::new() }
    }

    /// The signature. What a session says that has been open for a while may be about the session and not the key
    /// (the token was taken out, somebody logged out), so that is tried once more in a new one.
    pub(super) fn sign(&mut self, key: &HeldKey, message: &[u8]) -> Result<Vec<u8>, Fault> {
        if let Some(session) = &self.session
            && let Ok(signature) = attempt(session, &self.opened.turns, &mut self.handles, key, message)
        {
            return Ok(signature);
        }
        self.handles.clear();
        self.session = None;
        let session = self.opened.token()?.session(false)?;
        let done = attempt(&session, &self.opened.turns, &mut self.handles, key, message);
        self.session = Some(session);
        done.map_err(|trouble| {
            let (kid, token) = (&key.kid, &key.token);
            Fault::unavailable(match trouble {
                Trouble::Token(error) => {
                    format!("the PKCS#11 token '{token}' does not sign with key {kid}: {error}")
                }
                Trouble::Key(problem) => format!("the PKCS#11 token '{token}' {problem} {kid}"),
            })
        })
    }
}

fn attempt(
    session: &Session,
    turns: &Turns,
    handles: &mut HashMap<KeyId, ObjectHandle>,
    key: &HeldKey,
    message: &[u8],
) -> Result<Vec<u8>, Trouble> {
    if let Some(handle) = handles.get(&key.kid) {
        return Ok(mechanisms::sign(session, key.algorithm, *handle, message)?);
    }
    let found = {
        let _turn = turns.search();
        pairs::keys(session, ObjectClass::PRIVATE_KEY, key.kid.as_str())?
    };
    let mut trouble = Trouble::Key("does not have the signing key");
    // One, as a rule. SoftHSM2 can show the same one twice, and one of them may be good for nothing.
    for handle in found {
        match mechanisms::sign(session, key.algorithm, handle, message) {
            // Once for each handle. Nobody could verify what another key signs.
            Ok(signature) if key.verifying.has_signed(message, &signature) => {
                handles.insert(key.kid.clone(), handle);
                return Ok(signature);
            }
            Ok(_) => trouble = Trouble::Key("has another key than the published one under the CKA_ID"),
            Err(error) => trouble = Trouble::Token(error),
        }
    }
    Err(trouble)
}
