-- The same change as ../postgres/0009_single_sign_on.sql; a test compares the columns.

-- Sign-ins that were begun and sent to the OpenID provider, until they come back or their time is over. What the
-- provider is shown follows from the salt and from what only the browser has.
CREATE TABLE sign_in_starts (
    state      BLOB PRIMARY KEY, -- SHA-256 of the state that the provider sends back
    browser    BLOB NOT NULL, -- SHA-256 of what the browser's cookie has
    salt       BLOB NOT NULL,
    issuer     TEXT NOT NULL, -- whom it was sent to
    next       TEXT NOT NULL, -- the page to go to then
    network    TEXT NOT NULL, -- where it was begun: each has a few
    created_at INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_in_starts_by_network ON sign_in_starts (network, created_at);
CREATE INDEX sign_in_starts_by_end ON sign_in_starts (ends_at);
