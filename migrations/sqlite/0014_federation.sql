-- The same change as ../postgres/0014_federation.sql; a test compares the columns.

-- Whose tokens count here, beside our own.
CREATE TABLE trusted_issuers (
    uid          BLOB PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    description  TEXT NOT NULL,
    enabled      INTEGER NOT NULL,
    profile      TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    keys_from    TEXT NOT NULL,
    keys_at      TEXT, -- a URL, a file's name, or the keys themselves
    algorithms   TEXT NOT NULL, -- separated by spaces
    audience     TEXT, -- ours, when absent
    max_lifetime INTEGER NOT NULL, -- seconds
    leeway       INTEGER NOT NULL, -- seconds
    reuse        TEXT NOT NULL,
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

-- Tokens of theirs that prove a client. An issuer that one names cannot be removed: on purpose.
CREATE TABLE federated_credentials (
    client         BLOB NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    credential_id  TEXT NOT NULL, -- names it to people; a fingerprint
    trusted_issuer BLOB NOT NULL REFERENCES trusted_issuers (uid),
    conditions     TEXT NOT NULL, -- JSON
    shape          TEXT NOT NULL, -- which claims the conditions look at; JSON
    match_key      TEXT NOT NULL, -- what it is found by, from the conditions
    description    TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER,
    unwarned_end   INTEGER, -- its end, until somebody was warned of it
    PRIMARY KEY (client, credential_id)
) STRICT;
CREATE INDEX federated_credentials_by_match ON federated_credentials (trusted_issuer, match_key, client);
CREATE INDEX federated_credentials_by_shape ON federated_credentials (trusted_issuer, shape);
CREATE INDEX federated_credentials_to_warn_of ON federated_credentials (unwarned_end, client, credential_id)
    WHERE unwarned_end IS NOT NULL;
CREATE INDEX federated_credentials_by_end ON federated_credentials (expires_at, client, credential_id)
    WHERE expires_at IS NOT NULL;

-- Which claims the conditions of an issuer's credentials look at. A shape goes with its last credential.
CREATE TABLE federation_shapes (
    trusted_issuer BLOB NOT NULL REFERENCES trusted_issuers (uid) ON DELETE CASCADE,
    shape          TEXT NOT NULL, -- JSON
    PRIMARY KEY (trusted_issuer, shape)
) STRICT;
