-- The same change as ../sqlite/0007_administrators.sql; a test compares the columns.

-- People who administer.
CREATE TABLE administrators (
    uid               UUID PRIMARY KEY,
    name              TEXT COLLATE "C" NOT NULL UNIQUE,
    role              TEXT NOT NULL,
    enabled           BOOLEAN NOT NULL,
    password_hash     TEXT, -- argon2id; NULL without a password
    second_factor     BYTEA, -- the secret of one-time codes, sealed under the master key; NULL without one
    code_step         BIGINT NOT NULL, -- of the last one-time code that counted: only later ones do
    external_issuer   TEXT COLLATE "C", -- who else vouches for them (single sign-on) ...
    external_subject  TEXT COLLATE "C", -- ... and under which name
    signed_in_at      BIGINT,
    version           BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    CHECK ((external_issuer IS NULL) = (external_subject IS NULL)),
    UNIQUE (external_issuer, external_subject)
);

-- What replaces a lost second factor, each once.
CREATE TABLE recovery_codes (
    administrator UUID NOT NULL REFERENCES administrators (uid) ON DELETE CASCADE,
    hash          BYTEA NOT NULL, -- SHA-256
    PRIMARY KEY (administrator, hash)
);

CREATE TABLE administrator_sessions (
    hash          BYTEA PRIMARY KEY, -- SHA-256 of what the cookie has
    handle        TEXT COLLATE "C" NOT NULL UNIQUE, -- names it on pages
    administrator UUID NOT NULL REFERENCES administrators (uid) ON DELETE CASCADE,
    stage         TEXT NOT NULL, -- whether the second factor is still to come
    address       TEXT,
    agent         TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    used_at       BIGINT NOT NULL,
    ends_at       BIGINT NOT NULL -- however much it is used
);
CREATE INDEX administrator_sessions_by_administrator ON administrator_sessions (administrator);
CREATE INDEX administrator_sessions_by_end ON administrator_sessions (ends_at);

-- One-time links by which a password is set.
CREATE TABLE administrator_links (
    hash          BYTEA PRIMARY KEY, -- SHA-256 of what the link has
    administrator UUID REFERENCES administrators (uid) ON DELETE CASCADE, -- NULL: the first one is made by it
    created_at    BIGINT NOT NULL,
    ends_at       BIGINT NOT NULL
);
CREATE INDEX administrator_links_by_administrator ON administrator_links (administrator);
CREATE INDEX administrator_links_by_end ON administrator_links (ends_at);

-- Attempts to sign in that have not succeeded, by what they are counted for: an account or an address.
CREATE TABLE sign_in_attempts (
    subject      TEXT COLLATE "C" PRIMARY KEY,
    failures     BIGINT NOT NULL,
    tried_at     BIGINT NOT NULL,
    opens_at     BIGINT NOT NULL -- until then no further attempt is looked at
);
CREATE INDEX sign_in_attempts_by_time ON sign_in_attempts (tried_at);
