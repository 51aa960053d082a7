-- The same change as ../postgres/0006_keys_in_a_token.sql; a test compares the columns. SQLite cannot take a
-- NOT NULL away, so the table is made anew.

-- A private key is sealed here, or in the PKCS#11 token with this label.
CREATE TABLE new_signing_keys (
    kid            TEXT PRIMARY KEY,
    algorithm      TEXT NOT NULL,
    generation     INTEGER NOT NULL,
    public_jwk     TEXT NOT NULL,
    sealed_private BLOB,
    created_at     INTEGER NOT NULL,
    activates_at   INTEGER NOT NULL,
    leaves_at      INTEGER,
    revoked_at     INTEGER,
    longest_token  INTEGER NOT NULL DEFAULT 0,
    pkcs11_token   TEXT,
    UNIQUE (algorithm, generation),
    CHECK ((sealed_private IS NULL) <> (pkcs11_token IS NULL))
) STRICT;
INSERT INTO new_signing_keys (kid, algorithm, generation, public_jwk, sealed_private, created_at, activates_at,
    leaves_at, revoked_at, longest_token)
SELECT kid, algorithm, generation, public_jwk, sealed_private, created_at, activates_at, leaves_at, revoked_at,
    longest_token
FROM signing_keys;
DROP TABLE signing_keys;
ALTER TABLE new_signing_keys RENAME TO signing_keys;

-- Pairs in tokens that no row of signing_keys stands for, or not yet: whoever finds one when it is due destroys it.
CREATE TABLE pkcs11_leftovers (
    -- The label of the pair, or its CKA_ID.
    name   TEXT PRIMARY KEY,
    token  TEXT NOT NULL,
    due_at INTEGER NOT NULL
) STRICT;
