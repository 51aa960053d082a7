-- The same change as ../postgres/0003_key_rotation.sql; a test compares the columns.

-- When an operator withdrew a key. Until then, whoever knows it refuses what it signed.
ALTER TABLE signing_keys ADD COLUMN revoked_at INTEGER;
