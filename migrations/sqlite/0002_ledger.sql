-- The same tables as ../postgres/0002_ledger.sql; a test compares the columns.

-- Events from before there were chains. They cannot be chained afterwards; nothing reads them, and nothing
-- removes them.
ALTER TABLE audit_events RENAME TO audit_events_unchained;

-- One row for each event, in chains: one chain a process (docs/audit.md). The columns after `hash` repeat
-- what `event` says, for finding it.
CREATE TABLE audit_events (
    writer    BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL, -- never before that of the event before it in the chain
    prev      BLOB NOT NULL,
    hash      BLOB NOT NULL,
    kind      TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    client_id TEXT,
    jti       TEXT,
    txn       TEXT,
    continues INTEGER NOT NULL, -- whether it continues the txn, or begins it
    event     TEXT NOT NULL,    -- JSON, byte for byte as it was hashed
    PRIMARY KEY (writer, seq)
) STRICT;
-- A token id tells the time it was made, so tokens and chains of tokens are found by time as well: only
-- what happens to them later needs an index. What is frequent (tokens) is in as few of them as can be.
CREATE INDEX audit_events_by_time ON audit_events (at);
CREATE INDEX audit_events_by_client ON audit_events (client_id, at);
CREATE INDEX audit_events_by_kind ON audit_events (kind, at) WHERE kind <> 'token_issued';
CREATE INDEX audit_events_refused ON audit_events (at) WHERE outcome = 'refused';
CREATE INDEX audit_events_by_jti ON audit_events (jti) WHERE jti IS NOT NULL AND kind <> 'token_issued';
CREATE INDEX audit_events_by_txn ON audit_events (txn) WHERE continues;

-- Events of changes, written in the change's own transaction, until the next batch chains them.
CREATE TABLE audit_outbox (
    id    BLOB PRIMARY KEY,
    at    INTEGER NOT NULL,
    event TEXT NOT NULL
) STRICT;

CREATE TABLE audit_chains (
    writer     BLOB PRIMARY KEY,
    started_at INTEGER NOT NULL,
    ended      INTEGER NOT NULL, -- by a clean shutdown
    named_seq  INTEGER NOT NULL,  -- how far a later chain's start has named it
    settled    INTEGER NOT NULL  -- named to its end: no later start needs to look at it
) STRICT;
CREATE INDEX audit_chains_unsettled ON audit_chains (started_at) WHERE NOT settled;

CREATE TABLE audit_checkpoints (
    writer BLOB NOT NULL,
    seq    INTEGER NOT NULL,
    at     INTEGER NOT NULL, -- of the event that it signs
    jws    TEXT NOT NULL,
    PRIMARY KEY (writer, seq)
) STRICT;
CREATE INDEX audit_checkpoints_by_time ON audit_checkpoints (at);

-- What signs checkpoints. Kept for ever: it verifies them.
CREATE TABLE audit_keys (
    kid            TEXT PRIMARY KEY,
    public_jwk     TEXT NOT NULL,
    sealed_private BLOB NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;

-- Identifiers that count once: of client assertions, of DPoP proofs.
CREATE TABLE used_ids (
    purpose    TEXT NOT NULL,
    id         TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, id)
) STRICT;
CREATE INDEX used_ids_by_end ON used_ids (expires_at);
