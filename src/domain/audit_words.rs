//! The words that events are told in.

use super::words::words;

words! {
    /// How it ended.
    Outcome {
        /// It was done.
        Success = "success",
        /// It was refused.
        Refused = "refused",
    }
}

words! {
    /// What somebody showed who signed in to the pages; after the password, if they have a second factor.
    SignInMethod {
        /// The password alone.
        Password = "password",
        /// A one-time code.
        OneTimeCode = "one-time-code",
        /// A recovery code.
        RecoveryCode = "recovery-code",
        /// The link by which they set their password.
        Link = "link",
        /// What their OpenID provider says of them (single sign-on).
        SingleSignOn = "single-sign-on",
    }
}

words! {
    /// What sort of process keeps a chain.
    ProcessKind {
        /// A server.
        Server = "server",
        /// A command that changed something.
        Command = "command",
    }
}

words! {
    /// What became of the signing keys of a database that was restored.
    RestoredKeys {
        /// They are as they were in the backup.
        Kept = "kept",
        /// Those are revoked that were revoked since.
        CarriedOver = "carried-over",
        /// All are revoked.
        Revoked = "revoked",
    }
}
