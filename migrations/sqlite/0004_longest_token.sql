-- The same change as ../postgres/0004_longest_token.sql; a test compares the columns.

-- The longest lifetime, in microseconds, of any token that the key may have signed: it stays for so long, also when
-- tokens.max_lifetime is lowered meanwhile. A server raises it at its start, before it signs.
ALTER TABLE signing_keys ADD COLUMN longest_token INTEGER NOT NULL DEFAULT 0;
