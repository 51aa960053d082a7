-- The same change as ../sqlite/0014_federation.sql; a test compares the columns.

-- Whose tokens count here, beside our own.
CREATE TABLE trusted_issuers (
    uid          UUID PRIMARY KEY,
    name         TEXT COLLATE "C" NOT NULL UNIQUE,
    description  TEXT NOT NULL,
    enabled      BOOLEAN NOT NULL,
    profile      TEXT NOT NULL,
    issuer       TEXT COLLATE "C" NOT NULL,
    keys_from    TEXT NOT NULL,
    keys_at      TEXT, -- a URL, a file's name, or the keys themselves
    algorithms   TEXT NOT NULL, -- separated by spaces
    audience     TEXT, -- ours, when absent
    max_lifetime BIGINT NOT NULL, -- seconds
    leeway       BIGINT NOT NULL, -- seconds
    reuse        TEXT NOT NULL,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);

-- Tokens of theirs that prove a client. An issuer that one names cannot be removed: on purpose.
CREATE TABLE federated_credentials (
    client         UUID NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    credential_id  TEXT COLLATE "C" NOT NULL, -- names it to people; a fingerprint
    trusted_issuer UUID NOT NULL REFERENCES trusted_issuers (uid),
    conditions     TEXT NOT NULL, -- JSON
    shape          TEXT COLLATE "C" NOT NULL, -- which claims the conditions look at; JSON
    match_key      TEXT COLLATE "C" NOT NULL, -- what it is found by, from the conditions
    description    TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT,
    unwarned_end   BIGINT, -- its end, until somebody was warned of it
    PRIMARY KEY (client, credential_id)
);
CREATE INDEX federated_credentials_by_match ON federated_credentials (trusted_issuer, match_key, client);
CREATE INDEX federated_credentials_by_shape ON federated_credentials (trusted_issuer, shape);
CREATE INDEX federated_credentials_to_warn_of ON federated_credentials (unwarned_end, client, credential_id)
    WHERE unwarned_end IS NOT NULL;
CREATE INDEX federated_credentials_by_end ON federated_credentials (expires_at, client, credential_id)
    WHERE expires_at IS NOT NULL;

-- Which claims the conditions of an issuer's credentials look at. A shape goes with its last credential.
CREATE TABLE federation_shapes (
    trusted_issuer UUID NOT NULL REFERENCES trusted_issuers (uid) ON DELETE CASCADE,
    shape          TEXT COLLATE "C" NOT NULL, -- JSON
    PRIMARY KEY (trusted_issuer, shape)
);
