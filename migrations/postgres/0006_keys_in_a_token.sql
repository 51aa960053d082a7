-- The same change as ../sqlite/0006_keys_in_a_token.sql; a test compares the columns.

-- A private key is sealed here, or in the PKCS#11 token with this label.
ALTER TABLE signing_keys ALTER COLUMN sealed_private DROP NOT NULL;
ALTER TABLE signing_keys ADD COLUMN pkcs11_token TEXT;
ALTER TABLE signing_keys ADD CHECK ((sealed_private IS NULL) <> (pkcs11_token IS NULL));

-- Pairs in tokens that no row of signing_keys stands for, or not yet: whoever finds one when it is due destroys it.
CREATE TABLE pkcs11_leftovers (
    -- The label of the pair, or its CKA_ID.
    name   TEXT COLLATE "C" PRIMARY KEY,
    token  TEXT NOT NULL,
    due_at BIGINT NOT NULL
);
