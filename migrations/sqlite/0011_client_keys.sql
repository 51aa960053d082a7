-- The same change as ../postgres/0011_client_keys.sql; a test compares the columns.

-- Public keys that clients are registered with.
CREATE TABLE client_keys (
    client      BLOB NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    key_id      TEXT NOT NULL, -- names it to people; a fingerprint
    thumbprint  TEXT NOT NULL, -- RFC 7638
    kid         TEXT NOT NULL, -- what assertions call it
    public_jwk  TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    unwarned_end INTEGER, -- its end, until somebody was warned of it
    PRIMARY KEY (client, key_id),
    UNIQUE (client, thumbprint),
    UNIQUE (client, kid)
) STRICT;

-- Where its keys are instead, and how strict its assertions are read.
ALTER TABLE clients ADD COLUMN jwks_uri TEXT;
ALTER TABLE clients ADD COLUMN assertion_type_required INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN legacy_assertion_audience INTEGER NOT NULL DEFAULT 0;

-- What is to be warned of, and what is counted: nothing that never ends.
CREATE INDEX client_keys_to_warn_of ON client_keys (unwarned_end, client, key_id) WHERE unwarned_end IS NOT NULL;
CREATE INDEX client_keys_by_end ON client_keys (expires_at, client, key_id) WHERE expires_at IS NOT NULL;
