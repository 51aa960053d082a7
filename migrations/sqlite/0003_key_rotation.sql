-- The same change as ../postgres/0003_key_rotation.sql; a test compares the columns.

-- When an operator withdrew a key. Until then, whoever knows it refuses what it signed.
ALTER TABLE signing_keys ADD COLUMN revoked_at INTEGER;

-- What a resource server's tokens were signed with before it was switched: they still are while the keys of the
-- new algorithm are published but do not sign yet.
ALTER TABLE resource_servers ADD COLUMN signing_algorithm_before TEXT;
