-- The same change as ../sqlite/0009_single_sign_on.sql; a test compares the columns.

-- Sign-ins that were begun and sent to the OpenID provider, until they come back or their time is over. What the
-- provider is shown follows from the salt and from what only the browser has.
CREATE TABLE sign_in_starts (
    state      BYTEA PRIMARY KEY, -- SHA-256 of the state that the provider sends back
    browser    BYTEA NOT NULL, -- SHA-256 of what the browser's cookie has
    salt       BYTEA NOT NULL,
    issuer     TEXT COLLATE "C" NOT NULL, -- whom it was sent to
    next       TEXT NOT NULL, -- the page to go to then
    network    TEXT COLLATE "C" NOT NULL, -- where it was begun: each has a few
    created_at BIGINT NOT NULL,
    ends_at    BIGINT NOT NULL
);
CREATE INDEX sign_in_starts_by_network ON sign_in_starts (network, created_at);
CREATE INDEX sign_in_starts_by_end ON sign_in_starts (ends_at);
