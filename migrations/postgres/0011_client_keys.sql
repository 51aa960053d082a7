-- The same change as ../sqlite/0011_client_keys.sql; a test compares the columns.

-- Public keys that clients are registered with.
CREATE TABLE client_keys (
    client      UUID NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    key_id      TEXT COLLATE "C" NOT NULL, -- names it to people; a fingerprint
    thumbprint  TEXT COLLATE "C" NOT NULL, -- RFC 7638
    kid         TEXT COLLATE "C" NOT NULL, -- what assertions call it
    public_jwk  TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT,
    unwarned_end BIGINT, -- its end, until somebody was warned of it
    PRIMARY KEY (client, key_id),
    UNIQUE (client, thumbprint),
    UNIQUE (client, kid)
);

-- Where its keys are instead, and how strict its assertions are read.
ALTER TABLE clients ADD COLUMN jwks_uri TEXT;
ALTER TABLE clients ADD COLUMN assertion_type_required BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE clients ADD COLUMN legacy_assertion_audience BOOLEAN NOT NULL DEFAULT FALSE;

-- What is to be warned of, and what is counted: nothing that never ends.
CREATE INDEX client_keys_to_warn_of ON client_keys (unwarned_end, client, key_id) WHERE unwarned_end IS NOT NULL;
CREATE INDEX client_keys_by_end ON client_keys (expires_at, client, key_id) WHERE expires_at IS NOT NULL;
