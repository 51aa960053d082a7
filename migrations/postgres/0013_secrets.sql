-- The same change as ../sqlite/0013_secrets.sql; a test compares the columns.

-- Whether a client may add secrets of its own.
ALTER TABLE clients ADD COLUMN may_rotate_own_secrets BOOLEAN NOT NULL DEFAULT FALSE;

-- The secret that a rotation has put in its place, and whether its end was warned of, or is meant.
ALTER TABLE client_secrets ADD COLUMN replaced_by TEXT COLLATE "C";
ALTER TABLE client_secrets ADD COLUMN warned BOOLEAN NOT NULL DEFAULT FALSE;

-- What is to be warned of, and what is counted: nothing that never ends, and nothing that was replaced.
CREATE INDEX client_secrets_to_warn_of ON client_secrets (expires_at, client, secret_id)
    WHERE expires_at IS NOT NULL AND NOT warned;
CREATE INDEX client_secrets_by_end ON client_secrets (expires_at, client, secret_id)
    WHERE expires_at IS NOT NULL AND replaced_by IS NULL;
