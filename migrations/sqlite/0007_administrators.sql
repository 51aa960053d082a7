-- The same change as ../postgres/0007_administrators.sql; a test compares the columns.

-- People who administer.
CREATE TABLE administrators (
    uid               BLOB PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    role              TEXT NOT NULL,
    enabled           INTEGER NOT NULL,
    password_hash     TEXT, -- argon2id; NULL without a password
    second_factor     BLOB, -- the secret of one-time codes, sealed under the master key; NULL without one
    code_step         INTEGER NOT NULL, -- of the last one-time code that counted: only later ones do
    external_issuer   TEXT, -- who else vouches for them (single sign-on) ...
    external_subject  TEXT, -- ... and under which name
    signed_in_at      INTEGER,
    version           INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    CHECK ((external_issuer IS NULL) = (external_subject IS NULL)),
    UNIQUE (external_issuer, external_subject)
) STRICT;

-- What replaces a lost second factor, each once.
CREATE TABLE recovery_codes (
    administrator BLOB NOT NULL REFERENCES administrators (uid) ON DELETE CASCADE,
    hash          BLOB NOT NULL, -- SHA-256
    PRIMARY KEY (administrator, hash)
) STRICT;

CREATE TABLE administrator_sessions (
    hash          BLOB PRIMARY KEY, -- SHA-256 of what the cookie has
    handle        TEXT NOT NULL UNIQUE, -- names it on pages
    administrator BLOB NOT NULL REFERENCES administrators (uid) ON DELETE CASCADE,
    stage         TEXT NOT NULL, -- whether the second factor is still to come
    address       TEXT,
    agent         TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    used_at       INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL -- however much it is used
) STRICT;
CREATE INDEX administrator_sessions_by_administrator ON administrator_sessions (administrator);
CREATE INDEX administrator_sessions_by_end ON administrator_sessions (ends_at);

-- One-time links by which a password is set.
CREATE TABLE administrator_links (
    hash          BLOB PRIMARY KEY, -- SHA-256 of what the link has
    administrator BLOB REFERENCES administrators (uid) ON DELETE CASCADE, -- NULL: the first one is made by it
    created_at    INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX administrator_links_by_administrator ON administrator_links (administrator);
CREATE INDEX administrator_links_by_end ON administrator_links (ends_at);

-- Attempts to sign in that have not succeeded, by what they are counted for: an account or an address.
CREATE TABLE sign_in_attempts (
    subject      TEXT PRIMARY KEY,
    failures     INTEGER NOT NULL,
    tried_at     INTEGER NOT NULL,
    opens_at     INTEGER NOT NULL -- until then no further attempt is looked at
) STRICT;
CREATE INDEX sign_in_attempts_by_time ON sign_in_attempts (tried_at);
